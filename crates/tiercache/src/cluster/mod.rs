//! A cluster: several primaries, each with a connection for commands and one for client tracking.
//!
//! Every node is used as a single server is: its reconnect loop repeats recent invalidations before
//! its connection is used, and its tracker says whether its changes are pushed. Commands go to the
//! node that has the slot of their key; redirections are followed (`connection::redirect`).
//!
//! [`connect`] starts the connections to a node; [`topology`] learns which nodes there are; `server::slots` has their slots.

mod connect;
mod topology;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use crate::connection::Connection;
use crate::connection::breaker::CircuitBreaker;
use crate::connection::large::LargeKeys;
use crate::local::coherence::{Coherence, NodeId};
use crate::seams;
use crate::seams::{Instant, mutant};
use crate::server::slots::{Primary, PrimaryIndex, slot_of};
use crate::server::{HostPort, Server};
use crate::settings::Settings;
use crate::sync::{Mutex, lock};
use crate::write::pending::PendingInvalidations;

/// The longest replication lag of a promoted replica after which no value is stale. A node that is
/// cut off from the others accepts writes for `cluster-node-timeout`, 15 s by default.
pub(crate) const WINDOW: Duration = Duration::from_secs(20);

/// The nodes of a cluster. Dropped, it closes their connections.
pub(crate) struct Cluster {
    server: Server,
    settings: Settings,
    pending: Arc<PendingInvalidations>,
    coherence: Arc<Coherence>,
    large_keys: Arc<LargeKeys>,
    slots: ArcSwap<SlotMap>,
    nodes: Mutex<BTreeMap<HostPort, Arc<Node>>>,
    /// Held while the nodes and slots are requested.
    learning: tokio::sync::Mutex<()>,
    /// Asks for the nodes to be requested again.
    outdated: Notify,
    is_up: watch::Sender<bool>,
    /// Openings of the circuit breakers of former nodes.
    openings: AtomicU64,
    /// Changes of the nodes of slots.
    changes: AtomicU64,
    runtime: Handle,
    topology: Mutex<Option<AbortHandle>>,
    this: Weak<Self>,
}

/// Which node has each slot.
#[derive(Clone, Default)]
struct SlotMap {
    nodes: Vec<Arc<Node>>,
    /// The index of each slot's node.
    owners: Vec<Option<PrimaryIndex>>,
    /// Whether the keys of a slot are moving.
    is_resharding: bool,
}

/// A primary.
struct Node {
    id: NodeId,
    alias: Option<HostPort>,
    breaker: Arc<CircuitBreaker>,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl Cluster {
    /// Starts to learn the nodes and to connect to them.
    pub(crate) fn start(
        server: Server,
        settings: &Settings,
        pending: &Arc<PendingInvalidations>,
        coherence: &Arc<Coherence>,
        runtime: Handle,
    ) -> Arc<Self> {
        let cluster = Arc::new_cyclic(|this| Self {
            server,
            settings: settings.clone(),
            pending: Arc::clone(pending),
            coherence: Arc::clone(coherence),
            large_keys: Arc::default(),
            slots: ArcSwap::default(),
            nodes: Mutex::default(),
            learning: tokio::sync::Mutex::default(),
            outdated: Notify::new(),
            is_up: watch::Sender::new(false),
            openings: AtomicU64::new(0),
            changes: AtomicU64::new(0),
            runtime,
            topology: Mutex::default(),
            this: this.clone(),
        });
        let learning = topology::run(Arc::downgrade(&cluster));
        let learning = seams::spawn_on(&cluster.runtime, learning).abort_handle();
        *lock(&cluster.topology) = Some(learning);
        cluster
    }

    /// The connection for the commands of a key, unless its node is unavailable.
    pub(crate) fn connection(&self, key: &str) -> Option<Arc<Connection>> {
        let slots = self.slots.load();
        slots.owner(key)?.breaker.connection()
    }

    /// The connections to all nodes, unless one is unavailable, or keys are moving between nodes.
    pub(crate) fn connections(&self) -> Option<Vec<Arc<Connection>>> {
        if self.slots.load().is_resharding || !*self.is_up.borrow() {
            return None;
        }
        let nodes = lock(&self.nodes);
        nodes
            .values()
            .map(|node| node.breaker.connection())
            .collect()
    }

    /// Whether all nodes are available.
    pub(crate) fn is_up(&self) -> bool {
        *self.is_up.borrow()
    }

    /// Waits until all nodes are available, or one is not.
    pub(crate) async fn wait_for(&self, up: bool) {
        // The sender is in `self`, so this cannot fail.
        let _ = self.is_up.subscribe().wait_for(|is_up| *is_up == up).await;
    }

    /// The number of times that a slot got another node. That may lack changes, also while the former
    /// one is connected.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Relaxed)
    }

