//! Groups: entries that a write invalidates together.

mod dead_writers;
mod local;
mod races;
mod writes;

use std::convert::Infallible;
use std::time::Duration;

use tiercache::{Cache, CacheBuilder, CommitWith, Groups, Namespace, Source, codec};

use crate::support::{
    Database, DbError, Fixture, Gate, MAX_STALE, Read, Response, TTL, decode, long_timeouts,
    payload, wait_for_shared_level, wait_for_tracking,
};

/// The keys of the groups `red` and `blue`.
const RED: &str = "test:group:red";
const BLUE: &str = "test:group:blue";

/// A cache with a namespace of lists. The group of `red:1` is `red`.
#[derive(Clone)]
struct Lists {
    cache: Cache,
    groups: Groups,
    lists: Namespace<str, u64, DbError>,
}

impl Lists {
    async fn connect(builder: CacheBuilder) -> Self {
        let lists = Self::of(builder.connect().unwrap(), TTL);
        wait_for_shared_level(&lists.cache, true).await;
        wait_for_tracking(&lists.cache).await;
        lists
    }

    fn of(cache: Cache, ttl: Duration) -> Self {
        let groups = cache.groups("groups", "test:group:").unwrap();
        let lists = cache
            .namespace("test:list:", codec(|version| payload(*version), decode))
            .ttl(ttl)
            .grouped(&groups, |name: &str| {
                let (group, _) = name.split_once(':').unwrap();
                group.to_owned()
            })
            .stale_if(|error| *error == DbError::Unavailable, MAX_STALE)
            .build()
            .unwrap();
        Self {
            cache,
            groups,
            lists,
        }
    }

    /// Another cache, on the same Valkey.
    async fn on(fixture: &Fixture) -> Self {
        Self::connect(long_timeouts(fixture.valkey.url())).await
    }

    async fn get(&self, name: &str, database: &Database) -> Read {
        self.try_get(name, database.loader()).await.unwrap()
    }

    async fn try_get<F, Fut>(&self, name: &str, load: F) -> Response
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<u64, DbError>> + Send + 'static,
    {
        let found = self.lists.lookup(name, load);
        let found = limited::waiting(format!("a read of {name}"), found).await;
        let found = found.map_err(|failure| panic!("{failure:?}"))?;
        Ok(Read {
            value: found.value,
            source: found.source,
        })
    }

    /// Commits a new version in a write of a group.
    async fn write(&self, group: &str, database: &Database) {
        let (key, database) = (self.groups.key(group), database.clone());
        let write = self.cache.write(async move |write| {
            let commit = CommitWith(async move || {
                database.commit();
                Ok::<_, Infallible>(())
            });
            write.fence(commit, [key]).await.commit().await
        });
        let write = limited::waiting(format!("a write of group {group}"), write);
        write.await.unwrap();
    }

    fn outdated(&self) -> u64 {
        let stats = self.cache.stats().namespaces;
        let lists = stats.iter().find(|stats| &*stats.name == "test:list");
        lists.unwrap().outdated
    }
}

fn loaded(value: u64) -> Read {
    Read {
        value,
        source: Source::Loaded,
    }
}

fn shared(value: u64) -> Read {
    Read {
        value,
        source: Source::Shared,
    }
}

fn local(value: u64) -> Read {
    Read {
        value,
        source: Source::Local,
    }
}

#[limited::test]
async fn a_write_invalidates_every_entry_of_its_group_and_no_other() {
    let fixture = Fixture::new().await;
    let (one, other) = (Lists::on(&fixture).await, Lists::on(&fixture).await);
    let names = ["red:1", "red:2", "blue:1"];
    for name in names {
        assert_eq!(one.get(name, &fixture.database).await, loaded(0));
        assert_eq!(other.get(name, &fixture.database).await, shared(0));
    }
    one.write("red", &fixture.database).await;
    for lists in [&one, &other] {
        assert_eq!(lists.get("blue:1", &fixture.database).await, shared(0));
    }
    assert_eq!(other.get("red:1", &fixture.database).await, loaded(1));
    assert_eq!(one.get("red:1", &fixture.database).await, shared(1));
    assert_eq!(one.get("red:2", &fixture.database).await, loaded(1));
    assert_eq!((one.outdated(), other.outdated()), (1, 1));
}

#[limited::test]
async fn a_payload_ends_in_the_generation_of_its_group_as_white_space() {
    let fixture = Fixture::new().await;
    let lists = Lists::on(&fixture).await;
    lists.get("red:1", &fixture.database).await;
    let stored = fixture.raw.get("test:list:red:1").await.unwrap();
    let generation = fixture.raw.get(RED).await.unwrap();
    assert_eq!(&generation[..5], b"null\r");
    assert_eq!(stored, [&payload(0), &generation[5..]].concat());
    let as_json: serde_json::Value = serde_json::from_slice(&stored).unwrap();
    assert_eq!(as_json, serde_json::json!({"v": 0}));
    assert!(fixture.raw.pttl(RED).await > TTL);
}

#[limited::test]
async fn a_payload_of_a_program_without_groups_is_a_miss_and_is_replaced() {
    let fixture = Fixture::new().await;
    let lists = Lists::on(&fixture).await;
    lists.get("red:2", &fixture.database).await;
    fixture.raw.set("test:list:red:1", payload(7)).await;
    assert_eq!(lists.get("red:1", &fixture.database).await, loaded(0));
    assert_eq!(lists.get("red:1", &fixture.database).await, shared(0));
}

#[limited::test]
async fn a_groups_key_that_is_lost_or_damaged_makes_its_entries_misses() {
    let fixture = Fixture::new().await;
    let lists = Lists::on(&fixture).await;
    let damages: [&[&[u8]]; 4] = [
        &[b"DEL", RED.as_bytes()],
        &[b"SET", RED.as_bytes(), b"[]"],
        &[b"LPUSH", RED.as_bytes(), b"1"],
        &[b"FLUSHALL"],
    ];
    for damage in damages {
        lists.get("red:1", &fixture.database).await;
        assert_eq!(lists.get("red:1", &fixture.database).await, shared(0));
        if damage[0] == b"LPUSH" {
            fixture.raw.run::<()>(&[b"DEL", RED.as_bytes()]).await;
        }
        fixture.raw.run::<()>(damage).await;
        assert_eq!(lists.get("red:1", &fixture.database).await, loaded(0));
        assert_eq!(lists.get("red:1", &fixture.database).await, shared(0));
    }
}

#[limited::test]
async fn peek_returns_current_entries_only() {
    let fixture = Fixture::new().await;
    let lists = Lists::on(&fixture).await;
    lists.get("red:1", &fixture.database).await;
    assert_eq!(
        limited::waiting("a peek", lists.lists.peek("red:1")).await,
        Some(0)
    );
    lists.groups.invalidate("red").await;
    assert_eq!(
        limited::waiting("a peek", lists.lists.peek("red:1")).await,
        None
    );
}

#[limited::test]
async fn all_groups_are_invalidated_together() {
    let fixture = Fixture::new().await;
    let lists = Lists::on(&fixture).await;
    for name in ["red:1", "blue:1"] {
        lists.get(name, &fixture.database).await;
        assert_eq!(lists.get(name, &fixture.database).await, shared(0));
    }
    lists.groups.invalidate_all().await;
    for name in ["red:1", "blue:1"] {
        assert_eq!(lists.get(name, &fixture.database).await, loaded(0));
    }
}
