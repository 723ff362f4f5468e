//! What can go wrong while a private server is started or driven.

use std::io;
use std::path::PathBuf;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a private server could not be started or driven. Each message says what to do or what the server logged.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program that is needed is not installed.
    #[error("{program} is not installed (looked in {looked_in}): run scripts/install-deps")]
    Missing {
        /// The program's name.
        program: String,
        /// The directories that were searched.
        looked_in: String,
    },
    /// A file or a process could not be handled.
    #[error("{doing}: {source}")]
    Io {
        /// What was attempted.
        doing: String,
        /// The cause.
        source: io::Error,
    },
    /// A server ended before it was ready.
    #[error("{server} ended at its start ({status}); the end of its log {log}:\n{tail}")]
    Ended {
        /// The server's name.
        server: String,
        /// Its exit status.
        status: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// A server did not become ready in time.
    #[error("{server} was not ready within {seconds} s; the end of its log {log}:\n{tail}")]
    NotReady {
        /// The server's name.
        server: String,
        /// The limit, in seconds.
        seconds: u64,
        /// Its log file.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// A helper program (`initdb`, `rabbitmqctl`, …) failed.
    #[error("{command} failed ({status}): {output}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// What it printed.
        output: String,
    },
    /// No free loopback port was found.
    #[error("no free port on 127.0.0.1 between {from} and {to}")]
    NoPort {
        /// The first port that was tried.
        from: u16,
        /// The last port that was tried.
        to: u16,
    },
    /// The port that was asked for is taken.
    #[error(
        "port {port} of 127.0.0.1 cannot be used ({source}): end what listens there, or choose another port"
    )]
    PortInUse {
        /// The port.
        port: u16,
        /// The cause.
        source: io::Error,
    },
    /// The action needs a running server.
    #[error("{server} is not running: call restart() first")]
    NotRunning {
        /// The server's name.
        server: String,
    },
    /// The database refused a statement or a connection.
    #[error("PostgreSQL: {doing}: {source}")]
    Database {
        /// What was attempted.
        doing: String,
        /// The cause.
        source: tokio_postgres::Error,
    },
    /// A background task or thread of this crate ended early.
    #[error("{0} ended unexpectedly")]
    Task(&'static str),
}

impl Error {
    /// Makes an adapter for `map_err` that says what was attempted.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
