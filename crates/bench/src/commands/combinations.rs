//! Latency of random lists and counts over many jobs, uncached, with the list table.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use devstack::{Api, Distribution, Stack, add_distributed_jobs, tokens};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Map, Value, json};
use tokio_postgres::Client;

use super::client::Connection;
use super::list_targets::{ORDERS, encoded};
use super::plans::Plans;
use super::server::{database_settings, ttl_settings};
use super::{milliseconds, start};
use crate::Outcome;

/// How often each request is timed; the table has the medians.
const TIMES: usize = 3;
/// The experiments of the user whose lists are read.
const EXPERIMENTS: std::ops::RangeInclusive<i64> = 3_000_001..=3_000_040;

/// The shape of the data.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Shape {
    Ordered,
    Shuffled,
    Skewed,
    Zipf,
}

impl From<Shape> for Distribution {
    fn from(shape: Shape) -> Self {
        match shape {
            Shape::Ordered => Self::Ordered,
            Shape::Shuffled => Self::Shuffled,
            Shape::Skewed => Self::Skewed,
            Shape::Zipf => Self::Zipf,
        }
    }
}

/// The random requests.
pub(super) struct Plan {
    pub(super) shape: Shape,
    pub(super) seed: u32,
    pub(super) combinations: usize,
    /// Whether the list table is created.
    pub(super) list_table: bool,
    /// How many of the slowest pages and counts are printed with their plans.
    pub(super) slowest: usize,
}

pub(super) async fn run(server: &Path, jobs: u32, plan: Plan) -> Outcome {
    let postgres = Plans::explaining().start().await?;
    eprintln!("Adding {jobs} jobs …");
    add_distributed_jobs(&postgres, "fia", jobs, plan.shape.into(), plan.seed).await?;
    let stack = Stack::builder().upstreams().start().await?;
    if let Some(upstreams) = stack.upstreams() {
        upstreams.set_experiments(1234, &EXPERIMENTS.collect::<Vec<_>>());
    }
    let mut settings = database_settings(&postgres);
    settings.extend(ttl_settings(0));
    let mut env = stack.env();
    let pairs = settings.iter();
    env.extend(pairs.map(|(name, value)| ((*name).to_owned(), value.clone())));
    Api::run_command(server, &["schema", "--indexes", "--apply"], &env).await?;
    if plan.list_table {
        Api::run_command(server, &["schema", "--lists", "--apply"], &env).await?;
    }
    let client = postgres.connect("fia").await?;
    client.batch_execute("VACUUM ANALYZE").await?;
    let table = if plan.list_table {
        "fia_api_job_list"
    } else {
        "jobs"
    };
    let floor = count_all(&client, table).await?;
    let api = start(server, &stack, &settings).await?;
    let plans = Plans::of(postgres);
    let mut rng = StdRng::seed_from_u64(u64::from(plan.seed));
    let (mut pages, mut counts) = (Vec::new(), Vec::new());
    for _ in 0..plan.combinations {
        let (page, count) = requests(&mut rng);
        pages.push(measure(&api, &plans, page).await?);
        counts.push(measure(&api, &plans, count).await?);
    }
    let unknown = "/instrument/NOSUCH/jobs?limit=25".to_owned();
    let unknown = measure(&api, &plans, unknown).await?;
    println!(
        "{jobs} jobs, {:?}, seed {}, {} combinations, medians of {TIMES}; `count(*)` of {table}: {:.1} ms\n",
        plan.shape,
        plan.seed,
        plan.combinations,
        milliseconds(floor)
    );
    println!("| ms | p50 | p99 | worst | failed |\n|---|---|---|---|---|");
    summarize("pages", &mut pages);
    summarize("counts", &mut counts);
    summarize("unknown instrument", &mut [unknown]);
    for order in ORDERS {
        let name = format!("&order_by={order}&");
        let (mut of_order, rest): (Vec<_>, Vec<_>) = pages
            .into_iter()
            .partition(|page| page.path.contains(&name));
        summarize(&format!("pages by {order}"), &mut of_order);
        pages = rest.into_iter().chain(of_order).collect();
    }
    pages.sort_by_key(|page| page.took);
    println!("\nThe slowest:\n");
    let slowest = |sorted| <[Measured]>::iter(sorted).rev().take(plan.slowest);
    for measured in slowest(&pages).chain(slowest(&counts)) {
        let (took, plan) = (milliseconds(measured.took), &measured.plan);
        println!("* {took:.1} ms `{}`: {plan}", measured.path);
    }
    Ok(())
}

