//! RabbitMQ, which delivers jobs to the runners.
//!
//! One connection per process, reopened when it is lost. A message counts as sent once the
//! broker has confirmed it. A channel carries one message at a time: a message that the broker
//! refuses closes its channel, and no other message shares its fate.

mod backoff;
mod client;
mod connection;
mod declare;
mod error;
mod probe;
mod queues;

pub use backoff::Backoff;
pub use client::Broker;
pub use connection::Connection;
pub use error::BrokerError;
pub use probe::Probe;
