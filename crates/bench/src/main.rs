//! The `fia-bench` program: benchmarks and soak tests of `fia-api`.

mod commands;

use std::process::ExitCode;

use clap::Parser as _;

/// The result of a command.
type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> ExitCode {
    match commands::run(commands::Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("fia-bench: {error}");
            ExitCode::FAILURE
        }
    }
}
