//! The `devstack` program: the demo, and a stack for developers.

mod demo;
mod up;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Private PostgreSQL, Valkey, RabbitMQ and stand-ins for the auth service and GitHub, on free ports of 127.0.0.1 and
/// under a temporary directory. Ctrl-C or SIGTERM ends all of it.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts the stack with sample data and the API in front of it, and says what to try.
    Demo(demo::Options),
    /// Starts the stack without the API and prints the API's settings as shell exports.
    Up {
        /// Writes the exports to this file rather than to standard output.
        #[arg(long, value_name = "FILE")]
        env_file: Option<PathBuf>,
    },
}

#[tokio::main]
async fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Demo(options) => demo::run(options).await,
        Command::Up { env_file } => up::run(env_file.as_deref()).await,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("devstack: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What a subcommand ends with.
type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Watches for Ctrl-C, SIGTERM and SIGHUP (a closed terminal) from now on; the future ends at the first of them.
fn interrupted() -> Outcome<impl Future<Output = ()>> {
    let (mut interrupt, mut terminate, mut hang_up) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
        signal(SignalKind::hangup())?,
    );
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hang_up.recv() => {}
        }
    })
}
