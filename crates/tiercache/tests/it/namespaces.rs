//! The settings of a namespace: what is stored, for how long, and how long a load may take.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tiercache::{Cache, Failure, Json, Namespace, Source};

use crate::support::{
    DbError, Fixture, Gate, KEY, MAX_STALE, MEMORY, NAME, Rows, TTL, config, enqueue, loaded,
    local_config, wait_until, with_prefix,
};

type Optional = Namespace<u64, Option<u64>, DbError>;

fn optional(cache: &Cache) -> Optional {
    cache
        .namespace("test:optional:", Json)
        .negative_ttl(Duration::from_secs(5))
        .build()
        .unwrap()
}

#[limited::test]
async fn a_cached_none_is_a_hit_with_its_own_ttl() {
    let fixture = Fixture::new().await;
    let rows = optional(&fixture.cache);
    for expected in [Source::Loaded, Source::Shared, Source::Shared] {
        let found = limited::waiting("a read", rows.lookup(&7, async || Ok(None)))
            .await
            .unwrap();
        assert_eq!((found.value, found.source), (None, expected));
    }
    let key = rows.key(&7).to_string();
    assert_eq!(key, "test:optional:7");
    let payload = fixture.raw.get(&key).await.unwrap();
    let read: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    assert!(read.is_null(), "other programs read JSON null");
    assert!(fixture.raw.pttl(&key).await <= Duration::from_secs(5));
    rows.get(&8, async || Ok(Some(1))).await.unwrap();
    assert!(fixture.raw.pttl(rows.key(&8).as_str()).await > Duration::from_secs(5));
}

#[limited::test]
async fn a_ttl_is_exact_to_the_millisecond() {
    let fixture = Fixture::new().await;
    let rows = Rows::build(config(&fixture.cache, Duration::from_millis(70_900)));
    rows.get_or_load(NAME, fixture.database.loader())
        .await
        .unwrap();
    let left = fixture.raw.pttl(KEY).await;
    assert!(left <= Duration::from_millis(70_900), "{left:?}");
    assert!(left > Duration::from_secs(40), "{left:?}");
    let short = Duration::from_millis(900);
    let rows = Rows::build(with_prefix(&fixture.cache, "test:short:", short));
    rows.get_or_load(NAME, fixture.database.loader())
        .await
        .unwrap();
    wait_until("it to expire", async || {
        fixture.raw.get("test:short:MARI").await.is_none()
    })
    .await;
}

#[limited::test]
async fn a_payload_beyond_the_limit_is_returned_and_not_kept() {
    let events = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&events);
    let fixture = Fixture::with(move |url| {
        Cache::builder(url)
            .memory(MEMORY)
            .on_event(move |event| seen.lock().unwrap().push(format!("{event:?}")))
    })
    .await;
    // A payload is `{"v":0}`.
    let large = with_prefix(&fixture.cache, "test:large:", TTL).weight(|_| 1 << 10);
    let rows = Rows::build(large.max_payload(6));
    for _ in 0..3 {
        let response = rows.get_or_load(NAME, fixture.database.loader()).await;
        assert_eq!(response, loaded(0));
    }
    assert_eq!(fixture.raw.get("test:large:MARI").await, None);
    assert_eq!(fixture.cache.stats().namespaces[1].oversized, 3);
    let events = events.lock().unwrap();
    let oversized = r#"PayloadTooLarge { key: "test:large:MARI", bytes: 7 }"#;
    assert_eq!(events.iter().filter(|event| *event == oversized).count(), 3);
    for expected in ["SharedLevelUp", "TrackingUp"] {
        assert!(events.iter().any(|event| event == expected), "{events:?}");
    }
}

#[limited::test]
async fn a_load_beyond_its_hard_timeout_fails_and_releases_the_lease() {
    let fixture = Fixture::new().await;
    let limit = Duration::from_millis(20);
    let rows = Rows::build(config(&fixture.cache, TTL).load_timeout(limit));
    let (_gate, load) = Gate::after(|| Ok(0));
    let response = rows.get_or_load(NAME, load).await;
    assert_eq!(response, Err(Failure::TimedOut));
    assert_eq!(fixture.raw.get(KEY).await, None);
}

#[limited::test(start_paused = true)]
async fn beyond_its_soft_timeout_a_load_continues_and_the_last_known_value_is_served() {
    let cache = Cache::local_builder().memory(MEMORY).connect().unwrap();
    let soft = Duration::from_millis(30);
    let rows = Rows::build(local_config(&cache, TTL).unshared().stale_after(soft));
    rows.get_or_load(NAME, async || Ok(1)).await.unwrap();
    tokio::time::advance(TTL + MAX_STALE / 2).await;
    let (mut gate, load) = Gate::after(|| Ok(2));
    let request = enqueue(&rows, load);
    gate.entered().await;
    let response = request.await.unwrap().unwrap();
    let stale = Source::Stale {
        age: TTL + MAX_STALE / 2 + soft,
        past_ttl: MAX_STALE / 2 + soft,
    };
    assert_eq!((response.value, response.source), (1, stale));
    gate.open();
    let next = rows.get_or_load(NAME, async || Ok(3)).await.unwrap();
    assert!(next.value == 2 || next.value == 3, "{next:?}");
}

#[limited::test]
async fn invalid_settings_are_errors_that_name_the_part() {
    let second = Duration::from_secs(1);
    let cache = Cache::local_builder().memory(MEMORY).connect().unwrap();
    let rows = || with_prefix(&cache, "test:row:", second);
    for (builder, part) in [
        (with_prefix(&cache, "", second), "prefix"),
        (rows().ttl(Duration::from_nanos(1)), "ttl"),
        (rows().ttl_jitter(1.0), "ttl_jitter"),
        (rows().ttl_jitter(f64::NAN), "ttl_jitter"),
        (rows().refresh_window(0.5..0.5), "refresh_window"),
        (rows().load_timeout(second * 6), "load_timeout"),
        (rows().unshared().shared_only(), "shared_only"),
    ] {
        let error = builder.build().unwrap_err().to_string();
        let expected = format!("namespace \"row\", setting {part}: ");
        assert!(error.starts_with(&expected), "{error}");
    }
    let negative = cache.namespace::<u64, Option<u64>, DbError>("test:optional:", Json);
    let error = negative.ttl(second).negative_ttl(second * 2).build();
    let error = error.unwrap_err().to_string();
    assert!(error.contains("setting negative_ttl: "), "{error}");
    for (builder, part) in [
        (Cache::local_builder().lease(Duration::ZERO), "lease"),
        (Cache::local_builder().memory(0), "memory"),
    ] {
        let error = builder.connect().err().unwrap().to_string();
        assert!(
            error.starts_with(&format!("cache setting {part}: ")),
            "{error}"
        );
    }
}
