//! Lists, counts and experiments in Valkey, shared with legacy servers.

use devstack::Valkey;
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use serde_json::json;

use crate::harness::{Replica, vars};
use crate::jobs::{JobsFixture, filtered};

/// The legacy server's own test vectors: requests and their keys.
const KEYS: [(&str, &str); 6] = [
    (
        "/jobs?limit=1",
        "fia_api:jobs:list:all:8f83e474a95422571d8cab4097ac582b8c55b67ca654e5d6bff8b1d0609145c9",
    ),
    (
        "/instrument/mari/jobs?limit=2&order_by=id&order_direction=asc",
        "fia_api:jobs:list:instrument:b3bf7eded9bc8748d3c311c0261b2332f19e461933fb752281a6fbbd977357f7",
    ),
    (
        "/instrument/mari/jobs/count",
        "fia_api:jobs:count:instrument:e22c1dd7b0a39ae0ea9ac65273fa348dab68c4e2f5a3678acbdd657cd209e2d7",
    ),
    (
        "/jobs/count",
        "fia_api:jobs:count:all:cedaaad1f26f269dd47cc833fcb633307bbaaa9bc15bf36b600716bb92938f55",
    ),
    (
        "/jobs/count?filters={}",
        "fia_api:jobs:count:all:c75966b2403b0433db40c05898902c770a510d4961bc52dbdbca2885fc7e9d9d",
    ),
    (
        "/jobs/count?filters=%7B%22experiment_number_after%22:1e2%7D",
        "fia_api:jobs:count:all:ab83971ca910d3d7201eea70dd3a6503996c8a70509245a656f2777f394fd4db",
    ),
];

/// A jobs fixture with a private Valkey.
struct SharedCacheFixture {
    jobs: JobsFixture,
    valkey: Valkey,
    redis: MultiplexedConnection,
}

impl SharedCacheFixture {
    async fn new() -> Self {
        let (jobs, valkey) = tokio::join!(JobsFixture::new(), Valkey::start());
        let valkey = valkey.unwrap();
        let client = redis::Client::open(valkey.url()).unwrap();
        let redis = client.get_multiplexed_async_connection().await.unwrap();
        Self {
            jobs,
            valkey,
            redis,
        }
    }

    async fn replica_with(&self, more: &[(&str, &str)]) -> Replica {
        let url = self.valkey.url();
        let more: Vec<(&str, &str)> = [&[("VALKEY_URL", url.as_str())], more].concat();
        let replica = self.jobs.replica_with(&vars(&more));
        replica.wait_for_shared_level().await;
        replica
    }

    async fn replica(&self) -> Replica {
        self.replica_with(&[]).await
    }

    async fn keys(&mut self) -> Vec<String> {
        let mut keys: Vec<String> = self.redis.keys("*").await.unwrap();
        keys.sort();
        keys
    }
}

