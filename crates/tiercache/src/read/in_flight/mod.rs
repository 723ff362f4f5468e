//! Coalescing of concurrent reads (single flight), with admission.
//!
//! Reads of one key share fetches. While a fetch is in flight, further reads wait in the key's
//! *slot*. A waiter may only get a result whose observation **began after the waiter had
//! enqueued**: otherwise a write may have returned in between, and its effect must be visible to
//! the waiter. So a read never joins an observation that has begun. Instead, a flight *admits*
//! all waiters immediately before each observation (a command, a call of the loader), and
//! delivers the result to the admitted ones. Later waiters get the next observation.
//!
//! A slot exists as long as a task serves it. Its removal and the check that nobody waits are
//! one step under the lock, so no waiter is left in a slot without a task.

mod alone;

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::local::entry::KeyRef;
pub(crate) use crate::read::in_flight::alone::LoneRead;
use crate::read::in_flight::alone::LoneReads;
use crate::read::outcome::{CachedValue, Failure};
use crate::seams::{RandomState, mutant};
use crate::sync::{Mutex, lock};

/// The result that each waiter gets.
pub(crate) type Outcome<V, E> = Result<CachedValue<V>, Failure<Arc<E>>>;

/// Loads the value from the origin.
pub(crate) type Loader<V, E> = Box<dyn FnOnce() -> BoxFuture<'static, Result<V, E>> + Send>;

/// A read that waits for a result.
pub(crate) struct Waiter<V, E> {
    pub(crate) reply: oneshot::Sender<Outcome<V, E>>,
    /// `None` once used. A flight uses one of its waiters' loaders.
    pub(crate) load: Option<Loader<V, E>>,
    /// The write version of the key when the waiter enqueued.
    pub(crate) version: u64,
}

impl<V, E> Waiter<V, E> {
    fn is_waiting(&self) -> bool {
        !self.reply.is_closed()
    }
}

type Waiters<V, E> = Vec<Waiter<V, E>>;
type Slots<V, E> = HashMap<Arc<str>, Waiters<V, E>, RandomState>;

/// The slots of a namespace, one for each key that is being fetched.
pub(crate) struct InFlight<V, E> {
    slots: Mutex<Slots<V, E>>,
    lone: LoneReads,
}

impl<V, E> InFlight<V, E> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Mutex::new(HashMap::default()),
            lone: LoneReads::new(),
        }
    }

    /// Adds a waiter to the slot of `name`. If there was no slot, the caller gets the new one and
    /// must serve it.
    pub(crate) fn enqueue(
        self: &Arc<Self>,
        name: &str,
        waiter: Waiter<V, E>,
    ) -> Option<InFlightSlot<V, E>> {
        let mut slots = lock(&self.slots);
        if let Some(waiters) = slots.get_mut(name) {
            waiters.push(waiter);
            return None;
        }
        let name: Arc<str> = name.into();
        slots.insert(Arc::clone(&name), vec![waiter]);
        Some(InFlightSlot {
            in_flight: Arc::clone(self),
            name,
            is_removed: false,
        })
    }

    /// Begins a lone read, unless this key has a fetch or too many lone reads.
    pub(crate) fn begin_alone(&self, key: KeyRef<'_>) -> Option<LoneRead<'_>> {
        let is_fetched = lock(&self.slots).contains_key(key.name);
        (!is_fetched).then(|| self.lone.begin(key.hash)).flatten()
    }

    /// Records how many waiters shared a read of a key.
    pub(crate) fn shared(&self, key: KeyRef<'_>, waiters: u64) {
        self.lone.shared(key.hash, waiters);
    }

    #[cfg(all(test, loom))]
    fn is_empty(&self) -> bool {
        lock(&self.slots).is_empty()
    }
}

/// The exclusive right to serve a slot's waiters. Dropped early (by a panic, or when the runtime
/// ends), it removes the slot, and the channels of its waiters are closed.
pub(crate) struct InFlightSlot<V, E> {
    in_flight: Arc<InFlight<V, E>>,
    name: Arc<str>,
    is_removed: bool,
}

