//! The server of the shared level: its URL, TLS, and its current address.
//!
//! * [`mod@url`] and [`parameters`] parse the URL as redis-py does;
//! * [`tls`] reads certificates; [`handshake`] is that of the cache's own connections;
//! * [`sentinel`] finds the current primary of a service;
//! * [`seeds`] has the nodes of a cluster that the URL names, [`slots`] its slots;
//! * [`socket`] counts the bytes of a connection.
//!
//! [`Server`] opens connections; its callers do not depend on the set-up.

mod handshake;
mod invalid_url;
mod parameters;
mod seeds;
mod sentinel;
pub(crate) mod slots;
mod socket;
mod tcp;
mod tls;
mod url;

use std::fmt;
use std::sync::Arc;

use futures_util::future::try_join_all;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ConnectionAddr, ConnectionInfo, ProtocolVersion, RedisConnectionInfo,
    RedisResult,
};

use crate::seams;
use crate::seams::mutant;
use crate::server::handshake::Handshake;
use crate::server::seeds::Seeds;
use crate::server::sentinel::Sentinels;
use crate::server::tcp::{Transport, connect, connection};
use crate::server::url::{Endpoint, Login, Target};

pub use invalid_url::InvalidUrl;
pub(crate) use socket::Socket;
pub(crate) use url::HostPort;

/// A server, parsed from its URL. Cheap to clone.
///
/// The URL is read as redis-py's `from_url` reads it, with its defaults; what cannot be honoured
/// is refused:
///
/// * `redis://[user:password@]host[:port][/db]`, or `valkey://`;
/// * `rediss://…`, or `valkeys://`: TLS, with the system's roots or `?ssl_ca_certs=FILE`;
///   `ssl_certfile`, `ssl_keyfile`, `ssl_cert_reqs`, `ssl_check_hostname`;
/// * `unix:///path/to/socket?db=2`;
/// * `redis+sentinel://[user:password@]host:port,host:port/service[/db]`, with
///   `sentinel_username` and `sentinel_password`: the primary that the sentinels name;
/// * `redis+cluster://[user:password@]host:port,host:port`: the cluster that these nodes belong to;
/// * `rediss+sentinel://…`, `rediss+cluster://…`: with TLS, also to the sentinels.
///
/// `db`, `username` and `password` may stand in the query.
#[derive(Clone)]
pub struct Server {
    location: Location,
    login: RedisConnectionInfo,
    handshake: Option<Handshake>,
}

#[derive(Clone)]
enum Location {
    Fixed(Box<ConnectionInfo>),
    Sentinel(Sentinels),
    Cluster(Seeds),
}

