//! Keys whose values are large. Their commands have a connection of their own, so that no other
//! command waits behind them. A key is known to be large once a large value of it was read or
//! stored, or while its reply made others wait.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Mutex;

use crate::local::coherence::ServerId;
use crate::local::versions::KeyHash;
use crate::server::Server;

/// The size in bytes from which a value is large: about 0.1 ms of a fast network.
pub(crate) const LARGE: usize = 128 << 10;
/// The number of large keys that are known. A key beyond replaces another one.
const SLOTS: usize = 4096;

/// The keys that are known to be large. It outlives connections.
#[derive(Default)]
pub(crate) struct LargeKeys {
    /// From the first large key on. Most caches have none, and hash no key for it.
    slots: OnceLock<Box<[AtomicU64]>>,
}

impl LargeKeys {
    pub(super) fn contains(&self, key: &str) -> bool {
        let hash = || KeyHash::of(key);
        let holds = |slots, key: KeyHash| slot(slots, key).load(Ordering::Relaxed) == key.bits();
        self.slots.get().is_some_and(|slots| holds(slots, hash()))
    }

    /// Records the size of a key's value.
    pub(super) fn learn(&self, key: &str, is_large: bool) {
        if is_large {
            let slots = self
                .slots
                .get_or_init(|| (0..SLOTS).map(|_| AtomicU64::new(0)).collect());
            let hash = KeyHash::of(key);
            slot(slots, hash).store(hash.bits(), Ordering::Relaxed);
        } else if let Some(slots) = self.slots.get() {
            let hash = KeyHash::of(key);
            let (relaxed, slot) = (Ordering::Relaxed, slot(slots, hash));
            // Unless another key has replaced it.
            let _ = slot.compare_exchange(hash.bits(), 0, relaxed, relaxed);
        }
    }
}

fn slot(slots: &[AtomicU64], key: KeyHash) -> &AtomicU64 {
    &slots[key.bits() as usize % SLOTS]
}

/// A connection for large values.
pub(super) struct Large<C> {
    pub(super) keys: Arc<LargeKeys>,
    pub(super) beside: Beside<C>,
}

/// A connection beside one for commands, to the same server, opened when needed.
pub(super) struct Beside<C> {
    pub(super) server: Server,
    /// The server of the connection for commands.
    pub(super) id: ServerId,
    pub(super) connection: Mutex<Option<Arc<C>>>,
}

impl<C> Beside<C> {
    pub(super) fn new(server: &Server, id: &ServerId) -> Self {
        Self {
            server: server.clone(),
            id: id.clone(),
            connection: Mutex::default(),
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_large_until_a_small_value_is_seen() {
        let (keys, key) = (LargeKeys::default(), "a");
        keys.learn(key, false);
        assert!(!keys.contains(key));
        keys.learn(key, true);
        assert!(keys.contains(key) && !keys.contains("b"));
        keys.learn("b", false);
        assert!(keys.contains(key));
        keys.learn(key, false);
        assert!(!keys.contains(key));
    }
}
