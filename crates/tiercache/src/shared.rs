//! What the namespaces and the writes of a cache share: settings, connections, local cache.

use std::any::Any;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use crate::clock::Moment;
use crate::connection::{CommandError, Connection};
use crate::link::{Invalidated, Link};
use crate::local::coherence::Coherence;
use crate::local::store::Store;
use crate::local::versions::KeyVersions;
use crate::seams::mutant;
use crate::server::Server;
use crate::settings::{ConfigError, OverlappingPrefix, Settings};
use crate::stats::{Counters, NamespaceStats, SharedLevel, Tracking};
use crate::sync::{Mutex, lock};
use crate::write::bypass::BypassedPrefixes;
use crate::write::pending::PendingInvalidations;

/// The parts of a cache that its namespaces share.
pub(crate) struct Shared {
    pub(crate) settings: Settings,
    /// The way to the shared level, if there is one.
    pub(crate) link: Option<Link>,
    pub(crate) pending: Arc<PendingInvalidations>,
    pub(crate) bypassed: BypassedPrefixes,
    /// Counts the writes of this process for each key.
    pub(crate) write_versions: KeyVersions,
    pub(crate) local: Option<Store>,
    pub(crate) coherence: Arc<Coherence>,
    namespaces: Mutex<Registered>,
    longest_ttl_millis: AtomicU64,
}

/// The namespaces in use.
#[derive(Default)]
struct Registered {
    next_id: u32,
    namespaces: Vec<Registration>,
}

struct Registration {
    name: Arc<str>,
    /// The prefix, if it is tracked.
    tracked: Option<String>,
    /// Dropped with the namespace.
    counters: Weak<Counters>,
}

/// A namespace to register.
pub(crate) struct NewNamespace<'a> {
    pub(crate) name: &'a Arc<str>,
    pub(crate) prefix: &'a str,
    pub(crate) is_tracked: bool,
    pub(crate) ttl: Duration,
}

impl Shared {
    /// Starts the background tasks on the current Tokio runtime.
    pub(crate) fn start(settings: Settings) -> Result<Arc<Self>, ConfigError> {
        let runtime = Handle::try_current().map_err(|_| ConfigError::NoRuntime)?;
        let server = settings.url.as_deref().map(Server::parse).transpose()?;
        let invalidated = Invalidated::by(server.as_ref(), &settings);
        let link = server.map(|server| Link::start(server, &settings, &invalidated, runtime));
        let Invalidated { pending, coherence } = invalidated;
        Ok(Arc::new(Self {
            link,
            pending,
            bypassed: BypassedPrefixes::default(),
            write_versions: KeyVersions::new(),
            local: settings.memory.map(Store::new),
            coherence,
            namespaces: Mutex::default(),
            longest_ttl_millis: AtomicU64::new(0),
            settings,
        }))
    }

    /// Registers a namespace, and returns its id and counters.
    pub(crate) fn register(
        &self,
        new: &NewNamespace<'_>,
    ) -> Result<(u32, Arc<Counters>), OverlappingPrefix> {
        let counters = Arc::new(Counters::default());
        let mut registered = lock(&self.namespaces);
        registered
            .namespaces
            .retain(|namespace| namespace.counters.strong_count() > 0);
        if new.is_tracked {
            self.track(&registered, new.prefix)
                .map_err(|other| OverlappingPrefix {
                    namespace: new.name.to_string(),
                    prefix: new.prefix.to_owned(),
                    other,
                })?;
        }
        let id = registered.next_id;
        registered.next_id += 1;
        registered.namespaces.push(Registration {
            name: Arc::clone(new.name),
            tracked: new.is_tracked.then(|| new.prefix.to_owned()),
            counters: Arc::downgrade(&counters),
        });
        let ttl = u64::try_from(new.ttl.as_millis()).unwrap_or(u64::MAX);
        self.longest_ttl_millis.fetch_max(ttl, Ordering::Relaxed);
        Ok((id, counters))
    }

