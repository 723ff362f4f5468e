//! The commands: one module each, and what they share.
//!
//! Compare ratios within one run, or counts of violations; absolute times depend on the machine.
#![expect(clippy::print_stdout, reason = "a benchmark prints its table")]

mod bodies;
mod bulk;
mod callers;
mod client;
mod cluster;
mod combinations;
mod constant;
mod contenders;
mod deliveries;
mod floor;
mod folder;
mod fresh;
mod frozen;
mod large_values;
mod list_targets;
mod lists;
mod load;
mod long_list;
mod new_jobs;
mod nginx;
mod operator_page;
mod outages;
mod overload;
mod plans;
mod pooler;
mod prepared;
mod probe;
mod refused;
mod rolling;
mod routes;
mod schedules;
mod server;
mod sockets;
mod targets;
mod traces;
mod trigger_cost;
mod unavailable;
mod varnish;
mod verdict;
mod viewers;
mod waits;
mod wrk;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use server::{cpu_time, resident_mib, start, ttl_settings};
use verdict::{milliseconds, verdict};

use crate::Outcome;

/// Benchmarks and soak tests of fia-api, on private servers that each command starts and stops.
///
/// A command that checks guarantees exits with status 1 if one is violated.
#[derive(Parser)]
#[command(version)]
pub(crate) struct Options {
    #[command(subcommand)]
    command: Command,
    /// The server binary to measure.
    #[arg(
        long,
        global = true,
        value_name = "PATH",
        default_value = "target/release/fia-api"
    )]
    server: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Cached routes served from memory, Valkey and PostgreSQL, relative to a constant handler,
    /// nginx and Varnish (wrk)
    Routes {
        /// Duration of a round of each contender in seconds.
        #[arg(long, default_value_t = 3)]
        seconds: u32,
        /// Rounds of each contender on each route.
        #[arg(long, default_value_t = 3, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
        rounds: usize,
        /// Another server binary, measured in the same run: prints the ratio of the rates by route
        /// and source.
        #[arg(long, value_name = "PATH")]
        baseline: Option<PathBuf>,
        /// A constant handler behind the server's edge.
        #[arg(
            long,
            value_name = "PATH",
            default_value = "target/release/examples/constant"
        )]
        edge: PathBuf,
    },
    /// CPU time of a hit in memory with traces off, at 1 % sampling and at 100 %
    Traces {
        /// Rounds, each of one second a variant.
        #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..))]
        rounds: u32,
        /// Another server binary without traces, measured in the same run.
        #[arg(long, value_name = "PATH")]
        baseline: Option<PathBuf>,
    },
    /// The operator's page: CPU time of a hit in memory while somebody looks at it; its time and memory
    /// with very many keys
    OperatorPage(operator_page::Options),
    /// Valkey frozen under load, then PostgreSQL unavailable for longer than the TTL: stale entries
    /// are marked, have a maximum age, and are replaced after the outage
    Stale {
        /// Duration of each of the four PostgreSQL outages in seconds.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// `CACHE_MAX_STALE_SECONDS` of two outages; in the other two it is a quarter of the
        /// outage, so that it passes.
        #[arg(long, default_value_t = 300)]
        max_stale: u64,
    },
    /// Tagged queries by two servers behind PgBouncer in transaction mode: no response carries
    /// another query's rows
    Pooler {
        /// Total number of queries of both servers.
        #[arg(long, default_value_t = 1_000_000)]
        queries: u64,
        /// With named statements, which `PgBouncer` has since version 1.21; the one of the `PATH`.
        #[arg(long)]
        prepared: bool,
    },
    /// Uncached jobs and lists, with prepared statements and without, directly or through a pooler,
    /// and `pgbench` with the same statement
    Prepared(prepared::Options),
    /// Pages, filters, counts and a list without a limit over many jobs, uncached
    Lists(lists::Options),
    /// Lists and counts beside writes of jobs: their age, hits, and the cost of the writes
    FreshLists(fresh::Options),
    /// Two servers with a Valkey Cluster of three primaries: hits in Valkey relative to those with one
    /// Valkey server, and slots that move under load: nothing fails, nothing is stale (wrk)
    Cluster(cluster::Options),
    /// Values of 32 MiB in Valkey beside small ones: the hits and the waits of the small reads
    LargeValues {
        /// Duration of each phase in seconds.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// Valkey frozen (SIGSTOP) under load: no errors, bounded latency, local hits afterwards
    Frozen,
    /// Rate of new jobs with RabbitMQ available
    NewJobs {
        /// Number of jobs to create.
        #[arg(long, default_value_t = 5_000)]
        jobs: usize,
    },
    /// The time of a new job with the triggers of the list table and the change feed, and without
    TriggerCost {
        /// Number of jobs to create on each side.
        #[arg(long, default_value_t = 3_000)]
        jobs: usize,
    },
    /// New jobs while RabbitMQ and two servers are killed at random times: every job is created and
    /// announced, within 3 s after a kill. Before that, one message that RabbitMQ refuses: it is
    /// parked, and the others arrive once
    Outages {
        /// Number of jobs to create.
        #[arg(long, default_value_t = 1_000)]
        jobs: usize,
        /// How often RabbitMQ is killed and restarted.
        #[arg(long, default_value_t = 3)]
        broker: usize,
        /// How often a server is killed and restarted, in turn.
        #[arg(long, default_value_t = 20)]
        kills: usize,
    },
    /// Reads and writes through two servers and legacy clients under random faults: no response
    /// exceeds its staleness bound
    Schedules {
        /// Duration of the busy phase in seconds. A quiet phase of about 15 s follows.
        #[arg(long, default_value_t = 600)]
        seconds: u64,
        /// Seed of the random choices, by default a random one. An odd seed enables
        /// `CACHE_MIGRATION_GUARD`.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// The calling programs with their timeouts and retries while every dependency fails at random:
    /// no run is lost, none is reduced more often than it was sent, no retry goes on forever
    Callers {
        /// Duration of the outages in seconds. A quiet phase of a minute follows.
        #[arg(long, default_value_t = 600)]
        seconds: u64,
        /// Seed of the random outages, by default a random one.
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Rolling restarts of two replicas behind a proxy that learns of endpoints 5 s late: no
    /// request fails
    Rolling {
        /// Number of requests.
        #[arg(long, default_value_t = 10_000)]
        requests: u64,
        /// Requests per second.
        #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
        rate: u32,
    },
    /// Concurrent downloads and archives of large files: memory and liveness probes; python3 and
    /// unzip read an archive beyond 4 GiB
    Bulk {
        /// Size of a file in GiB.
        #[arg(long, default_value_t = 2)]
        gib: u64,
        /// Number of concurrent clients.
        #[arg(long, default_value_t = 10)]
        at_once: usize,
    },
    /// Uncached lists at a multiple of the rate that the server can serve: what is admitted is
    /// served, and the rest is refused at once
    Overload,
    /// Thousands of connections that strangers hold open, with a limit of 1,024 open files:
    /// everybody else is served
    Sockets,
    /// Large and endless bodies of strangers: memory, refusals, and everybody else's requests
    Bodies,
    /// Requests for missing files in a very large folder
    Folder {
        /// Number of files in the folder.
        #[arg(long, default_value_t = 100_000)]
        files: usize,
        /// Number of missing files requested.
        #[arg(long, default_value_t = 50)]
        names: usize,
    },
    /// Concurrent viewers of live logs: each receives every message once, in order, in time
    Viewers(viewers::Load),
    /// The constant handler that `routes` compares with
    #[command(hide = true)]
    Constant(constant::Options),
    /// The floor of CPU time that `routes` compares with
    #[command(hide = true)]
    Floor(constant::Options),
}

pub(crate) async fn run(options: Options) -> Outcome {
    match options.command {
        Command::Overload => overload::run(&options.server).await,
        Command::Sockets => sockets::run(&options.server).await,
        Command::Traces { rounds, baseline } => {
            traces::run(&options.server, baseline.as_deref(), rounds).await
        }
        Command::OperatorPage(of_page) => operator_page::run(&options.server, &of_page).await,
        Command::Routes {
            seconds,
            rounds,
            baseline,
            edge,
        } => {
            let setup = routes::Setup {
                server: &options.server,
                baseline: baseline.as_deref(),
                edge: &edge,
                seconds,
                rounds,
            };
            routes::run(&setup).await
        }
        Command::Stale { seconds, max_stale } => {
            let frozen = frozen::run(&options.server).await;
            unavailable::run(&options.server, seconds, max_stale).await?;
            frozen
        }
        Command::Pooler { queries, prepared } => {
            pooler::run(&options.server, queries, prepared).await
        }
        Command::Prepared(options_of) => prepared::run(&options.server, &options_of).await,
        Command::Lists(of_lists) => lists::run(&options.server, of_lists).await,
        Command::FreshLists(of_lists) => fresh::run(&options.server, of_lists).await,
        Command::Cluster(of_cluster) => cluster::run(&options.server, &of_cluster).await,
        Command::LargeValues { seconds } => large_values::run(Duration::from_secs(seconds)).await,
        Command::Frozen => frozen::run(&options.server).await,
        Command::NewJobs { jobs } => new_jobs::run(&options.server, jobs).await,
        Command::TriggerCost { jobs } => trigger_cost::run(&options.server, jobs).await,
        Command::Outages {
            jobs,
            broker,
            kills,
        } => outages::run(&options.server, jobs, broker, kills).await,
        Command::Schedules { seconds, seed } => {
            schedules::run(&options.server, seconds, seed).await
        }
        Command::Callers { seconds, seed } => callers::run(&options.server, seconds, seed).await,
        Command::Rolling { requests, rate } => rolling::run(&options.server, requests, rate).await,
        Command::Bodies => bodies::run(&options.server).await,
        Command::Bulk { gib, at_once } => bulk::run(&options.server, gib, at_once).await,
        Command::Folder { files, names } => folder::run(&options.server, files, names).await,
        Command::Viewers(load) => viewers::run(&options.server, &load).await,
        Command::Constant(options) => constant::serve(&options).await,
        Command::Floor(options) => floor::serve(&options),
    }
}
