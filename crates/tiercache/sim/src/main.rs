//! tiercache in simulated histories: its code, with a simulated clock, network, Valkey and
//! database, and with faults. The seed of a history replays it.

mod arguments;
mod compare;
mod coverage;
mod database;
mod draw;
mod events;
mod failover;
mod faults;
mod history;
mod judged;
mod legacy;
mod minimize;
mod net;
mod observed;
mod oracle;
mod padded;
mod plan;
mod process;
mod reached;
mod reads;
mod resharding;
mod search;
mod servers;
mod setup;
mod steps;
#[cfg(test)]
mod tests;
mod timeline;
mod trace;
mod traffic;
mod transitions;
mod valkey;
mod world;
mod writes;

use std::process::ExitCode;

fn main() -> ExitCode {
    match arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => match arguments.compared {
            Some(count) => compare::run(count, arguments.seeds.start),
            None => search::run(&arguments),
        },
        Err(error) => {
            eprintln!("{error}\n\n{}", arguments::USAGE);
            ExitCode::from(64)
        }
    }
}
