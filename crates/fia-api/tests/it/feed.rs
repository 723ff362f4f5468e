//! The change feed: changes by other clients are visible long before TTLs expire.

use std::time::Duration;

use devstack::{PgBouncer, PgBouncerOptions, Postgres};
use fia_api::app::Metrics;
use fia_api::store::{ChangeFeedStats, Db, schema};
use http::StatusCode;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::harness::{Database, Fixture, Replica, Vars, config, eventually, vars};
use crate::metrics::scrape;

/// Far below the TTLs, which are the defaults (15 s and more).
const SOON: Duration = Duration::from_secs(5);
const LIST: &str = "/live-data/instruments";
/// Selects the backend of a feed's connection.
const BACKENDS: &str = "FROM pg_stat_activity \
     WHERE datname = current_database() AND application_name = 'fia-api change feed'";

/// A fixture with the trigger installed.
async fn notifying() -> Fixture {
    let fixture = Fixture::new().await;
    install(&fixture.database).await;
    fixture
}

/// A replica with a connected feed.
async fn listening(fixture: &Fixture) -> Replica {
    let url = fixture.database.server.url(&fixture.database.name);
    let replica = fixture
        .replica_with(&vars(&[("DB_LISTEN_URL", &url)]))
        .await;
    is_up(&replica).await;
    replica
}

async fn install(database: &Database) {
    let db = Db::new(&config(&[&database.vars()]).database).unwrap();
    schema::install_change_feed(&db).await.unwrap();
}

fn feed(replica: &Replica) -> ChangeFeedStats {
    replica.state.cached.feed().unwrap()
}

async fn is_up(replica: &Replica) {
    eventually(SOON, async || feed(replica).up).await;
}

async fn body(replica: &Replica, path: &str) -> Value {
    let response = replica.get(path, "staff").await;
    assert_eq!(
        response.status,
        StatusCode::OK,
        "{path}: {}",
        response.text()
    );
    response.json()
}

/// Requests until a local hit.
async fn wait_for_local_hit(replica: &Replica, path: &str) {
    let hits = || {
        let classes = replica.state.cached.statistics().namespaces;
        classes.iter().map(|class| class.local_hits).sum::<u64>()
    };
    eventually(SOON, async || {
        let before = hits();
        body(replica, path).await;
        hits() > before
    })
    .await;
}

async fn shows(replica: &Replica, path: &str, expected: &Value) {
    eventually(SOON, async || body(replica, path).await == *expected).await;
}

/// Waits for a notification sent now. Notifications are ordered: all earlier ones have arrived.
async fn heard(replica: &Replica, client: &Client) {
    let before = feed(replica).notifications;
    client
        .batch_execute("NOTIFY fia_api_instruments, 'NOSUCH'")
        .await
        .unwrap();
    eventually(SOON, async || feed(replica).notifications > before).await;
}

#[tokio::test]
async fn changes_by_other_clients_invalidate_every_replica() {
    let fixture = notifying().await;
    let (one, other) = tokio::join!(listening(&fixture), listening(&fixture));
    let client = fixture.database.client().await;
    for (column, value, path, expected) in [
        (
            "live_data_script",
            "'x = 1'",
            "/live-data/MARI/script",
            json!("x = 1"),
        ),
        (
            "specification",
            r#"'{"a": 1}'"#,
            "/instrument/MARI/specification",
            json!({"a": 1}),
        ),
        (
            "latest_run",
            "'MARI9'",
            "/instrument/MARI/latest-run",
            json!({"latest_run": "MARI9"}),
        ),
        (
            "live_data_support",
            "NOT live_data_support",
            LIST,
            Value::Null,
        ),
    ] {
        let before = body(&one, path).await;
        wait_for_local_hit(&one, path).await;
        wait_for_local_hit(&other, path).await;
        let update =
            format!("UPDATE instruments SET {column} = {value} WHERE instrument_name = 'MARI'");
        client.batch_execute(&update).await.unwrap();
        for replica in [&one, &other] {
            if expected.is_null() {
                eventually(SOON, async || body(replica, path).await != before).await;
            } else {
                shows(replica, path, &expected).await;
            }
        }
    }
    let text = scrape(&Metrics::new(one.edge())).await;
    assert_eq!(text["fia_api_change_feed_up"], 1.0);
    assert_eq!(text["fia_api_change_feed_notifications_total"], 4.0);
    assert_eq!(text["fia_api_change_feed_reconnects_total"], 0.0);
}

#[tokio::test]
async fn inserted_renamed_and_deleted_instruments_are_invalidated() {
    let fixture = notifying().await;
    let replica = listening(&fixture).await;
    let client = fixture.database.client().await;
    let has = async |name: &str| {
        let names = body(&replica, LIST).await;
        names.as_array().unwrap().contains(&json!(name))
    };
    wait_for_local_hit(&replica, LIST).await;
    let insert = "INSERT INTO instruments (instrument_name, live_data_support, latest_run) \
                  VALUES ('NEW1', true, '7')";
    client.batch_execute(insert).await.unwrap();
    eventually(SOON, async || has("NEW1").await).await;
    let path = |name: &str| format!("/instrument/{name}/latest-run");
    wait_for_local_hit(&replica, &path("NEW1")).await;

    let rename = "UPDATE instruments SET instrument_name = 'NEW2' WHERE instrument_name = 'NEW1'";
    client.batch_execute(rename).await.unwrap();
    eventually(SOON, async || has("NEW2").await && !has("NEW1").await).await;
    eventually(SOON, async || {
        replica.get(&path("NEW1"), "apikey").await.status == StatusCode::NOT_FOUND
    })
    .await;
    wait_for_local_hit(&replica, &path("NEW2")).await;

    client
        .batch_execute("DELETE FROM instruments WHERE instrument_name = 'NEW2'")
        .await
        .unwrap();
    eventually(SOON, async || {
        replica.get(&path("NEW2"), "apikey").await.status == StatusCode::NOT_FOUND
    })
    .await;
    wait_for_local_hit(&replica, LIST).await;
    client
        .batch_execute("TRUNCATE instruments CASCADE")
        .await
        .unwrap();
    shows(&replica, LIST, &json!([])).await;
}

