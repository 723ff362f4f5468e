//! Reads of several keys.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tiercache::{Cache, Failure, Json, Namespace};
use tokio::sync::watch;

use crate::support::{
    DbError, Fixture, MEMORY, foreign_marker, long_timeouts, wait_for_tracking, wait_until,
};

type Table = Namespace<u64, Option<String>, DbError>;
type Rows = HashMap<u64, String>;

fn table(cache: &Cache) -> Table {
    cache.namespace("test:many:", Json).build().unwrap()
}

fn row(id: u64) -> String {
    format!("row {id}")
}

/// Loads the rows with even ids, and records the ids of each call.
#[derive(Clone, Default)]
struct Loads(Arc<Mutex<Vec<Vec<u64>>>>);

impl Loads {
    fn loader(
        &self,
    ) -> impl Fn(Vec<u64>) -> BoxFuture<'static, Result<Rows, DbError>> + Send + Sync + 'static
    {
        let loads = self.clone();
        move |mut ids| {
            ids.sort_unstable();
            loads.0.lock().unwrap().push(ids.clone());
            let even = ids.into_iter().filter(|id| id % 2 == 0);
            let rows = even.map(|id| (id, row(id))).collect();
            async { Ok(rows) }.boxed()
        }
    }

    fn calls(&self) -> Vec<Vec<u64>> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

fn even(ids: impl IntoIterator<Item = u64>) -> Rows {
    let even = ids.into_iter().filter(|id| id % 2 == 0);
    even.map(|id| (id, row(id))).collect()
}

#[limited::test]
async fn missing_keys_are_loaded_together_and_absent_rows_are_cached_too() {
    let fixture = Fixture::with(|url| Cache::builder(url).memory(MEMORY)).await;
    let (rows, loads) = (table(&fixture.cache), Loads::default());
    wait_for_tracking(&fixture.cache).await;
    let found = limited::waiting("many rows", rows.get_many([1, 2, 3, 4, 4], loads.loader())).await;
    assert_eq!(found.unwrap(), even(1..=4));
    assert_eq!(loads.calls(), [vec![1, 2, 3, 4]]);
    // The first read stored them in the shared level, this one in the local one.
    let found = limited::waiting("many rows", rows.get_many(1..=6, loads.loader())).await;
    assert_eq!(found.unwrap(), even(1..=6));
    assert_eq!(loads.calls(), [vec![5, 6]]);
    let found = limited::waiting("many rows", rows.get_many(1..=4, loads.loader())).await;
    assert_eq!(found.unwrap(), even(1..=4));
    assert!(loads.calls().is_empty());
    let stats = &fixture.cache.stats().namespaces[1];
    assert_eq!(
        (stats.loads, stats.fills, stats.hits, stats.local_hits),
        (2, 6, 4, 4)
    );
    assert_eq!(
        limited::waiting("a peek", rows.peek(&2)).await,
        Some(Some(row(2)))
    );
    assert_eq!(limited::waiting("a peek", rows.peek(&3)).await, Some(None));
}

/// Takes a second or so: a thousand keys.
#[limited::test]
async fn many_keys_are_read_in_few_round_trips() {
    let fixture = Fixture::new().await;
    let replica = fixture.replica(long_timeouts).await;
    let (rows, loads) = (table(&replica.cache), Loads::default());
    for _ in 0..2 {
        let found = limited::waiting("many rows", rows.get_many(0..1_000, loads.loader())).await;
        assert_eq!(found.unwrap(), even(0..1_000));
    }
    assert_eq!(loads.calls().len(), 1);
    // With a delay of 10 ms each way, 1,000 separate commands would take 20 s.
    let delay = Duration::from_millis(10);
    replica.proxy.set_both(devstack::Mode::Delay(delay));
    let found = limited::within(
        delay * 100,
        "a thousand keys",
        rows.get_many(0..1_000, loads.loader()),
    );
    assert_eq!(found.await.unwrap(), even(0..1_000));
    assert!(loads.calls().is_empty());
}

#[limited::test]
async fn concurrent_reads_share_the_loads_of_their_common_keys() {
    let fixture = Fixture::new().await;
    let (rows, loads) = (table(&fixture.cache), Loads::default());
    let (open, opened) = watch::channel(false);
    let load = loads.loader();
    let blocking = move |ids: Vec<u64>| {
        let (loading, mut opened) = (load(ids), opened.clone());
        async move {
            opened.wait_for(|open| *open).await.unwrap();
            loading.await
        }
    };
    let first = tokio::spawn({
        let rows = rows.clone();
        async move { limited::waiting("many rows", rows.get_many([1, 2], blocking)).await }
    });
    wait_until("the first load", async || {
        !loads.0.lock().unwrap().is_empty()
    })
    .await;
    let requests = async {
        let single = loads.loader();
        let one = async move || Ok(single(vec![2]).await?.remove(&2));
        let (both, one) = tokio::join!(rows.get_many([2, 4], loads.loader()), rows.get(&2, one));
        assert_eq!(both.unwrap(), even([2, 4]));
        assert_eq!(one.unwrap(), Some(row(2)));
    };
    let release = async {
        wait_until("the others", async || {
            fixture.cache.stats().namespaces[1].queued == 2
        })
        .await;
        open.send(true).unwrap();
    };
    tokio::join!(requests, release);
    assert_eq!(first.await.unwrap().unwrap(), even([1, 2]));
    // Key 2 was loaded once: its fill serves those that came during its load.
    let mut calls = loads.calls();
    calls.sort();
    assert_eq!(calls, [vec![1, 2], vec![4]]);
}

#[limited::test]
async fn a_failed_load_releases_its_leases_and_fails_every_missing_key() {
    let fixture = Fixture::new().await;
    let (rows, loads) = (table(&fixture.cache), Loads::default());
    let failing = |_| async { Err(DbError::Unavailable) };
    let error = limited::waiting("many rows", rows.get_many([1, 2], failing))
        .await
        .unwrap_err();
    assert_eq!(error, Failure::Failed(Arc::new(DbError::Unavailable)));
    let panicking = |_| async { panic!("on purpose") };
    let error = limited::waiting("many rows", rows.get_many([1, 2], panicking))
        .await
        .unwrap_err();
    assert_eq!(error, Failure::Panicked);
    for id in [1, 2] {
        assert_eq!(fixture.raw.get(rows.key(&id).as_str()).await, None);
    }
    let found = limited::waiting("many rows", rows.get_many([1, 2], loads.loader())).await;
    assert_eq!(found.unwrap(), even([1, 2]));
}

/// A write of one key during the load of several refuses the fill of that key only.
#[limited::test]
async fn each_key_keeps_its_own_lease_and_fence() {
    let fixture = Fixture::new().await;
    let (rows, loads) = (table(&fixture.cache), Loads::default());
    fixture.raw.set("test:many:4", foreign_marker(b'\n')).await;
    let (raw, load) = (fixture.raw.clone(), loads.loader());
    let written = move |ids| {
        let (raw, loading) = (raw.clone(), load(ids));
        async move {
            raw.set("test:many:2", foreign_marker(b'\n')).await;
            loading.await
        }
    };
    let found = limited::waiting("many rows", rows.get_many([2, 4, 6], written)).await;
    assert_eq!(found.unwrap(), even([2, 4, 6]));
    let left = async |id| fixture.raw.get(rows.key(&id).as_str()).await.unwrap();
    for id in [2, 4] {
        assert_eq!(left(id).await, foreign_marker(b'\n'));
    }
    assert_eq!(left(6).await, br#""row 6""#);
}

/// Two processes read overlapping keys: neither waits for the other before it loads its own.
#[limited::test]
async fn keys_that_another_process_is_loading_do_not_delay_the_others() {
    let patient = |url| long_timeouts(url).lease_wait(Duration::from_secs(10));
    let fixture = Fixture::with(patient).await;
    let replica = fixture.replica(patient).await;
    let (here, there, loads) = (
        table(&fixture.cache),
        table(&replica.cache),
        Loads::default(),
    );
    let (open, opened) = watch::channel(false);
    let blocking = || {
        let (load, opened) = (loads.loader(), opened.clone());
        move |ids: Vec<u64>| {
            let (loading, mut opened) = (load(ids), opened.clone());
            async move {
                opened.wait_for(|open| *open).await.unwrap();
                loading.await
            }
        }
    };
    let calls = async |count| {
        wait_until("the loads", async || loads.0.lock().unwrap().len() == count).await;
    };
    let first = async {
        let found = limited::waiting("many rows", here.get_many([2, 4], blocking())).await;
        assert_eq!(found.unwrap(), even([2, 4]));
    };
    let second = async {
        calls(1).await;
        let found = limited::waiting("many rows", there.get_many([4, 6], blocking())).await;
        assert_eq!(found.unwrap(), even([4, 6]));
    };
    let release = async {
        calls(2).await;
        open.send(true).unwrap();
    };
    tokio::join!(first, second, release);
    assert_eq!(loads.calls(), [vec![2, 4], vec![6]]);
}

/// 400 reads of overlapping keys: no key is loaded more than once.
#[limited::test(worker_threads = 2)]
async fn a_stampede_on_overlapping_keys_loads_each_once() {
    let fixture = Fixture::with(long_timeouts).await;
    let (rows, loads) = (table(&fixture.cache), Loads::default());
    let requests = (0..400_u64).map(|i| {
        let (rows, load) = (rows.clone(), loads.loader());
        tokio::spawn(async move {
            limited::waiting("many rows", rows.get_many(i % 20..i % 20 + 10, load)).await
        })
    });
    for (i, found) in join_all(requests).await.into_iter().enumerate() {
        let first = i as u64 % 20;
        assert_eq!(found.unwrap().unwrap(), even(first..first + 10));
    }
    let mut loaded = loads.calls().concat();
    let count = loaded.len();
    loaded.sort_unstable();
    loaded.dedup();
    assert_eq!((count, loaded.len()), (29, 29));
}
