//! Changes by other clients.

use fia_api::app::Metrics;
use http::StatusCode;
use serde_json::{Value, json};

use crate::feed::{
    LIST, SOON, body, feed, listening, notifying, shows, wait_for_feed, wait_for_local_hit,
};
use crate::harness::eventually;
use crate::metrics::scrape;

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
    wait_for_feed(&replica, &client).await;
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
