//! The push messages of a tracking connection.

use std::sync::Arc;

use redis::{PushInfo, PushKind, Value};

use crate::connection::canary::Canary;
use crate::local::coherence::{Coherence, NodeId};
use crate::local::versions::KeyHash;
use crate::seams::mutant;

/// Applies the push messages of a connection.
pub(super) struct Receiver {
    pub(super) coherence: Arc<Coherence>,
    pub(super) node: NodeId,
    pub(super) id: u64,
    pub(super) canary: Arc<Canary>,
}

impl Receiver {
    /// Applies a push message. The connection's task calls it in the order of arrival.
    pub(super) fn apply(&self, push: &PushInfo) {
        let coherence = &self.coherence;
        mutant!(PushIgnored => return);
        match (&push.kind, push.data.as_slice()) {
            (PushKind::Invalidate, [Value::Array(keys)]) => {
                for key in keys {
                    match key {
                        Value::BulkString(key) => {
                            coherence.key_changed(KeyHash::of_bytes(key));
                            self.canary.pushed(key);
                            mutant!(OneKeyOfPush => return);
                        }
                        _ => coherence.all_changed(),
                    }
                }
            }
            #[cfg(tiercache_simulation)]
            (PushKind::Invalidate, _) if crate::mutants::Mutant::FlushPushIgnored.is_active() => {}
            // FLUSHALL and FLUSHDB name no keys.
            (PushKind::Invalidate, _) => coherence.all_changed(),
            (PushKind::Disconnection, _) => coherence.lost(self.node, self.id),
            _ => {}
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::clock::Moment;

    fn push(kind: PushKind, data: Vec<Value>) -> PushInfo {
        PushInfo { kind, data }
    }

    #[limited::test(start_paused = true)]
    async fn a_push_invalidates_its_keys_and_a_flush_all_of_them() {
        let coherence = Arc::new(Coherence::new());
        coherence.set_command_server(NodeId::ONLY, Some("a".to_owned()));
        let id = coherence.connecting(NodeId::ONLY);
        coherence.set_tracking_server(NodeId::ONLY, id, Some("a".to_owned()));
        coherence.confirm(NodeId::ONLY, id, 0, Moment::now());
        let receiver = Receiver {
            coherence: Arc::clone(&coherence),
            node: NodeId::ONLY,
            id,
            canary: Arc::default(),
        };
        let keys = ["spec:MARI", "spec:LET", "spec:IRIS"].map(KeyHash::of);
        let stamps = keys.map(|key| coherence.stamp(key));
        let current = |i: usize| coherence.is_current(stamps[i], keys[i], Moment::now());
        let named = ["spec:MARI", "spec:LET"].map(|key| Value::BulkString(key.into()));
        let message = push(PushKind::Invalidate, vec![Value::Array(named.to_vec())]);
        receiver.apply(&message);
        assert_eq!([0, 1, 2].map(current), [false, false, true]);
        receiver.apply(&push(PushKind::Invalidate, vec![Value::Nil]));
        assert!(!current(2));
        receiver.apply(&push(PushKind::Disconnection, vec![]));
        assert!(!coherence.is_live(Moment::now()));
    }
}
