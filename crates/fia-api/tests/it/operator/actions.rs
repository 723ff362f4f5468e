//! What actions do, on both replicas.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;

use crate::harness::{Fixture, eventually};
use crate::operator::{KEY, Operated};

const PATH: &str = "/instrument/MARI/latest-run";
const ELSEWHERE: &str =
    "UPDATE instruments SET latest_run = 'edited' WHERE instrument_name = 'MARI'";

/// Two replicas that have the value in memory, and a database that has another one.
async fn edited_elsewhere(fixture: &Fixture) -> [Operated; 2] {
    let (one, other) = tokio::join!(Operated::new(fixture), Operated::new(fixture));
    let replicas = [one, other];
    for page in &replicas {
        eventually(Duration::from_secs(5), async || {
            let response = page.replica.get(PATH, "staff").await;
            response.header("cache-status").contains("detail=local")
        })
        .await;
    }
    let client = fixture.database.client().await;
    client.execute(ELSEWHERE, &[]).await.unwrap();
    for page in &replicas {
        let before = page.replica.get(PATH, "staff").await.json();
        assert_ne!(before, json!({"latest_run": "edited"}));
    }
    replicas
}

async fn assert_new_value(replicas: &[Operated; 2]) {
    for page in replicas {
        // Valkey's push reaches the other replica.
        eventually(Duration::from_secs(2), async || {
            page.replica.get(PATH, "staff").await.json() == json!({"latest_run": "edited"})
        })
        .await;
    }
}

#[tokio::test]
async fn a_key_is_invalidated_on_both_replicas() {
    let fixture = Fixture::new().await;
    let replicas = edited_elsewhere(&fixture).await;
    let form = "key=fia_api:instrument:latest_run:MARI";
    let done = replicas[0].act("/actions/invalidate-key", form, Some(KEY));
    assert_eq!(done.await.status, StatusCode::OK);
    assert_new_value(&replicas).await;
    let group = "key=fia_api:jobs:group:instrument:MARI";
    let group = replicas[0].act("/actions/invalidate-key", group, Some(KEY));
    assert_eq!(group.await.status, StatusCode::OK);
    let unknown = replicas[0].act("/actions/invalidate-key", "key=other:MARI", Some(KEY));
    assert_eq!(unknown.await.status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_whole_read_is_invalidated_on_both_replicas() {
    let fixture = Fixture::new().await;
    let replicas = edited_elsewhere(&fixture).await;
    let done = replicas[0].act("/actions/invalidate-read", "read=latest_run", Some(KEY));
    assert_eq!(done.await.status, StatusCode::OK);
    assert_new_value(&replicas).await;
}

/// The first job of MARI, as a list shows it.
const LISTS: [&str; 2] = [
    "/instrument/MARI/jobs?limit=1&order_by=id",
    "/jobs?limit=500&order_by=id",
];

#[tokio::test]
async fn lists_of_an_instrument_are_invalidated_on_both_replicas() {
    let fixture = Fixture::new().await;
    let (one, other) = tokio::join!(Operated::new(&fixture), Operated::new(&fixture));
    let replicas = [one, other];
    for page in &replicas {
        for list in LISTS {
            eventually(Duration::from_secs(5), async || {
                let response = page.replica.get(list, "staff").await;
                response.header("cache-status").contains("detail=local")
            })
            .await;
        }
    }
    let client = fixture.database.client().await;
    let elsewhere = "UPDATE jobs SET status_message = 'edited elsewhere'";
    client.execute(elsewhere, &[]).await.unwrap();
    let shows = async |page: &Operated, list: &str| {
        page.replica
            .get(list, "staff")
            .await
            .text()
            .contains("edited elsewhere")
    };
    for list in LISTS {
        assert!(!shows(&replicas[1], list).await, "{list}");
    }
    let act = async |group: &str| {
        let form = format!("group={group}");
        let done = replicas[0].act("/actions/invalidate-group", &form, Some(KEY));
        done.await.status
    };
    assert_eq!(act("all").await, StatusCode::OK);
    for page in &replicas {
        eventually(Duration::from_secs(2), async || shows(page, LISTS[1]).await).await;
        assert!(!shows(page, LISTS[0]).await, "another group");
    }
    assert_eq!(act("mari").await, StatusCode::OK);
    for page in &replicas {
        eventually(Duration::from_secs(2), async || shows(page, LISTS[0]).await).await;
    }
    assert_eq!(act("").await, StatusCode::CONFLICT);
    let json = replicas[0].json("/").await;
    assert_eq!(
        json["actions"][1]["action"],
        "invalidate lists and counts of mari"
    );
}

#[tokio::test]
async fn parked_messages_are_shown_retried_and_dropped() {
    let fixture = Fixture::new().await;
    fixture.database.add_outbox().await;
    let client = fixture.database.client().await;
    let insert = "INSERT INTO fia_api_outbox (queue, body, attempts, error, claimed_until, parked_at) \
         SELECT 'jobs', '{\"job_id\": 7}', 5, 'too large', 'infinity', now() FROM generate_series(1, 2) \
         RETURNING id";
    let rows = client.query(insert, &[]).await.unwrap();
    let ids: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    let page = Operated::new(&fixture).await;
    // The relay counts them.
    eventually(Duration::from_secs(10), async || {
        page.json("/").await["outbox"]["parked"] == json!(2)
    })
    .await;
    let shown = page.json("/").await;
    assert_eq!(shown["outbox"]["messages"][0]["error"], "too large");
    assert_eq!(shown["outbox"]["messages"][0]["job"], 7);
    assert_eq!(
        shown["verdict"]["problems"][0]["runbook"],
        "FiaApiMessageParked"
    );
    let html = page.html("/").await;
    assert!(html.contains("2 messages are parked") && html.contains("too large"));

    let act = async |path: &str, id: i64| {
        let form = format!("id={id}");
        page.act(path, &form, Some(KEY)).await.status
    };
    assert_eq!(act("/actions/drop-message", ids[0]).await, StatusCode::OK);
    assert_eq!(
        act("/actions/drop-message", ids[0]).await,
        StatusCode::CONFLICT
    );
    assert_eq!(act("/actions/retry-message", ids[1]).await, StatusCode::OK);
    let parked = "SELECT id FROM fia_api_outbox WHERE parked_at IS NOT NULL";
    assert!(client.query(parked, &[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_drained_replica_is_not_ready_and_ends_as_after_a_signal() {
    let fixture = Fixture::new().await;
    let page = Operated::new(&fixture).await;
    let drained = page.act("/actions/drain", "", Some(KEY)).await;
    assert_eq!(drained.status, StatusCode::OK);
    let ready = page.replica.get("/ready", "none").await;
    assert_eq!(ready.status, StatusCode::SERVICE_UNAVAILABLE);
    page.replica.state.readiness.drained().await;
    assert_eq!(page.json("/").await["replica"]["is_draining"], json!(true));
}