impl<V, E> InFlightSlot<V, E> {
    /// Removes the slot if it has no waiters. Returns whether it did.
    fn remove_if_empty(&mut self) -> bool {
        let mut slots = lock(&self.in_flight.slots);
        mutant!(SlotRemovedWithWaiters => drop(slots.remove(&self.name)); self.is_removed = true; return true);
        if slots.get(&self.name).is_none_or(Vec::is_empty) {
            slots.remove(&self.name);
            self.is_removed = true;
        }
        self.is_removed
    }

    fn with_waiters<T>(&self, act: impl FnOnce(&mut Waiters<V, E>) -> T) -> Option<T> {
        lock(&self.in_flight.slots).get_mut(&self.name).map(act)
    }
}

impl<V, E> Drop for InFlightSlot<V, E> {
    fn drop(&mut self) {
        if !self.is_removed {
            // A statement of its own, so that the waiters are dropped after the lock is released.
            let removed = lock(&self.in_flight.slots).remove(&self.name);
            drop(removed);
        }
    }
}

/// The waiters of a slot while it is served: the admitted ones, and access to those in the slot.
pub(crate) struct Flight<V, E> {
    slot: InFlightSlot<V, E>,
    admitted: Waiters<V, E>,
    deferred: Waiters<V, E>,
}

impl<V: Clone, E> Flight<V, E> {
    pub(crate) fn new(slot: InFlightSlot<V, E>) -> Self {
        Self {
            slot,
            admitted: Vec::new(),
            deferred: Vec::new(),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.slot.name
    }

    /// The number of admitted waiters.
    pub(crate) fn admitted(&self) -> u64 {
        self.admitted.len() as u64
    }

    /// Ends the service of the slot if it has no waiters. Returns whether it did.
    pub(crate) fn end_if_empty(&mut self) -> bool {
        self.slot.remove_if_empty()
    }

    /// Admits all waiters of the slot. **Call it immediately before each observation.**
    pub(crate) fn admit(&mut self) {
        let admitted = &mut self.admitted;
        self.slot.with_waiters(|waiters| {
            if admitted.is_empty() {
                std::mem::swap(admitted, waiters);
            } else {
                admitted.append(waiters);
            }
        });
    }

    /// A loader of an admitted waiter; `None` if all of them have been dropped by their callers.
    pub(crate) fn take_loader(&mut self) -> Option<Loader<V, E>> {
        self.admitted.retain(Waiter::is_waiting);
        self.admitted
            .iter_mut()
            .find_map(|waiter| waiter.load.take())
    }

    /// Takes the slot's waiters of the given write version, without admitting them yet: they are
    /// admitted if an observation succeeds.
    pub(crate) fn defer(&mut self, version: u64) {
        let deferred = &mut self.deferred;
        self.slot.with_waiters(|waiters| {
            mutant!(DeferredWhateverTheyWrote => deferred.append(waiters));
            deferred.extend(waiters.extract_if(.., |waiter| waiter.version == version));
        });
    }

    pub(crate) fn admit_deferred(&mut self) {
        self.admitted.append(&mut self.deferred);
    }

    /// Returns the deferred waiters to the head of the slot.
    pub(crate) fn return_deferred(&mut self) {
        let deferred = &mut self.deferred;
        self.slot.with_waiters(|waiters| {
            deferred.append(waiters);
            std::mem::swap(deferred, waiters);
        });
    }

    /// Sends the outcome to the admitted waiters. A send fails if its caller dropped the read.
    pub(crate) fn deliver(&mut self, outcome: Outcome<V, E>) {
        let last = self.admitted.pop();
        for waiter in self.admitted.drain(..) {
            let _ = waiter.reply.send(outcome.clone());
        }
        if let Some(waiter) = last {
            let _ = waiter.reply.send(outcome);
        }
    }
}

#[cfg(all(test, loom))]
mod every_interleaving;
