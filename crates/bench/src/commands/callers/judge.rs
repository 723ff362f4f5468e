//! The comparison of what the callers did with the database and the broker.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::super::deliveries::deliveries;
use super::super::new_jobs::DATABASE;
use super::super::verdict;
use super::detection;
use super::fixture::Fixture;
use super::job_watcher::Update;
use super::outages::Outage;
use super::{Ledger, Run};
use crate::Outcome;

/// The jobs of a run, and the state of a job, in the database.
struct Stored {
    jobs_of_run: HashMap<String, usize>,
    states: HashMap<i64, String>,
}

/// What the callers, the database and the broker say together.
struct Findings {
    created: u64,
    dropped: u64,
    waiting: u64,
    lost: u64,
    /// Those that were acknowledged although PostgreSQL had been unavailable for longer than
    /// [`PROBE`].
    lost_late: u64,
    repeated: u64,
    excess: u64,
    endless_updates: u64,
    wrong_updates: u64,
    silent: u64,
}

/// Prints the table, and fails if a guarantee was violated.
pub(super) async fn judge(fixture: &Fixture, run: &Run, outages: &[Outage]) -> Outcome {
    let stored = read(fixture).await?;
    let announced = deliveries(fixture.stack.rabbitmq().ok_or("no RabbitMQ")?).await?;
    let found = compare(&run.ledger.lock(), &stored, &announced, outages);
    println!("| | |\n|---|---|");
    print_outages(outages);
    print_runs(run, &found);
    print_programs(run, &found);
    let stale_reads = &run.counts.files_published_again_by_stale_reads;
    verdict(&[
        ("no run is lost", found.lost == 0),
        ("no run waits forever", found.waiting == 0),
        (
            "no run is reduced more often than requested",
            found.excess == 0,
        ),
        (
            "every job update is applied",
            found.endless_updates == 0 && found.wrong_updates == 0,
        ),
        (
            "no file is published again by a stale read",
            value(stale_reads) == 0,
        ),
        (
            "no token refresh loop",
            value(&run.counts.refresh_loops) == 0,
        ),
        ("every accepted job is announced", found.silent == 0),
    ])
}

fn compare(
    ledger: &Ledger,
    stored: &Stored,
    announced: &BTreeMap<i32, usize>,
    outages: &[Outage],
) -> Findings {
    let jobs_of = |run: &detection::Run| *stored.jobs_of_run.get(&run.filename).unwrap_or(&0);
    let number = |holds: &dyn Fn(&detection::Run) -> bool| {
        ledger.runs.iter().filter(|run| holds(run)).count() as u64
    };
    let is_lost = |run: &detection::Run| run.acknowledged.is_some() && jobs_of(run) == 0;
    let is_late = |run: &detection::Run| {
        let mut of_database = outages.iter().filter(|outage| outage.of == "PostgreSQL");
        run.acknowledged.is_some_and(|at| {
            of_database.any(|outage| at > outage.from + PROBE && at < outage.until)
        })
    };
    let wrong = |update: &&Update| {
        let state = stored.states.get(&update.job).map(String::as_str);
        update.is_accepted && state != Some(update.state)
    };
    let is_silent = |job: &&i64| {
        let job = i32::try_from(**job).unwrap_or_default();
        !announced.contains_key(&job)
    };
    let updates = || ledger.updates.iter();
    Findings {
        created: number(&|run| run.is_created),
        dropped: number(&|run| run.is_dropped),
        waiting: number(&|run| run.acknowledged.is_none()),
        lost: number(&is_lost),
        lost_late: number(&|run| is_lost(run) && is_late(run)),
        repeated: number(&|run| jobs_of(run) > 1 && jobs_of(run) <= run.requests),
        excess: number(&|run| jobs_of(run) > run.requests),
        endless_updates: updates().filter(|update| !update.is_accepted).count() as u64,
        wrong_updates: updates().filter(wrong).count() as u64,
        silent: ledger.submitted.iter().filter(is_silent).count() as u64,
    }
}

fn print_outages(outages: &[Outage]) {
    for name in ["PostgreSQL", "RabbitMQ", "Valkey", "auth service", "GitHub"] {
        let of = outages.iter().filter(|outage| outage.of == name);
        let spans: Vec<Duration> = of.map(|outage| outage.until - outage.from).collect();
        let total: Duration = spans.iter().sum();
        let seconds = total.as_secs_f64();
        println!("| outages of {name} | {}, {seconds:.0} s |", spans.len());
    }
}

fn print_runs(run: &Run, found: &Findings) {
    let runs = run.ledger.lock().runs.len() as u64;
    let failures = value(&run.counts.specification_failures);
    print_rows(&[
        ("runs", runs),
        ("runs acknowledged and created", found.created),
        ("runs dropped by the job creator", found.dropped),
        ("runs still in the retry queue", found.waiting),
        ("runs lost", found.lost),
        (
            "of these, acknowledged later than 2 s into an outage of PostgreSQL",
            found.lost_late,
        ),
        ("runs reduced again after a lost response", found.repeated),
        ("runs reduced more often than requested", found.excess),
        ("reads of the specification that failed", failures),
    ]);
}

fn print_programs(run: &Run, found: &Findings) {
    let counts = &run.counts;
    let (updates, submitted) = {
        let ledger = run.ledger.lock();
        (ledger.updates.len() as u64, ledger.submitted.len() as u64)
    };
    let again = value(&counts.files_published_again);
    let stale = value(&counts.files_published_again_by_stale_reads);
    print_rows(&[
        ("job updates", updates),
        ("repeated job updates", value(&counts.update_retries)),
        ("job updates that are still repeated", found.endless_updates),
        (
            "accepted job updates that are not stored",
            found.wrong_updates,
        ),
        (
            "restarts of the file watcher",
            value(&counts.file_watcher_restarts),
        ),
        ("files published", value(&counts.files_published)),
        ("files published again after a failed PUT", again),
        ("files published again by a stale latest run", stale),
        ("polls of the live-data script", value(&counts.script_polls)),
        ("of these failed", value(&counts.script_failures)),
        ("pages of a user", value(&counts.pages)),
        ("of these failed", value(&counts.page_failures)),
        ("token refresh loops", value(&counts.refresh_loops)),
        ("simple jobs accepted", submitted),
        ("simple jobs refused", value(&counts.submit_failures)),
        ("accepted simple jobs that were not announced", found.silent),
    ]);
}

fn print_rows(rows: &[(&str, u64)]) {
    for (what, count) in rows {
        println!("| {what} | {count} |");
    }
}

fn value(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// The time in which the server has to notice that PostgreSQL is unavailable.
const PROBE: Duration = Duration::from_secs(2);

async fn read(fixture: &Fixture) -> Outcome<Stored> {
    let postgres = fixture.stack.postgres().ok_or("no PostgreSQL")?;
    let database = postgres.connect(DATABASE).await?;
    let sql = "SELECT jobs.id, jobs.state::text, runs.filename FROM jobs \
               LEFT JOIN runs ON runs.id = jobs.run_id WHERE jobs.runner_image = 'callers'";
    let mut stored = Stored {
        jobs_of_run: HashMap::new(),
        states: HashMap::new(),
    };
    for row in database.query(sql, &[]).await? {
        let id: i32 = row.get(0);
        stored.states.insert(id.into(), row.get(1));
        if let Some(filename) = row.get::<_, Option<String>>(2) {
            *stored.jobs_of_run.entry(filename).or_default() += 1;
        }
    }
    Ok(stored)
}