    /// Tracks a prefix. One whose namespace was dropped is still tracked, and may be used again.
    fn track(&self, registered: &Registered, prefix: &str) -> Result<(), String> {
        let mut in_use = registered.namespaces.iter().flat_map(|one| &one.tracked);
        if in_use.any(|other| other == prefix) {
            return Err(prefix.to_owned());
        }
        if self.coherence.has_prefix(prefix) {
            return Ok(());
        }
        self.coherence.add_prefix(prefix)
    }

    /// The statistics of the namespaces in use.
    pub(crate) fn namespaces(&self) -> Vec<NamespaceStats> {
        let registered = lock(&self.namespaces);
        let namespaces = registered.namespaces.iter();
        namespaces
            .filter_map(|one| Some(one.counters.upgrade()?.snapshot(Arc::clone(&one.name))))
            .collect()
    }

    /// Whether a shared level is configured.
    pub(crate) fn has_shared_level(&self) -> bool {
        self.link.is_some()
    }

    /// Whether keys may be on several servers.
    pub(crate) fn is_cluster(&self) -> bool {
        matches!(self.link, Some(Link::Cluster(_)))
    }

    /// The connection for the commands of a key, unless its circuit breaker is open.
    pub(crate) fn connection(&self, key: &str) -> Option<Arc<Connection>> {
        self.link.as_ref()?.connection(key)
    }

    /// The connections to all servers, if each of them is available and no key moves between them.
    pub(crate) fn connections(&self) -> Option<Vec<Arc<Connection>>> {
        self.link.as_ref()?.connections()
    }

    /// The availability of the shared level.
    pub(crate) fn shared_level(&self) -> SharedLevel {
        match &self.link {
            None => SharedLevel::Off,
            Some(link) if link.is_up() => SharedLevel::Up,
            Some(_) => SharedLevel::Down,
        }
    }

    /// The number of times that a circuit breaker has opened.
    pub(crate) fn openings(&self) -> u64 {
        self.link.as_ref().map_or(0, Link::openings)
    }

    /// The number of times that keys may have got another server, which may lack changes.
    pub(crate) fn losses(&self) -> u64 {
        self.link.as_ref().map_or(0, Link::losses)
    }

    /// The number of times that a slot of a cluster got another node.
    pub(crate) fn slot_changes(&self) -> u64 {
        self.link.as_ref().map_or(0, Link::slot_changes)
    }

    /// Learns whether keys are moving between the servers now, or have since the last time.
    pub(crate) async fn learn_slots(&self) -> Result<(), CommandError> {
        mutant!(SlotsNotLearnt => return Ok(()));
        match &self.link {
            Some(link) => link.learn_slots().await,
            None => Ok(()),
        }
    }

    /// Whether client tracking is needed.
    pub(crate) fn is_tracked(&self) -> bool {
        self.local.is_some() && self.link.is_some() && self.coherence.has_prefixes()
    }

    /// The state of client tracking.
    pub(crate) fn tracking(&self) -> Tracking {
        if !self.is_tracked() {
            return Tracking::Off;
        }
        match self.coherence.age() {
            Some(age) if self.coherence.is_live(Moment::now()) => Tracking::Up(age),
            _ => Tracking::Down,
        }
    }

    /// The longest time that a value which was loaded before now may stay in the shared level.
    pub(crate) fn longest_lifetime(&self) -> Duration {
        let ttl = Duration::from_millis(self.longest_ttl_millis.load(Ordering::Relaxed));
        ttl + self.settings.lease
    }

    /// The observer's guard of a command.
    pub(crate) fn command(&self, name: &'static str) -> Option<Box<dyn Any + Send + Sync>> {
        self.settings.observer.0.as_ref()?.command(name)
    }

    /// Spawns a task on behalf of the current call.
    pub(crate) fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.settings.observer.spawn(task)
    }
}
