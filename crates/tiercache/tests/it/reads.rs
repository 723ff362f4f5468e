//! Reading: hits, misses, what cannot be used, what others are doing.

use std::time::Duration;

use tiercache::{Cache, Failure, Settings, SharedLevel};

use crate::support::{
    DbError, Gate, KEY, NAME, Stage, begin, cache, foreign_marker, loaded, no_load, patient,
    payload, quickly, shared, spec, until,
};

#[tokio::test]
async fn a_miss_loads_and_then_the_loader_is_left_alone() {
    let stage = Stage::new().await;
    assert_eq!(stage.get().await, loaded(0));
    assert_eq!(stage.get().await, shared(0));
    assert_eq!(stage.database.loads(), 1);
    let stats = stage.stats();
    assert_eq!(
        (
            stats.name,
            stats.requests,
            stats.hits,
            stats.loads,
            stats.fills
        ),
        ("row", 2, 1, 1, 1)
    );
}

#[tokio::test]
async fn an_entry_of_another_program_is_served() {
    let stage = Stage::new().await;
    stage.raw.set(KEY, " {\"v\": 41, \"more\": null} ").await;
    assert_eq!(stage.get().await, shared(41));
    assert_eq!(stage.database.loads(), 0);
}

#[tokio::test]
async fn an_entry_that_cannot_be_used_is_replaced() {
    let stage = Stage::new().await;
    let almost_a_lease = [b"null\t", &[b'x'; 64][..]].concat();
    let unusable: [&[u8]; 8] = [
        b"",
        b"{\"v\":",
        b"[1]",
        b"{\"v\":\"1\"}",
        b"\xff\xfe",
        b"null ",
        b"null\n",
        &almost_a_lease,
    ];
    for (i, poison) in unusable.into_iter().enumerate() {
        stage.raw.set(KEY, poison).await;
        assert_eq!(stage.get().await, loaded(0));
        assert_eq!(stage.raw.get(KEY).await.unwrap(), payload(0));
        assert_eq!(stage.stats().rejected, i as u64 + 1);
    }
}

#[tokio::test]
async fn a_key_of_another_type_is_replaced() {
    let stage = Stage::new().await;
    stage
        .raw
        .run::<()>(&[b"HSET", KEY.as_bytes(), b"a", b"b"])
        .await;
    assert_eq!(stage.get().await, loaded(0));
    assert_eq!(stage.get().await, shared(0));
    assert_eq!(stage.stats().rejected, 1);
}

#[tokio::test]
async fn an_error_is_not_stored_and_leaves_no_lease() {
    let stage = Stage::new().await;
    for error in [DbError::NoRow, DbError::Away] {
        let answer = stage.rows.get_or_load(NAME, async move || Err(error)).await;
        assert_eq!(answer, Err(Failure::Failed(error)));
        assert_eq!(stage.raw.get(KEY).await, None);
    }
    assert_eq!(stage.get().await, loaded(0));
    assert_eq!(stage.stats().load_failures, 2);
}

#[tokio::test]
async fn a_panic_reaches_its_requests_and_nobody_else() {
    let stage = Stage::new().await;
    let in_the_future = stage
        .rows
        .get_or_load(NAME, async || panic!("on purpose"))
        .await;
    assert_eq!(in_the_future, Err(Failure::Panicked));
    let in_the_call = begin(&stage.rows, || panic!("on purpose"));
    let companion = begin(&stage.rows, no_load);
    assert_eq!(in_the_call.await.unwrap(), Err(Failure::Panicked));
    assert_eq!(companion.await.unwrap(), Err(Failure::Panicked));
    assert_eq!(stage.raw.get(KEY).await, None, "no lease is left behind");
    assert_eq!(stage.get().await, loaded(0));
}

#[tokio::test]
async fn a_panic_while_encoding_does_not_block_the_key() {
    let stage = Stage::new().await;
    let mut spec = spec(Duration::from_secs(9));
    spec.encode = |version| {
        if *version == 0 {
            panic!("on purpose")
        } else {
            payload(*version)
        }
    };
    let rows = stage.cache.namespace(spec).unwrap();
    assert_eq!(
        rows.get_or_load(NAME, async || Ok(0)).await,
        Err(Failure::Panicked)
    );
    // The lease is left until it expires; nothing else is.
    stage.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
    let next = rows.get_or_load(NAME, async || Ok(1));
    assert_eq!(quickly(next).await, loaded(1));
}

#[tokio::test]
async fn a_thousand_misses_at_once_are_one_load() {
    let stage = Stage::new().await;
    let requests: Vec<_> = (0..1000)
        .map(|_| begin(&stage.rows, stage.database.loader()))
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap(), loaded(0));
    }
    assert_eq!(stage.database.loads(), 1);
}

#[tokio::test]
async fn a_thousand_misses_on_two_replicas_are_one_load() {
    let stage = Stage::with(|url| Settings {
        lease_wait: Duration::from_secs(10),
        ..patient(url)
    })
    .await;
    let neighbour = stage
        .neighbour(|url| Settings {
            lease_wait: Duration::from_secs(10),
            ..patient(url)
        })
        .await;
    let requests: Vec<_> = (0..1000)
        .map(|i| {
            if i % 2 == 0 {
                &stage.rows
            } else {
                &neighbour.rows
            }
        })
        .map(|rows| begin(rows, stage.database.loader()))
        .collect();
    for request in requests {
        assert_eq!(request.await.unwrap().unwrap().value, 0);
    }
    assert_eq!(stage.database.loads(), 1);
}

