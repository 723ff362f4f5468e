//! A session with PostgreSQL, direct or through a connection pooler.
//!
//! A pooler in transaction mode gives each transaction another server connection. Therefore named
//! statements and session settings are used only where the session is known to be direct: the
//! server then sees the address and the port of this end of the connection. A relay that serves
//! one server connection for each of its own, such as a load balancer, is taken for a pooler.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::task::JoinHandle;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use crate::config::Prepared;
use crate::store::StoreError;
use crate::store::statements::Statements;
use crate::store::timeout::with_timeout;

/// Describes the session as the server sees it.
const DESCRIBE: &str = "SELECT current_setting('transaction_read_only'), \
     host(inet_client_addr()), inet_client_port(), inet_server_port()";
/// The settings of a direct session; the same as those of a transaction behind a pooler
/// ([`BEGIN`](crate::store::begin::BEGIN)).
const SETTINGS: &str = "SET default_transaction_isolation = 'read committed'; \
     SET statement_timeout = 3000; SET jit = off; SET parallel_setup_cost = 10000; \
     SET random_page_cost = 1.1; SET idle_in_transaction_session_timeout = 5000";

/// A client of the driver and the task that drives it.
pub(super) struct Driven {
    pub(super) client: Client,
    pub(super) driver: JoinHandle<()>,
    /// The addresses of this end and of the other one, of a TCP connection.
    pub(super) addresses: Option<(SocketAddr, SocketAddr)>,
}

/// How a session is opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Settings {
    pub(super) prepared: Prepared,
    /// Whether a server that allows no writes is refused.
    pub(super) must_be_writable: bool,
}

/// The statements that a session may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SessionKind {
    /// Leads to the server: it has its settings, and keeps named statements.
    Direct = 1,
    /// Leads to a pooler that keeps named statements; each transaction has its own settings.
    PooledWithStatements,
    /// Leads to a pooler, or may do so: no named statements.
    Pooled,
}

/// An open session.
pub(super) struct Session {
    client: Client,
    driver: JoinHandle<()>,
    kind: SessionKind,
    statements: Statements,
}

impl Session {
    /// Begins a session on a new connection.
    pub(super) async fn begin(driven: Driven, settings: Settings) -> Result<Self, StoreError> {
        let mut session = Self {
            client: driven.client,
            driver: driven.driver,
            kind: SessionKind::Pooled,
            statements: Statements::default(),
        };
        if settings.prepared == Prepared::Off && !settings.must_be_writable {
            session.kind.log_once();
            return Ok(session);
        }
        let described = with_timeout(session.client.simple_query(DESCRIBE)).await?;
        let row = described.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let row = row.ok_or_else(StoreError::timeout)?;
        if settings.must_be_writable && row.get(0) == Some("on") {
            return Err(StoreError::Failover("the server is read-only".into()));
        }
        let is_direct = driven
            .addresses
            .is_some_and(|(local, peer)| is_direct(local, peer, row));
        session.kind = match settings.prepared {
            Prepared::Off => SessionKind::Pooled,
            Prepared::Auto | Prepared::On if is_direct => SessionKind::Direct,
            Prepared::On => SessionKind::PooledWithStatements,
            Prepared::Auto => SessionKind::Pooled,
        };
        if session.kind == SessionKind::Direct {
            with_timeout(session.client.batch_execute(SETTINGS)).await?;
        }
        session.kind.log_once();
        Ok(session)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn kind(&self) -> SessionKind {
        self.kind
    }

    pub(super) fn statements(&self) -> &Statements {
        &self.statements
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Whether the server sees this end of the connection. On the host of the server it must see the
/// other end, too: a pooler on that host could have been given the same port.
fn is_direct(local: SocketAddr, peer: SocketAddr, row: &SimpleQueryRow) -> bool {
    let address = |column| {
        row.get(column)?
            .parse()
            .ok()
            .map(|ip: IpAddr| ip.to_canonical())
    };
    let port = |column| row.get(column)?.parse().ok();
    let sees_client =
        address(1) == Some(local.ip().to_canonical()) && port(2) == Some(local.port());
    let is_same_host = local.ip().to_canonical() == peer.ip().to_canonical();
    sees_client && (!is_same_host || port(3) == Some(peer.port()))
}

impl SessionKind {
    /// The kind in words.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Direct => "direct connection, prepared statements",
            Self::PooledWithStatements => "through a pooler, prepared statements",
            Self::Pooled => "through a pooler or unknown, no prepared statements",
        }
    }

    /// Logs the kind of the first session, and again when it changes.
    fn log_once(self) {
        static LAST: AtomicU8 = AtomicU8::new(0);
        if LAST.swap(self as u8, Ordering::Relaxed) != self as u8 {
            tracing::info!(session = self.describe(), "PostgreSQL session opened");
        }
    }
}
