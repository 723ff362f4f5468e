//! The outbox: accepted jobs survive broker outages, resource alarms and killed replicas.

mod claims;
mod queues;
mod refusals;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use devstack::{RabbitMq, shared};
use fia_api::store::outbox::Backlog;
use http::{Method, StatusCode};
use serde_json::json;

use crate::consumer::{Consumer, queue_vars};
use crate::harness::{Database, Replica, Vars, eventually, request};

/// Limit of each wait for the broker or the relay.
const BROKER_LIMIT: Duration = Duration::from_secs(30);

/// A private broker, and a database with the outbox.
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
    let response = replica.send(request).await;
    let id = (response.status == StatusCode::OK).then(|| response.json().as_i64().unwrap());
    (response.status, id)
}

/// Posts jobs, each of which must be accepted, and returns their ids.
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

async fn wait_for_empty_outbox(database: &Database) {
    eventually(BROKER_LIMIT, async || waiting(database).await == 0).await;
}

/// Takes some seconds: RabbitMQ restarts twice.
#[tokio::test]
async fn jobs_are_accepted_while_the_broker_is_unavailable_and_published_later() {
    let (database, rabbitmq, settings) = setup().await;
    let replica = Replica::new(&[&settings]);
    rabbitmq.kill();
    let mut ids = accepted(&replica, 20).await;
    assert_eq!(waiting(&database).await, 20);
    let statistics = || replica.state.jobs.outbox().statistics();
    // Makes one message an hour old.
    let client = database.client().await;
    let sql = "UPDATE fia_api_outbox SET created_at = created_at - interval '1 hour' \
               WHERE id = (SELECT max(id) FROM fia_api_outbox)";
    client.execute(sql, &[]).await.unwrap();
    let hour = Duration::from_secs(3600);
    eventually(BROKER_LIMIT, async || {
        let backlog = statistics().backlog;
        backlog.messages == 20 && (hour..hour * 2).contains(&backlog.oldest)
    })
    .await;
    rabbitmq.restart().await.unwrap();
    let mut consumer = Consumer::of_jobs(&rabbitmq, &settings).await;
    assert_eq!(consumer.jobs(20).await, once(&ids));
    wait_for_empty_outbox(&database).await;
    assert_eq!(statistics().published, 20);
    eventually(BROKER_LIMIT, async || {
        statistics().backlog == Backlog::default()
    })
    .await;
    // Stops the broker while the server is connected.
    rabbitmq.stop().await.unwrap();
    ids = accepted(&replica, 5).await;
    rabbitmq.restart().await.unwrap();
    let mut consumer = Consumer::of_jobs(&rabbitmq, &settings).await;
    assert_eq!(consumer.jobs(5).await, once(&ids));
    wait_for_empty_outbox(&database).await;
}

/// Takes some seconds: RabbitMQ restarts.
#[tokio::test]
async fn a_broker_killed_under_load_receives_every_message_eventually() {
    let (database, rabbitmq, settings) = setup().await;
    let replica = Replica::new(&[&settings]);
    // RabbitMQ flushes the names of quorum queue logs every half second, and loses them when
    // it is killed before.
    let mut made = accepted(&replica, 1).await;
    wait_for_empty_outbox(&database).await;
    let flush = "[dets:sync(Table) || Table <- dets:all()].";
    rabbitmq.ctl(&["-q", "eval", flush]).await.unwrap();
    let published = || replica.state.jobs.outbox().statistics().published;
    let (more, ()) = tokio::join!(accepted(&replica, 300), async {
        eventually(BROKER_LIMIT, async || published() > 30).await;
        rabbitmq.kill();
        rabbitmq.restart().await.unwrap();
    });
    let mut consumer = Consumer::of_jobs(&rabbitmq, &settings).await;
    made.extend(more);
    let delivered = consumer.jobs(301).await;
    assert!(delivered.keys().eq(made.iter()), "{delivered:?}");
    wait_for_empty_outbox(&database).await;
}

/// Moves the claims of in-flight messages 9 of their 15 s closer to expiry, and waits until the
/// replica has renewed them.
async fn let_claims_age(database: &Database) {
    let client = database.client().await;
    let age = "UPDATE fia_api_outbox SET claimed_until = claimed_until - interval '9 s' \
               WHERE claimed_until IS NOT NULL";
    let claimed = client.execute(age, &[]).await.unwrap();
    assert!(claimed > 0, "no message is in flight");
    let near_expiry = "SELECT count(*) FROM fia_api_outbox \
                       WHERE claimed_until < clock_timestamp() + interval '9 s'";
    eventually(BROKER_LIMIT, async || {
        let row = client.query_one(near_expiry, &[]).await.unwrap();
        row.get::<_, i64>(0) == 0
    })
    .await;
}

/// Takes some seconds: claims are renewed every 5 s.
#[tokio::test]
async fn a_broker_under_resource_alarms_receives_every_message_once() {
    let (database, rabbitmq, settings) = setup().await;
    let replica = Replica::new(&[&settings]);
    let mut consumer = Consumer::of_jobs(&rabbitmq, &settings).await;
    let mut ids = accepted(&replica, 1).await;
    wait_for_empty_outbox(&database).await;
    rabbitmq.disk_alarm(true).await.unwrap();
    ids.extend(accepted(&replica, 50).await);
    assert!(waiting(&database).await > 40);
    let_claims_age(&database).await;
    assert!(waiting(&database).await > 40);
    rabbitmq.memory_alarm(true).await.unwrap();
    rabbitmq.disk_alarm(false).await.unwrap();
    ids.extend(accepted(&replica, 5).await);
    rabbitmq.memory_alarm(false).await.unwrap();
    assert_eq!(consumer.jobs(56).await, once(&ids));
    wait_for_empty_outbox(&database).await;
}

#[tokio::test]
async fn without_the_outbox_a_broker_under_alarm_rejects_jobs() {
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
    eventually(BROKER_LIMIT, async || {
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
async fn replicas_share_the_outbox_and_publish_each_job_once() {
    let (database, rabbitmq, settings) = setup().await;
    let replicas = [Replica::new(&[&settings]), Replica::new(&[&settings])];
    let mut consumer = Consumer::of_jobs(&rabbitmq, &settings).await;
    let (mut ids, more) = tokio::join!(accepted(&replicas[0], 500), accepted(&replicas[1], 500));
    ids.extend(more);
    assert_eq!(consumer.jobs(1000).await, once(&ids));
    wait_for_empty_outbox(&database).await;
    // One per replica, and the consumer's.
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
async fn close_publishes_committed_messages() {
    let database = Database::seeded().await;
    database.add_outbox().await;
    let rabbitmq = shared::rabbitmq().await.unwrap();
    let mut settings = database.vars();
    settings.extend(queue_vars(rabbitmq));
    let replica = Replica::new(&[&settings]);
    // Connects first, so that `close` is measured without connecting.
    accepted(&replica, 1).await;
    wait_for_empty_outbox(&database).await;
    accepted(&replica, 5).await;
    replica.state.jobs.outbox().close().await;
    assert_eq!(waiting(&database).await, 0);
}
