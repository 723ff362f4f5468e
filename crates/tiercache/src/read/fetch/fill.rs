//! The load of a fetch, and the fill of the shared level with its value.
//!
//! **Why deferred waiters may get a filled value.** An accepted FILL proves that there was no
//! fence since the lease was acquired, so the loaded value is current *when FILL is executed*.
//! FILL is thus an observation, too, and waiters that enqueued before it was *sent* may get its
//! result. Those that enqueued between its execution and its reply may not: a whole write may
//! have happened in that time.
//!
//! **Why their write version matters.** FILL does not see a write whose fence was lost. If it
//! was a write of this replica, its version shows it.
//!
//! **Why the connection matters.** After a failover the former primary may accept a FILL for some
//! time. That proves nothing to waiters that came since this process uses the new one.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::connection::Connection;
use crate::read::fetch::{Fetch, Grant};
use crate::read::get_local::ReadSnapshot;
use crate::read::in_flight::Loader;
use crate::read::outcome::{CachedValue, Failure};
use crate::seams::Instant;
use crate::seams::mutant;

/// The begin of a load.
#[derive(Clone, Copy)]
pub(crate) struct Begin {
    snapshot: ReadSnapshot,
    at: Instant,
}

impl<V, E> Fetch<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Admits waiters to the load, which must follow immediately, and returns a loader of theirs.
    /// `None` if no waiter wants the value any more.
    pub(crate) fn begin_load(&mut self) -> Option<(Loader<V, E>, Begin)> {
        self.flight.admit();
        let load = self.flight.take_loader()?;
        let snapshot = self.snapshot();
        let at = Instant::now();
        Some((load, Begin { snapshot, at }))
    }

    /// Keeps and delivers the result of the load.
    pub(crate) async fn finish_load(
        &mut self,
        grant: Option<Grant>,
        begin: Begin,
        result: Result<V, Failure<Arc<E>>>,
    ) {
        let is_outage = result
            .as_ref()
            .is_err_and(|failure| self.namespace.is_outage(failure));
        let flag = &self.namespace.origin_unavailable;
        flag.store(is_outage, Ordering::Relaxed);
        if let Ok(value) = &result {
            let namespace = &self.namespace;
            namespace.insert_loaded(self.entry_key(), value, begin.snapshot);
        }
        match (grant, &result) {
            (Some(grant), Ok(value)) => self.fill(grant, begin, value).await,
            (Some(grant), Err(_)) => self.release(grant).await,
            (None, _) => {}
        }
        mutant!(JoinedDuringLoad => self.flight.admit());
        if is_outage {
            // An outage implies nothing about the value, so it is a valid result for all.
            self.flight.admit();
        }
        self.flight.deliver(result.map(CachedValue::loaded));
    }

    /// Whether this replica has written meanwhile. If the fence was lost, FILL would be accepted.
    fn is_written_since(&self, begin: &Begin) -> bool {
        mutant!(DeferredWhateverTheyWrote => return false);
        let hash = self.entry_key().hash;
        self.namespace.is_written_since(hash, &begin.snapshot) || self.is_pending()
    }

    /// Whether this process uses another connection for the key by now, or none.
    fn is_replaced(&self, connection: &Arc<Connection>) -> bool {
        let current = self.namespace.shared.connection(&self.key);
        current.is_none_or(|current| !Arc::ptr_eq(&current, connection))
    }

    async fn fill(&mut self, grant: Grant, begin: Begin, value: &V) {
        if self.is_written_since(&begin) || self.is_replaced(&grant.connection) {
            self.namespace.counters.fills_refused.one();
            return self.release(grant).await;
        }
        let Some((payload, ttl)) = self.namespace.to_store(self.name(), value) else {
            return self.release(grant).await;
        };
        if self.group.is_none() {
            self.flight.defer(begin.snapshot.write_version());
        }
        let payload = grant.group.tagged(payload);
        let command = self.namespace.shared.command("FILL");
        let Grant {
            connection, lease, ..
        } = grant;
        let filling = connection.fill(&self.key, &lease, &payload, ttl, self.read_timeout());
        let filled = filling.await;
        drop(command);
        match filled {
            Ok(true) => {
                self.namespace.counters.fills.one();
                mutant!(AdmittedAfterFill => self.flight.admit());
                return self.flight.admit_deferred();
            }
            Ok(false) => {
                let elapsed = begin.at.elapsed();
                self.namespace.fill_refused(self.name(), elapsed);
            }
            Err(error) => self.enqueue_release(&error, lease),
        }
        self.flight.return_deferred();
    }
}
