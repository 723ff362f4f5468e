//! Uncached reads of jobs with prepared statements and without, and `pgbench` with the statement of a
//! single job.

use std::path::{Path, PathBuf};

use devstack::{Api, PgBouncer, PgBouncerOptions, Postgres, Stack, add_jobs, tokens};
use tempfile::TempDir;
use tokio::process::Command;

use super::client::Connection;
use super::server::{database_settings, start, ttl_settings};
use super::wrk::{self, median};
use crate::Outcome;

/// The rounds, of which each measures every contender; the table has their medians.
const ROUNDS: usize = 3;
/// The duration of each measurement, in seconds.
const SECONDS: u32 = 5;
/// The number of jobs that the statement is taken from.
const CAPTURED_JOB: u32 = 1;

/// What is measured.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Number of jobs in the database.
    #[arg(long, default_value_t = 100_000)]
    jobs: u32,
    /// An earlier build of the server to compare with.
    #[arg(long, value_name = "PATH")]
    baseline: Option<PathBuf>,
    /// Connects through a pooler in transaction mode.
    #[arg(long)]
    pooler: Option<Pooler>,
}

/// A `PgBouncer`, the one of the `PATH`.
#[derive(Clone, Copy, PartialEq, clap::ValueEnum)]
enum Pooler {
    /// Without named statements.
    Plain,
    /// With named statements: version 1.21 or later.
    Statements,
}

impl Pooler {
    async fn start(self, postgres: &Postgres) -> Outcome<PgBouncer> {
        let statements = match self {
            Self::Plain => None,
            Self::Statements => Some(("max_prepared_statements".to_owned(), "100".to_owned())),
        };
        let options = PgBouncerOptions {
            settings: statements.into_iter().collect(),
            ..PgBouncerOptions::default()
        };
        Ok(PgBouncer::start(postgres, options).await?)
    }
}

pub(super) async fn run(server: &Path, options: &Options) -> Outcome {
    let jobs = options.jobs;
    let stack = Stack::builder().upstreams().start().await?;
    let (postgres, mut settings) = database(server, &stack, jobs).await?;
    let off = start(server, &stack, &with_prepared(&settings, "off")).await?;
    let statement = statement_of_a_job(&postgres, &off).await?;
    let pooler = match options.pooler {
        Some(pooler) => Some(pooler.start(&postgres).await?),
        None => None,
    };
    if let Some(pooler) = &pooler {
        settings.push(("DB_PORT", pooler.port().to_string()));
    }
    let on = match options.pooler {
        Some(Pooler::Statements) => "on",
        Some(Pooler::Plain) | None => "auto",
    };
    let prepared = start(server, &stack, &with_prepared(&settings, on)).await?;
    let off = start(server, &stack, &with_prepared(&settings, "off")).await?;
    let mut contenders = vec![(on, &prepared), ("off", &off)];
    let older;
    if let Some(baseline) = &options.baseline {
        older = start(baseline, &stack, &settings).await?;
        contenders.push(("baseline", &older));
    }
    let folder = tempfile::tempdir()?;
    let scripts = Scripts::write(&folder, &statement, jobs)?;

    println!(
        "{jobs} jobs, uncached, {}; medians of {ROUNDS} rounds of {SECONDS} s\n",
        if pooler.is_some() {
            "through PgBouncer"
        } else {
            "direct connection"
        },
    );
    println!(
        "| `DB_PREPARED` | `GET /job/{{id}}` of random ids, 1/s | 25 jobs at random offsets, 1/s |"
    );
    println!("|---|---|---|");
    let mut rates = vec![(Vec::new(), Vec::new()); contenders.len()];
    let mut floor = Vec::new();
    for _ in 0..ROUNDS {
        floor.push(pgbench(&postgres, &scripts.statement).await?);
        for ((_, api), (single, list)) in contenders.iter().zip(&mut rates) {
            single.push(rate(api, &scripts.job).await?);
            list.push(rate(api, &scripts.list).await?);
        }
    }
    let floor = median(floor);
    let mut singles = Vec::new();
    let mut lists = Vec::new();
    for ((name, _), (single, list)) in contenders.iter().zip(rates) {
        let (single, list) = (median(single), median(list));
        println!("| {name} | {single:.0} | {list:.0} |");
        singles.push(single);
        lists.push(list);
    }
    println!("| `pgbench -M prepared`, the same statement | {floor:.0} | |\n");
    println!("{on} / pgbench: {:.2}", singles[0] / floor);
    let last = singles.len() - 1;
    println!(
        "{on} / {}: {:.2}, lists: {:.2}",
        contenders[last].0,
        singles[0] / singles[last],
        lists[0] / lists[last]
    );
    Ok(())
}

