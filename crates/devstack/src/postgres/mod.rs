//! A private PostgreSQL server: encoding UTF8, locale C.UTF-8, without durability.

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio_postgres::{Client, Config, NoTls};

use crate::ports::{Port, retry_on_clash};
use crate::process::{Launch, Server, blocking};
use crate::programs::{ServerUser, find_program, postgres_dirs};
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{Error, Result, probe};

mod template;

const START_LIMIT: Duration = Duration::from_secs(30);

/// Settings of every server. Durability is off, as the data are deleted with the server.
const SETTINGS: [(&str, &str); 8] = [
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("fsync", "off"),
    ("synchronous_commit", "off"),
    ("full_page_writes", "off"),
    ("max_connections", "200"),
    ("max_wal_size", "1GB"),
    ("dynamic_shared_memory_type", "mmap"),
];

/// A private PostgreSQL server. Dropping it stops it and deletes its data.
///
/// It starts with the database `fia` (the seed data of [`SEED_SQL`](crate::SEED_SQL)) and the
/// template database `fia_seeded` (the same data, copied by
/// [`create_database`](Self::create_database)). Logins need the password (SCRAM). It can be used
/// from any runtime.
#[derive(Debug)]
pub struct Postgres {
    running: Running,
    port: Port,
}

/// A builder of a private PostgreSQL server; see [`Postgres::builder`].
#[derive(Clone, Debug, Default)]
pub struct PostgresBuilder {
    settings: Vec<(String, String)>,
}

impl PostgresBuilder {
    /// Adds a setting of `postgresql.conf`; it overrides the defaults of this crate.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server and waits until it accepts connections.
    ///
    /// # Errors
    /// [`Error`], with the end of the server's log if it started.
    pub async fn start(self) -> Result<Postgres> {
        blocking(move || self.start_blocking()).await
    }

    /// Blocking variant of [`start`](Self::start).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_blocking(&self) -> Result<Postgres> {
        let user = ServerUser::find();
        let data = template::prepare(user.as_ref())?;
        retry_on_clash(|| {
            let scratch = Scratch::new("postgres", user.as_ref())?;
            template::copy(&data, &scratch)?;
            Postgres::launch(scratch, user.clone(), &self.settings)
        })
    }
}

impl Postgres {
    /// The superuser's name.
    pub const USER: &str = "postgres";
    /// The superuser's password.
    pub const PASSWORD: &str = "password";

    /// A builder for a server with additional settings.
    pub fn builder() -> PostgresBuilder {
        PostgresBuilder::default()
    }

    /// Starts a server and waits until it accepts connections.
    ///
    /// # Errors
    /// [`Error`], with the end of the server's log if it started.
    pub async fn start() -> Result<Self> {
        Self::builder().start().await
    }

    /// Starts a server on the data directory `run/data` of `scratch`.
    pub(crate) fn launch(
        scratch: Scratch,
        user: Option<ServerUser>,
        settings: &[(String, String)],
    ) -> Result<Self> {
        let port = Port::lease()?;
        let mut args = vec![
            "-D".into(),
            scratch.run().join("data").into(),
            "-p".into(),
            port.number().to_string().into(),
        ];
        let defaults = SETTINGS.iter().map(|(name, value)| (*name, *value));
        for (name, value) in defaults.chain(
            settings
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        ) {
            args.extend(["-c".into(), format!("{name}={value}").into()]);
        }
        let launch = Launch {
            program: find_program("postgres", &postgres_dirs())?,
            args,
            env: Vec::new(),
            user,
            stop: Signal::SIGINT, // fast shutdown: ends the sessions and flushes the data
            quit: Signal::SIGQUIT,
            limit: START_LIMIT,
        };
        let addr = port.addr();
        let ready = Box::new(move || probe::postgres(addr, "postgres"));
        let server = Server::start("postgres", scratch, launch, ready)?;
        Ok(Self {
            running: Running::new(server),
            port,
        })
    }

    /// The server's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The server's address.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// `postgresql://postgres:password@127.0.0.1:PORT/database`
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgresql://{}:{}@{}/{database}",
            Self::USER,
            Self::PASSWORD,
            self.addr()
        )
    }

    /// Creates a database with the seed data (a copy of `fia_seeded`).
    ///
    /// # Errors
    /// [`Error::Database`], for example when the database exists.
    pub async fn create_database(&self, name: &str) -> Result<()> {
        self.execute_as_admin(&format!(
            "CREATE DATABASE {} TEMPLATE fia_seeded",
            quoted(name)
        ))
        .await
    }

    /// Creates a database without tables.
    ///
    /// # Errors
    /// [`Error::Database`], for example when the database exists.
    pub async fn create_empty_database(&self, name: &str) -> Result<()> {
        self.execute_as_admin(&format!(
            "CREATE DATABASE {} TEMPLATE template0",
            quoted(name)
        ))
        .await
    }

    /// Drops a database if it exists, and terminates its sessions.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn drop_database(&self, name: &str) -> Result<()> {
        self.execute_as_admin(&format!(
            "DROP DATABASE IF EXISTS {} WITH (FORCE)",
            quoted(name)
        ))
        .await
    }

    /// Connects as the superuser. The connection's task runs on the caller's runtime and ends with
    /// it or with the client.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn connect(&self, database: &str) -> Result<Client> {
        let mut config = Config::new();
        config
            .host("127.0.0.1")
            .port(self.port())
            .dbname(database)
            .user(Self::USER)
            .password(Self::PASSWORD);
        let (client, connection) = config
            .connect(NoTls)
            .await
            .map_err(database_error("connecting"))?;
        // A broken connection surfaces as an error of the client's next call.
        tokio::spawn(connection);
        Ok(client)
    }

    async fn execute_as_admin(&self, statement: &str) -> Result<()> {
        let client = self.connect("postgres").await?;
        client
            .batch_execute(statement)
            .await
            .map_err(database_error(statement))
    }
}

impl Deref for Postgres {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

fn quoted(identifier: &str) -> String {
    format!("\"{}\"", identifier.replace('"', "\"\""))
}

fn database_error(doing: &str) -> impl FnOnce(tokio_postgres::Error) -> Error {
    let doing = doing.to_owned();
    move |source| Error::Database { doing, source }
}
