//! The events of a cache, which the oracle judges by.

use tiercache::Event;

use crate::oracle::Life;
use crate::trace::Who;
use crate::world::World;

/// The longest time in milliseconds for which a process connects and repeats its invalidations.
const CONNECTING: u64 = 1_000;

impl World {
    /// An event of a cache.
    pub(crate) fn observe(&self, life: Life, process: usize, event: &Event<'_>) {
        self.with(|state| {
            let now = state.now();
            let who = Who::Process(process);
            match event {
                Event::SharedLevelUp => {
                    let task = tokio::task::try_id();
                    let server = task.and_then(|task| state.connected.get(&task).copied());
                    let server = server.unwrap_or_default();
                    let shard = server % state.servers.primaries.len();
                    let is_primary = state.servers.primaries[shard] == server;
                    let time = state.server_time();
                    let refused = state.servers.all[server].refused;
                    let refused = refused.is_some_and(|at| at + CONNECTING > time);
                    let reached = &mut state.oracle.reached;
                    let before = reached.connected((life, shard), (is_primary, refused), now);
                    state.coverage.add("reconnected", u64::from(before > 0));
                    let has_queued = state.oracle.has_queued(life);
                    state.coverage.add("pending flushed", u64::from(has_queued));
                }
                Event::FenceUnconfirmed { .. } => state.oracle.unconfirmed(life, now),
                Event::TrackingUp => state.coverage.count("tracking established"),
                Event::TrackingDown => state.coverage.count("tracking lost"),
                Event::InvalidationQueued { key } => {
                    let key = key.strip_prefix("v:").and_then(|key| key.parse().ok());
                    state.oracle.queued(life, key.unwrap_or(u64::MAX), now);
                    state.coverage.count("invalidation queued");
                }
                _ => {}
            }
            state.trace.line(now, who, || format!("{event:?}"));
        });
    }
}
