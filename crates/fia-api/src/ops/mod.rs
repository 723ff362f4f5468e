//! Work that touches two or more systems: jobs are made in the database and announced over
//! RabbitMQ, with scripts from GitHub.

mod delivery;
pub mod job_access;
mod outbox;
mod relay;

pub use outbox::{Outbox, Statistics};
