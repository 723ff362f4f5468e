//! The connections to a node, and the redirections that they get.

use std::sync::{Arc, Weak};

use crate::cluster::{Cluster, Node};
use crate::connection::breaker::CircuitBreaker;
use crate::connection::reconnect::{self, Member};
use crate::connection::tracker::Tracker;
use crate::connection::{Connection, Redirects};
use crate::seams;
use crate::seams::mutant;
use crate::server::HostPort;
use crate::server::slots::parse_address;
use crate::sync::lock;

impl Cluster {
    /// Starts the tasks of a node.
    pub(super) fn connect(&self, address: &HostPort, node: &Arc<Node>) {
        tracing::info!(
            host = address.host,
            port = address.port,
            "cluster: primary found"
        );
        let (server, settings) = (self.server.node(address), &self.settings);
        let (this, id) = (self.this.clone(), node.id);
        let owns = move |key: &str| this.upgrade().is_some_and(|cluster| cluster.owns(id, key));
        let reconnect = reconnect::Loop {
            server: server.clone(),
            node: id,
            timeouts: reconnect::Timeouts::from(settings),
            breaker: Arc::clone(&node.breaker),
            pending: Arc::clone(&self.pending),
            coherence: Arc::clone(&self.coherence),
            events: settings.events.clone(),
            large_keys: Arc::clone(&self.large_keys),
            waits_for: settings.wait_replicas,
            member: Some(Member {
                redirects: Arc::new(ByRedirection(self.this.clone())),
                owns: Arc::new(owns),
            }),
        };
        let watching = watch(self.this.clone(), Arc::clone(&node.breaker));
        let mut tasks = vec![
            seams::spawn_on(&self.runtime, reconnect.run()).abort_handle(),
            seams::spawn_on(&self.runtime, watching).abort_handle(),
        ];
        if settings.memory.is_some() {
            let (breaker, coherence) = (&node.breaker, &self.coherence);
            let tracker = Tracker::new((server, id), breaker, coherence, &self.pending, settings);
            tasks.push(seams::spawn_on(&self.runtime, tracker.run()).abort_handle());
        }
        *lock(&node.tasks) = tasks;
    }

    /// Records that a node has a slot; `None`: one that is unknown.
    fn moved(&self, slot: usize, node: Option<&Arc<Node>>) {
        mutant!(UnknownPrimaryIgnored => if node.is_none() { return; });
        self.slots.rcu(|slots| {
            let map = slots.with_owner(slot, node);
            self.repeat_in(&map);
            map
        });
    }

    /// The node with an address.
    fn node(&self, address: &HostPort) -> Option<Arc<Node>> {
        let nodes = lock(&self.nodes);
        let is_alias = |node: &&Arc<Node>| node.alias.as_ref() == Some(address);
        let node = nodes.get(address);
        node.or_else(|| nodes.values().find(is_alias)).cloned()
    }
}

/// Follows the redirections of nodes.
struct ByRedirection(Weak<Cluster>);

impl Redirects for ByRedirection {
    fn follow(&self, address: &str, slot: u16, is_moved: bool) -> Option<Arc<Connection>> {
        let cluster = self.0.upgrade()?;
        let node = cluster.node(&parse_address(address)?);
        if is_moved {
            cluster.outdated.notify_one();
            cluster.moved(slot.into(), node.as_ref());
        }
        node?.breaker.connection()
    }
}

/// Keeps `is_up` as the circuit breaker of a node is.
async fn watch(cluster: Weak<Cluster>, breaker: Arc<CircuitBreaker>) {
    let mut is_closed = true;
    loop {
        breaker.wait_for(is_closed).await;
        match cluster.upgrade() {
            Some(cluster) => cluster.update_is_up(),
            None => return,
        }
        is_closed = !is_closed;
    }
}
