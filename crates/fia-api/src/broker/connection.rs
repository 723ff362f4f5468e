//! A connection, with a channel for each queue.

use std::collections::HashMap;

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

/// The queues' consumers declare them with the same arguments; with any other the broker
/// closes the channel.
const QUEUE_TYPE: (&str, &str) = ("x-queue-type", "quorum");
/// Kept on disk by the broker.
const PERSISTENT: u8 = 2;

/// An open connection to RabbitMQ.
pub struct Connection {
    connection: AmqpConnection,
    /// By queue; one channel each, because the broker closes a channel when one of its queues
    /// cannot be declared.
    channels: Mutex<HashMap<String, Channel>>,
}

impl Connection {
    pub(super) async fn open(address: AMQPUri) -> Result<Self, BrokerError> {
        let properties = ConnectionProperties::default().with_connection_name("fia-api".into());
        Ok(Self {
            connection: AmqpConnection::connect_uri(address, properties).await?,
            channels: Mutex::default(),
        })
    }

    /// Whether it still is connected.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.connection.status().connected()
    }

    /// Whether the broker has said that it takes no messages just now.
    #[must_use]
    pub fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    /// Sends a message and waits until the broker has taken it, for as long as the connection
    /// lasts.
    ///
    /// # Errors
    /// [`BrokerError`]; after [`BrokerError::Away`] the message may have arrived all the same.
    pub async fn publish(&self, message: &Message) -> Result<(), BrokerError> {
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
                // The queue was deleted: it is declared anew for the next message.
                self.channels.lock().await.remove(&message.queue);
                Err(BrokerError::Refused("it has no queue for it"))
            }
            Confirmation::Nack(_) => Err(BrokerError::Refused("it could not store it")),
            Confirmation::NotRequested => Err(BrokerError::Refused("it does not confirm")),
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

/// An exchange and a queue of the same name, bound with an empty key.
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
