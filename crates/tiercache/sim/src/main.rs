//! tiercache in simulated histories: its code, with a simulated clock, network, Valkey and
//! database, and with faults. The seed of a history replays it.

mod arguments;
mod coverage;
mod database;
mod faults;
mod history;
mod legacy;
mod net;
mod oracle;
mod plan;
mod process;
mod search;
mod trace;
mod valkey;
mod world;

use std::process::ExitCode;

fn main() -> ExitCode {
    match arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => search::run(&arguments),
        Err(error) => {
            eprintln!("{error}\n\n{}", arguments::USAGE);
            ExitCode::from(64)
        }
    }
}
