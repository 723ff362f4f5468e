//! Coherence of the local cache with the shared level.
//!
//! Valkey pushes the keys that change over the tracking connection (see
//! [`mod@crate::connection::tracker`]). A push only increments a version: of its key, or of all
//! keys after a flush or a reconnection. A local entry carries the versions that were read
//! *before* its value was requested and is valid while they are unchanged. So an invalidation
//! that arrives between the fetch and the insertion is not lost.
//!
//! Versions are meaningful only while the connection works, and a half-open one is silent. So
//! entries are valid for [`MAX_SILENCE`] after a heartbeat was **sent** that got a reply. (Not
//! after the reply: it may overtake the push about a change made just before.)

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Moment;
use crate::local::versions::{KeyHash, KeyVersions};
use crate::sync::{AtomicU64, Mutex, lock};

/// The time after a heartbeat during which the local cache may be used.
pub(crate) const MAX_SILENCE: Duration = Duration::from_secs(1);

/// The versions of keys, and whether they are up to date.
pub(crate) struct Coherence {
    versions: KeyVersions,
    /// The version of all keys: changed by a flush, a lost and a new connection.
    global_version: AtomicU64,
    /// The time until which the versions are up to date, in nanoseconds; in the past if they are not.
    valid_until: AtomicU64,
    /// Locked for every change of `valid_until`.
    state: Mutex<TrackingState>,
    became_live: Notify,
    prefix_added: Notify,
}

#[derive(Default)]
struct TrackingState {
    /// Identifies the connection; earlier ones are ignored.
    connection: u64,
    is_connected: bool,
    /// The first confirmed heartbeat since the connection or the last prefix was added.
    live_since: Option<Moment>,
    /// The server of the tracking connection.
    tracking_server: ServerId,
    /// The server that commands are sent to. Changes on another one would not be pushed.
    command_server: ServerId,
    /// The prefixes to subscribe to. Only appended to, so their number identifies a state.
    prefixes: Vec<String>,
}

/// The result of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// The local cache may be used.
    Live,
    /// A prefix was added, and must be subscribed to first.
    PrefixMissing,
    /// The connection was lost or replaced, or its server is not the one for commands.
    Rejected,
    /// The server does not disclose its identity, so changes on the server for commands may not
    /// be pushed here. The local cache stays bypassed.
    Unidentified,
}

/// A server process, by its `run_id`; `None` if it does not disclose it. Two servers that do not
/// disclose it may be different ones.
pub(crate) type ServerId = Option<String>;

/// The versions of a key and of all keys at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VersionStamp {
    key: u64,
    global: u64,
}

impl Coherence {
    pub(crate) fn new() -> Self {
        Self {
            versions: KeyVersions::new(),
            global_version: AtomicU64::new(0),
            valid_until: AtomicU64::new(Moment::PAST.nanos()),
            state: Mutex::new(TrackingState::default()),
            became_live: Notify::new(),
            prefix_added: Notify::new(),
        }
    }

    /// The versions now. **Take it before the value is requested.**
    pub(crate) fn stamp(&self, key: KeyHash) -> VersionStamp {
        VersionStamp {
            key: self.versions.get(key),
            global: self.global_version.load(Ordering::Acquire),
        }
    }

    /// Whether a value with this stamp is still that of the shared level.
    ///
    /// Checks liveness first: a stamp that is right *afterwards* was right while tracking was
    /// live. In the other order, a whole reconnection could happen in between.
    pub(crate) fn is_current(&self, stamp: VersionStamp, key: KeyHash, now: Moment) -> bool {
        self.is_live(now) && self.stamp(key) == stamp
    }

    /// Whether the versions are up to date.
    pub(crate) fn is_live(&self, now: Moment) -> bool {
        Moment::from_nanos(self.valid_until.load(Ordering::Acquire)).is_after(now)
    }

    pub(crate) fn key_changed(&self, key: KeyHash) {
        self.versions.bump(key);
    }

    /// Invalidates everything.
    pub(crate) fn all_changed(&self) {
        self.global_version.fetch_add(1, Ordering::AcqRel);
    }

