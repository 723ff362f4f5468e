//! The lifecycle of PostgreSQL: start, pause, kill, restart with its data, cleanup; its databases.

use devstack::{Postgres, shared};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

use crate::footprint::{Footprint, assert_refused};
use crate::wait::{UNRESPONSIVE_AFTER, all};

pub(crate) async fn count(client: &Client, table: &str) -> i64 {
    let counted = client
        .query_one(&format!("SELECT count(*) FROM {table}"), &[])
        .await;
    counted.unwrap().get(0)
}

#[tokio::test]
async fn data_survive_pause_kill_and_stop() {
    let postgres = Postgres::start().await.unwrap();
    let client = postgres.connect("fia").await.unwrap();
    assert_eq!(count(&client, "instruments").await, 39);

    client
        .batch_execute("CREATE TABLE kept AS SELECT 1 AS x")
        .await
        .unwrap();
    postgres.pause().unwrap();
    let frozen = tokio::time::timeout(UNRESPONSIVE_AFTER, client.query_one("SELECT 1", &[])).await;
    assert!(frozen.is_err(), "a session of a paused server responds");
    postgres.resume().unwrap();
    assert_eq!(count(&client, "kept").await, 1);

    let before = postgres.addr();
    postgres.kill();
    assert_refused(before);
    assert!(client.query_one("SELECT 1", &[]).await.is_err());
    postgres.restart().await.unwrap();
    assert_eq!(postgres.addr(), before);
    assert_eq!(
        count(&postgres.connect("fia").await.unwrap(), "kept").await,
        1
    );

    assert!(postgres.stop().await.unwrap().success());
    assert_refused(before);
    postgres.restart().await.unwrap();
    assert_eq!(
        count(&postgres.connect("fia").await.unwrap(), "kept").await,
        1
    );
}

#[tokio::test]
async fn dropping_a_paused_server_leaves_nothing() {
    let postgres = Postgres::start().await.unwrap();
    let _session = postgres.connect("fia").await.unwrap();
    let footprint = Footprint::of(postgres.server(), postgres.addr());
    assert!(footprint.pids.len() > 5, "backend processes are missing");
    let segment = shared_memory_of(&postgres);
    postgres.pause().unwrap();
    drop(postgres);
    footprint.assert_gone();
    assert!(
        !shared_memory_exists(&segment),
        "shared memory still exists"
    );
}

#[tokio::test]
async fn a_killed_server_leaves_no_shared_memory() {
    let postgres = Postgres::start().await.unwrap();
    let segment = shared_memory_of(&postgres);
    assert!(shared_memory_exists(&segment));
    let footprint = Footprint::of(postgres.server(), postgres.addr());
    postgres.kill();
    drop(postgres);
    footprint.assert_gone();
    assert!(
        !shared_memory_exists(&segment),
        "shared memory still exists"
    );
}

/// The id of the server's System V shared memory segment.
fn shared_memory_of(postgres: &Postgres) -> String {
    let file = postgres
        .server()
        .scratch()
        .run()
        .join("data/postmaster.pid");
    let text = std::fs::read_to_string(file).unwrap();
    let line = text.lines().nth(6).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

fn shared_memory_exists(id: &str) -> bool {
    let segments = std::fs::read_to_string("/proc/sysvipc/shm").unwrap();
    segments
        .lines()
        .any(|line| line.split_whitespace().nth(1) == Some(id))
}

#[tokio::test]
async fn settings_are_applied_and_invalid_ones_reported() {
    let postgres = Postgres::builder()
        .setting("max_connections", "33")
        .start()
        .await
        .unwrap();
    let client = postgres.connect("fia").await.unwrap();
    let row = client
        .query_one(
            "SELECT current_setting('server_encoding'), datcollate, current_setting('max_connections')
             FROM pg_database WHERE datname = current_database()",
            &[],
        )
        .await
        .unwrap();
    let found: Vec<String> = (0..3).map(|i| row.get(i)).collect();
    assert_eq!(found, ["UTF8", "C.UTF-8", "33"]);
    let failed = Postgres::builder()
        .setting("no_such_setting", "1")
        .start()
        .await;
    let error = failed.unwrap_err().to_string();
    assert!(error.contains("no_such_setting"), "{error}");
}

#[tokio::test]
async fn a_wrong_password_is_rejected() {
    let postgres = shared::postgres().await.unwrap();
    let wrong = postgres.url("fia").replace(":password@", ":guess@");
    let refused = tokio_postgres::connect(&wrong, NoTls).await.err().unwrap();
    assert_eq!(refused.code(), Some(&SqlState::INVALID_PASSWORD));
}

#[tokio::test]
async fn databases_are_created_from_the_template_and_dropped() {
    let postgres = shared::postgres().await.unwrap();
    let names: Vec<String> = (0..4).map(|_| shared::unique_name("copy")).collect();
    for made in all(names.iter().map(|name| postgres.create_database(name))).await {
        made.unwrap();
    }
    let first = postgres.connect(&names[0]).await.unwrap();
    let second = postgres.connect(&names[1]).await.unwrap();
    first.batch_execute("DELETE FROM jobs").await.unwrap();
    assert_eq!(count(&first, "jobs").await, 0);
    assert!(
        count(&second, "jobs").await > 100,
        "the copies are not independent"
    );

    let empty = shared::unique_name("empty");
    postgres.create_empty_database(&empty).await.unwrap();
    let tables = "pg_tables WHERE schemaname = 'public'";
    assert_eq!(
        count(&postgres.connect(&empty).await.unwrap(), tables).await,
        0
    );
    assert!(
        postgres.create_empty_database(&empty).await.is_err(),
        "a duplicate name is accepted"
    );

    postgres.drop_database(&names[0]).await.unwrap();
    assert!(
        first.query_one("SELECT 1", &[]).await.is_err(),
        "a session of a dropped database still works"
    );
}
