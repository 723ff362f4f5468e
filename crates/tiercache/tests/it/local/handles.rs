//! Handles: they read what the local level would return, and hold nothing that it has not.

use crate::support::{DbError, Fixture, KEY, NAME, payload, wait_until};
use tiercache::LocalHandle;

use super::{wait_for_local_hit, warm};

fn handle(fixture: &Fixture) -> LocalHandle<u64, DbError> {
    fixture.rows.local_handle(NAME)
}

#[limited::test]
async fn a_handle_returns_the_local_value_and_counts_hits() {
    let fixture = warm().await;
    let (handle, before) = (handle(&fixture), fixture.stats().local_hits);
    for _ in 0..200 {
        assert_eq!(handle.get(), Some(fixture.database.version()));
    }
    let (clone, version) = (handle.clone(), fixture.database.version());
    assert_eq!((clone.get(), handle.get()), (Some(version), Some(version)));
    assert_eq!(fixture.stats().local_hits - before, 202);
}

#[limited::test]
async fn a_handle_returns_no_value_from_before_a_write() {
    let fixture = warm().await;
    let handle = handle(&fixture);
    for _ in 0..50 {
        assert_eq!(handle.get(), Some(fixture.database.version()));
        fixture.put().await;
        assert_eq!(handle.get(), None);
        wait_for_local_hit(&fixture).await;
    }
}

#[limited::test]
async fn a_handle_follows_changes_by_other_programs() {
    let fixture = warm().await;
    let handle = handle(&fixture);
    for value in 7..17 {
        assert!(handle.get().is_some());
        fixture.raw.set(KEY, payload(value)).await;
        wait_until("the push", async || {
            fixture.rows.peek(NAME).await == Some(value)
        })
        .await;
        wait_until("a local hit", async || {
            fixture.rows.peek(NAME).await;
            handle.get() == Some(value)
        })
        .await;
    }
}

#[limited::test]
async fn a_handle_is_empty_after_its_namespace_was_invalidated() {
    let fixture = warm().await;
    let handle = handle(&fixture);
    assert!(handle.get().is_some());
    fixture.rows.invalidate_all().await;
    assert_eq!(handle.get(), None);
}
