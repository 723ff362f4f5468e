//! Lists, counts and experiments in Valkey, shared with replicas of the older server.

use devstack::Valkey;
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use serde_json::json;

use crate::harness::{Replica, vars};
use crate::jobs::{Bench, filtered};

/// Requests of the older server's own vectors, and their keys.
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

/// A bench with a Valkey and two replicas.
struct Shared {
    bench: Bench,
    valkey: Valkey,
    redis: MultiplexedConnection,
}

impl Shared {
    async fn new() -> Self {
        let (bench, valkey) = tokio::join!(Bench::new(), Valkey::start());
        let valkey = valkey.unwrap();
        let client = redis::Client::open(valkey.url()).unwrap();
        let redis = client.get_multiplexed_async_connection().await.unwrap();
        Self {
            bench,
            valkey,
            redis,
        }
    }

    async fn replica_with(&self, more: &[(&str, &str)]) -> Replica {
        let url = self.valkey.url();
        let more: Vec<(&str, &str)> = [&[("VALKEY_URL", url.as_str())], more].concat();
        let replica = self.bench.replica_with(&vars(&more));
        replica.shared_level_is_up().await;
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
async fn keys_and_payloads_are_those_of_the_older_server() {
    let mut shared = Shared::new().await;
    let (one, other) = (shared.replica().await, shared.replica().await);
    for (path, key) in KEYS {
        let path = &path.replace("{}", "%7B%7D");
        let body = one.get(path, "apikey").await.text();
        let stored: String = shared.redis.get(key).await.unwrap();
        assert_eq!(stored, body, "{path}");
        let ttl: i64 = shared.redis.ttl(key).await.unwrap();
        assert!((14..=15).contains(&ttl), "{path}: {ttl}");
        // What was stored is what the other replica serves, whatever the database says.
        shared
            .bench
            .database
            .client()
            .await
            .execute("DELETE FROM jobs", &[])
            .await
            .unwrap();
        assert_eq!(other.get(path, "staff").await.text(), body, "{path}");
        let refill = "INSERT INTO jobs (state, inputs, owner_id, job_type, run_id) \
                      VALUES ('ERROR', '{}', 1, 'RERUN', 1)";
        shared
            .bench
            .database
            .client()
            .await
            .execute(refill, &[])
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn what_a_peer_wrote_is_served_in_our_form() {
    let mut shared = Shared::new().await;
    let replica = shared.replica().await;
    let (path, key) = KEYS[0];
    for (payload, body) in [
        (
            r#"[{"id": 7, "title": "\u00fc", "inputs": {"x": 1e2, "y": null}}]"#,
            r#"[{"id":7,"title":"ü","inputs":{"x":100.0,"y":null}}]"#,
        ),
        ("[]", "[]"),
    ] {
        let () = shared.redis.set_ex(key, payload, 15).await.unwrap();
        assert_eq!(replica.get(path, "apikey").await.text(), body);
    }
    let fresh = replica.get("/jobs?limit=1&x", "apikey").await;
    for payload in ["null", "{}", "[1]", "[{", r#"[{"a": NaN}]"#] {
        let () = shared.redis.set_ex(key, payload, 15).await.unwrap();
        let answer = replica.get(path, "apikey").await;
        assert_eq!(answer.status, 200, "{payload}: {}", fresh.text());
        assert!(
            answer.text().starts_with(r#"[{"id":"#),
            "{payload}: {}",
            answer.text()
        );
        let stored: String = shared.redis.get(key).await.unwrap();
        assert_eq!(stored, answer.text(), "a poisoned entry is replaced");
    }
    let (path, key) = KEYS[3];
    let () = shared
        .redis
        .set_ex(key, r#"{"count": 5}"#, 15)
        .await
        .unwrap();
    assert_eq!(replica.get(path, "none").await.text(), r#"{"count":5}"#);
}

#[tokio::test]
async fn users_have_entries_of_their_own() {
    let mut shared = Shared::new().await;
    let replica = shared.replica().await;
    for (who, query) in [
        ("staff", ""),
        ("user", ""),
        ("user2", ""),
        ("staff", "&as_user=1"),
    ] {
        replica.get(&format!("/jobs?limit=3{query}"), who).await;
    }
    let lists = shared.keys().await.into_iter();
    let lists = lists.filter(|key| key.starts_with("fia_api:jobs:list:all:"));
    // Staff as a user is user 1234, as is the user.
    assert_eq!(lists.count(), 3);
}

#[tokio::test]
async fn what_the_older_server_answers_otherwise_stays_here() {
    let mut shared = Shared::new().await;
    let replica = shared.replica().await;
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
    assert_eq!(shared.keys().await, ["fia_api:auth:experiments:1234"]);
    for (path, who) in [
        ("/jobs?limit=3", "staff"),
        ("/instrument/mari/jobs?limit=3", "user"),
    ] {
        assert_eq!(
            replica.get(&filtered(path, &by_name), who).await.status,
            200
        );
    }
    assert_eq!(shared.keys().await.len(), 3);
}

#[tokio::test]
async fn signs_of_a_pattern_are_searched_for() {
    let bench = Bench::new().await;
    let replica = bench.replica();
    let client = bench.database.client().await;
    let title = "UPDATE runs SET title = $1::text WHERE id = 1";
    for (stored, searched, found) in [
        ("100% done", "0% D", true),
        ("100x done", "0% D", false),
        ("a_b", "A_B", true),
        ("axb", "a_b", false),
        (r"a\b", r"\", true),
        ("ab", r"a\b", false),
    ] {
        client.execute(title, &[&stored]).await.unwrap();
        let path = filtered("/jobs/count", &json!({"title": searched, "filename": ""}));
        let count = replica.get(&path, "none").await.json()["count"]
            .as_i64()
            .unwrap();
        assert_eq!(count > 0, found, "{searched} in {stored}");
    }
}

#[tokio::test]
async fn a_ttl_of_zero_stops_reads_and_fills() {
    let mut shared = Shared::new().await;
    let off = [
        "JOB_LIST",
        "JOB_COUNT",
        "AUTH_EXPERIMENTS",
        "GITHUB_PACKAGES",
    ]
    .map(|name| format!("{name}_CACHE_TTL_SECONDS"));
    let off: Vec<(&str, &str)> = off.iter().map(|name| (name.as_str(), "0")).collect();
    let replica = shared.replica_with(&off).await;
    for path in ["/jobs?limit=3", "/jobs/count", "/jobs/runners"] {
        assert_eq!(replica.get(path, "user").await.status, 200);
    }
    assert!(shared.keys().await.is_empty());
    let (path, key) = KEYS[3];
    let () = shared
        .redis
        .set_ex(key, r#"{"count": 5}"#, 15)
        .await
        .unwrap();
    assert_eq!(replica.get(path, "none").await.text(), r#"{"count":117}"#);
    let theirs = "fia_api:auth:experiments:5678";
    let () = shared.redis.set_ex(theirs, "[1820497]", 15).await.unwrap();
    assert_eq!(replica.get("/jobs?limit=3", "user2").await.text(), "[]");
}

#[tokio::test]
async fn experiments_are_shared_and_never_outlive_their_ttl() {
    let mut shared = Shared::new().await;
    let replica = shared
        .replica_with(&[
            ("AUTH_EXPERIMENTS_CACHE_TTL_SECONDS", "1"),
            ("JOB_LIST_CACHE_TTL_SECONDS", "0"),
        ])
        .await;
    let key = "fia_api:auth:experiments:1234";
    replica.get("/jobs?limit=1", "user").await;
    let stored: String = shared.redis.get(key).await.unwrap();
    assert_eq!(stored, "[1820497,100007,100014,20024]");
    // A peer's, with its spaces.
    let () = shared
        .redis
        .set_ex(key, "[1820497, 100007]", 30)
        .await
        .unwrap();
    assert_eq!(replica.get("/job/1", "user").await.status, 200);
    let () = shared.redis.set_ex(key, "[]", 30).await.unwrap();
    assert_eq!(replica.get("/jobs?limit=1", "user").await.text(), "[]");

    shared.bench.upstreams.fail("/experiments", Some(500));
    let () = shared.redis.del(key).await.unwrap();
    assert_eq!(replica.get("/jobs?limit=1", "user").await.status, 503);
    for payload in ["{}", "[\"1\"]", "[1.5]", "5"] {
        let () = shared.redis.set_ex(key, payload, 30).await.unwrap();
        assert_eq!(
            replica.get("/jobs?limit=1", "user").await.status,
            503,
            "{payload}"
        );
    }
    let bodies = shared.keys().await;
    assert!(
        !bodies.iter().any(|key| key.starts_with("fia_api:jobs")),
        "{bodies:?}"
    );
}

#[tokio::test]
async fn requests_that_come_together_are_one_statement() {
    let shared = Shared::new().await;
    let replica = shared.replica().await;
    let asked =
        futures_util::future::join_all((0..60).map(|_| replica.get("/jobs?limit=5", "user")));
    let answers = asked.await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    let classes = replica.state.cached.statistics().classes;
    let loads = |name| {
        classes
            .iter()
            .find(|class| class.class == name)
            .unwrap()
            .loads
    };
    assert_eq!((loads("job_list"), loads("experiments")), (1, 1));
    assert_eq!(shared.bench.upstreams.calls("/experiments"), 1);
}

#[tokio::test]
async fn a_large_body_is_served_and_not_stored() {
    let mut shared = Shared::new().await;
    let replica = shared.replica().await;
    let client = shared.bench.database.client().await;
    let large = "UPDATE jobs SET stacktrace = repeat('x', 200000)";
    client.execute(large, &[]).await.unwrap();
    let answer = replica.get("/jobs?limit=10", "staff").await;
    assert!(answer.body.len() > 2_000_000);
    assert!(shared.keys().await.is_empty());
}
