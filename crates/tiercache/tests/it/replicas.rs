//! Fences that wait for replicas.

use devstack::{SentinelService, Valkey};
use tiercache::Source;
use tokio::time::{Duration, Instant};

use crate::support::{
    Database, KEY, NAME, Raw, cache, loaded, local_settings, put, stats, wait_until,
};

/// Takes a second: sentinels have to find each other.
#[limited::test]
async fn a_fence_is_on_a_replica_before_commit() {
    let service = SentinelService::start_idle().await.unwrap();
    let (cache, rows) = cache(local_settings(service.url()).wait_replicas(2)).await;
    let database = Database::default();
    let committed = rows.write(NAME, Vec::new(), move |fence| async move {
        fence.raise().await;
        let mut found = Vec::new();
        for replica in &service.servers()[1..] {
            found.push(Raw::connect(replica).await.get(KEY).await);
        }
        Ok::<_, ()>((found, service))
    });
    let (found, _service) = committed.await.unwrap();
    assert_eq!(found.len(), 2);
    for fence in found {
        crate::support::assert_marker(&fence, b'\n');
    }
    assert_eq!(stats(&cache).fences_unreplicated, 0);
    assert_eq!(rows.get_or_load(NAME, database.loader()).await, loaded(0));
}

/// Without a replica a write waits for 50 ms at most, and other commands do not wait at all.
#[limited::test]
async fn a_missing_replica_delays_a_write_only_and_is_counted() {
    let valkey = Valkey::start().await.unwrap();
    let raw = Raw::connect(&valkey).await;
    let (cache, rows) = cache(local_settings(valkey.url()).wait_replicas(1)).await;
    let database = Database::default();
    let began = Instant::now();
    let version = put(&rows, &database).await;
    let elapsed = began.elapsed();
    assert!(elapsed >= Duration::from_millis(50), "{elapsed:?}");
    assert_eq!(stats(&cache).fences_unreplicated, 1);
    assert_eq!(stats(&cache).fences_unconfirmed, 0);
    let get = async |name| rows.get_or_load(name, database.loader()).await;
    assert_eq!(get(NAME).await, loaded(version));
    assert_eq!(get("LET").await, loaded(version));
    let writing = {
        let (rows, database) = (rows.clone(), database.clone());
        tokio::spawn(async move { put(&rows, &database).await })
    };
    wait_until("the wait", async || {
        let clients: String = raw.run(&[b"CLIENT", b"LIST"]).await;
        clients.contains("cmd=wait") && clients.contains("flags=b")
    })
    .await;
    let read = get("LET").await.unwrap();
    assert_ne!(read.source, Source::Loaded, "a read waited for replicas");
    writing.await.unwrap();
}
