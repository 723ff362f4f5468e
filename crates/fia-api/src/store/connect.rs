//! Opens sessions: with the first of several hosts that is reachable and allows writes.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config as PgConfig, Connection};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::{Database, Host, Prepared};
use crate::store::session::{Driven, Session, Settings};
use crate::store::{StoreError, tcp, tls};

/// Timeout for opening a session with one host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Opens sessions. Cheap to clone; clones share the host that was last found good.
#[derive(Clone)]
pub(super) struct Connector {
    /// In the order of the setting.
    hosts: Arc<[Endpoint]>,
    prepared: Prepared,
    tls: MakeRustlsConnect,
    /// The host that is tried first: the last one that was found good.
    preferred: Arc<AtomicUsize>,
}

/// A host, and the driver's configuration for it.
struct Endpoint {
    name: String,
    port: u16,
    config: PgConfig,
}

impl Connector {
    /// Prepares sessions without connecting.
    ///
    /// # Errors
    /// When TLS cannot be configured.
    pub(super) fn new(config: &Database) -> Result<Self, StoreError> {
        let hosts = config.hosts.iter().map(|host| Endpoint::new(config, host));
        Ok(Self {
            hosts: hosts.collect(),
            prepared: config.prepared,
            tls: tls::connector(config.ssl_mode)?,
            preferred: Arc::default(),
        })
    }

    /// The time limit for a session, all hosts included.
    pub(super) fn time_limit(&self) -> Duration {
        let hosts = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
        CONNECT_TIMEOUT.saturating_mul(hosts)
    }

    /// Opens a session. Tries each host for at most [`CONNECT_TIMEOUT`], except the last one,
    /// which the caller's limit ends.
    pub(super) async fn open(&self) -> Result<Session, StoreError> {
        let count = self.hosts.len();
        let first = self.preferred.load(Ordering::Relaxed);
        let mut order = (first..first + count).map(|host| host % count);
        let last = order.next_back().unwrap_or_default();
        let mut standby = None;
        for host in order {
            match timeout(CONNECT_TIMEOUT, self.open_to(host)).await {
                Ok(Ok(opened)) => return Ok(opened),
                Ok(Err(error)) if error.is_failover() => standby = Some(error),
                Ok(Err(_)) | Err(_) => {}
            }
        }
        let opened = self.open_to(last).await;
        // A standby that can be reached is the better reason: it may soon be the primary.
        opened.map_err(|error| standby.unwrap_or(error))
    }

    async fn open_to(&self, host: usize) -> Result<Session, StoreError> {
        // Boxed, as the future of a handshake is large.
        let driven = Box::pin(self.hosts[host].connect(self.tls.clone())).await?;
        let settings = Settings {
            prepared: self.prepared,
            must_be_writable: self.hosts.len() > 1,
        };
        let session = Session::begin(driven, settings).await?;
        self.preferred.store(host, Ordering::Relaxed);
        Ok(session)
    }
}

impl Endpoint {
    fn new(database: &Database, host: &Host) -> Self {
        let port = host.port.unwrap_or(database.port);
        let mut config = PgConfig::new();
        config
            .host(&host.name)
            .port(port)
            .user(&database.username)
            .password(database.password.expose_secret())
            .dbname(&database.name)
            .ssl_mode(tls::mode(database.ssl_mode))
            .connect_timeout(CONNECT_TIMEOUT);
        Self {
            name: host.name.clone(),
            port,
            config,
        }
    }

    async fn connect(&self, mut tls: MakeRustlsConnect) -> Result<Driven, StoreError> {
        let of_connecting = |error| StoreError::of_connecting(&error);
        if self.name.starts_with('/') {
            // The folder of a Unix domain socket.
            let connected = self.config.connect(tls).await;
            let (client, connection) = connected.map_err(of_connecting)?;
            return Ok(drive(client, connection, None));
        }
        let (stream, addresses) = tcp::connect(&self.name, self.port)
            .await
            .map_err(|error| unreachable_host(&error))?;
        let tls = MakeTlsConnect::<tcp::Stream>::make_tls_connect(&mut tls, &self.name);
        let Ok(tls) = tls;
        let connected = self.config.connect_raw(stream, tls).await;
        let (client, connection) = connected.map_err(of_connecting)?;
        Ok(drive(client, connection, Some(addresses)))
    }
}

fn unreachable_host(error: &impl Display) -> StoreError {
    StoreError::Unavailable(format!("error connecting to server: {error}").into())
}

fn drive<S, T>(
    client: Client,
    connection: Connection<S, T>,
    addresses: Option<(SocketAddr, SocketAddr)>,
) -> Driven
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let driver = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "database connection ended");
        }
    });
    Driven {
        client,
        driver,
        addresses,
    }
}
