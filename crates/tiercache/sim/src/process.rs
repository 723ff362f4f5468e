//! A process with a cache, its readers and its writers.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tiercache::simulated::Process;
use tiercache::{Cache, CommitWith, Failure, Groups, Key, LocalHandle, Namespace, Source, Write};
use tokio::time::timeout;

use crate::database::Unavailable;
use crate::oracle::Life;
use crate::padded::Padded;
use crate::trace::Who;
use crate::world::World;

/// In simulated time, no call takes longer, unless the process is suspended.
const LONGEST: Duration = Duration::from_secs(60);
/// The reads of a reader between two pauses.
const BURST: u32 = 6;

/// A process of the world.
pub(crate) struct Running {
    pub(crate) tasks: Process,
    pub(crate) app: App,
}

/// An application with a cache. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    world: World,
    process: usize,
    pub(crate) life: Life,
    pub(crate) cache: Cache,
    values: Namespace<u64, u64, Unavailable>,
    /// A handle to each key.
    handles: Arc<[LocalHandle<u64, Unavailable>]>,
    groups: Option<Groups>,
}

/// Starts a process of the world.
pub(crate) async fn start(world: &World, process: usize) -> Option<Running> {
    let (delayed, drift) = world.with(|state| {
        let drift = state.plan.setup.drift.get(process).copied();
        (state.plan.delayed, drift.unwrap_or_default())
    });
    let tasks = Process::new(process, delayed, drift);
    let this = world.clone();
    let app = tasks.spawn(async move { App::new(this, process) });
    let app = app.await.ok()??;
    let (readers, writes) = world.with(|state| {
        let now = state.now();
        let who = Who::Process(process);
        state.trace.line(now, who, || "starts".to_owned());
        (state.plan.readers, state.plan.write_pause > 0)
    });
    for _ in 0..readers {
        drop(tasks.spawn(app.clone().keep_reading()));
    }
    if writes {
        drop(tasks.spawn(app.clone().keep_writing()));
    }
    Some(Running { tasks, app })
}

impl App {
    fn new(world: World, process: usize) -> Option<Self> {
        let (plan, life) =
            world.with(|state| (state.plan.clone(), state.oracle.reached.begin_life()));
        let observed = world.clone();
        let cache = Cache::builder(plan.setup.topology.url())
            .on_event(move |event| observed.observe(life, process, event));
        let cache = cache.wait_replicas(plan.setup.wait_replicas);
        let cache = match plan.has_memory {
            true => cache.memory((1 << 20) + 16 * plan.setup.padding as u64),
            false => cache,
        };
        let cache = cache.connect().ok()?;
        let values = cache.namespace("v:", Padded(plan.setup.padding));
        let values = values.ttl(Duration::from_millis(plan.ttl));
        let values = match plan.has_memory {
            true => values,
            false => values.shared_only(),
        };
        let (values, groups) = match plan.is_grouped {
            true => {
                let groups = cache.groups("groups", "g:").ok()?;
                let values = values.grouped(&groups, |_: &u64| "all".to_owned());
                (values, Some(groups))
            }
            false => (values, None),
        };
        let values = values.build().ok()?;
        Some(Self {
            handles: (0..plan.keys)
                .map(|key| values.local_handle(&key))
                .collect(),
            values,
            world,
            process,
            life,
            cache,
            groups,
        })
    }

    fn random(&self, range: std::ops::Range<u64>) -> u64 {
        self.world.with(|state| state.random.random_range(range))
    }

    /// Whether reads and writes go on.
    fn is_busy(&self) -> bool {
        self.world.with(|state| state.now() < state.plan.horizon)
    }

    async fn keep_reading(self) {
        let (keys, pause) = self
            .world
            .with(|state| (state.plan.keys, state.plan.read_pause));
        while self.is_busy() {
            for _ in 0..BURST {
                let key = self.random(0..keys);
                self.read(key).await;
            }
            self.world.sleep(self.random(1..pause + 1)).await;
        }
    }

    /// Reads a key: half of the time through its handle first.
    async fn get(&self, key: u64) -> Result<(u64, Source), Failure<Arc<Unavailable>>> {
        if self.random(0..2) == 0
            && let Some(value) = self.handles[key as usize].get()
        {
            return Ok((value, Source::Local));
        }
        let loader = self.world.clone();
        let read = self.values.lookup(&key, move || loader.load(key)).await?;
        Ok((read.value, read.source))
    }

