use std::sync::Arc;

use loom::{model, thread};

use super::*;

/// A connection to the server that commands are sent to.
fn connecting(coherence: &Coherence) -> u64 {
    let server = || Some("a".to_owned());
    coherence.set_command_server(NodeId::ONLY, server());
    let id = coherence.connecting(NodeId::ONLY);
    coherence.set_tracking_server(NodeId::ONLY, id, server());
    id
}

/// A thread that sees tracking become live also sees that earlier stamps are invalid.
#[test]
fn a_thread_that_sees_tracking_live_sees_earlier_stamps_invalid() {
    model(|| {
        let coherence = Arc::new(Coherence::new());
        let (key, now) = (KeyHash::of("MARI"), Moment::now());
        let id = connecting(&coherence);
        let stamp = coherence.stamp(key);
        let tracker = thread::spawn({
            let coherence = Arc::clone(&coherence);
            move || coherence.confirm(NodeId::ONLY, id, 0, now)
        });
        assert!(!coherence.is_current(stamp, key, now));
        assert_eq!(tracker.join().unwrap(), Confirmation::Live);
        assert!(coherence.is_live(now) && !coherence.is_current(stamp, key, now));
    });
}

/// A heartbeat that was in flight when the connection was lost does not make it live again.
#[test]
fn a_lost_connection_stays_lost() {
    model(|| {
        let coherence = Arc::new(Coherence::new());
        let now = Moment::now();
        let id = connecting(&coherence);
        let tracker = thread::spawn({
            let coherence = Arc::clone(&coherence);
            move || coherence.confirm(NodeId::ONLY, id, 0, now)
        });
        coherence.lost(NodeId::ONLY, id);
        tracker.join().unwrap();
        assert!(!coherence.is_live(now));
    });
}
