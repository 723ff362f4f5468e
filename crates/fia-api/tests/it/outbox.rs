//! The broker away, full or killed, and the server too: what becomes of accepted jobs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use devstack::{RabbitMq, shared};
use fia_api::store::outbox::Backlog;
use http::{Method, StatusCode};
use serde_json::json;

use crate::consumer::{Consumer, queue_vars};
use crate::harness::{Database, Replica, Vars, eventually, request, vars};

/// A broker of the test's own, and a database with the outbox.
async fn setup() -> (Database, RabbitMq, Vars) {
    let (database, rabbitmq) = tokio::join!(Database::seeded(), RabbitMq::start());
    database.add_outbox().await;
    let rabbitmq = rabbitmq.unwrap();
    let mut settings = database.vars();
    settings.extend(queue_vars(&rabbitmq));
    (database, rabbitmq, settings)
}

async fn post(replica: &Replica) -> (StatusCode, Option<i64>) {
    let body = json!({"runner_image": "img", "script": "s"});
    let request = request(Method::POST, "/job/simple", "apikey", Some(&body));
    let answer = replica.send(request).await;
    let id = (answer.status == StatusCode::OK).then(|| answer.json().as_i64().unwrap());
    (answer.status, id)
}

/// Makes jobs, each of which must be accepted.
async fn accepted(replica: &Replica, count: usize) -> Vec<i64> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(post(replica).await.1.expect("a job was not accepted"));
    }
    ids
}

fn once(ids: &[i64]) -> BTreeMap<i64, usize> {
    ids.iter().map(|id| (*id, 1)).collect()
}

async fn waiting(database: &Database) -> i64 {
    let client = database.client().await;
    let sql = "SELECT count(*) FROM fia_api_outbox";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

async fn nothing_waits(database: &Database) {
    eventually(Duration::from_secs(30), async || {
        waiting(database).await == 0
    })
    .await;
}

#[tokio::test]
async fn jobs_are_accepted_while_the_broker_is_away_and_announced_when_it_is_back() {
    let (database, rabbitmq, settings) = setup().await;
    let replica = Replica::new(&[&settings]);
    rabbitmq.kill();
    let mut ids = accepted(&replica, 20).await;
    assert_eq!(waiting(&database).await, 20);
    let statistics = || replica.state.jobs.outbox().statistics();
    // One has waited for long.
    let client = database.client().await;
    let sql = "UPDATE fia_api_outbox SET created_at = created_at - interval '1 hour' \
               WHERE id = (SELECT max(id) FROM fia_api_outbox)";
    client.execute(sql, &[]).await.unwrap();
    let hour = Duration::from_secs(3600);
    eventually(Duration::from_secs(10), async || {
        let backlog = statistics().backlog;
        backlog.messages == 20 && (hour..hour * 2).contains(&backlog.oldest)
    })
    .await;
    rabbitmq.restart().await.unwrap();
    let mut consumer = Consumer::of_jobs(&rabbitmq, &settings).await;
    assert_eq!(consumer.jobs(20).await, once(&ids));
    nothing_waits(&database).await;
    assert_eq!(statistics().published, 20);
    eventually(Duration::from_secs(10), async || {
        statistics().backlog == Backlog::default()
    })
    .await;
    // Away again, with the server connected.
    rabbitmq.stop().await.unwrap();
    ids = accepted(&replica, 5).await;
    rabbitmq.restart().await.unwrap();
    let mut consumer = Consumer::of_jobs(&rabbitmq, &settings).await;
    assert_eq!(consumer.jobs(5).await, once(&ids));
    nothing_waits(&database).await;
}

#[tokio::test]
async fn a_broker_that_is_killed_under_load_gets_every_message_in_the_end() {
    let (database, rabbitmq, settings) = setup().await;
    let replica = Replica::new(&[&settings]);
    // The queue is there for a while, as in any deployment: RabbitMQ forgets the name of a
    // quorum queue's log when it is killed within half a second of making it.
    let mut made = accepted(&replica, 1).await;
    nothing_waits(&database).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let (more, ()) = tokio::join!(accepted(&replica, 300), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        rabbitmq.kill();
        rabbitmq.restart().await.unwrap();
    });
    let mut consumer = Consumer::of_jobs(&rabbitmq, &settings).await;
    made.extend(more);
    let delivered = consumer.jobs(301).await;
    assert!(delivered.keys().eq(made.iter()), "{delivered:?}");
    nothing_waits(&database).await;
}

#[tokio::test]
async fn a_broker_without_disk_or_memory_gets_every_message_once_when_it_has_some() {
    let (database, rabbitmq, settings) = setup().await;
    let replica = Replica::new(&[&settings]);
    let mut consumer = Consumer::of_jobs(&rabbitmq, &settings).await;
    let mut ids = accepted(&replica, 1).await;
    nothing_waits(&database).await;
    rabbitmq.disk_alarm(true).await.unwrap();
    ids.extend(accepted(&replica, 50).await);
    // Longer than a claim lasts.
    tokio::time::sleep(Duration::from_secs(17)).await;
    assert!(waiting(&database).await > 40);
    rabbitmq.memory_alarm(true).await.unwrap();
    rabbitmq.disk_alarm(false).await.unwrap();
    ids.extend(accepted(&replica, 5).await);
    rabbitmq.memory_alarm(false).await.unwrap();
    assert_eq!(consumer.jobs(56).await, once(&ids));
    nothing_waits(&database).await;
}

