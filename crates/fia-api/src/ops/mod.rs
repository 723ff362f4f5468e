//! Work that touches two or more systems: who may see a job, and new jobs, which are made in
//! the database and announced over RabbitMQ, with scripts from GitHub.

mod autoreduction;
pub mod job_access;
pub mod job_files;
mod jobs;
mod outbox;

pub use autoreduction::{Autoreduction, Measured, Prepared};
pub use jobs::Jobs;
pub use outbox::{Outbox, Statistics};
