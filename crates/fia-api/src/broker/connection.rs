//! A connection with a pool of channels, each for one message at a time.

use std::collections::HashMap;
use std::sync::Arc;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::uri::AMQPUri;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection as AmqpConnection, ConnectionProperties,
};
use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;
use parking_lot::Mutex as SyncMutex;
use tokio::sync::{Mutex, Semaphore};

use crate::broker::BrokerError;
use crate::broker::declare::declare_queue;
use crate::broker::error::Cause;
use crate::broker::queues::Queues;
use crate::model::Message;
use crate::observe::{Calls, Recipient, in_span, trace_headers};

/// The delivery mode of messages that survive a restart of the broker.
const PERSISTENT: u8 = 2;
/// The most channels, and so the most unconfirmed messages of a connection.
const MAX_CHANNELS: usize = 32;

/// An open connection to RabbitMQ.
pub struct Connection {
    connection: AmqpConnection,
    queues: Arc<Queues>,
    declarations: Mutex<Declarations>,
    /// The channels that carry no message, in confirm mode.
    idle: SyncMutex<Vec<Channel>>,
    permits: Semaphore,
    calls: Arc<Calls>,
}

/// The queues that this connection has declared.
#[derive(Default)]
struct Declarations {
    /// Declarations so far.
    count: u64,
    /// The number of each queue's last declaration.
    current: HashMap<String, u64>,
}

/// The outcome of a publication that did not fail.
enum Outcome {
    Delivered,
    /// The exchange, the queue or the binding does not exist: the message was not delivered.
    Unroutable,
}