    /// Reads a key, and judges what is returned. `None` if the read fails.
    pub(crate) async fn read(&self, key: u64) -> Option<(u64, Source)> {
        let (life, world) = (self.life, &self.world);
        let required = world.with(|state| {
            let now = state.now();
            state.oracle.required(life, key, now)
        });
        let Ok(read) = timeout(LONGEST, self.get(key)).await else {
            let text = format!(
                "a read of key {key} by process {} does not end",
                self.process
            );
            world.with(|state| state.oracle.fail(text));
            return None;
        };
        world.with(|state| {
            let now = state.now();
            if let Err(Failure::Panicked | Failure::TimedOut) = &read {
                state
                    .oracle
                    .fail(format!("a read of key {key} fails: {read:?}"));
            }
            let Ok(read) = read else {
                state.trace.add(&[now, 4, self.process as u64, key]);
                return None;
            };
            let (version, source) = read;
            let is_memory = source == Source::Local;
            state.trace.add(&[
                now,
                5,
                self.process as u64,
                key,
                version,
                u64::from(is_memory),
            ]);
            let judged = (required, is_memory);
            let is_right = state.oracle.judge((life, key), judged, version);
            let is_recorded = !is_memory || !is_right;
            if is_recorded {
                let who = Who::Process(self.process);
                let mark = if is_right { "" } else { " ◀── stale" };
                let text = || format!("reads key {key}: {version} from {source:?}{mark}");
                state.trace.line(now, who, text);
            }
            Some((version, source))
        })
    }

    async fn keep_writing(self) {
        let (keys, pause) = self
            .world
            .with(|state| (state.plan.keys, state.plan.write_pause));
        loop {
            self.world.sleep(self.random(1..pause + 1)).await;
            if !self.is_busy() {
                return;
            }
            self.write(self.random(0..keys)).await;
        }
    }

    async fn write(&self, key: u64) {
        let (world, puts) = (&self.world, self.world.with(|state| state.plan.puts));
        let (begun, life) = (world.now(), self.life);
        let waits =
            world.with(|state| state.plan.setup.wait_replicas > 0 && !state.plan.is_grouped);
        let (database, cache) = (world.clone(), self.cache.clone());
        let is_put = self.random(0..256) < u64::from(puts);
        let (values, groups) = (self.values.clone(), self.groups.clone());
        let writing = self.cache.write(async move |write: Write| {
            let transaction = database.update(key).await?;
            let version = transaction.version;
            let fenced: Vec<Key> = match groups {
                Some(groups) => vec![groups.key("all")],
                None if is_put => vec![values.put(&key, &version)],
                None => vec![values.key(&key)],
            };
            let commit = CommitWith(move || transaction.commit());
            let was_up = cache.is_shared_level_up();
            let unreplicated = fences_unreplicated(&cache);
            let fenced = write.fence(commit, fenced).await;
            if was_up && waits && unreplicated == fences_unreplicated(&cache) {
                database.with(|state| state.oracle.replicated(life, key, version, begun));
            }
            if cache.is_shared_level_up() && was_up {
                database.with(|state| state.oracle.fenced(life, key, version, begun));
            }
            let committed = fenced.commit().await?;
            Ok::<_, Unavailable>(committed.with(version))
        });
        let Ok(written) = timeout(LONGEST, writing).await else {
            let text = format!(
                "a write of key {key} by process {} does not end",
                self.process
            );
            return world.with(|state| state.oracle.fail(text));
        };
        world.with(|state| {
            let now = state.now();
            let who = Who::Process(self.process);
            let Ok(version) = written else {
                state.coverage.count("rolled back, or unknown outcome");
                let is_panic = matches!(written, Err(Failure::Panicked));
                state
                    .trace
                    .add(&[now, 6, self.process as u64, key, u64::from(is_panic)]);
                return state
                    .trace
                    .line(now, who, || format!("write of key {key} failed"));
            };
            state
                .trace
                .add(&[now, 7, self.process as u64, key, version]);
            let text = || format!("write of key {key} returned: version {version}");
            state.trace.line(now, who, text);
            let times = (begun, now);
            state.oracle.returned(Some(self.life), key, version, times);
        });
    }
}

/// The number of fences that no replica had in time. A process writes one at a time.
fn fences_unreplicated(cache: &Cache) -> u64 {
    let namespaces = cache.stats().namespaces;
    namespaces.iter().map(|of| of.fences_unreplicated).sum()
}
