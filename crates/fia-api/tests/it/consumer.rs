//! A consumer of published jobs.

use std::collections::BTreeMap;
use std::time::Duration;

use devstack::{RabbitMq, shared};
use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};
use serde_json::Value;
use tokio::time::timeout;

use crate::harness::{Vars, vars};

/// Limit of the wait for an expected message.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the queue must stay empty before duplicates are ruled out.
const SILENCE: Duration = Duration::from_secs(1);

/// Settings of a broker with a private job queue.
pub(crate) fn queue_vars(rabbitmq: &RabbitMq) -> Vars {
    vars(&[
        ("QUEUE_HOST", "127.0.0.1"),
        ("QUEUE_PORT", &rabbitmq.port().to_string()),
        ("EGRESS_QUEUE_NAME", &shared::unique_name("jobs")),
    ])
}

/// A consumer of one queue.
pub(crate) struct Consumer {
    _connection: Connection,
    deliveries: lapin::Consumer,
}

impl Consumer {
    /// Declares the queue as the production consumers do, and consumes it.
    pub(crate) async fn of(rabbitmq: &RabbitMq, queue: &str) -> Self {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&rabbitmq.url(), properties)
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let mut arguments = FieldTable::default();
        let quorum = AMQPValue::LongString("quorum".into());
        arguments.insert("x-queue-type".into(), quorum);
        channel
            .queue_declare(queue.into(), durable, arguments)
            .await
            .unwrap();
        let options = BasicConsumeOptions::default();
        let table = FieldTable::default();
        let deliveries = channel.basic_consume(queue.into(), "".into(), options, table);
        Self {
            deliveries: deliveries.await.unwrap(),
            _connection: connection,
        }
    }

    /// A consumer of the job queue in `queue_vars`.
    pub(crate) async fn of_jobs(rabbitmq: &RabbitMq, queue: &Vars) -> Self {
        Self::of(rabbitmq, &queue["EGRESS_QUEUE_NAME"]).await
    }

    /// The next message, or `None` after `limit`.
    pub(crate) async fn next(&mut self, limit: Duration) -> Option<String> {
        let delivery = timeout(limit, self.deliveries.next()).await.ok()??.unwrap();
        delivery.ack(BasicAckOptions::default()).await.unwrap();
        assert_eq!(delivery.properties.delivery_mode(), &Some(2));
        Some(String::from_utf8(delivery.data).unwrap())
    }

    /// The next message; panics after `MESSAGE_TIMEOUT`.
    pub(crate) async fn message(&mut self) -> String {
        let message = self.next(MESSAGE_TIMEOUT).await;
        message.expect("no message within the limit")
    }

    /// Messages per job id, once `count` distinct ids arrived and the queue fell silent.
    pub(crate) async fn jobs(&mut self, count: usize) -> BTreeMap<i64, usize> {
        let mut jobs = BTreeMap::new();
        while jobs.len() < count {
            let message: Value = serde_json::from_str(&self.message().await).unwrap();
            *jobs.entry(message["job_id"].as_i64().unwrap()).or_default() += 1;
        }
        while let Some(message) = self.next(SILENCE).await {
            let message: Value = serde_json::from_str(&message).unwrap();
            *jobs.entry(message["job_id"].as_i64().unwrap()).or_default() += 1;
        }
        jobs
    }
}
