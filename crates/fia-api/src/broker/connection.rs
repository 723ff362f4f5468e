//! A connection with one channel per queue.

use std::collections::HashMap;
use std::sync::Arc;

use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::AMQPUri;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection as AmqpConnection, ConnectionProperties,
    ExchangeKind,
};
use tokio::sync::Mutex;

use crate::broker::BrokerError;
use crate::model::Message;
use crate::observe::{Calls, Failure};

/// The queue type, which consumers declare as well: the broker closes the channel of a
/// declaration that differs.
const QUEUE_TYPE: (&str, &str) = ("x-queue-type", "quorum");
/// The delivery mode of messages that survive a restart of the broker.
const PERSISTENT: u8 = 2;

/// An open connection to RabbitMQ.
pub struct Connection {
    connection: AmqpConnection,
    /// By queue. One channel each, because the broker closes a channel on a failed declaration.
    channels: Mutex<HashMap<String, Channel>>,
    calls: Arc<Calls>,
}

impl Connection {
    pub(super) async fn open(address: AMQPUri, calls: Arc<Calls>) -> Result<Self, BrokerError> {
        let properties = ConnectionProperties::default().with_connection_name("fia-api".into());
        Ok(Self {
            connection: AmqpConnection::connect_uri(address, properties).await?,
            channels: Mutex::default(),
            calls,
        })
    }

    /// Whether it is still open.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.connection.status().connected()
    }

    /// Whether the broker blocks publishers (`connection.blocked`).
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Publishes a message and waits for the broker's confirm, with no limit but the life of the
    /// connection.
    ///
    /// # Errors
    /// [`BrokerError`]; after [`BrokerError::Unavailable`] the message may have been delivered.
    pub async fn publish(&self, message: &Message) -> Result<(), BrokerError> {
        let failure = |error: &BrokerError| match error {
            BrokerError::Unavailable(_) | BrokerError::Blocked => Some(Failure::Unavailable),
            BrokerError::Rejected(_) => Some(Failure::Refused),
        };
        self.calls.observe(self.send(message), failure).await
    }

    async fn send(&self, message: &Message) -> Result<(), BrokerError> {
        let channel = self.channel(&message.queue).await?;
        if self.is_blocked() {
            return Err(BrokerError::Blocked);
        }
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        let exchange = message.queue.as_str().into();
        let body = message.body.as_bytes();
        let confirm = channel
            .basic_publish(exchange, "".into(), options, body, properties)
            .await?;
        match confirm.await? {
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => {
                // The queue was deleted; the next message declares it again.
                self.channels.lock().await.remove(&message.queue);
                Err(BrokerError::Rejected("unroutable"))
            }
            Confirmation::Nack(_) => Err(BrokerError::Rejected("negative confirm")),
            Confirmation::NotRequested => Err(BrokerError::Rejected("confirms are not enabled")),
        }
    }

    async fn channel(&self, queue: &str) -> Result<Channel, BrokerError> {
        let mut channels = self.channels.lock().await;
        if let Some(channel) = channels.get(queue)
            && channel.status().connected()
        {
            return Ok(channel.clone());
        }
        let channel = self.connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        declare(&channel, queue).await?;
        channels.insert(queue.to_owned(), channel.clone());
        Ok(channel)
    }
}

/// Declares an exchange and a queue of the same name, bound with an empty routing key.
async fn declare(channel: &Channel, name: &str) -> Result<(), lapin::Error> {
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
