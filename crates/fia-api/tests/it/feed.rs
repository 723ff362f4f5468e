//! The change feed: what others change in PostgreSQL shows at once, although entries live long.

use std::time::Duration;

use devstack::{PgBouncer, PgBouncerOptions, Postgres};
use fia_api::app::Metrics;
use fia_api::store::{ChangeFeedStats, Db, schema};
use http::StatusCode;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::harness::{Database, Replica, Stage, Vars, config, eventually, vars};
use crate::metrics::scrape;

/// How soon a change shows. The times to live are the defaults, 15 s and more.
const SOON: Duration = Duration::from_secs(5);
const LIST: &str = "/live-data/instruments";
/// The backend of a feed.
const BACKENDS: &str = "FROM pg_stat_activity \
     WHERE datname = current_database() AND application_name = 'fia-api change feed'";

/// A stage with the trigger.
async fn notifying() -> Stage {
    let stage = Stage::new().await;
    install(&stage.database).await;
    stage
}

/// A replica that listens.
async fn listening(stage: &Stage) -> Replica {
    let url = stage.database.server.url(&stage.database.name);
    let replica = stage.replica_with(&vars(&[("DB_LISTEN_URL", &url)])).await;
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
    let answer = replica.get(path, "staff").await;
    assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text());
    answer.json()
}

/// Asks until the answer is in memory.
async fn remembered(replica: &Replica, path: &str) {
    let hits = || {
        let classes = replica.state.cached.statistics().classes;
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

/// Waits until a change has been heard that is made now: then all before it have been.
async fn heard(replica: &Replica, client: &Client) {
    let before = feed(replica).notifications;
    client
        .batch_execute("NOTIFY fia_api_instruments, 'NOSUCH'")
        .await
        .unwrap();
    eventually(SOON, async || feed(replica).notifications > before).await;
}

#[tokio::test]
async fn what_others_change_shows_at_once() {
    let stage = notifying().await;
    let (one, other) = tokio::join!(listening(&stage), listening(&stage));
    let client = stage.database.client().await;
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
        remembered(&one, path).await;
        remembered(&other, path).await;
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
async fn instruments_that_come_go_or_change_their_name_show() {
    let stage = notifying().await;
    let replica = listening(&stage).await;
    let client = stage.database.client().await;
    let has = async |name: &str| {
        let names = body(&replica, LIST).await;
        names.as_array().unwrap().contains(&json!(name))
    };
    remembered(&replica, LIST).await;
    let insert = "INSERT INTO instruments (instrument_name, live_data_support, latest_run) \
                  VALUES ('NEW1', true, '7')";
    client.batch_execute(insert).await.unwrap();
    eventually(SOON, async || has("NEW1").await).await;
    let path = |name: &str| format!("/instrument/{name}/latest-run");
    remembered(&replica, &path("NEW1")).await;

    let rename = "UPDATE instruments SET instrument_name = 'NEW2' WHERE instrument_name = 'NEW1'";
    client.batch_execute(rename).await.unwrap();
    eventually(SOON, async || has("NEW2").await && !has("NEW1").await).await;
    eventually(SOON, async || {
        replica.get(&path("NEW1"), "apikey").await.status == StatusCode::NOT_FOUND
    })
    .await;
    remembered(&replica, &path("NEW2")).await;

    client
        .batch_execute("DELETE FROM instruments WHERE instrument_name = 'NEW2'")
        .await
        .unwrap();
    eventually(SOON, async || {
        replica.get(&path("NEW2"), "apikey").await.status == StatusCode::NOT_FOUND
    })
    .await;
    remembered(&replica, LIST).await;
    client
        .batch_execute("TRUNCATE instruments CASCADE")
        .await
        .unwrap();
    shows(&replica, LIST, &json!([])).await;
}

#[tokio::test]
async fn what_changes_nothing_is_told_to_nobody_and_a_burst_is_heard_whole() {
    let stage = notifying().await;
    let replica = listening(&stage).await;
    let client = stage.database.client().await;
    // As the older server writes: one column, whatever it was.
    let same = "UPDATE instruments SET latest_run = latest_run, specification = specification";
    client.batch_execute(same).await.unwrap();
    heard(&replica, &client).await;
    assert_eq!(feed(&replica).notifications, 1);

    let path = "/instrument/MARI/latest-run";
    remembered(&replica, path).await;
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
async fn a_connection_that_is_ended_is_made_anew_and_the_list_is_looked_up() {
    let stage = notifying().await;
    let replica = listening(&stage).await;
    let client = stage.database.client().await;
    let before = body(&replica, LIST).await;
    for round in 1..=3 {
        remembered(&replica, LIST).await;
        // Nobody hears of this one: it is as if it had come while the feed was away.
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
    remembered(&replica, path).await;
    client
        .batch_execute("UPDATE instruments SET latest_run = 'healed'")
        .await
        .unwrap();
    shows(&replica, path, &json!({"latest_run": "healed"})).await;
}

/// Takes some seconds: for so long a sign of life is awaited.
#[tokio::test]
async fn a_server_that_is_away_or_silent_delays_nothing() {
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

/// The task and its connection end with the replica.
#[tokio::test]
async fn nothing_is_left_behind_and_nothing_is_there_by_default() {
    let stage = notifying().await;
    let client = stage.database.client().await;
    let count = format!("SELECT count(*) {BACKENDS}");
    let backends = async || {
        client
            .query_one(&count, &[])
            .await
            .unwrap()
            .get::<_, i64>(0)
    };
    let replica = listening(&stage).await;
    assert_eq!(backends().await, 1);
    drop(replica);
    eventually(SOON, async || backends().await == 0).await;

    let without = Replica::new(&[&stage.database.vars()]);
    assert_eq!(without.state.cached.feed(), None);
    let text = scrape(&Metrics::new(without.edge())).await;
    assert!(!text.contains_key("fia_api_change_feed_up"));
}

#[tokio::test]
async fn the_trigger_can_be_installed_again_and_through_a_pooler() {
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
    // A name that cannot be told is no error of the one who writes it.
    client
        .batch_execute("UPDATE instruments SET instrument_name = repeat('x', 9000) WHERE id = 1")
        .await
        .unwrap();
}
