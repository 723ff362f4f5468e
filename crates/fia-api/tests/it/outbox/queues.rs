//! Queues that are deleted or declared otherwise, and several hosts of the broker.

use devstack::{RabbitMq, shared};
use lapin::options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};

use super::{BROKER_LIMIT, accepted, once, setup, wait_for_empty_outbox, waiting};
use crate::consumer::{Consumer, queue_vars};
use crate::harness::{Database, Replica, eventually, vars};

async fn connect(rabbitmq: &RabbitMq) -> Connection {
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(&rabbitmq.url(), properties).await;
    connection.unwrap()
}

#[tokio::test]
async fn a_deleted_queue_is_redeclared_without_message_loss() {
    let (database, rabbitmq, settings) = setup().await;
    let replica = Replica::new(&[&settings]);
    accepted(&replica, 1).await;
    wait_for_empty_outbox(&database).await;
    let queue = &settings["EGRESS_QUEUE_NAME"];
    rabbitmq.ctl(&["-q", "delete_queue", queue]).await.unwrap();
    let ids = accepted(&replica, 3).await;
    wait_for_empty_outbox(&database).await;
    let mut consumer = Consumer::of_jobs(&rabbitmq, &settings).await;
    assert_eq!(consumer.jobs(3).await, once(&ids));
}

#[tokio::test]
async fn a_deleted_exchange_is_redeclared_without_message_loss() {
    let (database, rabbitmq, settings) = setup().await;
    let replica = Replica::new(&[&settings]);
    let mut ids = accepted(&replica, 1).await;
    wait_for_empty_outbox(&database).await;
    let connection = connect(&rabbitmq).await;
    let channel = connection.create_channel().await.unwrap();
    let exchange = settings["EGRESS_QUEUE_NAME"].as_str();
    channel
        .exchange_delete(exchange.into(), ExchangeDeleteOptions::default())
        .await
        .unwrap();
    ids.extend(accepted(&replica, 3).await);
    wait_for_empty_outbox(&database).await;
    let mut consumer = Consumer::of_jobs(&rabbitmq, &settings).await;
    assert_eq!(consumer.jobs(4).await, once(&ids));
}

#[tokio::test]
async fn messages_wait_while_their_queue_is_declared_otherwise() {
    let (database, rabbitmq, settings) = setup().await;
    let queue = settings["EGRESS_QUEUE_NAME"].as_str();
    let connection = connect(&rabbitmq).await;
    let channel = connection.create_channel().await.unwrap();
    let classic = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.into(), classic, FieldTable::default())
        .await
        .unwrap();
    let replica = Replica::new(&[&settings]);
    let ids = accepted(&replica, 3).await;
    // Another queue is not affected.
    let client = database.client().await;
    let watched = "INSERT INTO fia_api_outbox (queue, body) VALUES ('watched-files', 'a.nxs')";
    client.execute(watched, &[]).await.unwrap();
    let mut watched = Consumer::of(&rabbitmq, "watched-files").await;
    assert_eq!(watched.message().await, "a.nxs");
    eventually(BROKER_LIMIT, async || waiting(&database).await == 3).await;
    let refused = "SELECT max(attempts) FROM fia_api_outbox";
    let row = client.query_one(refused, &[]).await.unwrap();
    assert_eq!(
        row.get::<_, i32>(0),
        0,
        "the queue's fault, not the message's"
    );
    channel
        .queue_delete(queue.into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    let mut consumer = Consumer::of_jobs(&rabbitmq, &settings).await;
    assert_eq!(consumer.jobs(3).await, once(&ids));
    wait_for_empty_outbox(&database).await;
}

#[tokio::test]
async fn the_hosts_of_the_broker_are_tried_in_turn() {
    let database = Database::seeded().await;
    database.add_outbox().await;
    let rabbitmq = shared::rabbitmq().await.unwrap();
    let mut settings = database.vars();
    settings.extend(queue_vars(rabbitmq));
    let hosts = format!("127.0.0.1:1, 127.0.0.1:{}", rabbitmq.port());
    settings.extend(vars(&[("QUEUE_HOST", &hosts), ("QUEUE_PORT", "1")]));
    let ids = accepted(&Replica::new(&[&settings]), 3).await;
    // A replica that closes leaves the rest to the next one.
    let _replica = Replica::new(&[&settings]);
    let mut consumer = Consumer::of_jobs(rabbitmq, &settings).await;
    assert_eq!(consumer.jobs(3).await, once(&ids));
}