impl Connection {
    pub(super) async fn open(
        address: AMQPUri,
        queues: Arc<Queues>,
        calls: Arc<Calls>,
    ) -> Result<Self, BrokerError> {
        let properties = ConnectionProperties::default().with_connection_name("fia-api".into());
        let connection = AmqpConnection::connect_uri(address, properties).await;
        Ok(Self {
            connection: connection.map_err(|error| unavailable(&error))?,
            queues,
            declarations: Mutex::default(),
            idle: SyncMutex::default(),
            permits: Semaphore::new(MAX_CHANNELS),
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
    /// connection. A queue that was deleted is declared again.
    ///
    /// # Errors
    /// [`BrokerError`]; only after [`BrokerError::Unavailable`] the message may have been
    /// delivered.
    pub async fn publish(&self, message: &Message) -> Result<(), BrokerError> {
        let permit = self.permits.acquire().await;
        let _permit = permit.map_err(|error| BrokerError::Unavailable(error.to_string()))?;
        let failure = |error: &BrokerError| Some(error.kind());
        let describe = || {
            let system = KeyValue::new("messaging.system", "rabbitmq");
            (format!("publish {}", message.queue), vec![system])
        };
        let work = self.calls.observe(self.send(message), failure);
        in_span(SpanKind::Producer, describe, work).await
    }

    async fn send(&self, message: &Message) -> Result<(), BrokerError> {
        let queue = &message.queue;
        let declaration = self.declare(queue).await?;
        if let Outcome::Delivered = self.publish_once(message).await? {
            return Ok(());
        }
        if self.forget(queue, declaration).await {
            tracing::warn!(
                queue,
                "queue, exchange or binding was deleted: declaring it again"
            );
        }
        let declaration = self.declare(queue).await?;
        if let Outcome::Delivered = self.publish_once(message).await? {
            return Ok(());
        }
        self.forget(queue, declaration).await;
        Err(self.queues.failed(queue, "unroutable".to_owned()))
    }

    async fn publish_once(&self, message: &Message) -> Result<Outcome, BrokerError> {
        if self.is_blocked() {
            return Err(BrokerError::Blocked);
        }
        let queue = &message.queue;
        let channel = self.channel().await.map_err(|error| unavailable(&error))?;
        match confirm(&channel, message).await {
            Ok(Confirmation::Ack(None)) => {
                self.idle.lock().push(channel);
                self.queues.delivered(queue);
                Ok(Outcome::Delivered)
            }
            Ok(Confirmation::Ack(Some(_))) => {
                self.idle.lock().push(channel);
                Ok(Outcome::Unroutable)
            }
            // The queue has no leader or is full; no fault of this message.
            Ok(Confirmation::Nack(_)) => {
                self.idle.lock().push(channel);
                Err(self.queues.failed(queue, "negative confirm".to_owned()))
            }
            Ok(Confirmation::NotRequested) => Err(BrokerError::Unavailable(
                "confirms are not enabled".to_owned(),
            )),
            Err(error) => match Cause::of(&error) {
                Cause::NoExchange => Ok(Outcome::Unroutable),
                Cause::Queue(reason) => Err(self.queues.failed(queue, reason)),
                Cause::Message(reason) if self.is_open() => Err(BrokerError::Refused(reason)),
                Cause::Connection(reason) | Cause::Message(reason) => {
                    Err(BrokerError::Unavailable(reason))
                }
            },
        }
    }

    /// Declares the queue unless this connection has done so, and returns the number of the
    /// declaration. Concurrent callers wait for one declaration.
    async fn declare(&self, queue: &str) -> Result<u64, BrokerError> {
        let mut declarations = self.declarations.lock().await;
        self.queues.check(queue)?;
        if let Some(declaration) = declarations.current.get(queue) {
            return Ok(*declaration);
        }
        // Not on a channel in use: the broker closes the channel of a failed declaration.
        let channel = self.channel().await.map_err(|error| unavailable(&error))?;
        match declare_queue(&channel, queue).await {
            Ok(()) => {
                self.idle.lock().push(channel);
                declarations.count += 1;
                let number = declarations.count;
                declarations.current.insert(queue.to_owned(), number);
                Ok(number)
            }
            Err(error) => Err(match Cause::of(&error) {
                Cause::Connection(reason) => BrokerError::Unavailable(reason),
                Cause::NoExchange => self.queues.failed(queue, error.to_string()),
                Cause::Queue(reason) | Cause::Message(reason) => self.queues.failed(queue, reason),
            }),
        }
    }

    /// Has the queue declared again before the next message, unless that was done after this
    /// declaration. Returns whether this call was the first to notice.
    async fn forget(&self, queue: &str, declaration: u64) -> bool {
        let mut declarations = self.declarations.lock().await;
        let is_current = declarations.current.get(queue) == Some(&declaration);
        if is_current {
            declarations.current.remove(queue);
        }
        is_current
    }

    /// Takes an idle channel or opens one.
    async fn channel(&self) -> Result<Channel, lapin::Error> {
        while let Some(channel) = self.idle_channel() {
            if channel.status().connected() {
                return Ok(channel);
            }
        }
        let channel = self.connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(channel)
    }

    fn idle_channel(&self) -> Option<Channel> {
        self.idle.lock().pop()
    }
}

/// Publishes a message on a channel and waits for its confirm.
async fn confirm(channel: &Channel, message: &Message) -> Result<Confirmation, lapin::Error> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let properties = with_trace(BasicProperties::default().with_delivery_mode(PERSISTENT));
    let exchange = message.queue.as_str().into();
    let body = message.body.as_bytes();
    let confirm = channel.basic_publish(exchange, "".into(), options, body, properties);
    confirm.await?.await
}

/// Adds the headers that carry the trace, if the message belongs to one.
fn with_trace(properties: BasicProperties) -> BasicProperties {
    let headers = trace_headers(Recipient::Internal);
    if headers.is_empty() {
        return properties;
    }
    let mut table = FieldTable::default();
    for (name, value) in headers {
        table.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    properties.with_headers(table)
}

fn unavailable(error: &lapin::Error) -> BrokerError {
    BrokerError::Unavailable(error.to_string())
}
