//! `PgBouncer` (Debian's 1.18) in transaction mode: each transaction may get another
//! server connection, and neither named statements nor cancel requests are supported.

use std::time::{Duration, Instant};

use devstack::{PgBouncer, PgBouncerOptions};
use http::StatusCode;
use serde_json::json;

use crate::harness::{Database, Replica, eventually};

struct Pooled {
    database: Database,
    pooler: PgBouncer,
}

impl Pooled {
    async fn new() -> Self {
        let database = Database::seeded().await;
        let options = PgBouncerOptions {
            default_pool_size: 2,
            ..PgBouncerOptions::default()
        };
        let pooler = PgBouncer::start(database.server, options).await.unwrap();
        Self { database, pooler }
    }

    fn replica(&self) -> Replica {
        Replica::new(&[&self.database.vars_at(self.pooler.addr())])
    }
}

/// Two replicas share two server connections.
#[tokio::test]
async fn pooled_connections_never_mix_up_rows() {
    let pooled = Pooled::new().await;
    let replicas = [pooled.replica(), pooled.replica()];
    let client = pooled.database.client().await;
    client
        .batch_execute(
            "UPDATE instruments SET latest_run = instrument_name, \
                        live_data_script = 'script of ' || instrument_name",
        )
        .await
        .unwrap();
    let names: Vec<String> = client
        .query("SELECT instrument_name FROM instruments", &[])
        .await
        .unwrap()
        .iter()
        .map(|row| row.get(0))
        .collect();
    let requests = (0..10).flat_map(|_| &replicas).flat_map(|replica| {
        names.iter().map(move |name| async move {
            let run = replica
                .get(&format!("/instrument/{name}/latest-run"), "apikey")
                .await;
            assert_eq!(run.json(), json!({ "latest_run": name }));
            let script = replica
                .get(&format!("/live-data/{name}/script"), "none")
                .await;
            assert_eq!(script.json(), json!(format!("script of {name}")));
        })
    });
    // The highest concurrency that the pools admit without rejections.
    use futures_util::StreamExt as _;
    futures_util::stream::iter(requests)
        .buffer_unordered(16)
        .collect::<()>()
        .await;

    let path = "/live-data/MARI/script";
    for i in 0..20 {
        let script = json!({ "value": format!("{i}") });
        assert_eq!(
            replicas[i % 2].put(path, "staff", &script).await.status,
            StatusCode::OK
        );
        let read = replicas[(i + 1) % 2].get(path, "none").await;
        assert_eq!(read.json(), json!(format!("{i}")));
    }
}

/// Takes some seconds: the pool wait and statement timeouts have to elapse.
#[tokio::test]
async fn a_frozen_pooler_is_503_and_leaves_no_busy_backend() {
    let pooled = Pooled::new().await;
    let replica = pooled.replica();
    let path = "/instrument/MARI/latest-run";
    assert_eq!(replica.get(path, "apikey").await.status, StatusCode::OK);
    pooled.pooler.pause().unwrap();
    let start = Instant::now();
    let reads = futures_util::future::join_all((0..20).map(|i| {
        let path = format!("/instrument/I{i}/latest-run");
        let replica = &replica;
        async move { replica.get(&path, "apikey").await.status }
    }));
    let run = json!({ "latest_run": "lost" });
    let (reads, write) = tokio::join!(reads, replica.put(path, "apikey", &run));
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(write.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        reads
            .iter()
            .all(|status| *status == StatusCode::SERVICE_UNAVAILABLE)
    );

    pooled.pooler.resume().unwrap();
    let resumed = Instant::now();
    assert_eq!(replica.get(path, "apikey").await.status, StatusCode::OK);
    assert!(
        resumed.elapsed() < Duration::from_secs(1),
        "{:?}",
        resumed.elapsed()
    );
    let client = pooled.database.client().await;
    eventually(Duration::from_secs(6), async || {
        let busy = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                    AND pid <> pg_backend_pid() AND state <> 'idle'";
        client.query_one(busy, &[]).await.unwrap().get::<_, i64>(0) == 0
    })
    .await;
}
