//! The command line.

use std::ops::Range;
use std::str::FromStr;

use tiercache::simulated::Mutant;

use crate::setup::Kind;

pub(crate) const USAGE: &str = "\
Usage: tiercache-sim [OPTIONS]
  --seed N          one history, with its timeline
  --seeds FROM..TO  histories (default 0..1000)
  --seconds S       until this time has passed, from the first seed on
  --jobs N          threads (default 1)
  --mutant NAME     with a defect of the code; `all` for each in turn
  --kind KIND       all in a set-up: clocks, sentinel, cluster, large, replicas, outages, moves
  --hash            print the trace hash of each seed
  --minimize        remove what a failing history does not need
  --quiet           no coverage
  --compare N       so many commands on the simulated and on a real Valkey";

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Arguments {
    pub(crate) seeds: Range<u64>,
    pub(crate) is_single: bool,
    pub(crate) seconds: Option<u64>,
    pub(crate) jobs: usize,
    pub(crate) mutants: Vec<Mutant>,
    pub(crate) kind: Option<Kind>,
    pub(crate) prints_hashes: bool,
    pub(crate) minimizes: bool,
    pub(crate) is_quiet: bool,
    pub(crate) compared: Option<u64>,
}

/// Parses the arguments.
pub(crate) fn parse(mut given: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let mut arguments = Arguments {
        seeds: 0..1_000,
        is_single: false,
        seconds: None,
        jobs: 1,
        mutants: Vec::new(),
        kind: None,
        prints_hashes: false,
        minimizes: false,
        is_quiet: false,
        compared: None,
    };
    while let Some(option) = given.next() {
        let mut value = || given.next().ok_or(format!("{option} needs a value"));
        match option.as_str() {
            "--seed" => {
                let seed = number(&value()?)?;
                arguments.seeds = seed..seed + 1;
                arguments.is_single = true;
            }
            "--seeds" => {
                let range = value()?;
                let (from, to) = range.split_once("..").ok_or("--seeds FROM..TO")?;
                arguments.seeds = number(from)?..number(to)?;
            }
            "--seconds" => arguments.seconds = Some(number(&value()?)?),
            "--jobs" => arguments.jobs = number(&value()?)?,
            "--mutant" => arguments.mutants = mutants(&value()?)?,
            "--kind" => arguments.kind = Some(kind(&value()?)?),
            "--hash" => arguments.prints_hashes = true,
            "--minimize" => arguments.minimizes = true,
            "--compare" => arguments.compared = Some(number(&value()?)?),
            "--quiet" => arguments.is_quiet = true,
            _ => return Err(format!("{option} is not an option")),
        }
    }
    if arguments.seconds.is_some() && !arguments.is_single {
        arguments.seeds.end = u64::MAX;
    }
    Ok(arguments)
}

fn number<T: FromStr>(text: &str) -> Result<T, String> {
    let digits = text.replace('_', "");
    digits.parse().map_err(|_| format!("{text} is no number"))
}

fn kind(name: &str) -> Result<Kind, String> {
    let found = Kind::ALL.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, kind)| *kind)
        .ok_or(format!("no set-up is named {name}"))
}

fn mutants(name: &str) -> Result<Vec<Mutant>, String> {
    if name == "all" {
        return Ok(Mutant::ALL.to_vec());
    }
    let mut all = Mutant::ALL.iter();
    let found = all.find(|mutant| format!("{mutant:?}") == name);
    Ok(vec![*found.ok_or(format!("no mutant is named {name}"))?])
}
