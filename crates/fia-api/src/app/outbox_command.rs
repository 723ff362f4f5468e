//! The command `fia-api outbox`: the messages that RabbitMQ has not confirmed.

use std::fmt::Write as _;

use clap::Subcommand;

use crate::config::Config;
use crate::store::outbox::{self, Entry, State};
use crate::store::{Db, StoreError};

/// The most messages that are listed.
const MAX_LISTED: usize = 200;

/// An operation on the outbox.
#[derive(Debug, Clone, Copy, Subcommand)]
pub enum OutboxCommand {
    /// Lists the messages without their bodies, parked ones first
    List,
    /// Has a message published again, which `RabbitMQ` has refused
    Retry {
        /// The message's id
        id: i64,
    },
    /// Deletes a message: its job will not be announced
    Drop {
        /// The message's id
        id: i64,
    },
}

/// A failed operation on the outbox.
#[derive(Debug, thiserror::Error)]
pub enum OutboxCommandError {
    /// The database failed, or has no outbox.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The message does not exist, or a replica is publishing it.
    #[error("no message {0} that is not in flight")]
    NoMessage(i64),
}

impl OutboxCommand {
    /// Runs the operation and returns what to print. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// [`OutboxCommandError`].
    pub async fn run(self, config: &Config) -> Result<String, OutboxCommandError> {
        let db = Db::new(&config.database)?;
        let found = |is_found: bool, id, done: &str| match is_found {
            true => Ok(format!("message {id} {done}\n")),
            false => Err(OutboxCommandError::NoMessage(id)),
        };
        match self {
            Self::List => Ok(table(&outbox::list(&db, MAX_LISTED).await?)),
            Self::Retry { id } => found(outbox::retry(&db, id).await?, id, "will be published"),
            Self::Drop { id } => found(outbox::drop_message(&db, id).await?, id, "dropped"),
        }
    }
}

/// One line for each message, with a heading.
fn table(entries: &[Entry]) -> String {
    let mut text = format!(
        "{:>10} {:>9} {:<9} {:<20} {:>10} {:>10} {:>8} error\n",
        "id", "age", "state", "exchange", "job", "bytes", "attempts"
    );
    for entry in entries {
        let state = match entry.state {
            State::Waiting => "waiting",
            State::InFlight => "in flight",
            State::Parked => "parked",
        };
        let job = entry.job.map_or("-".to_owned(), |job| job.to_string());
        let error = entry.error.as_deref().unwrap_or("-");
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{:>10} {:>8}s {state:<9} {:<20} {job:>10} {:>10} {:>8} {}",
            entry.id,
            entry.age.as_secs(),
            entry.exchange,
            entry.bytes,
            entry.attempts,
            error.replace(char::is_control, " ")
        );
    }
    if entries.len() == MAX_LISTED {
        let _ = writeln!(text, "(the first {MAX_LISTED})");
    }
    text
}
