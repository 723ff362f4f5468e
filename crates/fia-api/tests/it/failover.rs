//! PostgreSQL that fails over, is read-only, has no connection to spare, or has another default
//! isolation.

use std::time::{Duration, Instant};

use devstack::{Postgres, shared};
use futures_util::future::join_all;
use http::{Method, StatusCode};
use serde_json::json;

use crate::harness::{Database, Replica, Response, Vars, eventually, request, upstream_vars, vars};

const LATEST_RUN: &str = "/instrument/MARI/latest-run";
/// A read that is not cached.
const JOB: &str = "/job/1";

fn address(server: &Postgres) -> String {
    format!("127.0.0.1:{}", server.port())
}

fn database_vars(hosts: &str) -> Vars {
    vars(&[
        ("DB_IP", hosts),
        ("DB_PASSWORD", Postgres::PASSWORD),
        // As many as concurrent requests: none is refused as overload.
        ("DB_POOL_SIZE", "24"),
        // Stale responses would hide the outage.
        ("CACHE_MAX_STALE_SECONDS", "0"),
    ])
}

/// Two servers with the same data, and a replica that uses the first.
struct Pair {
    first: Postgres,
    second: Postgres,
    replica: Replica,
}

impl Pair {
    async fn start() -> Self {
        let (first, second) = tokio::join!(Postgres::start(), Postgres::start());
        let (first, second) = (first.unwrap(), second.unwrap());
        let hosts = format!("{}, {}", address(&first), address(&second));
        let upstreams = shared::upstreams().await.unwrap();
        let replica = Replica::new(&[&database_vars(&hosts), &upstream_vars(upstreams)]);
        let pair = Self {
            first,
            second,
            replica,
        };
        // Fills the pool.
        pair.read_all().await;
        pair
    }

    /// 24 concurrent reads; all must be 200.
    async fn read_all(&self) {
        let reads = join_all((0..24).map(|_| self.replica.get(JOB, "staff"))).await;
        reads.iter().for_each(assert_ok);
    }

    async fn put(&self, run: &str) -> Response {
        let body = json!({ "latest_run": run });
        self.replica.put(LATEST_RUN, "staff", &body).await
    }
}

fn assert_ok(response: &Response) {
    assert_eq!(response.status, StatusCode::OK, "{}", response.text());
}

