//! The connection: reconnects, outages, shutdown, the trigger.

use devstack::{PgBouncer, PgBouncerOptions, Postgres};
use fia_api::app::Metrics;
use fia_api::store::{Db, Triggers};
use http::StatusCode;
use serde_json::json;

use crate::feed::{
    LIST, SOON, body, feed, is_up, listening, notifying, shows, wait_for_feed, wait_for_local_hit,
};
use crate::harness::{Database, Replica, Vars, config, eventually, vars};
use crate::metrics::scrape;

/// Selects the backend of a feed's connection.
const BACKENDS: &str = "FROM pg_stat_activity \
     WHERE datname = current_database() AND application_name = 'fia-api change feed'";

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
    wait_for_feed(&replica, &client).await;
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
    assert_eq!(without.state.cached.change_feed(), None);
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
            Triggers::ChangeFeed.install(&db),
            Triggers::ChangeFeed.install(&db)
        );
        one.and(two).unwrap();
    }
    let client = database.client().await;
    let triggers = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'fia\\_api\\_%'";
    let count: i64 = client.query_one(triggers, &[]).await.unwrap().get(0);
    assert_eq!(count, 10);
    // A name too long for a notification does not fail the write.
    client
        .batch_execute("UPDATE instruments SET instrument_name = repeat('x', 9000) WHERE id = 1")
        .await
        .unwrap();
}

/// PostgreSQL would end one of the two in a deadlock after a second, and maybe the client's.
/// Takes over a second: the client holds its locks until an attempt to install has failed.
#[tokio::test]
async fn installing_the_triggers_ends_no_transaction_of_a_client() {
    for triggers in [Triggers::ChangeFeed, Triggers::ListTable] {
        let database = Database::seeded().await;
        let (mut client, observer) = (database.client().await, database.client().await);
        let transaction = client.transaction().await.unwrap();
        transaction
            .batch_execute("LOCK TABLE job_owners IN ROW EXCLUSIVE MODE")
            .await
            .unwrap();
        let db = Db::new(&config(&[&database.vars()]).database).unwrap();
        let installing = tokio::spawn(async move { triggers.install(&db).await });
        let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted \
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        eventually(SOON, async || {
            let row = observer.query_one(waiting, &[]).await.unwrap();
            row.get::<_, i64>(0) > 0
        })
        .await;
        let others = "LOCK TABLE instruments, runs, jobs IN ROW EXCLUSIVE MODE";
        transaction.batch_execute(others).await.unwrap();
        transaction.commit().await.unwrap();
        installing.await.unwrap().unwrap();
    }
}
