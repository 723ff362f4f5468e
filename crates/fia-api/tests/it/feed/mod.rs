//! The change feed: changes by other clients are visible long before TTLs expire.

mod changes;
mod connection;

use std::time::Duration;

use fia_api::store::{ChangeFeedStats, Db, Triggers};
use http::StatusCode;
use serde_json::Value;
use tokio_postgres::Client;

use crate::harness::{Database, Fixture, Replica, config, eventually, vars};

/// Far below the TTLs, which are the defaults (15 s and more).
const SOON: Duration = Duration::from_secs(5);

const LIST: &str = "/live-data/instruments";

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
    Triggers::ChangeFeed.install(&db).await.unwrap();
}

fn feed(replica: &Replica) -> ChangeFeedStats {
    replica.state.cached.change_feed().unwrap()
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
        let namespaces = replica.state.cached.statistics().namespaces;
        namespaces
            .iter()
            .map(|namespace| namespace.local_hits)
            .sum::<u64>()
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
async fn wait_for_feed(replica: &Replica, client: &Client) {
    let before = feed(replica).notifications;
    client
        .batch_execute("NOTIFY fia_api_instruments, 'NOSUCH'")
        .await
        .unwrap();
    eventually(SOON, async || feed(replica).notifications > before).await;
}