impl Server {
    /// Parses a URL, and reads the files of certificates that it names.
    ///
    /// # Errors
    /// [`InvalidUrl`] names the part that is invalid or not supported.
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let target = Target::parse(url)?;
        let tls = match &target.endpoint {
            Endpoint::Sentinel { tls, .. } | Endpoint::Cluster { tls, .. } => tls.as_ref(),
            Endpoint::Tls(_, tls) => Some(tls),
            Endpoint::Tcp(_) | Endpoint::Unix(_) => None,
        };
        let handshake = tls.map(Handshake::new).transpose()?;
        let location = match target.endpoint {
            Endpoint::Sentinel {
                sentinels,
                service,
                tls,
            } => {
                let login = settings(&target.sentinel_login, 0);
                let transport = Transport::new(tls.as_ref())?;
                Location::Sentinel(Sentinels::new(&sentinels, &login, service, transport)?)
            }
            Endpoint::Cluster { seeds, tls } => Location::Cluster(Seeds {
                transport: Arc::new(Transport::new(tls.as_ref())?),
                addresses: seeds.into(),
            }),
            Endpoint::Tcp(address) => fixed(Transport::new(None)?.to(&address)),
            Endpoint::Tls(address, tls) => fixed(Transport::new(Some(&tls))?.to(&address)),
            Endpoint::Unix(path) => fixed(connection(ConnectionAddr::Unix(path.into()))?),
        };
        Ok(Self {
            location,
            login: settings(&target.login, target.db),
            handshake,
        })
    }

    /// Opens a connection to the server: with Sentinel to the current primary, of a cluster to one
    /// of the nodes in the URL. Of the waits, only those for sentinels have a timeout unless
    /// `config` sets one.
    ///
    /// # Errors
    /// The client's error; with Sentinel also if no sentinel names a primary, or if the named
    /// server is none.
    pub async fn connect(
        &self,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        if let Location::Cluster(seeds) = &self.location {
            return Ok(seeds.connect(&self.login, config).await?.1);
        }
        let info = self.locate().await?;
        let mut connection = connect(&info, config).await?;
        self.check(&info, &mut connection).await?;
        Ok(connection)
    }

    /// As [`connect`](Self::connect), of a cluster to the node that has a key now. Where the key
    /// moves to, the node says in an error (`MOVED`): connect again.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), or if no node has the key.
    pub async fn connect_for(
        &self,
        key: &str,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let Location::Cluster(seeds) = &self.location else {
            return self.connect(config).await;
        };
        let (asked, connection, view) = seeds.ask(&self.login, config).await?;
        let owner = view.owner(key).filter(|owner| **owner != asked);
        match owner {
            Some(owner) => connect(&seeds.to(owner, &self.login), config).await,
            None => Ok(connection),
        }
    }

    /// As [`connect`](Self::connect), of a cluster to each of its primaries now.
    ///
    /// # Errors
    /// As [`connect`](Self::connect), for any of them.
    pub async fn connect_all(
        &self,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<Vec<MultiplexedConnection>> {
        let Location::Cluster(seeds) = &self.location else {
            return Ok(vec![self.connect(config).await?]);
        };
        let (_asked, _connection, view) = seeds.ask(&self.login, config).await?;
        let connecting = view.primaries.iter().map(|primary| {
            let info = seeds.to(&primary.address, &self.login);
            async move { connect(&info, config).await }
        });
        try_join_all(connecting).await
    }

    /// Whether this is a cluster, whose keys are on several servers.
    #[must_use]
    pub fn is_cluster(&self) -> bool {
        matches!(self.location, Location::Cluster(_))
    }

    /// As [`connect`](Self::connect), with a count of bytes.
    pub(crate) async fn open(&self, config: &AsyncConnectionConfig) -> RedisResult<Socket> {
        self.open_at(self.locate().await?, config).await
    }

    /// As [`open`](Self::open), with RESP3.
    pub(crate) async fn open_resp3(&self, config: &AsyncConnectionConfig) -> RedisResult<Socket> {
        let info = self.locate().await?;
        let login = info.redis_settings().clone();
        mutant!(TrackingWithResp2 => return self.open(config).await);
        let info = info.set_redis_settings(login.set_protocol(ProtocolVersion::RESP3));
        self.open_at(info, config).await
    }

    async fn open_at(
        &self,
        info: ConnectionInfo,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<Socket> {
        let mut socket = Socket::open(&info, self.handshake.as_ref(), config).await?;
        self.check(&info, &mut socket.connection).await?;
        Ok(socket)
    }

    /// Where the server is now.
    async fn locate(&self) -> RedisResult<ConnectionInfo> {
        let info = match &self.location {
            Location::Fixed(info) => info.as_ref().clone(),
            Location::Sentinel(sentinels) => sentinels.locate().await?,
            Location::Cluster(seeds) => {
                let seed = seams::random_range(0..seeds.addresses.len());
                seeds.transport.to(&seeds.addresses[seed])
            }
        };
        Ok(info.set_redis_settings(self.login.clone()))
    }

    /// With Sentinel, the server itself must confirm that it is a primary.
    async fn check(
        &self,
        info: &ConnectionInfo,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<()> {
        match &self.location {
            Location::Fixed(_) | Location::Cluster(_) => Ok(()),
            Location::Sentinel(sentinels) => sentinels.check(info, connection).await,
        }
    }

    /// Whether the server is still where the last [`connect`](Self::connect) of this value found
    /// it; a clone has to connect itself.
    pub(crate) async fn is_unmoved(&self) -> bool {
        match &self.location {
            Location::Fixed(_) | Location::Cluster(_) => true,
            Location::Sentinel(sentinels) => sentinels.is_unmoved().await,
        }
    }

    /// The addresses of some nodes, if this is a cluster.
    pub(crate) fn seeds(&self) -> Option<&[HostPort]> {
        match &self.location {
            Location::Cluster(seeds) => Some(&seeds.addresses),
            Location::Fixed(_) | Location::Sentinel(_) => None,
        }
    }

    /// Whether a cluster is reached with TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(&self.location, Location::Cluster(seeds) if seeds.transport.is_encrypted())
    }

    /// The node of a cluster at an address.
    pub(crate) fn node(&self, address: &HostPort) -> Self {
        let location = match &self.location {
            Location::Cluster(seeds) => fixed(seeds.transport.to(address)),
            Location::Fixed(_) | Location::Sentinel(_) => self.location.clone(),
        };
        Self {
            location,
            login: self.login.clone(),
            handshake: self.handshake.clone(),
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Server");
        match &self.location {
            Location::Fixed(info) => debug.field("address", &info.addr().to_string()),
            Location::Sentinel(sentinels) => debug.field("service", &sentinels.service()),
            Location::Cluster(seeds) => debug.field("seeds", &seeds.addresses),
        };
        debug.finish_non_exhaustive()
    }
}

fn fixed(info: ConnectionInfo) -> Location {
    Location::Fixed(Box::new(info))
}

fn settings(login: &Login, db: i64) -> RedisConnectionInfo {
    let mut settings = RedisConnectionInfo::default().set_db(db);
    // A name alone logs in with an empty password, as redis-py does.
    let password = login.password.as_deref();
    if let Some(username) = &login.username {
        settings = settings.set_username(username);
    }
    if let Some(password) = password.or(login.username.is_some().then_some("")) {
        settings = settings.set_password(password);
    }
    settings
}
