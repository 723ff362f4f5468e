//! The messages that announce jobs, as the job controller would consume them.

use std::collections::BTreeMap;
use std::time::Duration;

use devstack::RabbitMq;
use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use serde_json::Value;
use tokio::time::timeout;

use crate::Outcome;

/// The queue of the messages.
pub(super) const QUEUE: &str = "scheduled-jobs";
/// How long no message arrives before the queue counts as empty.
const SILENCE: Duration = Duration::from_secs(2);

/// Consumes the queue. Returns how often each job was announced.
pub(super) async fn deliveries(rabbitmq: &RabbitMq) -> Outcome<BTreeMap<i32, usize>> {
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(&rabbitmq.url(), properties).await?;
    let channel = connection.create_channel().await?;
    let options = BasicConsumeOptions::default();
    let table = FieldTable::default();
    let mut messages = channel
        .basic_consume(QUEUE.into(), "".into(), options, table)
        .await?;
    let mut delivered = BTreeMap::new();
    while let Ok(Some(message)) = timeout(SILENCE, messages.next()).await {
        let message = message?;
        message.ack(BasicAckOptions::default()).await?;
        let body: Value = serde_json::from_slice(&message.data)?;
        let id = body["job_id"]
            .as_i64()
            .ok_or("a message without a job id")?;
        *delivered.entry(i32::try_from(id)?).or_default() += 1;
    }
    Ok(delivered)
}
