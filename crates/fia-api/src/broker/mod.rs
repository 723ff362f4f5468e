//! RabbitMQ, the way to the programs that run jobs.
//!
//! One connection for the whole process, made anew when it breaks. Every message is confirmed
//! by the broker before it counts as sent.

mod client;
mod connection;

pub use client::{Broker, BrokerError};
pub use connection::Connection;
