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
//!
//! In a cluster every primary is a node with a tracking connection of its own, and the versions are
//! up to date while all of them reply: a key may move to another node at any time.

mod node;

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Notify;

use crate::clock::Moment;
pub(crate) use crate::local::coherence::node::{Confirmation, NodeId, ServerId};
use crate::local::coherence::node::{Node, TrackingState};
use crate::local::versions::{KeyHash, KeyVersions};
use crate::seams::mutant;
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

/// The versions of a key and of all keys at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct VersionStamp {
    key: u64,
    global: u64,
}

impl Coherence {
    /// With one node, [`NodeId::ONLY`].
    pub(crate) fn new() -> Self {
        let coherence = Self::without_nodes();
        lock(&coherence.state)
            .nodes
            .insert(NodeId::ONLY, Node::default());
        coherence
    }

    /// Without a node, for a cluster. Nothing is up to date until there is one.
    pub(crate) fn without_nodes() -> Self {
        Self {
            versions: KeyVersions::new(),
            global_version: AtomicU64::new(0),
            valid_until: AtomicU64::new(Moment::PAST.nanos()),
            state: Mutex::new(TrackingState::default()),
            became_live: Notify::new(),
            prefix_added: Notify::new(),
        }
    }

    /// Adds a node. Nothing is up to date until its changes are pushed, too. **Call it before a
    /// command is sent to the node.**
    pub(crate) fn add_node(&self) -> NodeId {
        let mut state = lock(&self.state);
        let node = state.add_node();
        self.suspend(&mut state);
        node
    }

    /// Removes a node, to which no command is sent any more.
    pub(crate) fn remove_node(&self, node: NodeId) {
        let mut state = lock(&self.state);
        state.nodes.remove(&node);
        self.suspend(&mut state);
    }

    /// The versions now. **Take it before the value is requested.**
    #[inline]
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
    #[inline]
    pub(crate) fn is_current(&self, stamp: VersionStamp, key: KeyHash, now: Moment) -> bool {
        mutant!(SilenceIgnored => return self.stamp(key) == stamp);
        mutant!(VersionsIgnored => return self.is_live(now));
        mutant!(GlobalVersionIgnored => return self.is_live(now) && self.stamp(key).key == stamp.key);
        self.is_live(now) && self.stamp(key) == stamp
    }

    /// Whether the versions are up to date.
    #[inline]
    pub(crate) fn is_live(&self, now: Moment) -> bool {
        Moment::from_nanos(self.valid_until.load(Ordering::Acquire)).is_after(now)
    }

    pub(crate) fn key_changed(&self, key: KeyHash) {
        mutant!(KeyVersionKept => return);
        self.versions.bump(key);
    }

    /// Invalidates everything.
    pub(crate) fn all_changed(&self) {
        self.global_version.fetch_add(1, Ordering::AcqRel);
    }

    /// Registers a new tracking connection to a node, which replaces the one before, and returns
    /// its id.
    pub(crate) fn connecting(&self, node: NodeId) -> u64 {
        let mut state = lock(&self.state);
        let connection = state.connecting(node);
        self.suspend(&mut state);
        connection
    }

    pub(crate) fn set_tracking_server(&self, node: NodeId, connection: u64, server: ServerId) {
        if let Some(node) = lock(&self.state).connected(node, connection) {
            node.tracking_server = server;
        }
    }

    /// Registers a new command connection. **Call it before a command is sent on it, and after the
    /// one before is not used any more.**
    pub(crate) fn set_command_server(&self, node: NodeId, server: ServerId) {
        let mut state = lock(&self.state);
        if state.set_command_server(node, server) {
            self.suspend(&mut state);
        }
    }

    /// The number of the node's command connection, which [`proved`](Self::proved) takes. **Take
    /// it before the connection.**
    pub(crate) fn command_connection(&self, node: NodeId) -> u64 {
        let state = lock(&self.state);
        state
            .nodes
            .get(&node)
            .map_or(0, |node| node.command_connection)
    }

    /// Records that a change on the command connection with this number was pushed on the tracking
    /// connection.
    pub(crate) fn proved(&self, node: NodeId, connection: u64, command_connection: u64) {
        if let Some(node) = lock(&self.state).connected(node, connection) {
            node.proof = Some(command_connection);
        }
    }

    /// Records that a heartbeat, sent at `sent`, got a reply on a connection that has
    /// subscribed to the first `subscribed` prefixes.
    pub(crate) fn confirm(
        &self,
        node: NodeId,
        connection: u64,
        subscribed: usize,
        sent: Moment,
    ) -> Confirmation {
        let mut state = lock(&self.state);
        if let Err(missing) = state.confirm(node, connection, subscribed, sent) {
            return missing;
        }
        let Some(earliest) = state.earliest_confirmed() else {
            return Confirmation::Waiting;
        };
        if state.live_since.is_none() {
            state.live_since = Some(sent);
            // Earlier entries may have missed invalidations.
            self.all_changed();
        }
        self.valid_until
            .store((earliest + MAX_SILENCE).nanos(), Ordering::Release);
        mutant!(MemoryValidTooLong => self.valid_until.store((earliest + MAX_SILENCE * 3).nanos(), Ordering::Release));
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
        state.unconfirm_all();
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

    /// Records that a tracking connection was lost.
    pub(crate) fn lost(&self, node: NodeId, connection: u64) {
        let mut state = lock(&self.state);
        if let Some(node) = state.connected(node, connection) {
            node.disconnect();
            self.suspend(&mut state);
        }
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
