//! One history: a world from its start to the checks at its end.

use rand::RngExt as _;
use tiercache::simulated;
use tiercache::{SharedLevel, Source, Tracking};
use tokio::runtime::{Builder, RngSeed};

use crate::coverage::Coverage;
use crate::faults::Faults;
use crate::legacy::Legacy;
use crate::plan::Plan;
use crate::process::{self, Running, memory};
use crate::trace::Line;
use crate::valkey::cluster::FIRST_PORT;
use crate::world::World;

/// The longest life of a fence, in milliseconds.
const FENCE: u64 = 10_000;
/// The time in milliseconds after the last fault within which each process connects.
const RECOVERY: u64 = 3_000;
/// The keys that Valkey holds at most beside those of values: of groups, and canaries.
const OTHER_KEYS: usize = 8;
/// The reads, each 300 ms after the one before, after which a key is served from memory.
const ATTEMPTS: u32 = 8;

/// What a history was.
pub(crate) struct Outcome {
    pub(crate) seed: u64,
    pub(crate) hash: u64,
    pub(crate) events: u64,
    pub(crate) reads: u64,
    pub(crate) memory_reads: u64,
    pub(crate) writes: u64,
    pub(crate) violation: Option<String>,
    pub(crate) coverage: Coverage,
    pub(crate) lines: Vec<Line>,
}

/// Runs the history of a plan. `is_recorded`: with its timeline.
pub(crate) fn run(plan: Plan, is_recorded: bool) -> Outcome {
    let (seed, mutant) = (plan.seed, plan.mutant);
    let mut builder = Builder::new_current_thread();
    let runtime = builder
        .enable_time()
        .start_paused(true)
        .rng_seed(RngSeed::from_bytes(&seed.to_le_bytes()))
        .build();
    #[expect(clippy::expect_used, reason = "it opens no file")]
    let runtime = runtime.expect("a runtime without I/O");
    let outcome = runtime.block_on(async {
        let world = World::new(plan, is_recorded);
        let network = world.clone();
        let connect = move |_host: &str, port: u16| {
            let (world, server) = (network.clone(), usize::from(port - FIRST_PORT));
            let process = simulated::Process::current().map_or(0, |process| process.id());
            let opening = async move {
                let stream = world.connect(process, server).await?;
                Ok(Box::new(stream) as Box<dyn simulated::Stream>)
            };
            Box::pin(opening) as futures_util::future::BoxFuture<'static, _>
        };
        simulated::begin(seed, mutant, Box::new(connect));
        tokio::select! {
            biased;
            ran = simulated::livelock() => world.with(|state| state.oracle.fail(ran)),
            () = live(&world) => {}
        }
        world.with(|state| Outcome {
            seed,
            hash: state.trace.hash(),
            events: state.trace.events(),
            reads: state.oracle.reads,
            memory_reads: state.oracle.memory_reads,
            writes: state.oracle.writes,
            violation: state.oracle.violation.take(),
            coverage: std::mem::take(&mut state.coverage),
            lines: state.trace.take_lines(),
        })
    });
    simulated::end();
    outcome
}

async fn live(world: &World) {
    drop(tokio::spawn(world.clone().run()));
    let (count, horizon, readers, writers) = world.with(|state| {
        let plan = &state.plan;
        let clients = (plan.legacy_readers, plan.legacy_writers);
        (plan.processes, plan.horizon, clients.0, clients.1)
    });
    let mut processes = Vec::new();
    for process in 0..count {
        let delay = world.with(|state| state.random.random_range(0..50));
        world.sleep(delay).await;
        processes.push(process::start(world, process).await);
    }
    for _ in 0..readers {
        drop(tokio::spawn(Legacy::new(world).keep_reading()));
    }
    for _ in 0..writers {
        drop(tokio::spawn(Legacy::new(world).keep_writing()));
    }
    let mut faults = Faults::new(world, processes);
    faults.run().await;
    world.sleep_until(horizon).await;
    if world.with(|state| state.oracle.violation.is_none()) {
        settle(world, &faults).await;
    }
    for running in faults.processes.into_iter().flatten() {
        count_events(world, &running.app.cache);
        running.tasks.kill();
    }
}

