//! `fia-bench`: what the performance and safety claims rest on, measured on this machine.
//!
//! Every figure is a ratio to something else of the same run, or a count of what must not
//! happen: absolute times say more about a machine than about a server.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod away;
mod bare;
mod bars;
mod bulk;
mod client;
mod contenders;
mod folder;
mod frozen;
mod lists;
mod load;
mod long_list;
mod new_jobs;
mod nginx;
mod outages;
mod plans;
mod pooler;
mod routes;
mod schedules;
mod varnish;
mod viewers;
mod watch;
mod wrk;

use std::path::{Path, PathBuf};

use clap::{Parser, Subcommand};
use devstack::{Api, Stack};

use crate::Outcome;

/// Benchmarks and soak tests of fia-api, on private servers.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Options {
    #[command(subcommand)]
    what: What,
    /// The server to measure.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        default_value = "target/release/fia-api"
    )]
    server: PathBuf,
}

#[derive(Subcommand)]
enum What {
    /// The cached routes from memory, Valkey and PostgreSQL, against a constant handler, nginx and
    /// Varnish (wrk)
    Routes {
        /// Seconds of each of the three turns of each of them.
        #[arg(long, default_value_t = 3)]
        seconds: u32,
        /// A constant behind what surrounds the server's routes.
        #[arg(
            long,
            value_name = "PATH",
            default_value = "target/release/examples/constant"
        )]
        edge: PathBuf,
    },
    /// Valkey frozen under load, then PostgreSQL away for longer than anything is kept: what is
    /// old is marked, bounded, and soon replaced
    Stale {
        /// For how long PostgreSQL is away, in each of four cases.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// `CACHE_MAX_STALE_SECONDS` where it does not pass; a quarter of the seconds where it
        /// does.
        #[arg(long, default_value_t = 300)]
        max_stale: u64,
    },
    /// Tagged queries of two servers behind PgBouncer in transaction mode: nobody gets
    /// another's rows
    Pooler {
        /// How many, both servers together.
        #[arg(long, default_value_t = 1_000_000)]
        queries: u64,
    },
    /// Pages, filters, counts and a list without a limit over many jobs, uncached
    Lists {
        /// How many jobs.
        #[arg(long, default_value_t = 1_000_000)]
        jobs: u32,
    },
    /// Valkey frozen (SIGSTOP) under load: no error, no slow answer, hits again afterwards
    Frozen,
    /// New jobs while the server works in peace: how many a second
    NewJobs {
        /// How many.
        #[arg(long, default_value_t = 5_000)]
        jobs: usize,
    },
    /// New jobs while RabbitMQ and the server are killed at random moments: each must be there,
    /// and announced
    Outages {
        /// How many jobs.
        #[arg(long, default_value_t = 1_000)]
        jobs: usize,
        /// How often RabbitMQ is killed and started again.
        #[arg(long, default_value_t = 3)]
        broker: usize,
        /// How often the server is killed and started again.
        #[arg(long, default_value_t = 20)]
        kills: usize,
    },
    /// Reads and writes through two servers and a stand-in of the older one while all around is
    /// broken at random: no answer is older than is promised
    Schedules {
        /// How long things are written and broken; the run ends a quarter of a minute later.
        #[arg(long, default_value_t = 600)]
        seconds: u64,
        /// What chance follows from; without it, another one each time. An odd one switches
        /// `CACHE_MIGRATION_GUARD` on.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Downloads and archives of large files, several at once: memory, and the liveness probe;
    /// an archive beyond 4 GiB is opened by python3 and unzip
    Bulk {
        /// The size of a file.
        #[arg(long, default_value_t = 2)]
        gib: u64,
        /// How many at once.
        #[arg(long, default_value_t = 10)]
        at_once: usize,
    },
    /// Names that are not there, in a folder that holds very much
    Folder {
        /// How many files it holds.
        #[arg(long, default_value_t = 100_000)]
        files: usize,
        /// How many names are asked for.
        #[arg(long, default_value_t = 50)]
        names: usize,
    },
    /// Many viewers of live logs: each message at each of them, once, in order, in time
    Viewers {
        /// How many.
        #[arg(long, default_value_t = 1000)]
        viewers: usize,
        /// How many logs they share.
        #[arg(long, default_value_t = 1)]
        logs: usize,
        /// Messages a second of each log.
        #[arg(long, default_value_t = 50)]
        rate: u32,
        /// How long.
        #[arg(long, default_value_t = 20)]
        seconds: u32,
    },
    /// The bare handler: answers everything with a constant body
    #[command(hide = true)]
    Bare {
        /// Port on 127.0.0.1.
        #[arg(long)]
        port: u16,
        /// Size of the body.
        #[arg(long)]
        bytes: usize,
    },
}

