//! The `devstack` program: the demo, and a private stack for development.

mod demo;
mod demo_traffic;
mod screenshots;
mod stand_ins;
mod up;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

/// Runs private PostgreSQL, Valkey and RabbitMQ servers, and stand-ins for the auth service and
/// GitHub.
///
/// They listen on free ports of 127.0.0.1 and keep their files in temporary directories. Ctrl-C or
/// SIGTERM stops the servers and deletes the files.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Starts the stack with sample data and the API, and prints example requests.
    Demo(demo::Options),
    /// Starts the stack without the API, and prints the API's settings as shell exports.
    Up {
        /// Writes the exports to this file instead of standard output.
        #[arg(long, value_name = "FILE")]
        env_file: Option<PathBuf>,
    },
    /// Writes images of a page, for example of the operator's page of the demo.
    Screenshots(screenshots::Options),
    /// Runs only the stand-ins for the auth service and GitHub, for `deploy/compose.yaml`.
    StandIns(stand_ins::Options),
}

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Demo(options) => demo::run(options).await,
        Command::Up { env_file } => up::run(env_file.as_deref()).await,
        Command::Screenshots(options) => screenshots::run(options).await,
        Command::StandIns(options) => stand_ins::run(options).await,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("devstack: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The result of a subcommand.
type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Installs handlers for Ctrl-C, SIGTERM and SIGHUP (a closed terminal); the future completes on
/// the first of them.
fn shutdown_signal() -> Outcome<impl Future<Output = ()>> {
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