#[tokio::test]
async fn without_the_outbox_a_full_broker_means_no_job() {
    let (database, rabbitmq, settings) = setup().await;
    let client = database.client().await;
    client
        .batch_execute("DROP TABLE fia_api_outbox")
        .await
        .unwrap();
    let replica = Replica::new(&[&settings]);
    rabbitmq.memory_alarm(true).await.unwrap();
    // The broker says that it is full once it is sent something, and takes that.
    let mut made = Vec::new();
    for _ in 0..4 {
        let start = Instant::now();
        let (status, id) = post(&replica).await;
        assert!(start.elapsed() < Duration::from_secs(3));
        assert!(
            id.is_some() || status == StatusCode::SERVICE_UNAVAILABLE,
            "{status}"
        );
        made.extend(id);
    }
    assert!(made.len() < 4, "no job was refused");
    rabbitmq.memory_alarm(false).await.unwrap();
    eventually(Duration::from_secs(10), async || {
        let (_, id) = post(&replica).await;
        made.extend(id);
        id.is_some()
    })
    .await;
    let sql = "SELECT id::int8 FROM jobs WHERE id > 120 ORDER BY id";
    let rows = client.query(sql, &[]).await.unwrap();
    let rows: Vec<i64> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(rows, made);
    let mut consumer = Consumer::of_jobs(&rabbitmq, &settings).await;
    let announced = consumer.jobs(made.len()).await;
    assert!(
        made.iter().all(|id| announced.contains_key(id)),
        "{announced:?}"
    );
}

#[tokio::test]
async fn a_queue_that_was_deleted_is_made_anew_and_loses_nothing() {
    let (database, rabbitmq, settings) = setup().await;
    let replica = Replica::new(&[&settings]);
    accepted(&replica, 1).await;
    nothing_waits(&database).await;
    let queue = &settings["EGRESS_QUEUE_NAME"];
    rabbitmq.ctl(&["-q", "delete_queue", queue]).await.unwrap();
    let ids = accepted(&replica, 3).await;
    nothing_waits(&database).await;
    let mut consumer = Consumer::of_jobs(&rabbitmq, &settings).await;
    assert_eq!(consumer.jobs(3).await, once(&ids));
}

#[tokio::test]
async fn what_a_killed_server_committed_another_announces() {
    let database = Database::seeded().await;
    database.add_outbox().await;
    let rabbitmq = shared::rabbitmq().await.unwrap();
    let mut settings = database.vars();
    settings.extend(queue_vars(rabbitmq));
    // It cannot reach the broker, which is as good as being killed before it publishes.
    let killed = Replica::new(&[&settings, &vars(&[("QUEUE_PORT", "1")])]);
    let ids = accepted(&killed, 3).await;
    drop(killed);
    // One of the messages was claimed by then.
    let client = database.client().await;
    let claim = "UPDATE fia_api_outbox SET claimed_until = now() + interval '3 s' \
                 WHERE id = (SELECT min(id) FROM fia_api_outbox)";
    client.execute(claim, &[]).await.unwrap();
    let _replicas = [Replica::new(&[&settings]), Replica::new(&[&settings])];
    let mut consumer = Consumer::of_jobs(rabbitmq, &settings).await;
    assert_eq!(consumer.jobs(3).await, once(&ids));
    nothing_waits(&database).await;
}

#[tokio::test]
async fn replicas_share_the_work_and_announce_each_job_once() {
    let (database, rabbitmq, settings) = setup().await;
    let replicas = [Replica::new(&[&settings]), Replica::new(&[&settings])];
    let mut consumer = Consumer::of_jobs(&rabbitmq, &settings).await;
    let (mut ids, more) = tokio::join!(accepted(&replicas[0], 500), accepted(&replicas[1], 500));
    ids.extend(more);
    assert_eq!(consumer.jobs(1000).await, once(&ids));
    nothing_waits(&database).await;
    // One connection of each, and the consumer's.
    let connections = rabbitmq
        .ctl(&["-q", "list_connections", "pid"])
        .await
        .unwrap();
    let connections = connections
        .lines()
        .filter(|line| line.starts_with('<'))
        .count();
    assert_eq!(connections, 3);
}

#[tokio::test]
async fn a_server_that_ends_announces_what_it_has_just_committed() {
    let database = Database::seeded().await;
    database.add_outbox().await;
    let rabbitmq = shared::rabbitmq().await.unwrap();
    let mut settings = database.vars();
    settings.extend(queue_vars(rabbitmq));
    let replica = Replica::new(&[&settings]);
    // Connected: what a connection takes is not what this is about.
    accepted(&replica, 1).await;
    nothing_waits(&database).await;
    accepted(&replica, 5).await;
    replica.state.jobs.outbox().close().await;
    assert_eq!(waiting(&database).await, 0);
}