pub(crate) async fn run(options: Options) -> Outcome {
    match options.what {
        What::Routes { seconds, edge } => routes::run(&options.server, &edge, seconds).await,
        What::Stale { seconds, max_stale } => {
            let frozen = frozen::run(&options.server).await;
            away::run(&options.server, seconds, max_stale).await?;
            frozen
        }
        What::Pooler { queries } => pooler::run(&options.server, queries).await,
        What::Lists { jobs } => lists::run(&options.server, jobs).await,
        What::Frozen => frozen::run(&options.server).await,
        What::NewJobs { jobs } => new_jobs::run(&options.server, jobs).await,
        What::Outages {
            jobs,
            broker,
            kills,
        } => outages::run(&options.server, jobs, broker, kills).await,
        What::Schedules { seconds, seed } => schedules::run(&options.server, seconds, seed).await,
        What::Bulk { gib, at_once } => bulk::run(&options.server, gib, at_once).await,
        What::Folder { files, names } => folder::run(&options.server, files, names).await,
        What::Viewers {
            viewers,
            logs,
            rate,
            seconds,
        } => {
            let load = viewers::Load {
                viewers,
                logs,
                rate,
                seconds,
            };
            viewers::run(&options.server, &load).await
        }
        What::Bare { port, bytes } => bare::serve(port, bytes).await,
    }
}

/// A server on a stack, quiet, with further settings.
async fn start(server: &Path, stack: &Stack, settings: &[(&str, String)]) -> Outcome<Api> {
    let mut env = stack.env();
    env.push(("LOG_LEVEL".to_owned(), "warn".to_owned()));
    env.extend(
        settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone())),
    );
    Ok(Api::start(server, env).await?)
}

/// The settings by which every cached read is kept for so long.
fn times_to_live(seconds: u64) -> Vec<(&'static str, String)> {
    [
        "LIVE_DATA_INSTRUMENTS_CACHE_TTL_SECONDS",
        "LIVE_DATA_SCRIPT_CACHE_TTL_SECONDS",
        "INSTRUMENT_SPEC_CACHE_TTL_SECONDS",
        "INSTRUMENT_LATEST_RUN_CACHE_TTL_SECONDS",
        "JOB_LIST_CACHE_TTL_SECONDS",
        "JOB_COUNT_CACHE_TTL_SECONDS",
    ]
    .map(|name| (name, seconds.to_string()))
    .to_vec()
}

/// Says which promises were kept; an error where one was not.
fn verdict(promises: &[(&str, bool)]) -> Outcome {
    for (promise, kept) in promises {
        println!("{} {promise}", if *kept { "kept:  " } else { "BROKEN:" });
    }
    match promises.iter().find(|(_, kept)| !kept) {
        Some((promise, _)) => Err(format!("it does not hold that {promise}").into()),
        None => Ok(()),
    }
}

/// Resident memory of a process in MiB.
fn resident_mib(pid: Option<u32>) -> Outcome<f64> {
    let pid = pid.ok_or("the server is gone")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .ok_or("the memory of the server cannot be read")?;
    Ok(kib / 1024.0)
}

fn milliseconds(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
