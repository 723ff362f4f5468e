//! What is served is held against the database.

use super::*;

// Over a second: an older server's fill is found two seconds after the write.
#[tokio::test]
async fn a_late_fill_of_an_older_server_is_found_and_cleared() {
    let stage = warm().await;
    let old = stage.raw.get(KEY).await.unwrap();
    let version = stage.put().await;
    let database = stage.database.clone();
    stage
        .rows
        .verify_after_write(NAME, move || database.loader()());
    // It had read before the write.
    stage.raw.set(KEY, old).await;
    until("the guard has seen it", async || {
        stats(&stage.cache).stale_after_write == 1
    })
    .await;
    let answer = stage.get().await.unwrap();
    assert_eq!(answer.value, version);
}

#[tokio::test]
async fn samples_are_taken_and_right() {
    let stage = warm().await;
    for _ in 0..2_100 {
        assert_eq!(stage.get().await.unwrap().value, 0);
    }
    until("two samples", async || stats(&stage.cache).samples == 2).await;
    assert_eq!(stats(&stage.cache).samples_stale, 0);
}
