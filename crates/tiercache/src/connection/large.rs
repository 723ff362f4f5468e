//! Keys whose values are large. Their commands have a connection of their own, so that no other
//! command waits behind them. A key is known to be large once a large value of it was read or
//! stored, or while its reply made others wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Mutex;

use crate::local::coherence::ServerId;
use crate::local::versions::KeyHash;
use crate::server::Server;

/// The size in bytes from which a value is large: about 0.1 ms of a fast network.
pub(crate) const LARGE: usize = 128 << 10;
/// The number of large keys that are known. A key beyond replaces another one.
const SLOTS: usize = 4096;

/// The keys that are known to be large. It outlives connections.
pub(crate) struct LargeKeys(Box<[AtomicU64]>);

impl LargeKeys {
    pub(crate) fn new() -> Self {
        Self((0..SLOTS).map(|_| AtomicU64::new(0)).collect())
    }

    pub(super) fn contains(&self, key: KeyHash) -> bool {
        self.slot(key).load(Ordering::Relaxed) == key.bits()
    }

    /// Records the size of a key's value.
    pub(super) fn learn(&self, key: KeyHash, is_large: bool) {
        if is_large {
            self.slot(key).store(key.bits(), Ordering::Relaxed);
        } else if self.contains(key) {
            self.slot(key).store(0, Ordering::Relaxed);
        }
    }

    fn slot(&self, key: KeyHash) -> &AtomicU64 {
        &self.0[key.bits() as usize % SLOTS]
    }
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
        let (keys, key) = (LargeKeys::new(), KeyHash::of("a"));
        keys.learn(key, false);
        assert!(!keys.contains(key));
        keys.learn(key, true);
        assert!(keys.contains(key) && !keys.contains(KeyHash::of("b")));
        keys.learn(KeyHash::of("b"), false);
        assert!(keys.contains(key));
        keys.learn(key, false);
        assert!(!keys.contains(key));
    }
}