/// A database with jobs and indexes, and the settings of a server without caches on it.
async fn database(server: &Path, stack: &Stack, jobs: u32) -> Outcome<(Postgres, Settings)> {
    let postgres = Postgres::start().await?;
    eprintln!("Adding {jobs} jobs …");
    add_jobs(&postgres, "fia", jobs).await?;
    let mut settings = database_settings(&postgres);
    settings.extend(ttl_settings(0));
    let mut env = stack.env();
    let owned = settings.iter();
    env.extend(owned.map(|(name, value)| ((*name).to_owned(), value.clone())));
    Api::run_command(server, &["schema", "--indexes", "--apply"], &env).await?;
    let client = postgres.connect("fia").await?;
    client.batch_execute("VACUUM ANALYZE").await?;
    Ok((postgres, settings))
}

type Settings = Vec<(&'static str, String)>;

fn with_prepared(settings: &Settings, prepared: &str) -> Settings {
    let prepared = ("DB_PREPARED", prepared.to_owned());
    settings.iter().cloned().chain([prepared]).collect()
}

/// The scripts of `wrk` and `pgbench`.
struct Scripts {
    job: String,
    list: String,
    statement: String,
}

impl Scripts {
    fn write(folder: &TempDir, statement: &str, jobs: u32) -> Outcome<Self> {
        let write = |name: &str, text: String| -> Outcome<String> {
            let path = folder.path().join(name);
            std::fs::write(&path, text)?;
            Ok(path.display().to_string())
        };
        let lua = |path: &str| format!("request = function() return wrk.format('GET', {path}) end");
        let statement = statement.replace("$1", ":id");
        Ok(Self {
            job: write("job.lua", lua(&format!("'/job/' .. math.random({jobs})")))?,
            list: write(
                "list.lua",
                lua("'/jobs?limit=25&include_run=true&offset=' .. math.random(1000)"),
            )?,
            statement: write(
                "job.sql",
                format!("\\set id random(1, {jobs})\n{statement};\n"),
            )?,
        })
    }
}

async fn rate(api: &Api, script: &str) -> Outcome<f64> {
    let bearer = format!("Bearer {}", tokens::API_KEY);
    let headers = [("Authorization", bearer)];
    Ok(wrk::run_script(&api.url(), SECONDS, &headers, Some(script))
        .await?
        .rate)
}

/// The statement of `GET /job/{id}`, from the log of PostgreSQL.
async fn statement_of_a_job(postgres: &Postgres, api: &Api) -> Outcome<String> {
    let client = postgres.connect("fia").await?;
    let log = |what| {
        let client = &client;
        async move {
            client
                .batch_execute(&format!("ALTER SYSTEM SET log_statement = '{what}'"))
                .await?;
            client.batch_execute("SELECT pg_reload_conf()").await
        }
    };
    log("all").await?;
    let bearer = format!("Bearer {}", tokens::API_KEY);
    let mut connection = Connection::open(api.addr(), &bearer).await?;
    let mut statement = None;
    // The backends read the configuration between two statements.
    for _ in 0..100 {
        connection.get(&format!("/job/{CAPTURED_JOB}")).await?;
        let text = std::fs::read(postgres.server().log())?;
        let text = String::from_utf8_lossy(&text);
        statement = text
            .lines()
            .filter_map(|line| line.split_once("execute <unnamed>: "))
            .find(|(_, sql)| sql.contains("WHERE jobs.id = $1"))
            .map(|(_, sql)| sql.to_owned());
        if statement.is_some() {
            break;
        }
    }
    log("none").await?;
    statement.ok_or_else(|| "the statement of a job is not in PostgreSQL's log".into())
}

/// Transactions per second of `pgbench` with 16 connections.
async fn pgbench(postgres: &Postgres, script: &str) -> Outcome<f64> {
    let mut command = Command::new("pgbench");
    command.args([
        "--no-vacuum",
        "--protocol=prepared",
        "--client=16",
        "--jobs=1",
    ]);
    command
        .arg(format!("--time={SECONDS}"))
        .args(["--file", script]);
    let output = command.arg(postgres.url("fia")).output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    let tps = text.lines().find_map(|line| line.strip_prefix("tps = "));
    let tps = tps.and_then(|line| line.split_whitespace().next()?.parse().ok());
    tps.ok_or_else(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        format!("pgbench printed no rate:\n{text}{errors}").into()
    })
}
