//! Verification of served values against the database.

use super::*;

// Takes over a second: the fill of a legacy server is detected 2 s after the write.
#[limited::test]
async fn a_late_fill_of_a_legacy_server_is_detected_and_invalidated() {
    let fixture = warm().await;
    let old = fixture.raw.get(KEY).await.unwrap();
    let version = fixture.put().await;
    let database = fixture.database.clone();
    fixture
        .rows
        .verify_after_write(NAME, move || database.loader()());
    // The legacy server had read before the write.
    fixture.raw.set(KEY, old).await;
    wait_until("the stale fill to be detected", async || {
        stats(&fixture.cache).stale_after_write == 1
    })
    .await;
    let response = fixture.get().await.unwrap();
    assert_eq!(response.value, version);
}

#[limited::test]
async fn local_hits_are_sampled_and_match_the_database() {
    let fixture = warm().await;
    for _ in 0..2_100 {
        assert_eq!(fixture.get().await.unwrap().value, 0);
    }
    wait_until("two samples", async || stats(&fixture.cache).samples == 2).await;
    assert_eq!(stats(&fixture.cache).samples_stale, 0);
}
