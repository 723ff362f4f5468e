//! Random schedules: two replicas of the service and a stand-in of the older program on one
//! database and one Valkey, while all of it is broken at random.
//!
//! ```text
//!  readers, writers ──▶ replica 0 ──▶ proxy 0 ─┐
//!                   ──▶ replica 1 ──▶ proxy 1 ─┼▶ Valkey     both replicas ──▶ proxy ─▶ PostgreSQL
//!                       peer (the older one) ──┘             the peer       ──────────▶ PostgreSQL
//! ```
//!
//! Everybody notes what was asked and answered; afterwards [`crate::checker`] judges it. What is
//! done follows from a seed; when exactly it happens depends on the machine, so a seed gives a
//! similar run, not the same.

mod client;
mod database;
mod faults;
mod keys;
mod peer;
mod report;
mod traffic;
mod valkey;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use self::traffic::Caller;
use crate::checker::{self, History, REPLICAS, Span};
use devstack::{Api, Error, FaultProxy, Postgres, Result, Stack, Valkey};

use keys::Keys;
pub use report::Report;

const DATABASE: &str = "fia";
/// Requests at a time of each replica.
const READERS: u64 = 4;
const WRITERS: u64 = 2;
/// Processes of the older program that read.
const PEER_READERS: u64 = 2;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How long things are written and broken.
    pub busy: Duration,
    /// What chance follows from.
    pub seed: u64,
    /// Whether the replicas check keys again after a write (`CACHE_MIGRATION_GUARD`).
    pub guard: bool,
    /// For a test of the oracle: the peer stores old values and keeps quiet about it.
    pub spoiled: bool,
}

/// What all tasks of a run share.
struct Run {
    plan: Plan,
    start: Instant,
    keys: Keys,
    ended: AtomicBool,
}

impl Run {
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

    /// The chance of one task.
    fn chance(&self, task: u64) -> StdRng {
        StdRng::seed_from_u64(self.plan.seed.wrapping_mul(1_000_003).wrapping_add(task))
    }
}

/// The servers, and what stands between them.
struct World {
    stack: Stack,
    links: [Arc<FaultProxy>; REPLICAS],
    database: Arc<FaultProxy>,
    replicas: Vec<Api>,
}

impl World {
    async fn start(server: &Path, plan: &Plan, keys: &Keys) -> Result<Self> {
        let stack = Stack::builder().postgres().valkey().start().await?;
        let (postgres, valkey) = servers(&stack)?;
        database::prepare(&postgres.connect(DATABASE).await?, keys).await?;
        let database = Arc::new(FaultProxy::start(postgres.addr()).await?);
        let links = [
            Arc::new(FaultProxy::start(valkey.addr()).await?),
            Arc::new(FaultProxy::start(valkey.addr()).await?),
        ];
        let mut replicas = Vec::new();
        for link in &links {
            let mut env = stack.env();
            let settings = [
                ("VALKEY_URL", format!("redis://{}/0", link.addr())),
                ("DB_PORT", database.port().to_string()),
                ("CACHE_MIGRATION_GUARD", plan.guard.to_string()),
                ("LOG_LEVEL", "warn".to_owned()),
            ];
            let settings = settings.map(|(name, value)| (name.to_owned(), value));
            env.extend(settings.into_iter().chain(keys::times_to_live()));
            replicas.push(Api::start(server, env).await?);
        }
        Ok(Self {
            stack,
            links,
            database,
            replicas,
        })
    }
}

fn servers(stack: &Stack) -> Result<(&Postgres, &Valkey)> {
    let missing = |server: &str| Error::NotRunning {
        server: server.to_owned(),
    };
    Ok((
        stack.postgres().ok_or_else(|| missing("postgres"))?,
        stack.valkey().ok_or_else(|| missing("valkey"))?,
    ))
}

/// Runs a plan against this server and judges what happened.
///
/// # Errors
/// When a server cannot be started, or what stands around the replicas fails.
pub async fn run(server: &Path, plan: Plan) -> Result<Report> {
    let keys = Keys::new();
    let world = World::start(server, &plan, &keys).await?;
    let run = Arc::new(Run {
        plan,
        start: Instant::now(),
        keys,
        ended: AtomicBool::new(false),
    });
    let (postgres, valkey) = servers(&world.stack)?;
    let mut readers = JoinSet::new();
    let mut others: JoinSet<Result<History>> = JoinSet::new();
    for (replica, api) in world.replicas.iter().enumerate() {
        for i in 0..READERS {
            let task = 100 * replica as u64 + i;
            readers.spawn(Caller::new(&run, task, replica, api.addr()).read());
        }
        for i in 0..WRITERS {
            let task = 1000 + 100 * replica as u64 + i;
            others.spawn(Caller::new(&run, task, replica, api.addr()).write());
        }
        let link = Arc::clone(&world.links[replica]);
        others.spawn(faults::of_link(Arc::clone(&run), replica, link));
    }
    for i in 0..=PEER_READERS {
        let peer = peer::Peer::new(&run, 2000 + i, postgres, valkey).await?;
        if i < PEER_READERS {
            others.spawn(peer.read());
        } else {
            others.spawn(peer.write());
        }
    }
    others.spawn(faults::of_database(
        Arc::clone(&run),
        Arc::clone(&world.database),
    ));
    let mut history = faults::of_valkey(&run, valkey).await?;
    gather(&mut history, &mut others).await?;
    let quiet = run.now();
    if !plan.spoiled {
        sleep(checker::quiet_time(keys::LONGEST_TTL)).await;
        history.quiet = Some(quiet);
    }
    run.ended.store(true, Ordering::Relaxed);
    gather(&mut history, &mut readers).await?;
    history.keys = database::committed(&postgres.connect(DATABASE).await?, &run.keys).await?;
    let logs = world.replicas.iter().map(|api| api.server().log_tail());
    Ok(Report::new(plan, history, logs.collect()))
}

async fn gather(history: &mut History, tasks: &mut JoinSet<Result<History>>) -> Result<()> {
    while let Some(task) = tasks.join_next().await {
        let part = task.map_err(|_| Error::Task("a part of a schedule"))??;
        history.writes.extend(part.writes);
        history.fills.extend(part.fills);
        history.reads.extend(part.reads);
        history.faults.extend(part.faults);
    }
    Ok(())
}
