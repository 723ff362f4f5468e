//! Reads that overlap a write of their group, in forced order.

use super::*;
use crate::support::{assert_marker, foreign_marker, wait_until};
use devstack::Mode;

#[limited::test]
async fn a_load_from_before_a_write_is_never_a_hit_after_it() {
    let fixture = Fixture::new().await;
    let (reader, writer) = (Lists::on(&fixture).await, Lists::on(&fixture).await);
    let database = fixture.database.clone();
    let (mut gate, load) = Gate::after(move || Ok(database.select()));
    let lists = reader.lists.clone();
    let reading =
        tokio::spawn(async move { limited::waiting("a read", lists.get("red:1", load)).await });
    gate.entered().await;
    writer.write("red", &fixture.database).await;
    gate.open();
    assert_eq!(reading.await.unwrap(), Ok(0), "it began before the write");
    // The old value was stored, under the old generation.
    let stored = fixture.raw.get("test:list:red:1").await.unwrap();
    assert!(stored.starts_with(&payload(0)));
    for lists in [&reader, &writer] {
        assert_eq!(lists.get("red:1", &fixture.database).await.value, 1);
    }
}

#[limited::test]
async fn while_a_group_is_fenced_its_values_are_loaded_but_not_stored() {
    let fixture = Fixture::new().await;
    let (reader, writer) = (Lists::on(&fixture).await, Lists::on(&fixture).await);
    reader.get("red:1", &fixture.database).await;
    let before = fixture.raw.get("test:list:red:1").await;
    let (key, raw, database) = (
        writer.groups.key("red"),
        fixture.raw.clone(),
        fixture.database.clone(),
    );
    let (mut gate, commit) = Gate::after(move || {
        database.commit();
        Ok::<_, Infallible>(())
    });
    let cache = writer.cache.clone();
    let writing = tokio::spawn(async move {
        let write = cache
            .write(async move |write| write.fence(CommitWith(commit), [key]).await.commit().await);
        write.await.unwrap();
    });
    gate.entered().await;
    assert_marker(&raw.get(RED).await, b'\n');
    for name in ["red:1", "red:3"] {
        assert_eq!(reader.get(name, &fixture.database).await, loaded(1));
    }
    assert_eq!(fixture.raw.get("test:list:red:1").await, before);
    assert_eq!(fixture.raw.get("test:list:red:3").await, None);
    gate.open();
    writing.await.unwrap();
    assert_eq!(reader.get("red:1", &fixture.database).await, loaded(1));
    assert_eq!(writer.get("red:1", &fixture.database).await, shared(1));
}

/// For a key without a group, waiters of a load whose FILL is accepted get its value. A FILL
/// proves nothing about a group.
#[limited::test]
async fn a_read_that_begins_after_a_write_does_not_get_the_value_of_a_load_from_before() {
    let fixture = Fixture::new().await;
    let (reader, writer) = (Lists::on(&fixture).await, Lists::on(&fixture).await);
    let database = fixture.database.clone();
    let (mut gate, load) = Gate::after(move || Ok(database.select()));
    let lists = reader.lists.clone();
    let before =
        tokio::spawn(async move { limited::waiting("a read", lists.get("red:1", load)).await });
    gate.entered().await;
    writer.write("red", &fixture.database).await;
    let (lists, load) = (reader.lists.clone(), fixture.database.loader());
    let mut after =
        Box::pin(async move { limited::waiting("a read", lists.get("red:1", load)).await });
    let waker = std::task::Waker::noop();
    let polled = after
        .as_mut()
        .poll(&mut std::task::Context::from_waker(waker));
    assert!(polled.is_pending(), "it waits for the load");
    gate.open();
    assert_eq!(before.await.unwrap(), Ok(0));
    assert_eq!(after.await, Ok(1));
}

#[limited::test]
async fn a_fence_of_another_writer_outlives_the_end_of_this_one() {
    let fixture = Fixture::new().await;
    let lists = Lists::on(&fixture).await;
    let fence = foreign_marker(b'\n');
    fixture.raw.set(RED, &fence).await;
    lists.groups.invalidate("red").await;
    assert_marker(&fixture.raw.get(RED).await, b'\n');
    assert_eq!(lists.get("red:1", &fixture.database).await, loaded(0));
    assert_eq!(fixture.raw.get("test:list:red:1").await, None);
}

#[limited::test]
async fn a_group_is_bypassed_until_its_invalidation_has_reached_valkey() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica(Cache::builder).await;
    let lists = Lists::connect(Cache::builder(replica.proxy.url()));
    let lists = lists.await;
    lists.get("red:1", &fixture.database).await;
    assert_eq!(lists.get("red:1", &fixture.database).await, shared(0));
    replica.proxy.set_both(Mode::BlackHole);
    lists.write("red", &fixture.database).await;
    assert_eq!(lists.get("red:1", &fixture.database).await, loaded(1));
    // Another key of the group that was never stored, and one of another group.
    assert_eq!(lists.get("red:2", &fixture.database).await, loaded(1));
    replica.proxy.set_both(Mode::Pass);
    wait_until("the queued invalidation", async || {
        lists.cache.is_shared_level_up() && lists.cache.stats().pending_invalidations == 0
    })
    .await;
    assert_eq!(lists.get("red:1", &fixture.database).await.value, 1);
    let other = Lists::on(&fixture).await;
    assert_eq!(other.get("red:1", &fixture.database).await.value, 1);
}

#[limited::test]
async fn an_entry_that_another_replica_refreshes_keeps_its_generation() {
    let fixture = Fixture::new().await;
    let lists = Lists::on(&fixture).await;
    let key = lists.lists.key("red:1");
    // A value of a write cannot be stored: its generation does not exist yet.
    let put = lists.lists.put("red:1", &9);
    let write = lists.cache.write(async move |write| {
        let commit = CommitWith(async || Ok::<_, Infallible>(()));
        write.fence(commit, [put]).await.commit().await
    });
    write.await.unwrap();
    assert_eq!(fixture.raw.get(key.as_str()).await.unwrap(), b"null");
    assert_eq!(fixture.raw.get(BLUE).await, None);
}
