//! Opens connections: to the first of several hosts that is reachable and allows writes.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use deadpool_postgres::Connect;
use secrecy::ExposeSecret as _;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_postgres::config::TargetSessionAttrs;
use tokio_postgres::{Client, Config as PgConfig, Error};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::config::{Database, Host};
use crate::store::timeout::RESPONSE_TIMEOUT;
use crate::store::{StoreError, tls};

/// Timeout for opening a connection to one host.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Idle time before TCP keep-alive probes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// A connection and the task that drives it.
pub(super) type Opened = (Client, JoinHandle<()>);

/// Opens connections. Cheap to clone; clones share the host that was last found good.
#[derive(Clone)]
pub(super) struct Connector {
    /// One for each host, in the order of the setting.
    hosts: Arc<[PgConfig]>,
    tls: MakeRustlsConnect,
    /// The host that is tried first: the last one that was found good.
    preferred: Arc<AtomicUsize>,
}

impl Connector {
    /// Prepares connections of the given purpose without connecting.
    ///
    /// # Errors
    /// When TLS cannot be configured.
    pub(super) fn new(config: &Database) -> Result<Self, StoreError> {
        let hosts = config.hosts.iter().map(|host| of_host(config, host));
        Ok(Self {
            hosts: hosts.collect(),
            tls: tls::connector(config.ssl_mode)?,
            preferred: Arc::default(),
        })
    }

    /// The time limit for a connection, all hosts included.
    pub(super) fn time_limit(&self) -> Duration {
        let hosts = u32::try_from(self.hosts.len()).unwrap_or(u32::MAX);
        CONNECT_TIMEOUT.saturating_mul(hosts)
    }

    /// Opens a connection. Tries each host for at most [`CONNECT_TIMEOUT`], except the last one,
    /// which the caller's limit ends.
    pub(super) async fn open(&self) -> Result<Opened, Error> {
        let count = self.hosts.len();
        let first = self.preferred.load(Ordering::Relaxed);
        let mut order = (first..first + count).map(|host| host % count);
        let last = order.next_back().unwrap_or_default();
        let mut standby = None;
        for host in order {
            match timeout(CONNECT_TIMEOUT, self.open_to(host)).await {
                Ok(Ok(opened)) => return Ok(opened),
                Ok(Err(error)) if is_read_only(&error) => standby = Some(error),
                Ok(Err(_)) | Err(_) => {}
            }
        }
        let opened = self.open_to(last).await;
        // A standby that can be reached is the better reason: it may soon be the primary.
        opened.map_err(|error| standby.unwrap_or(error))
    }

    async fn open_to(&self, host: usize) -> Result<Opened, Error> {
        let (client, connection) = self.hosts[host].connect(self.tls.clone()).await?;
        self.preferred.store(host, Ordering::Relaxed);
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "database connection ended");
            }
        });
        Ok((client, driver))
    }
}

impl Connect for Connector {
    fn connect(
        &self,
        _: &PgConfig,
    ) -> Pin<Box<dyn Future<Output = Result<Opened, Error>> + Send + '_>> {
        Box::pin(self.open())
    }
}

/// The driver's configuration for one host. With several hosts, read-only ones are refused.
fn of_host(config: &Database, host: &Host) -> PgConfig {
    let mut pg = PgConfig::new();
    pg.host(&host.name)
        .port(host.port.unwrap_or(config.port))
        .user(&config.username)
        .password(config.password.expose_secret())
        .dbname(&config.name)
        .ssl_mode(tls::mode(config.ssl_mode))
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_user_timeout(RESPONSE_TIMEOUT)
        .keepalives_idle(KEEPALIVE_IDLE);
    if config.hosts.len() > 1 {
        pg.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    pg
}

/// Whether a host was refused because it allows no writes.
pub(super) fn is_read_only(error: &Error) -> bool {
    let cause = error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == io::ErrorKind::PermissionDenied)
}
