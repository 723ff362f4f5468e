//! Invariants of the local level.

use super::super::state::{Key, State, WriterPhase};
use super::{Local, Tracking};

impl State {
    /// The entry is not older than a returned write of its replica.
    pub(super) fn reflects_own_writes(&self) -> bool {
        self.compare(|entry, local| entry >= local.own)
    }

    /// The entry is not older than a returned write of any replica whose fence or INVALIDATE
    /// was acknowledged, unless its push is in flight or was lost on a half-open connection.
    pub(super) fn reflects_delivered_pushes(&self) -> bool {
        let min_version = self.replicas[0].min_version;
        self.compare(|entry, local| {
            let push_may_be_missing =
                local.before_ping || local.pushed || local.tracking == Tracking::HalfOpen;
            push_may_be_missing || entry >= min_version
        })
    }

    /// The entry is not older than a write that returned one max silence ago.
    pub(super) fn reflects_writes_past_max_silence(&self) -> bool {
        self.compare(|entry, local| entry >= local.past_min_version)
    }

    /// With nothing in flight, the entry is the version in the shared level or in the database.
    pub(super) fn is_current_at_rest(&self) -> bool {
        use WriterPhase::{Begun, Crashed, Returned};
        let done = self
            .writers
            .iter()
            .all(|writer| matches!(writer.phase, Begun | Crashed | Returned));
        let flushed_pending = self
            .replicas
            .iter()
            .all(|replica| replica.pending.is_none());
        self.compare(|entry, local| {
            let delivered =
                !local.before_ping && !local.pushed && local.tracking == Tracking::Active;
            let at_rest = done && flushed_pending && delivered;
            !at_rest || entry == self.database || self.key == Key::Value(entry)
        })
    }

    /// The entry is not older than a version that this replica has returned already.
    pub(super) fn is_monotonic(&self) -> bool {
        self.compare(|entry, local| entry >= local.newest_response)
    }

    pub(super) fn had_local_hit(&self) -> bool {
        self.local.is_some_and(|local| local.hits.any)
    }

    pub(super) fn had_local_hit_after_reconnect(&self) -> bool {
        self.local.is_some_and(|local| local.hits.after_reconnect)
    }

    /// The delay of a push is observable.
    pub(super) fn lags_behind(&self) -> bool {
        !self.compare(|entry, _| entry >= self.replicas[0].min_version)
    }

    fn compare(&self, right: impl FnOnce(u8, &Local) -> bool) -> bool {
        match (self.usable(), &self.local) {
            (Some(entry), Some(local)) => right(entry, local),
            _ => true,
        }
    }
}
