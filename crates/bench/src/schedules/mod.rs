//! Random schedules: two replicas of the service and legacy clients share one database and one
//! Valkey while faults are injected at random.
//!
//! ```text
//!  readers, writers ──▶ replica 0 ──▶ proxy 0 ─┐
//!                   ──▶ replica 1 ──▶ proxy 1 ─┼▶ Valkey     both replicas ──▶ proxy ─▶ PostgreSQL
//!                       legacy clients ────────┘             legacy clients ──────────▶ PostgreSQL
//! ```
//!
//! Every task records its requests and responses; afterwards [`crate::checker`] checks the
//! history. The seed fixes the choices, not the timing: a seed repeats a similar run, not the same
//! one.

mod client;
mod database;
mod faults;
mod fixture;
mod keys;
mod legacy_client;
mod report;
mod traffic;
mod valkey;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use devstack::{Error, Result};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::checker::{self, History, Span};
use fixture::Fixture;
use keys::Keys;
use legacy_client::LegacyClient;
pub use report::Report;
use traffic::ReplicaClient;

const DATABASE: &str = "fia";
/// Readers of each replica.
const READERS: u64 = 4;
/// Writers of each replica.
const WRITERS: u64 = 2;
/// Legacy clients that read; one more writes.
const LEGACY_READERS: u64 = 2;

/// The parameters of a run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The duration of the busy phase, with writes and faults.
    pub busy: Duration,
    /// The seed of all random choices.
    pub seed: u64,
    /// The replicas' `CACHE_MIGRATION_GUARD`: whether they verify keys after a write.
    pub guard: bool,
    /// For a test of the checker: the legacy clients store stale values without recording it.
    pub inject_stale_fill: bool,
}

/// The state that all tasks of a run share.
struct Run {
    plan: Plan,
    start: Instant,
    keys: Keys,
    ended: AtomicBool,
}

impl Run {
    /// The clock of the history.
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn is_busy(&self) -> bool {
        self.now() < self.plan.busy
    }

    fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn since(&self, from: Duration) -> Span {
        Span {
            from,
            to: self.now(),
        }
    }

    /// The random number generator of a task.
    fn rng(&self, task: u64) -> StdRng {
        StdRng::seed_from_u64(self.plan.seed.wrapping_mul(1_000_003).wrapping_add(task))
    }
}

/// Runs a plan against this server binary and checks the history.
///
/// # Errors
/// When a server cannot be started, or a party other than the replicas fails.
pub async fn run(server: &Path, plan: Plan) -> Result<Report> {
    let keys = Keys::new();
    let fixture = Fixture::start(server, &plan, &keys).await?;
    let run = Arc::new(Run {
        plan,
        start: Instant::now(),
        keys,
        ended: AtomicBool::new(false),
    });
    let mut readers = spawn_readers(&run, &fixture);
    let mut others = spawn_others(&run, &fixture).await?;
    let mut history = faults::of_valkey(&run, fixture.valkey()?).await?;
    gather(&mut history, &mut others).await?;
    let quiet = run.now();
    if !plan.inject_stale_fill {
        sleep(checker::quiet_time(keys::LONGEST_TTL)).await;
        history.quiet = Some(quiet);
    }
    run.ended.store(true, Ordering::Relaxed);
    gather(&mut history, &mut readers).await?;
    let database = fixture.postgres()?.connect(DATABASE).await?;
    history.keys = database::committed(&database, &run.keys).await?;
    let logs = fixture.replicas.iter().map(|api| api.server().log_tail());
    Ok(Report::new(plan, history, logs.collect()))
}

/// Starts the tasks that read until the end of the quiet phase.
fn spawn_readers(run: &Arc<Run>, fixture: &Fixture) -> JoinSet<Result<History>> {
    let mut tasks = JoinSet::new();
    for (replica, api) in fixture.replicas.iter().enumerate() {
        for i in 0..READERS {
            let task = 100 * replica as u64 + i;
            tasks.spawn(ReplicaClient::new(run, task, replica, api.addr()).read());
        }
    }
    tasks
}

/// Starts the tasks of the busy phase, except the faults of Valkey.
async fn spawn_others(run: &Arc<Run>, fixture: &Fixture) -> Result<JoinSet<Result<History>>> {
    let mut tasks = JoinSet::new();
    for (replica, api) in fixture.replicas.iter().enumerate() {
        for i in 0..WRITERS {
            let task = 1000 + 100 * replica as u64 + i;
            tasks.spawn(ReplicaClient::new(run, task, replica, api.addr()).write());
        }
        let link = Arc::clone(&fixture.links[replica]);
        tasks.spawn(faults::of_link(Arc::clone(run), replica, link));
    }
    for i in 0..=LEGACY_READERS {
        let client =
            LegacyClient::new(run, 2000 + i, fixture.postgres()?, fixture.valkey()?).await?;
        if i < LEGACY_READERS {
            tasks.spawn(client.read());
        } else {
            tasks.spawn(client.write());
        }
    }
    let database = Arc::clone(&fixture.database);
    tasks.spawn(faults::of_database(Arc::clone(run), database));
    Ok(tasks)
}

async fn gather(history: &mut History, tasks: &mut JoinSet<Result<History>>) -> Result<()> {
    while let Some(task) = tasks.join_next().await {
        let part = task.map_err(|_| Error::Task("a task of a schedule"))??;
        history.writes.extend(part.writes);
        history.fills.extend(part.fills);
        history.reads.extend(part.reads);
        history.faults.extend(part.faults);
    }
    Ok(())
}
