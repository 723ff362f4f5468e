//! A process with a cache.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tiercache::simulated::Process;
use tiercache::{Cache, Groups, LocalHandle, Namespace};

use crate::database::Unavailable;
use crate::oracle::Life;
use crate::padded::Padded;
use crate::plan::Plan;
use crate::setup::LastKnown;
use crate::trace::Who;
use crate::world::World;

/// In simulated time, no call takes longer, unless the process is suspended.
pub(crate) const LONGEST: Duration = Duration::from_secs(60);

/// The bytes of memory of a cache.
pub(crate) fn memory(plan: &Plan) -> u64 {
    (1 << 20) + 16 * plan.setup.padding as u64
}

/// A process of the world.
pub(crate) struct Running {
    pub(crate) tasks: Process,
    pub(crate) app: App,
}

/// An application with a cache. Cheap to clone.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) world: World,
    pub(crate) process: usize,
    pub(crate) life: Life,
    pub(crate) cache: Cache,
    pub(crate) values: Namespace<u64, Option<u64>, Unavailable>,
    /// A handle to each key.
    pub(crate) handles: Arc<[LocalHandle<Option<u64>, Unavailable>]>,
    pub(crate) groups: Option<Groups>,
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
        state.steps.started(process, tasks.clone());
        let writes = &state.plan.writes;
        let is_writer = writes.pause > 0 && process < writes.writers;
        (state.plan.reads.readers, is_writer)
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
            true => cache.memory(memory(&plan)),
            false => cache,
        };
        let cache = cache.connect().ok()?;
        let values = cache.namespace("v:", Padded(plan.setup.padding));
        let values = values.ttl(Duration::from_millis(plan.ttl));
        let values = match (plan.has_memory, plan.is_unshared) {
            (true, false) => values,
            (_, true) => values.unshared(),
            (false, false) => values.shared_only(),
        };
        let values = match plan.setup.last_known {
            None => values,
            Some(LastKnown { max_stale, after }) => {
                let values = values.stale_if(|_| true, Duration::from_millis(max_stale));
                match after {
                    None => values,
                    Some(after) => values.stale_after(Duration::from_millis(after)),
                }
            }
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

    pub(crate) fn random(&self, range: std::ops::Range<u64>) -> u64 {
        self.world.with(|state| state.random.random_range(range))
    }

    /// Whether a random choice of a share, of 256, is positive.
    pub(crate) fn chance(&self, share: u8) -> bool {
        share > 0 && self.random(0..256) < u64::from(share)
    }

    /// Whether reads and writes go on.
    pub(crate) fn is_busy(&self) -> bool {
        self.world.with(|state| state.now() < state.plan.horizon)
    }
}