    /// The number of times that the circuit breaker of a node has opened.
    pub(crate) fn openings(&self) -> u64 {
        let nodes = lock(&self.nodes);
        let present: u64 = nodes.values().map(|node| node.breaker.openings()).sum();
        self.openings.load(Ordering::Relaxed) + present
    }

    fn update_is_up(&self) {
        let nodes = lock(&self.nodes);
        let mut available = nodes.values().map(|node| node.breaker.connection());
        let is_up = !nodes.is_empty() && available.all(|connection| connection.is_some());
        self.is_up
            .send_if_modified(|before| std::mem::replace(before, is_up) != is_up);
    }

    /// Uses the nodes that were learnt, and no others.
    fn apply(&self, primaries: &[Primary], owners: Vec<Option<PrimaryIndex>>, is_resharding: bool) {
        let mut nodes = lock(&self.nodes);
        let is_present =
            |address: &HostPort| primaries.iter().any(|primary| primary.address == *address);
        let gone: Vec<HostPort> = nodes
            .keys()
            .filter(|node| !is_present(node))
            .cloned()
            .collect();
        for address in gone {
            if let Some(node) = nodes.remove(&address) {
                self.remove(&address, &node);
            }
        }
        let mut added = Vec::new();
        let learnt = primaries.iter().map(|primary| {
            let node = nodes.entry(primary.address.clone()).or_insert_with(|| {
                let node = Arc::new(Node {
                    id: self.coherence.add_node(),
                    alias: primary.alias.clone(),
                    breaker: Arc::new(CircuitBreaker::new()),
                    tasks: Mutex::default(),
                });
                added.push((primary.address.clone(), Arc::clone(&node)));
                node
            });
            Arc::clone(node)
        });
        let map = SlotMap {
            nodes: learnt.collect(),
            owners,
            is_resharding,
        };
        self.repeat_in(&map);
        // Before the nodes are connected to: their loops ask which keys they have.
        self.slots.store(Arc::new(map));
        drop(nodes);
        for (address, node) in added {
            self.connect(&address, &node);
        }
        self.update_is_up();
    }

    /// Queues the recent invalidations of the keys that another node has now, before the slots are
    /// known to readers: it may have taken over from its former primary without them, and be connected
    /// already, since it was a primary before.
    fn repeat_in(&self, next: &SlotMap) {
        mutant!(NewPrimaryIgnored => return);
        let slots = self.slots.load();
        if slots.has_nodes_of(next) {
            return;
        }
        self.changes.fetch_add(1, Ordering::Relaxed);
        mutant!(ConnectedPrimaryTrusted => return);
        let id = |map: &SlotMap, key: &str| map.owner(key).map(|node| node.id);
        self.pending
            .enqueue_recent_of(|key| id(&slots, key) != id(next, key));
    }

    /// Ends the use of a node that has no slots any more. What was written to it last may be unknown
    /// to the node that has them now.
    fn remove(&self, address: &HostPort, node: &Node) {
        tracing::info!(
            host = address.host,
            port = address.port,
            "cluster: primary gone"
        );
        node.stop();
        self.openings
            .fetch_add(node.breaker.openings(), Ordering::Relaxed);
        self.coherence.remove_node(node.id);
        self.pending.enqueue_recent(Instant::now());
    }

    fn owns(&self, node: NodeId, key: &str) -> bool {
        let slots = self.slots.load();
        slots.owner(key).is_some_and(|owner| owner.id == node)
    }
}

impl SlotMap {
    /// The node with the slot of a key.
    fn owner(&self, key: &str) -> Option<&Arc<Node>> {
        let index = (*self.owners.get(slot_of(key))?)?;
        self.nodes.get(usize::from(index))
    }

    /// Whether each slot has the same node in both. Not if the same nodes are in another order, which
    /// costs a repetition too many.
    fn has_nodes_of(&self, other: &Self) -> bool {
        let ids = |map: &Self| map.nodes.iter().map(|node| node.id).collect::<Vec<_>>();
        self.owners == other.owners && ids(self) == ids(other)
    }

    /// The map after a slot has moved to a node, or to one that is unknown.
    fn with_owner(&self, slot: usize, node: Option<&Arc<Node>>) -> Self {
        let mut map = self.clone();
        let index = node.and_then(|node| {
            let known = map.nodes.iter().position(|known| known.id == node.id);
            if known.is_none() {
                map.nodes.push(Arc::clone(node));
            }
            PrimaryIndex::try_from(known.unwrap_or(map.nodes.len() - 1)).ok()
        });
        if let Some(owner) = map.owners.get_mut(slot) {
            *owner = index;
        }
        map
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for node in lock(&self.nodes).values() {
            node.stop();
        }
        if let Some(topology) = lock(&self.topology).take() {
            topology.abort();
        }
    }
}

impl Node {
    fn stop(&self) {
        for task in lock(&self.tasks).drain(..) {
            task.abort();
        }
        if let Some(connection) = self.breaker.connection() {
            connection.close("no primary of the cluster any more");
        }
    }
}
