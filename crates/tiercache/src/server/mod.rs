//! The server of the shared level: its URL, TLS, and its current address.
//!
//! * [`mod@url`] and [`parameters`] parse the URL as redis-py does;
//! * [`tls`] reads certificates;
//! * [`sentinel`] finds the current primary of a service.
//!
//! [`Server`] opens connections; its callers do not depend on the set-up.

mod invalid_url;
mod parameters;
mod sentinel;
mod tcp;
mod tls;
mod url;

use std::fmt;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ProtocolVersion,
    RedisConnectionInfo, RedisResult,
};

use crate::server::sentinel::Sentinels;
use crate::server::tcp::connection;
use crate::server::url::{Endpoint, HostPort, Login, Target};

pub use invalid_url::InvalidUrl;

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
///   `sentinel_username` and `sentinel_password`: the primary that the sentinels name.
///
/// `db`, `username` and `password` may stand in the query.
#[derive(Clone)]
pub struct Server {
    location: Location,
    login: RedisConnectionInfo,
}

#[derive(Clone)]
enum Location {
    Fixed(Box<ConnectionInfo>),
    Sentinel(Sentinels),
}

impl Server {
    /// Parses a URL, and reads the files of certificates that it names.
    ///
    /// # Errors
    /// [`InvalidUrl`] names the part that is invalid or not supported.
    pub fn parse(url: &str) -> Result<Self, InvalidUrl> {
        let target = Target::parse(url)?;
        let location = match target.endpoint {
            Endpoint::Sentinel { sentinels, service } => {
                let login = settings(&target.sentinel_login, 0);
                Location::Sentinel(Sentinels::new(&sentinels, &login, service)?)
            }
            Endpoint::Tcp(HostPort { host, port }) => {
                fixed(connection(ConnectionAddr::Tcp(host, port))?)
            }
            Endpoint::Unix(path) => fixed(connection(ConnectionAddr::Unix(path.into()))?),
            Endpoint::Tls(HostPort { host, port }, tls) => {
                let address = ConnectionAddr::TcpTls {
                    host,
                    port,
                    insecure: !tls.verifies,
                    tls_params: None,
                };
                fixed(tls.apply(connection(address)?)?)
            }
        };
        Ok(Self {
            location,
            login: settings(&target.login, target.db),
        })
    }

    /// Opens a connection to the server, with Sentinel to the current primary. Of the waits, only
    /// those for sentinels have a timeout unless `config` sets one.
    ///
    /// # Errors
    /// The client's error; with Sentinel also if no sentinel names a primary, or if the named
    /// server is none.
    pub async fn connect(
        &self,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        self.open(self.login.clone(), config).await
    }

    /// As [`connect`](Self::connect), with RESP3.
    pub(crate) async fn connect_resp3(
        &self,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        let login = self.login.clone().set_protocol(ProtocolVersion::RESP3);
        self.open(login, config).await
    }

    async fn open(
        &self,
        login: RedisConnectionInfo,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<MultiplexedConnection> {
        match &self.location {
            Location::Fixed(info) => {
                let info = info.as_ref().clone().set_redis_settings(login);
                let client = Client::open(info)?;
                client
                    .get_multiplexed_async_connection_with_config(config)
                    .await
            }
            Location::Sentinel(sentinels) => sentinels.connect(login, config).await,
        }
    }

    /// Whether the server is still where the last [`connect`](Self::connect) of this value found
    /// it; a clone has to connect itself.
    pub(crate) async fn is_unmoved(&self) -> bool {
        match &self.location {
            Location::Fixed(_) => true,
            Location::Sentinel(sentinels) => sentinels.is_unmoved().await,
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Server");
        match &self.location {
            Location::Fixed(info) => debug.field("address", &info.addr().to_string()),
            Location::Sentinel(sentinels) => debug.field("service", &sentinels.service()),
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
