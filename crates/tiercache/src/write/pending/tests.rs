//! Tests of the queue of pending commands.

use super::*;

const LIFETIME: Duration = Duration::from_secs(65);

#[test]
fn only_queued_keys_are_bypassed() {
    let pending = PendingInvalidations::new(Duration::from_secs(10));
    assert!(!pending.contains("a"));
    pending.enqueue("a", None, LIFETIME);
    assert!(pending.contains("a") && !pending.contains("b"));
    assert_eq!(pending.count(), 1);
}

#[test]
fn a_confirmed_fence_is_kept_when_a_later_one_is_not_confirmed() {
    let pending = PendingInvalidations::new(Duration::from_secs(10));
    let own = FenceToken::new();
    pending.enqueue("a", Some(own.clone()), LIFETIME);
    pending.enqueue("a", None, LIFETIME);
    assert!(lock(&pending.queue).invalidations["a"].own == Some(own));
}

#[test]
fn an_invalidation_queued_during_a_flush_stays_queued() {
    let pending = PendingInvalidations::new(Duration::from_secs(10));
    pending.enqueue("a", None, LIFETIME);
    let flushed = lock(&pending.queue).invalidations["a"].serial;
    pending.enqueue("a", None, LIFETIME);
    pending.remove("a", flushed);
    assert!(pending.contains("a"));
    let flushed = lock(&pending.queue).invalidations["a"].serial;
    pending.remove("a", flushed);
    assert!(!pending.contains("a"));
}

#[limited::test(start_paused = true)]
async fn beyond_the_limit_all_keys_are_bypassed_until_their_entries_have_expired() {
    let pending = PendingInvalidations::new(Duration::from_secs(10));
    for i in 0..=MAX_INVALIDATIONS {
        pending.enqueue(&i.to_string(), None, LIFETIME);
    }
    assert_eq!(pending.count(), MAX_INVALIDATIONS);
    assert!(pending.contains("another"));
    pending.expire();
    assert!(pending.contains("another"));
    tokio::time::advance(LIFETIME).await;
    pending.expire();
    assert!(!pending.contains("another") && !pending.contains("0"));
    assert_eq!(pending.count(), 0);
}

#[limited::test(start_paused = true)]
async fn recent_invalidations_are_queued_again_and_bypass_their_keys() {
    let pending = PendingInvalidations::new(Duration::from_secs(10));
    pending.confirmed("a", LIFETIME);
    pending.confirmed("b", LIFETIME);
    assert!(!pending.contains("a"));
    pending.enqueue_recent_of(|key| key == "a");
    assert!(pending.contains("a") && !pending.contains("b"));
    pending.enqueue_recent(Instant::now());
    assert!(pending.contains("b") && !pending.contains("c"));
}

#[test]
fn queued_releases_are_bounded() {
    let pending = PendingInvalidations::new(Duration::from_secs(10));
    for _ in 0..=MAX_RELEASES {
        pending.enqueue_release("a", Lease::new());
    }
    assert_eq!(lock(&pending.queue).releases.len(), MAX_RELEASES);
}
