//! The declarations of an exchange and its queue, as consumers make them, too.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};

/// The queue type, which consumers declare as well: the broker closes the channel of a
/// declaration that differs.
const QUEUE_TYPE: (&str, &str) = ("x-queue-type", "quorum");

/// Declares an exchange and a queue of the same name, bound with an empty routing key.
pub(super) async fn declare_queue(channel: &Channel, name: &str) -> Result<(), lapin::Error> {
    let durable = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let kind = ExchangeKind::Direct;
    channel
        .exchange_declare(name.into(), kind, durable, FieldTable::default())
        .await?;
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    let (key, value) = QUEUE_TYPE;
    arguments.insert(key.into(), AMQPValue::LongString(value.into()));
    channel
        .queue_declare(name.into(), durable, arguments)
        .await?;
    let options = QueueBindOptions::default();
    channel
        .queue_bind(
            name.into(),
            name.into(),
            "".into(),
            options,
            FieldTable::default(),
        )
        .await
}