#[tokio::test]
async fn whoever_hangs_up_cancels_nothing_for_the_others() {
    let stage = Stage::new().await;
    let database = stage.database.clone();
    let (mut gate, load) = Gate::after(move || Ok(database.select()));
    let leader = begin(&stage.rows, load);
    let companion = begin(&stage.rows, no_load);
    gate.entered().await;
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    gate.open();
    assert_eq!(companion.await.unwrap(), loaded(0));
    assert_eq!(stage.get().await, shared(0));
}

#[tokio::test]
async fn nothing_is_loaded_for_nobody() {
    let stage = Stage::new().await;
    begin(&stage.rows, no_load).abort();
    // The lane is empty again when its flight is over and its lease given back.
    until("the flight is over", async || {
        stage.stats().fetches == 1 && stage.raw.get(KEY).await.is_none()
    })
    .await;
    assert_eq!(stage.stats().loads, 0);
    assert_eq!(stage.get().await, loaded(0));
}

#[tokio::test]
async fn a_dead_holder_of_a_lease_holds_readers_up_for_a_moment_only() {
    let stage = Stage::with(|url| Settings {
        lease_wait: Duration::from_millis(30),
        ..patient(url)
    })
    .await;
    let lease = foreign_marker(b'\t');
    stage.raw.set(KEY, &lease).await;
    assert_eq!(stage.get().await, loaded(0));
    assert_eq!(
        stage.raw.get(KEY).await.unwrap(),
        lease,
        "and they fill nothing"
    );
    assert_eq!(stage.stats().leases_met, 1);
}

#[tokio::test]
async fn what_another_replica_is_loading_is_waited_for() {
    let stage = Stage::with(|url| Settings {
        lease_wait: Duration::from_secs(10),
        ..patient(url)
    })
    .await;
    stage.raw.set(KEY, foreign_marker(b'\t')).await;
    let request = begin(&stage.rows, no_load);
    until("the lease is met", async || stage.stats().leases_met == 1).await;
    stage.raw.set(KEY, payload(5)).await;
    assert_eq!(request.await.unwrap(), shared(5));
}

#[tokio::test]
async fn a_lease_that_is_given_back_is_taken_over() {
    let stage = Stage::with(|url| Settings {
        lease_wait: Duration::from_secs(10),
        ..patient(url)
    })
    .await;
    stage.raw.set(KEY, foreign_marker(b'\t')).await;
    let request = begin(&stage.rows, stage.database.loader());
    until("the lease is met", async || stage.stats().leases_met == 1).await;
    stage.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
    assert_eq!(request.await.unwrap(), loaded(0));
    assert_eq!(stage.get().await, shared(0));
}

#[tokio::test]
async fn behind_a_fence_nothing_is_filled() {
    let stage = Stage::new().await;
    let fence = foreign_marker(b'\n');
    stage.raw.set(KEY, &fence).await;
    assert_eq!(stage.get().await, loaded(0));
    assert_eq!(stage.raw.get(KEY).await.unwrap(), fence);
    assert_eq!(stage.stats().fences_met, 1);
}

#[tokio::test]
async fn a_lease_that_was_lost_fills_nothing() {
    let stage = Stage::new().await;
    for found in [
        foreign_marker(b'\t'),
        foreign_marker(b'\n'),
        b"null".to_vec(),
        payload(9).to_vec(),
    ] {
        stage.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
        let (mut gate, load) = Gate::after(|| Ok(0));
        let request = begin(&stage.rows, load);
        gate.entered().await;
        stage.raw.set(KEY, &found).await;
        gate.open();
        assert_eq!(request.await.unwrap(), loaded(0));
        assert_eq!(stage.raw.get(KEY).await.unwrap(), found);
    }
    assert_eq!(stage.stats().fills_refused, 4);
}

#[tokio::test]
async fn a_ttl_of_zero_switches_caching_off() {
    let stage = Stage::new().await;
    let rows = stage.cache.namespace(spec(Duration::ZERO)).unwrap();
    stage.raw.set(KEY, payload(41)).await;
    for _ in 0..2 {
        assert_eq!(
            rows.get_or_load(NAME, stage.database.loader()).await,
            loaded(0)
        );
    }
    assert_eq!(stage.database.loads(), 2);
    assert_eq!(stage.raw.get(KEY).await.unwrap(), payload(41));
}

#[tokio::test]
async fn without_a_shared_level_there_are_still_single_flights() {
    let (cache, rows) = cache(Settings::default()).await;
    assert_eq!(cache.stats().shared_level, SharedLevel::Off);
    let (mut gate, load) = Gate::after(|| Ok(1));
    let first = begin(&rows, load);
    let companion = begin(&rows, no_load);
    gate.entered().await;
    gate.open();
    assert_eq!(first.await.unwrap(), loaded(1));
    assert_eq!(companion.await.unwrap(), loaded(1));
    assert_eq!(rows.get_or_load(NAME, async || Ok(2)).await, loaded(2));
}

#[tokio::test]
async fn a_bad_url_is_an_error_that_keeps_the_password() {
    for url in [
        "nonsense",
        "http://valkey:6379",
        "redis://:secret@host:port/0",
    ] {
        let settings = Settings {
            url: Some(url.to_owned()),
            ..Settings::default()
        };
        let error = Cache::new(settings).err().expect(url).to_string();
        assert!(!error.contains("secret"), "{error}");
    }
}

#[tokio::test]
async fn any_key_can_be_peeked_at() {
    let stage = Stage::new().await;
    assert_eq!(stage.cache.peek("other").await, None);
    stage.raw.set("other", "a traceback\n").await;
    assert_eq!(stage.cache.peek("other").await.unwrap(), "a traceback\n");
    stage.raw.set("other", "null").await;
    assert_eq!(stage.cache.peek("other").await, None);
    stage.raw.run::<()>(&[b"RPUSH", b"list", b"x"]).await;
    assert_eq!(stage.cache.peek("list").await, None);
}
