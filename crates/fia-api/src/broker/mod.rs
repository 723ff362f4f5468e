//! RabbitMQ, which delivers jobs to the runners.
//!
//! One connection per process, reopened when it is lost. A message counts as sent once the
//! broker has confirmed it.

mod client;
mod connection;

pub use client::{Broker, BrokerError};
pub use connection::Connection;