    /// Registers a new connection, which replaces the one before, and returns its id.
    pub(crate) fn connecting(&self) -> u64 {
        let mut state = lock(&self.state);
        state.connection += 1;
        state.is_connected = true;
        state.live_since = None;
        state.connection
    }

    pub(crate) fn set_tracking_server(&self, connection: u64, server: ServerId) {
        let mut state = lock(&self.state);
        if state.connection == connection {
            state.tracking_server = server;
        }
    }

    /// **Call it before a command is sent to this server.**
    pub(crate) fn set_command_server(&self, server: ServerId) {
        let mut state = lock(&self.state);
        state.command_server = server;
        if state.tracking_server != state.command_server {
            self.disconnect(&mut state);
        }
    }

    /// Records that a heartbeat, sent at `sent`, got a reply on a connection that has
    /// subscribed to the first `subscribed` prefixes.
    pub(crate) fn confirm(&self, connection: u64, subscribed: usize, sent: Moment) -> Confirmation {
        let mut state = lock(&self.state);
        let is_present = state.connection == connection && state.is_connected;
        if !is_present || state.tracking_server != state.command_server {
            return Confirmation::Rejected;
        }
        if state.tracking_server.is_none() {
            return Confirmation::Unidentified;
        }
        if state.prefixes.len() != subscribed {
            return Confirmation::PrefixMissing;
        }
        if state.live_since.is_none() {
            state.live_since = Some(sent);
            // Earlier entries may have missed invalidations.
            self.all_changed();
        }
        self.valid_until
            .store((sent + MAX_SILENCE).nanos(), Ordering::Release);
        self.became_live.notify_waiters();
        Confirmation::Live
    }

    /// Registers a prefix to track. The local cache is bypassed until the tracking connection
    /// has subscribed to it. The error is a registered prefix with which it overlaps.
    pub(crate) fn add_prefix(&self, prefix: &str) -> Result<(), String> {
        let mut state = lock(&self.state);
        let overlaps = |other: &str| other.starts_with(prefix) || prefix.starts_with(other);
        if let Some(other) = state.prefixes.iter().find(|other| overlaps(other)) {
            return Err(other.clone());
        }
        state.prefixes.push(prefix.to_owned());
        self.suspend(&mut state);
        drop(state);
        self.prefix_added.notify_waiters();
        Ok(())
    }

    /// Whether exactly this prefix is registered.
    pub(crate) fn has_prefix(&self, prefix: &str) -> bool {
        let state = lock(&self.state);
        state.prefixes.iter().any(|registered| registered == prefix)
    }

    /// The prefixes after the first `subscribed`.
    pub(crate) fn prefixes_after(&self, subscribed: usize) -> Vec<String> {
        let state = lock(&self.state);
        state.prefixes.iter().skip(subscribed).cloned().collect()
    }

    pub(crate) fn has_prefixes(&self) -> bool {
        !lock(&self.state).prefixes.is_empty()
    }

    /// Waits until there are more than `subscribed` prefixes.
    pub(crate) async fn wait_for_prefix_after(&self, subscribed: usize) {
        loop {
            let added = self.prefix_added.notified();
            if lock(&self.state).prefixes.len() > subscribed {
                return;
            }
            added.await;
        }
    }

    /// Records that a connection was lost.
    pub(crate) fn lost(&self, connection: u64) {
        let mut state = lock(&self.state);
        if state.connection == connection {
            self.disconnect(&mut state);
        }
    }

    fn disconnect(&self, state: &mut TrackingState) {
        state.is_connected = false;
        self.suspend(state);
    }

    fn suspend(&self, state: &mut TrackingState) {
        state.live_since = None;
        self.valid_until
            .store(Moment::PAST.nanos(), Ordering::Release);
        self.all_changed();
    }

    /// Waits until the versions are up to date.
    pub(crate) async fn wait_until_live(&self) {
        loop {
            let became_live = self.became_live.notified();
            if self.is_live(Moment::now()) {
                return;
            }
            became_live.await;
        }
    }

    /// The time since tracking became live.
    pub(crate) fn age(&self) -> Option<Duration> {
        let live_since = lock(&self.state).live_since;
        live_since.map(|since| Moment::now().since(since))
    }
}

#[cfg(all(test, loom))]
mod every_interleaving;
#[cfg(all(test, not(loom)))]
mod tests;
