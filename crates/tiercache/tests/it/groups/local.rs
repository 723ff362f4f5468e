//! Entries of groups in the local cache.

use super::*;
use crate::support::{local_settings, wait_until};

async fn local_lists(fixture: &Fixture) -> Lists {
    Lists::connect(local_settings(fixture.valkey.url())).await
}

async fn wait_for_local_hit(lists: &Lists, name: &str, database: &Database) {
    let version = database.version();
    wait_until("a local hit", async || {
        let read = lists.get(name, database).await;
        assert_eq!(read.value, version);
        read == local(version)
    })
    .await;
}

#[limited::test]
async fn a_write_invalidates_the_local_entries_of_its_group() {
    let fixture = Fixture::new().await;
    let lists = local_lists(&fixture).await;
    for _ in 0..20 {
        for name in ["red:1", "red:2", "blue:1"] {
            wait_for_local_hit(&lists, name, &fixture.database).await;
        }
        let old = fixture.database.version();
        lists.write("red", &fixture.database).await;
        for name in ["red:1", "red:2"] {
            assert_eq!(lists.get(name, &fixture.database).await.value, old + 1);
        }
        assert_eq!(lists.get("blue:1", &fixture.database).await, local(old));
        lists.groups.invalidate("blue").await;
    }
}

#[limited::test]
async fn a_write_of_another_replica_invalidates_by_its_push() {
    let fixture = Fixture::new().await;
    let (reader, writer) = (local_lists(&fixture).await, Lists::on(&fixture).await);
    wait_for_local_hit(&reader, "red:1", &fixture.database).await;
    writer.write("red", &fixture.database).await;
    wait_until("the push", async || {
        reader.get("red:1", &fixture.database).await.value == 1
    })
    .await;
    wait_for_local_hit(&reader, "red:1", &fixture.database).await;
}

/// Entries of an unshared namespace have no payload with a tag, only the group's version.
#[limited::test]
async fn an_unshared_entry_ends_with_its_group() {
    let fixture = Fixture::new().await;
    let (reader, writer) = (local_lists(&fixture).await, Lists::on(&fixture).await);
    let unshared = reader
        .cache
        .namespace::<str, u64, DbError>("unshared:", codec(|v| payload(*v), decode))
        .grouped(&reader.groups, |_| "red".to_owned())
        .unshared()
        .build()
        .unwrap();
    let read = async || {
        let load = fixture.database.loader();
        let found = limited::waiting("a read", unshared.lookup("any", load))
            .await
            .unwrap();
        (found.value, found.source)
    };
    assert_eq!(read().await, (0, Source::Loaded));
    assert_eq!(read().await, (0, Source::Local));
    writer.write("red", &fixture.database).await;
    wait_until("the push", async || read().await.0 == 1).await;
    wait_until("a local hit", async || read().await == (1, Source::Local)).await;
    reader.write("red", &fixture.database).await;
    assert_eq!(read().await.0, 2);
}

#[limited::test]
async fn groups_work_without_a_shared_level() {
    let cache = Cache::local_builder().memory(1 << 20).connect().unwrap();
    let groups = cache.groups("groups", "test:group:").unwrap();
    let lists = Lists {
        lists: cache
            .namespace::<str, u64, DbError>("test:list:", codec(|v| payload(*v), decode))
            .grouped(&groups, |_| "red".to_owned())
            .unshared()
            .build()
            .unwrap(),
        groups,
        cache,
    };
    let database = Database::default();
    assert_eq!(lists.get("any", &database).await, loaded(0));
    assert_eq!(lists.get("any", &database).await, local(0));
    lists.write("red", &database).await;
    assert_eq!(lists.get("any", &database).await, loaded(1));
}

/// A list that is marked stale is better than none while the origin is unavailable.
#[limited::test]
async fn the_last_known_value_outlives_its_generation_during_an_outage() {
    let fixture = Fixture::new().await;
    let lists = local_lists(&fixture).await;
    wait_for_local_hit(&lists, "red:1", &fixture.database).await;
    lists.write("red", &fixture.database).await;
    let outage = async || Err(DbError::Unavailable);
    let read = lists.try_get("red:1", outage).await.unwrap();
    assert!(matches!(read.source, Source::Stale { .. }), "{read:?}");
    assert_eq!(read.value, 0);
    assert_eq!(lists.get("red:1", &fixture.database).await, loaded(1));
}