/// The time to count all rows, the measure of the machine.
async fn count_all(client: &Client, table: &str) -> Outcome<Duration> {
    client
        .batch_execute("SET jit = off; SET max_parallel_workers_per_gather = 0; SET enable_indexonlyscan = off")
        .await?;
    let mut took = Vec::new();
    for _ in 0..TIMES {
        let began = Instant::now();
        let sql = format!("SELECT count(*) FROM {table}");
        client.query_one(&sql, &[]).await?;
        took.push(began.elapsed());
    }
    took.sort();
    Ok(took[TIMES / 2])
}

struct Measured {
    path: String,
    took: Duration,
    failed: bool,
    plan: String,
}

async fn measure(api: &Api, plans: &Plans, path: String) -> Outcome<Measured> {
    let authorization = format!("Bearer {}", tokens::staff());
    let mut connection = Connection::open(api.addr(), &authorization).await?;
    let mut took = Vec::new();
    let mut failed = false;
    for _ in 0..TIMES {
        let began = Instant::now();
        failed |= connection.get(&path).await?.status != 200;
        took.push(began.elapsed());
    }
    took.sort();
    Ok(Measured {
        took: took[TIMES / 2],
        failed,
        plan: plans.last()?,
        path,
    })
}

fn summarize(what: &str, measured: &mut [Measured]) {
    if measured.is_empty() {
        return;
    }
    measured.sort_by_key(|measured| measured.took);
    let at = |part: usize| milliseconds(measured[(measured.len() - 1) * part / 100].took);
    let failed = measured.iter().filter(|measured| measured.failed).count();
    println!(
        "| {what} | {:.1} | {:.1} | {:.1} | {failed} |",
        at(50),
        at(99),
        at(100)
    );
}

/// The targets of a random page, and of the count of the same jobs.
fn requests(rng: &mut StdRng) -> (String, String) {
    let mut filters = Map::new();
    for _ in 0..rng.random_range(0..4) {
        let (key, value) = filter(rng);
        filters.insert(key.to_owned(), value);
    }
    let base = match rng.random_range(0..3) {
        0 => format!("/instrument/{}", instrument(rng)),
        _ => String::new(),
    };
    let filters = encoded(&Value::Object(filters).to_string());
    let (order, direction) = (
        ORDERS[rng.random_range(0..ORDERS.len())],
        ["asc", "desc"][rng.random_range(0..2)],
    );
    let offset = [0, 0, 25, 300, 5_000][rng.random_range(0..5)];
    let as_user = rng.random_range(0..4) == 0;
    let page = format!(
        "{base}/jobs?limit=25&include_run=true&order_by={order}&order_direction={direction}\
         &offset={offset}&as_user={as_user}&filters={filters}"
    );
    (page, format!("{base}/jobs/count?filters={filters}"))
}

fn instrument(rng: &mut StdRng) -> &'static str {
    ["MARI", "LET", "TOSCA", "SANS2D", "OSIRIS", "NOSUCH"][rng.random_range(0..6)]
}

fn filter(rng: &mut StdRng) -> (&'static str, Value) {
    let year = rng.random_range(2014..2028);
    let date = json!(format!("{year}-06-01T00:00:00.000Z"));
    let experiment = rng.random_range(3_000_001..3_010_000);
    let states = ["SUCCESSFUL", "UNSUCCESSFUL", "ERROR", "NOT_STARTED"];
    let titles = [
        "vanadium spin 7K",
        "echo",
        "no such title",
        "run 4711",
        "empty can muon",
    ];
    let times = [
        "job_start_before",
        "job_start_after",
        "job_end_before",
        "job_end_after",
        "run_start_before",
        "run_start_after",
        "run_end_before",
        "run_end_after",
    ];
    match rng.random_range(0..10) {
        0 => ("instrument_in", json!([instrument(rng), instrument(rng)])),
        1 | 2 => ("job_state_in", json!([states[rng.random_range(0..4)]])),
        3 => (
            "experiment_number_in",
            json!([experiment, experiment / 7 * 7]),
        ),
        4 => ("experiment_number_after", json!(experiment)),
        5 => ("title", json!(titles[rng.random_range(0..5)])),
        _ => (times[rng.random_range(0..8)], date),
    }
}
