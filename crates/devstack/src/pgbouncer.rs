//! A private `PgBouncer` in front of a PostgreSQL server.

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::ports::{Port, retry_on_clash};
use crate::process::{Launch, Server, blocking};
use crate::programs::{ServerUser, find_program};
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{Postgres, Result, probe};

const START_LIMIT: Duration = Duration::from_secs(10);

/// `pool_mode`: the time for which a client holds a server connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PoolMode {
    /// Until the end of its transaction.
    #[default]
    Transaction,
    /// Until it disconnects.
    Session,
    /// For one statement.
    Statement,
}

impl PoolMode {
    fn name(self) -> &'static str {
        match self {
            Self::Transaction => "transaction",
            Self::Session => "session",
            Self::Statement => "statement",
        }
    }
}

/// Options of a private `PgBouncer`.
#[derive(Clone, Debug)]
pub struct PgBouncerOptions {
    /// `pool_mode`.
    pub pool_mode: PoolMode,
    /// Maximum number of server connections per user and database.
    pub default_pool_size: u32,
    /// Maximum number of client connections.
    pub max_client_conn: u32,
    /// Additional settings of the section `[pgbouncer]`; they override the defaults of this crate.
    pub settings: Vec<(String, String)>,
}

impl Default for PgBouncerOptions {
    fn default() -> Self {
        Self {
            pool_mode: PoolMode::Transaction,
            default_pool_size: 20,
            max_client_conn: 1000,
            settings: Vec::new(),
        }
    }
}

/// A private `PgBouncer`. Dropping it stops it. User and password are those of [`Postgres`].
#[derive(Debug)]
pub struct PgBouncer {
    running: Running,
    port: Port,
}

impl PgBouncer {
    /// Starts a pooler for every database of `postgres`.
    ///
    /// # Errors
    /// [`Error`](crate::Error), with the end of the pooler's log if it started.
    pub async fn start(postgres: &Postgres, options: PgBouncerOptions) -> Result<Self> {
        Self::start_at(postgres.addr(), options).await
    }

    /// Starts a pooler for the PostgreSQL at `upstream`, which may be a
    /// [`FaultProxy`](crate::FaultProxy).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_at(upstream: SocketAddr, options: PgBouncerOptions) -> Result<Self> {
        blocking(move || retry_on_clash(|| Self::launch(upstream, &options))).await
    }

    fn launch(upstream: SocketAddr, options: &PgBouncerOptions) -> Result<Self> {
        let user = ServerUser::find();
        let scratch = Scratch::new("pgbouncer", user.as_ref())?;
        let port = Port::lease()?;
        let users = format!("\"{}\" \"{}\"\n", Postgres::USER, Postgres::PASSWORD);
        let settings = configuration(upstream, port.number(), options);
        scratch.write("pgbouncer.ini", &settings, user.as_ref())?;
        scratch.write("users.txt", &users, user.as_ref())?;
        let launch = Launch {
            program: find_program("pgbouncer", &[])?,
            args: vec!["pgbouncer.ini".into()],
            env: Vec::new(),
            user,
            stop: Signal::SIGTERM, // PgBouncer 1.18 does not wait for clients
            quit: Signal::SIGKILL,
            limit: START_LIMIT,
        };
        let addr = port.addr();
        let ready = Box::new(move || probe::postgres(addr, "pgbouncer"));
        let server = Server::start("pgbouncer", scratch, launch, ready)?;
        Ok(Self {
            running: Running::new(server),
            port,
        })
    }

    /// The pooler's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The pooler's address.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// `postgresql://postgres:password@127.0.0.1:PORT/database`
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgresql://{}:{}@{}/{database}",
            Postgres::USER,
            Postgres::PASSWORD,
            self.addr()
        )
    }
}

impl Deref for PgBouncer {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

fn configuration(upstream: SocketAddr, port: u16, options: &PgBouncerOptions) -> String {
    let PgBouncerOptions {
        pool_mode,
        default_pool_size,
        max_client_conn,
        settings,
    } = options;
    let mut text = format!(
        "[databases]\n\
         * = host={} port={}\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         auth_type = scram-sha-256\n\
         auth_file = users.txt\n\
         admin_users = {}\n\
         pool_mode = {}\n\
         default_pool_size = {default_pool_size}\n\
         max_client_conn = {max_client_conn}\n",
        upstream.ip(),
        upstream.port(),
        Postgres::USER,
        pool_mode.name(),
    );
    for (name, value) in settings {
        text.push_str(&format!("{name} = {value}\n"));
    }
    text
}