async fn latest_run(server: &Postgres) -> Option<String> {
    let client = server.connect("fia").await.unwrap();
    let sql = "SELECT latest_run FROM instruments WHERE instrument_name = 'MARI'";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn make_read_only(server: &Postgres) {
    let client = server.connect("fia").await.unwrap();
    for statement in [
        "ALTER SYSTEM SET default_transaction_read_only = on",
        "SELECT pg_reload_conf()",
    ] {
        client.batch_execute(statement).await.unwrap();
    }
    let is_read_only = async || {
        let row = client.query_one("SHOW transaction_read_only", &[]).await;
        row.unwrap().get::<_, String>(0) == "on"
    };
    eventually(Duration::from_secs(5), is_read_only).await;
}

#[tokio::test]
async fn a_killed_server_is_replaced_by_the_next_host_within_the_request() {
    let pair = Pair::start().await;
    pair.first.kill();
    pair.read_all().await;
    assert_ok(&pair.put("after").await);
    assert_eq!(latest_run(&pair.second).await.as_deref(), Some("after"));
    pair.replica.wait_until_reachable().await;
}

#[tokio::test]
async fn a_write_to_a_read_only_server_is_repeated_on_the_next_host() {
    let pair = Pair::start().await;
    let before = latest_run(&pair.first).await;
    make_read_only(&pair.first).await;
    let writes = join_all((0..4).map(|_| pair.put("moved"))).await;
    writes.iter().for_each(assert_ok);
    assert_eq!(latest_run(&pair.first).await, before);
    assert_eq!(latest_run(&pair.second).await.as_deref(), Some("moved"));

    let state = json!({"state": "SUCCESSFUL"});
    let patch = request(Method::PATCH, JOB, "staff", Some(&state));
    assert_ok(&pair.replica.send(patch).await);
}

#[tokio::test]
async fn a_new_job_is_stored_on_the_writable_host() {
    let pair = Pair::start().await;
    let client = pair.second.connect("fia").await.unwrap();
    make_read_only(&pair.first).await;
    let body = json!({
        "filename": "moved.nxs", "rb_number": "1820497", "instrument_name": "TEST", "title": "t",
        "users": "u", "run_start": "2024-01-01T00:00:00", "run_end": "2024-01-01T01:00:00",
        "good_frames": 1, "raw_frames": 2, "additional_values": {}, "runner_image": "img"
    });
    let post = request(Method::POST, "/job/autoreduction", "apikey", Some(&body));
    let created = pair.replica.send(post).await;
    assert_eq!(created.status, StatusCode::CREATED, "{}", created.text());
    let sql = "SELECT count(*) FROM runs WHERE filename = 'moved.nxs'";
    let stored: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
    assert_eq!(stored, 1);
}

#[tokio::test]
async fn terminated_connections_are_replaced_within_the_request() {
    let pair = Pair::start().await;
    let client = pair.first.connect("fia").await.unwrap();
    for _ in 0..3 {
        let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
             WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
        let terminating = client.batch_execute(terminate);
        let (terminated, ()) = tokio::join!(terminating, pair.read_all());
        terminated.unwrap();
        pair.read_all().await;
    }
}

#[tokio::test]
async fn a_server_without_a_host_to_spare_is_refused_at_once() {
    let server = Postgres::start().await.unwrap();
    let replica = Replica::new(&[&database_vars(&address(&server))]);
    assert_ok(&replica.get(JOB, "staff").await);
    server.kill();
    let begun = Instant::now();
    assert_eq!(replica.get(JOB, "staff").await.status, 503);
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
}

/// The server has five connections, one of them for the probe: requests share the others.
#[tokio::test]
async fn a_server_without_free_connections_is_waited_for() {
    let server = Postgres::builder()
        .setting("max_connections", "5")
        .setting("superuser_reserved_connections", "0")
        .setting("max_wal_senders", "0");
    let server = server.start().await.unwrap();
    let replica = Replica::new(&[&database_vars(&address(&server))]);
    // Three times as many as connections. All must be served within the wait for a connection,
    // and each attempt to open one costs the server a process and a password check.
    for _ in 0..5 {
        let reads = join_all((0..12).map(|_| replica.get(JOB, "staff"))).await;
        reads.iter().for_each(assert_ok);
    }
    let connections = replica.state.db.connections();
    assert!(connections.idle <= 5, "{connections:?}");
}

#[tokio::test]
async fn no_connection_within_the_limit_is_503() {
    let server = Postgres::builder()
        .setting("max_connections", "4")
        .setting("superuser_reserved_connections", "0")
        .setting("max_wal_senders", "0");
    let server = server.start().await.unwrap();
    let mut others = Vec::new();
    while let Ok(client) = server.connect("fia").await {
        others.push(client);
    }
    let replica = Replica::new(&[&database_vars(&address(&server))]);
    let begun = Instant::now();
    assert_eq!(replica.get(JOB, "staff").await.status, 503);
    let elapsed = begun.elapsed();
    assert!(
        elapsed > Duration::from_millis(400) && elapsed < Duration::from_secs(2),
        "{elapsed:?}"
    );
    others.clear();
    eventually(Duration::from_secs(2), async || {
        replica.get(JOB, "staff").await.status == 200
    })
    .await;
}

#[tokio::test]
async fn the_default_isolation_of_the_database_does_not_matter() {
    let database = Database::seeded().await;
    let client = database.client().await;
    let name = &database.name;
    client
        .batch_execute(&format!(
            "ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"
        ))
        .await
        .unwrap();
    let replica = Replica::new(&[&database.vars()]);
    let writes = (0..40).map(|run| {
        let body = json!({ "latest_run": run.to_string() });
        let replica = &replica;
        async move { replica.put(LATEST_RUN, "staff", &body).await }
    });
    join_all(writes).await.iter().for_each(assert_ok);
}
