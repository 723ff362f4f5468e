//! Operations on two or more systems: access checks of jobs, and new jobs, which are created in
//! the database and published over RabbitMQ, with scripts from GitHub.

mod autoreduction;
pub mod job_access;
pub mod job_files;
mod jobs;
mod outbox;

pub use autoreduction::{Autoreduction, AutoreductionRequest, PreparedJob};
pub use jobs::Jobs;
pub use outbox::{Outbox, Statistics};