#[tokio::test]
async fn unchanged_values_send_no_notification_and_a_burst_is_received_whole() {
    let fixture = notifying().await;
    let replica = listening(&fixture).await;
    let client = fixture.database.client().await;
    // The legacy server writes a column even when its value is unchanged.
    let same = "UPDATE instruments SET latest_run = latest_run, specification = specification";
    client.batch_execute(same).await.unwrap();
    heard(&replica, &client).await;
    assert_eq!(feed(&replica).notifications, 1);

    let path = "/instrument/MARI/latest-run";
    wait_for_local_hit(&replica, path).await;
    let burst = "DO $$ BEGIN FOR i IN 1..5000 LOOP \
                 UPDATE instruments SET latest_run = i::text WHERE instrument_name = 'MARI'; \
                 PERFORM pg_notify('fia_api_instruments', 'OTHER' || i); \
                 COMMIT; END LOOP; END $$";
    client.batch_execute(burst).await.unwrap();
    shows(&replica, path, &json!({"latest_run": "5000"})).await;
    eventually(SOON, async || feed(&replica).notifications == 10_001).await;
    assert_eq!(feed(&replica).reconnects, 0);
}

#[tokio::test]
async fn a_terminated_connection_is_reopened_and_the_list_reloaded() {
    let fixture = notifying().await;
    let replica = listening(&fixture).await;
    let client = fixture.database.client().await;
    let before = body(&replica, LIST).await;
    for round in 1..=3 {
        wait_for_local_hit(&replica, LIST).await;
        // Without the trigger no notification is sent, as if the feed had been disconnected.
        let unheard = "BEGIN; ALTER TABLE instruments DISABLE TRIGGER USER; \
             UPDATE instruments SET live_data_support = NOT live_data_support; \
             ALTER TABLE instruments ENABLE TRIGGER USER; COMMIT";
        client.batch_execute(unheard).await.unwrap();
        let end = format!("SELECT pg_terminate_backend(pid) {BACKENDS}");
        assert_eq!(client.query(&end, &[]).await.unwrap().len(), 1);
        eventually(SOON, async || feed(&replica).reconnects == round).await;
        is_up(&replica).await;
        eventually(SOON, async || {
            (body(&replica, LIST).await == before) == (round % 2 == 0)
        })
        .await;
    }
    heard(&replica, &client).await;
    let path = "/instrument/MARI/latest-run";
    wait_for_local_hit(&replica, path).await;
    client
        .batch_execute("UPDATE instruments SET latest_run = 'healed'")
        .await
        .unwrap();
    shows(&replica, path, &json!({"latest_run": "healed"})).await;
}

/// Takes some seconds: the feed's keep-alive timeout has to elapse.
#[tokio::test]
async fn an_unavailable_or_silent_postgresql_does_not_block_requests() {
    let server = Postgres::start().await.unwrap();
    server.kill();
    let settings = vars(&[
        ("DB_IP", "127.0.0.1"),
        ("DB_PORT", &server.port().to_string()),
        ("DB_PASSWORD", Postgres::PASSWORD),
        ("DB_LISTEN_URL", &format!("postgres://{}", server.addr())),
    ]);
    let replica = Replica::new(&[&settings]);
    assert_eq!(replica.get("/healthz", "none").await.status, StatusCode::OK);
    assert!(!feed(&replica).up);
    server.restart().await.unwrap();
    eventually(2 * SOON, async || feed(&replica).up).await;
    server.pause().unwrap();
    eventually(2 * SOON, async || !feed(&replica).up).await;
    server.resume().unwrap();
    eventually(2 * SOON, async || feed(&replica).up).await;
}

#[tokio::test]
async fn the_feed_is_off_by_default_and_closes_with_its_replica() {
    let fixture = notifying().await;
    let client = fixture.database.client().await;
    let count = format!("SELECT count(*) {BACKENDS}");
    let backends = async || {
        client
            .query_one(&count, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
    };
    let replica = listening(&fixture).await;
    assert_eq!(backends().await, 1);
    drop(replica);
    eventually(SOON, async || backends().await == 0).await;

    let without = Replica::new(&[&fixture.database.vars()]);
    assert_eq!(without.state.cached.feed(), None);
    let text = scrape(&Metrics::new(without.edge())).await;
    assert!(!text.contains_key("fia_api_change_feed_up"));
}

#[tokio::test]
async fn installing_the_trigger_is_idempotent_and_works_through_a_pooler() {
    let database = Database::seeded().await;
    let pooler = PgBouncer::start(database.server, PgBouncerOptions::default())
        .await
        .unwrap();
    let pooled: Vars = database.vars_at(pooler.addr());
    for settings in [database.vars(), pooled, database.vars()] {
        let db = Db::new(&config(&[&settings]).database).unwrap();
        let (one, two) = tokio::join!(
            schema::install_change_feed(&db),
            schema::install_change_feed(&db)
        );
        one.and(two).unwrap();
    }
    let client = database.client().await;
    let triggers = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'fia\\_api\\_%'";
    let count: i64 = client.query_one(triggers, &[]).await.unwrap().get(0);
    assert_eq!(count, 3);
    // A name too long for a notification does not fail the write.
    client
        .batch_execute("UPDATE instruments SET instrument_name = repeat('x', 9000) WHERE id = 1")
        .await
        .unwrap();
}
