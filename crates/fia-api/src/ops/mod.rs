//! Operations on two or more systems: access checks of jobs, and new jobs, which are created in
//! the database and published over RabbitMQ, with scripts from GitHub.

mod autoreduction;
mod held;
pub mod job_access;
pub mod job_files;
mod jobs;
mod outbox;
mod readiness;

pub use autoreduction::{Autoreduction, AutoreductionRequest, PreparedJob};
pub use held::{AttemptError, HeldRequests};
pub use jobs::Jobs;
pub use outbox::{Outbox, Statistics};
pub use readiness::Readiness;