#[tokio::test]
async fn keys_and_payloads_match_the_legacy_format() {
    let mut fixture = SharedCacheFixture::new().await;
    let (one, other) = (fixture.replica().await, fixture.replica().await);
    for (path, key) in KEYS {
        let path = &path.replace("{}", "%7B%7D");
        let body = one.get(path, "apikey").await.text();
        let stored: String = fixture.redis.get(key).await.unwrap();
        assert_eq!(stored, body, "{path}");
        let ttl: i64 = fixture.redis.ttl(key).await.unwrap();
        assert!((14..=15).contains(&ttl), "{path}: {ttl}");
        // The other replica serves the stored entry although the table has changed.
        fixture
            .jobs
            .database
            .client()
            .await
            .execute("DELETE FROM jobs", &[])
            .await
            .unwrap();
        assert_eq!(other.get(path, "staff").await.text(), body, "{path}");
        let refill = "INSERT INTO jobs (state, inputs, owner_id, job_type, run_id) \
                      VALUES ('ERROR', '{}', 1, 'RERUN', 1)";
        fixture
            .jobs
            .database
            .client()
            .await
            .execute(refill, &[])
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn legacy_payloads_are_served_in_canonical_json() {
    let mut fixture = SharedCacheFixture::new().await;
    let replica = fixture.replica().await;
    let (path, key) = KEYS[0];
    for (payload, body) in [
        (
            r#"[{"id": 7, "title": "\u00fc", "inputs": {"x": 1e2, "y": null}}]"#,
            r#"[{"id":7,"title":"ü","inputs":{"x":100.0,"y":null}}]"#,
        ),
        ("[]", "[]"),
    ] {
        let () = fixture.redis.set_ex(key, payload, 15).await.unwrap();
        assert_eq!(replica.get(path, "apikey").await.text(), body);
    }
    let fresh = replica.get("/jobs?limit=1&x", "apikey").await;
    for payload in ["null", "{}", "[1]", "[{", r#"[{"a": NaN}]"#] {
        let () = fixture.redis.set_ex(key, payload, 15).await.unwrap();
        let response = replica.get(path, "apikey").await;
        assert_eq!(response.status, 200, "{payload}: {}", fresh.text());
        assert!(
            response.text().starts_with(r#"[{"id":"#),
            "{payload}: {}",
            response.text()
        );
        let stored: String = fixture.redis.get(key).await.unwrap();
        assert_eq!(stored, response.text(), "an invalid entry is replaced");
    }
    let (path, key) = KEYS[3];
    let () = fixture
        .redis
        .set_ex(key, r#"{"count": 5}"#, 15)
        .await
        .unwrap();
    assert_eq!(replica.get(path, "none").await.text(), r#"{"count":5}"#);
}

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
async fn responses_that_differ_from_the_legacy_server_are_not_shared() {
    let mut fixture = SharedCacheFixture::new().await;
    let replica = fixture.replica().await;
    let by_name = json!({"instrument_in": ["MARI"]});
    for (path, filters, who) in [
        ("/jobs?limit=3", &by_name, "user"),
        ("/jobs?limit=3&as_user=1", &by_name, "staff"),
        ("/jobs?limit=3", &json!({"title": "_"}), "staff"),
        (
            "/instrument/mari/jobs?limit=3",
            &json!({"filename": "%"}),
            "staff",
        ),
        ("/jobs/count", &json!({"title": "\\"}), "none"),
        ("/jobs", &json!({}), "staff"),
        ("/jobs?limit=1001", &json!({}), "staff"),
    ] {
        assert_eq!(replica.get(&filtered(path, filters), who).await.status, 200);
    }
    assert_eq!(fixture.keys().await, ["fia_api:auth:experiments:1234"]);
    for (path, who) in [
        ("/jobs?limit=3", "staff"),
        ("/instrument/mari/jobs?limit=3", "user"),
    ] {
        assert_eq!(
            replica.get(&filtered(path, &by_name), who).await.status,
            200
        );
    }
    assert_eq!(fixture.keys().await.len(), 3);
}

#[tokio::test]
async fn like_metacharacters_match_literally() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    let client = fixture.database.client().await;
    let title = "UPDATE runs SET title = $1::text WHERE id = 1";
    for (stored, search_text, found) in [
        ("100% done", "0% D", true),
        ("100x done", "0% D", false),
        ("a_b", "A_B", true),
        ("axb", "a_b", false),
        (r"a\b", r"\", true),
        ("ab", r"a\b", false),
    ] {
        client.execute(title, &[&stored]).await.unwrap();
        let path = filtered(
            "/jobs/count",
            &json!({"title": search_text, "filename": ""}),
        );
        let count = replica.get(&path, "none").await.json()["count"]
            .as_i64()
            .unwrap();
        assert_eq!(count > 0, found, "{search_text} in {stored}");
    }
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
    let classes = replica.state.cached.statistics().namespaces;
    let loads = |name| {
        classes
            .iter()
            .find(|class| class.name == name)
            .unwrap()
            .loads
    };
    assert_eq!((loads("job_list"), loads("experiments")), (1, 1));
    assert_eq!(fixture.jobs.upstreams.calls("/experiments"), 1);
}

#[tokio::test]
async fn a_large_body_is_served_but_not_cached() {
    let mut fixture = SharedCacheFixture::new().await;
    let replica = fixture.replica().await;
    let client = fixture.jobs.database.client().await;
    let large = "UPDATE jobs SET stacktrace = repeat('x', 200000)";
    client.execute(large, &[]).await.unwrap();
    let response = replica.get("/jobs?limit=10", "staff").await;
    assert!(response.body.len() > 2_000_000);
    assert!(fixture.keys().await.is_empty());
}
