//! The way to the shared level: one server, or a cluster.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use crate::cluster::{self, Cluster};
use crate::connection::breaker::CircuitBreaker;
use crate::connection::reconnect;
use crate::connection::tracker::Tracker;
use crate::connection::{CommandError, Connection};
use crate::local::coherence::{Coherence, NodeId};
use crate::seams;
use crate::server::Server;
use crate::settings::Settings;
use crate::write::pending::PendingInvalidations;
use crate::write::recent;

/// The connections to the shared level. Dropped, it closes them.
pub(crate) enum Link {
    /// To one server, with Sentinel the present primary.
    One(One),
    /// To the primaries of a cluster.
    Cluster(Arc<Cluster>),
}

/// The connections to one server.
pub(crate) struct One {
    breaker: Arc<CircuitBreaker>,
    tasks: Vec<AbortHandle>,
}

/// What the connections invalidate.
pub(crate) struct Invalidated {
    pub(crate) pending: Arc<PendingInvalidations>,
    pub(crate) coherence: Arc<Coherence>,
}

impl Invalidated {
    /// For the server at the end of a link, or none.
    pub(crate) fn by(server: Option<&Server>, settings: &Settings) -> Self {
        let is_cluster = server.is_some_and(|server| server.seeds().is_some());
        let (window, coherence) = match is_cluster {
            true => (cluster::WINDOW, Coherence::without_nodes()),
            false => (recent::WINDOW, Coherence::new()),
        };
        Self {
            pending: Arc::new(PendingInvalidations::new(
                settings.replication_lag.unwrap_or(window),
            )),
            coherence: Arc::new(coherence),
        }
    }
}

impl Link {
    /// Starts the background tasks.
    pub(crate) fn start(
        server: Server,
        settings: &Settings,
        Invalidated { pending, coherence }: &Invalidated,
        runtime: Handle,
    ) -> Self {
        if server.seeds().is_some() {
            let cluster = Cluster::start(server, settings, pending, coherence, runtime);
            return Self::Cluster(cluster);
        }
        let breaker = Arc::new(CircuitBreaker::new());
        let node = NodeId::ONLY;
        let reconnect = reconnect::Loop {
            server: server.clone(),
            node,
            timeouts: reconnect::Timeouts::from(settings),
            breaker: Arc::clone(&breaker),
            pending: Arc::clone(pending),
            coherence: Arc::clone(coherence),
            events: settings.events.clone(),
            large_keys: Arc::default(),
            waits_for: settings.wait_replicas,
            member: None,
        };
        let mut tasks = vec![seams::spawn_on(&runtime, reconnect.run()).abort_handle()];
        if settings.memory.is_some() {
            let tracker = Tracker::new((server, node), &breaker, coherence, pending, settings);
            tasks.push(seams::spawn_on(&runtime, tracker.run()).abort_handle());
        }
        Self::One(One { breaker, tasks })
    }

    /// The connection for the commands of a key, unless its server is unavailable.
    pub(crate) fn connection(&self, key: &str) -> Option<Arc<Connection>> {
        match self {
            Self::One(one) => one.breaker.connection(),
            Self::Cluster(cluster) => cluster.connection(key),
        }
    }

    /// The connections to all servers, unless one is unavailable, or keys are moving between them.
    pub(crate) fn connections(&self) -> Option<Vec<Arc<Connection>>> {
        match self {
            Self::One(one) => Some(vec![one.breaker.connection()?]),
            Self::Cluster(cluster) => cluster.connections(),
        }
    }

    /// The number of times that a slot of a cluster got another node.
    pub(crate) fn slot_changes(&self) -> u64 {
        match self {
            Self::One(_) => 0,
            Self::Cluster(cluster) => cluster.changes(),
        }
    }

    /// Learns whether keys are moving between the servers now, or have since the last time.
    pub(crate) async fn learn_slots(&self) -> Result<(), CommandError> {
        match self {
            Self::One(_) => Ok(()),
            Self::Cluster(cluster) => cluster.learn().await,
        }
    }

    /// Whether it is available.
    pub(crate) fn is_up(&self) -> bool {
        match self {
            Self::One(one) => one.breaker.connection().is_some(),
            Self::Cluster(cluster) => cluster.is_up(),
        }
    }

    /// Waits until it is available, or unavailable.
    pub(crate) async fn wait_for(&self, up: bool) {
        match self {
            Self::One(one) => one.breaker.wait_for(up).await,
            Self::Cluster(cluster) => cluster.wait_for(up).await,
        }
    }

    /// The number of times that a circuit breaker has opened.
    pub(crate) fn openings(&self) -> u64 {
        match self {
            Self::One(one) => one.breaker.openings(),
            Self::Cluster(cluster) => cluster.openings(),
        }
    }

    /// The number of times that keys may have got another server, which may lack changes.
    pub(crate) fn losses(&self) -> u64 {
        match self {
            Self::One(one) => one.breaker.openings(),
            Self::Cluster(cluster) => cluster.openings() + cluster.changes(),
        }
    }
}

impl Drop for One {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}