/// Waits until each fault has ended, and so long that each process has connected.
async fn recover(world: &World, faults: &Faults) {
    let quiet = world.with(|state| {
        let mut quiet = state.now().max(state.database.unavailable);
        let changing = state.servers.changing.iter().max();
        quiet = quiet.max(changing.copied().unwrap_or_default());
        for link in &mut state.links {
            link.is_fast = true;
            quiet = quiet.max(link.held_in).max(link.held_out);
            quiet = quiet.max(link.refused);
        }
        quiet
    });
    world.sleep_until(quiet + RECOVERY).await;
    for (process, running) in faults.processes.iter().enumerate() {
        let Some(running) = running else {
            continue;
        };
        // By the clock of the process.
        let cache = running.app.cache.clone();
        let Ok(stats) = running.tasks.spawn(async move { cache.stats() }).await else {
            let text = format!("process {process} is dead");
            return world.with(|state| state.oracle.fail(text));
        };
        let is_tracked = stats.tracking != Tracking::Off;
        let is_down = is_tracked && !matches!(stats.tracking, Tracking::Up(_));
        if is_down || stats.shared_level != SharedLevel::Up {
            let (level, tracking) = (stats.shared_level, stats.tracking);
            world.with(|state| {
                state.oracle.fail(format!(
                    "process {process} has not recovered: {level:?}, tracking {tracking:?}"
                ));
            });
        }
        if stats.local_bytes > world.with(|state| memory(&state.plan)) {
            let text = format!("process {process} has {} bytes", stats.local_bytes);
            world.with(|state| state.oracle.fail(text));
        }
    }
}

/// Once the faults have ended: each key is current everywhere, and served from memory.
async fn settle(world: &World, faults: &Faults) {
    recover(world, faults).await;
    let (keys, has_memory, is_tracked, wait) = world.with(|state| {
        let plan = &state.plan;
        (
            plan.keys,
            plan.has_memory,
            plan.has_memory && !plan.is_unshared,
            FENCE.max(plan.ttl + 6_000) + 5_000,
        )
    });
    world.sleep(wait).await;
    let fail = |text: String| world.with(|state| state.oracle.fail(text));
    for (process, running) in faults.processes.iter().enumerate() {
        let Some(running) = running else {
            continue;
        };
        // By the clock of the process.
        let cache = running.app.cache.clone();
        let stats = running.tasks.spawn(async move { cache.stats() });
        let Ok(stats) = stats.await else {
            return fail(format!("process {process} is dead"));
        };
        if stats.pending_invalidations > 0 {
            fail(format!("process {process} has pending invalidations"));
        }
        if is_tracked && !matches!(stats.tracking, Tracking::Up(_)) {
            fail(format!("process {process} has no client tracking"));
        }
        for key in 0..keys {
            settle_key(world, (process, running), key, has_memory).await;
        }
    }
    let held = world.with(|state| state.servers.len());
    if held > keys as usize + OTHER_KEYS {
        fail(format!("Valkey holds {held} keys"));
    }
}

async fn settle_key(
    world: &World,
    (process, running): (usize, &Running),
    key: u64,
    has_memory: bool,
) {
    let fail = |text: String| world.with(|state| state.oracle.fail(text));
    for attempt in 0..ATTEMPTS {
        let app = running.app.clone();
        let reading = running.tasks.spawn(async move { app.read(key).await });
        let read = reading.await.ok().flatten();
        let committed = world.with(|state| state.database.committed(key));
        let is_last = attempt == ATTEMPTS - 1;
        match read {
            // It was read while a load took longer than the soft timeout.
            Some((_, Source::Stale { .. })) if !is_last => world.sleep(300).await,
            Some((version, _)) if version != committed => fail(format!(
                "process {process} reads version {version} of key {key} long after \
                 {committed} was committed"
            )),
            Some((_, Source::Local)) if has_memory => return,
            Some((_, Source::Shared)) if !has_memory => return,
            _ if is_last => fail(format!(
                "process {process} does not keep key {key}: {read:?}"
            )),
            _ => world.sleep(300).await,
        }
    }
}

fn count_events(world: &World, cache: &tiercache::Cache) {
    let stats = cache.stats();
    world.with(|state| {
        for of in &stats.namespaces {
            let counts = [
                ("fills", of.fills),
                ("fills refused", of.fills_refused),
                ("leases met", of.leases_met),
                ("fences met", of.fences_met),
                ("hits in Valkey", of.hits),
                ("hits in memory", of.local_hits),
                ("loads", of.loads),
                ("bypassed: unavailable", of.bypassed_unavailable),
                ("bypassed: pending", of.bypassed_pending),
                ("refreshes", of.refreshes),
                ("refreshes refused", of.refreshes_refused),
                ("puts", of.puts),
                ("fences unconfirmed", of.fences_unconfirmed),
                ("rejected", of.rejected),
                ("outdated in group", of.outdated),
                ("queued readers", of.queued),
            ];
            for (name, count) in counts {
                state.coverage.add(name, count);
            }
        }
        state
            .coverage
            .add("breaker openings", stats.breaker_openings);
    });
}
