//! Entries per user, experiments, TTLs and concurrent misses.

use redis::AsyncCommands as _;

use crate::jobs::cache::{KEYS, SharedCacheFixture};

#[tokio::test]
async fn each_user_has_a_separate_cache_entry() {
    let mut fixture = SharedCacheFixture::new().await;
    let replica = fixture.replica().await;
    for (who, query) in [
        ("staff", ""),
        ("user", ""),
        ("user2", ""),
        ("staff", "&as_user=1"),
    ] {
        replica.get(&format!("/jobs?limit=3{query}"), who).await;
    }
    let lists = fixture.keys().await.into_iter();
    let lists = lists.filter(|key| key.starts_with("fia_api:jobs:list:all:"));
    // `staff` with `as_user` and `user` are both user 1234.
    assert_eq!(lists.count(), 3);
}

#[tokio::test]
async fn a_ttl_of_zero_disables_reads_and_fills() {
    let mut fixture = SharedCacheFixture::new().await;
    let off = [
        "JOB_LIST",
        "JOB_COUNT",
        "AUTH_EXPERIMENTS",
        "GITHUB_PACKAGES",
    ]
    .map(|name| format!("{name}_CACHE_TTL_SECONDS"));
    let off: Vec<(&str, &str)> = off.iter().map(|name| (name.as_str(), "0")).collect();
    let replica = fixture.replica_with(&off).await;
    for path in ["/jobs?limit=3", "/jobs/count", "/jobs/runners"] {
        assert_eq!(replica.get(path, "user").await.status, 200);
    }
    assert!(fixture.keys().await.is_empty());
    let (path, key) = KEYS[3];
    let () = fixture
        .redis
        .set_ex(key, r#"{"count": 5}"#, 15)
        .await
        .unwrap();
    assert_eq!(replica.get(path, "none").await.text(), r#"{"count":117}"#);
    let theirs = "fia_api:auth:experiments:5678";
    let () = fixture.redis.set_ex(theirs, "[1820497]", 15).await.unwrap();
    assert_eq!(replica.get("/jobs?limit=3", "user2").await.text(), "[]");
}

#[tokio::test]
async fn experiments_are_shared_and_expire_after_their_ttl() {
    let mut fixture = SharedCacheFixture::new().await;
    let replica = fixture
        .replica_with(&[
            ("AUTH_EXPERIMENTS_CACHE_TTL_SECONDS", "1"),
            ("JOB_LIST_CACHE_TTL_SECONDS", "0"),
        ])
        .await;
    let key = "fia_api:auth:experiments:1234";
    replica.get("/jobs?limit=1", "user").await;
    let stored: String = fixture.redis.get(key).await.unwrap();
    assert_eq!(stored, "[1820497,100007,100014,20024]");
    // The legacy format has spaces.
    let () = fixture
        .redis
        .set_ex(key, "[1820497, 100007]", 30)
        .await
        .unwrap();
    assert_eq!(replica.get("/job/1", "user").await.status, 200);
    let () = fixture.redis.set_ex(key, "[]", 30).await.unwrap();
    assert_eq!(replica.get("/jobs?limit=1", "user").await.text(), "[]");

    fixture.jobs.upstreams.fail("/experiments", Some(500));
    let () = fixture.redis.del(key).await.unwrap();
    assert_eq!(replica.get("/jobs?limit=1", "user").await.status, 503);
    for payload in ["{}", "[\"1\"]", "[1.5]", "5"] {
        let () = fixture.redis.set_ex(key, payload, 30).await.unwrap();
        assert_eq!(
            replica.get("/jobs?limit=1", "user").await.status,
            503,
            "{payload}"
        );
    }
    let bodies = fixture.keys().await;
    assert!(
        !bodies.iter().any(|key| key.starts_with("fia_api:jobs")),
        "{bodies:?}"
    );
}

#[tokio::test]
async fn concurrent_misses_run_one_query() {
    let fixture = SharedCacheFixture::new().await;
    let replica = fixture.replica().await;
    let requests =
        futures_util::future::join_all((0..60).map(|_| replica.get("/jobs?limit=5", "user")));
    let responses = requests.await;
    assert!(responses.iter().all(|response| response.status == 200));
    let namespaces = replica.state.cached.statistics().namespaces;
    let loads = |name: &str| {
        namespaces
            .iter()
            .find(|namespace| *namespace.name == *name)
            .unwrap()
            .loads
    };
    assert_eq!((loads("job_list"), loads("experiments")), (1, 1));
    assert_eq!(fixture.jobs.upstreams.calls("/experiments"), 1);
}
