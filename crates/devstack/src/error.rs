//! Errors of starting and controlling private servers.

use std::io;
use std::path::PathBuf;

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure to start or control a private server. Messages include the remedy or the server's log.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A required program is not installed.
    #[error("{program} is not installed (searched {searched}): run scripts/install-deps")]
    ProgramNotFound {
        /// The program's name.
        program: String,
        /// The directories that were searched.
        searched: String,
    },
    /// An operation on a file, a socket or a process failed.
    #[error("{doing}: {source}")]
    Io {
        /// The operation that failed, as in "writing FILE".
        doing: String,
        /// The cause.
        source: io::Error,
    },
    /// A server exited before it was ready.
    #[error("{server} exited during startup ({status}); last lines of {log}:\n{tail}")]
    Exited {
        /// The server's name.
        server: String,
        /// Its exit status.
        status: String,
        /// Its log file.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
    /// A server did not become ready before its start timeout.
    #[error("{server} was not ready within {seconds} s; last lines of {log}:\n{tail}")]
    NotReady {
        /// The server's name.
        server: String,
        /// The start timeout, in seconds.
        seconds: u64,
        /// Its log file.
        log: PathBuf,
        /// The end of the log.
        tail: String,
    },
    /// A helper program (`initdb`, `rabbitmqctl`, …) failed.
    #[error("{command} failed ({status}): {output}")]
    Command {
        /// The command line.
        command: String,
        /// Its exit status.
        status: String,
        /// Its standard output and error.
        output: String,
    },
    /// No free loopback port was found.
    #[error("no free port on 127.0.0.1 between {from} and {to}")]
    NoPort {
        /// The first port of the range.
        from: u16,
        /// The last port of the range.
        to: u16,
    },
    /// The requested port cannot be bound.
    #[error(
        "cannot listen on 127.0.0.1:{port} ({source}): stop the program that uses the port, or choose another"
    )]
    PortInUse {
        /// The port.
        port: u16,
        /// The cause.
        source: io::Error,
    },
    /// The operation needs a running server.
    #[error("{server} is not running: call restart() first")]
    NotRunning {
        /// The server's name.
        server: String,
    },
    /// A connection to PostgreSQL or a statement failed.
    #[error("PostgreSQL: {doing}: {source}")]
    Database {
        /// The operation that failed, as in "writing FILE".
        doing: String,
        /// The cause.
        source: tokio_postgres::Error,
    },
    /// A background task of this crate panicked or was cancelled.
    #[error("{0} ended unexpectedly")]
    Task(&'static str),
}

impl Error {
    /// An adapter for `map_err` that adds the operation that failed.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}
