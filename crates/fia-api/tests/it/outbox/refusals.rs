//! Messages that are too large for the server or for the broker.

use std::process::Command;

use devstack::RabbitMq;
use fia_api::model::{Message, Program};
use http::{Method, StatusCode};
use serde_json::json;

use super::{BROKER_LIMIT, accepted, once, setup, wait_for_empty_outbox, waiting};
use crate::consumer::Consumer;
use crate::harness::{Database, Replica, Vars, eventually, request, vars};

async fn post(replica: &Replica, script: &str) -> (StatusCode, String) {
    let body = json!({"runner_image": "img", "script": script});
    let request = request(Method::POST, "/job/simple", "apikey", Some(&body));
    let response = replica.send(request).await;
    (response.status, response.text())
}

/// Has the broker refuse messages above a size, on channels that are opened from now on. A restart
/// lifts the limit.
async fn limit_messages(rabbitmq: &RabbitMq, bytes: usize) {
    let limit = format!("application:set_env(rabbit, max_message_size, {bytes}).");
    rabbitmq.ctl(&["-q", "eval", &limit]).await.unwrap();
}

/// Runs `fia-api outbox …`; returns whether it succeeded and its output.
fn outbox(settings: &Vars, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_fia-api"))
        .arg("outbox")
        .args(arguments)
        .env_clear()
        .envs(settings)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

/// Waits until so many messages are parked, without the backoff between attempts.
async fn wait_for_parked(database: &Database, count: i64) {
    let client = database.client().await;
    eventually(BROKER_LIMIT, async || {
        let skip = "UPDATE fia_api_outbox SET claimed_until = NULL \
                    WHERE attempts > 0 AND claimed_by IS NULL AND parked_at IS NULL";
        client.execute(skip, &[]).await.unwrap();
        let parked = "SELECT count(parked_at) FROM fia_api_outbox";
        let row = client.query_one(parked, &[]).await.unwrap();
        row.get::<_, i64>(0) == count
    })
    .await;
}

#[tokio::test]
async fn a_message_that_the_broker_refuses_is_parked_and_its_neighbours_arrive_once() {
    let (database, rabbitmq, settings) = setup().await;
    limit_messages(&rabbitmq, 20_000).await;
    let replica = Replica::new(&[&settings]);
    let mut consumer = Consumer::of_jobs(&rabbitmq, &settings).await;
    let mut ids = accepted(&replica, 10).await;
    let large = "secret-text ".repeat(2000);
    let (_, dropped) = post(&replica, &large).await;
    ids.extend(accepted(&replica, 10).await);
    let (_, retried) = post(&replica, &large).await;
    ids.extend(accepted(&replica, 10).await);
    assert_eq!(consumer.jobs(30).await, once(&ids));
    wait_for_parked(&database, 2).await;
    eventually(BROKER_LIMIT, async || {
        let backlog = replica.state.jobs.outbox().statistics().backlog;
        (backlog.messages, backlog.parked) == (0, 2)
    })
    .await;

    let (_, list) = outbox(&settings, &["list"]);
    assert_eq!(list.lines().count(), 3, "{list}");
    assert!(!list.contains("secret-text"), "{list}");
    let id_of = |job: &str| {
        let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        let mut rows = list.lines().map(fields);
        let row: Vec<String> = rows.find(|row: &Vec<String>| row[4] == job).unwrap();
        assert_eq!(row[2], "parked");
        assert_eq!(row[3], settings["EGRESS_QUEUE_NAME"]);
        assert!(row[5].parse::<usize>().unwrap() > 20_000);
        assert_eq!(row[6], "5");
        assert!(
            row[7..].join(" ").contains("message size 24120 is larger"),
            "{list}"
        );
        row[0].clone()
    };
    let (dropped_id, retried_id) = (id_of(&dropped), id_of(&retried));
    assert!(outbox(&settings, &["drop", &dropped_id]).0);
    let (succeeded, text) = outbox(&settings, &["drop", &dropped_id]);
    assert!(!succeeded && text.contains("no message"), "{text}");

    // A restart lifts the limit.
    rabbitmq.stop().await.unwrap();
    rabbitmq.restart().await.unwrap();
    let mut consumer = Consumer::of_jobs(&rabbitmq, &settings).await;
    assert!(outbox(&settings, &["retry", &retried_id]).0);
    assert_eq!(consumer.jobs(1).await, once(&[retried.parse().unwrap()]));
    wait_for_empty_outbox(&database).await;
}

#[tokio::test]
async fn a_job_whose_message_exceeds_the_limit_as_sent_is_rejected() {
    let database = Database::seeded().await;
    database.add_outbox().await;
    // Each character takes one byte in the request and six in the message.
    let program = Program {
        runner_image: "img".to_owned(),
        script: "\u{7f}".repeat(1000),
    };
    let bytes = Message::simple("scheduled-jobs", 121, &program, -1)
        .body
        .len();
    assert!(bytes > 6000);
    let replica = |max: usize| {
        let max = vars(&[("MAX_MESSAGE_BYTES", &max.to_string())]);
        let broker = vars(&[("QUEUE_PORT", "1")]);
        Replica::new(&[&database.vars(), &broker, &max])
    };
    let (status, id) = post(&replica(bytes), &program.script).await;
    assert_eq!((status, id.as_str()), (StatusCode::OK, "121"));
    let (status, body) = post(&replica(bytes - 1), &program.script).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(body, r#"{"detail":"Request body too large"}"#);
    assert_eq!(waiting(&database).await, 1);
    let client = database.client().await;
    let jobs = client
        .query_one("SELECT max(id) FROM jobs", &[])
        .await
        .unwrap();
    assert_eq!(jobs.get::<_, i32>(0), 121);
}
