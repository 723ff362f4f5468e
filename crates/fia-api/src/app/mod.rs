//! The running server: request handling around the routes, metrics, and sockets.

mod access_log;
mod arrival;
mod client_address;
mod compression;
mod cors;
mod dependencies;
mod edge;
mod facts;
mod healthcheck;
mod http_metrics;
mod log;
mod log_level;
mod metrics;
mod outbox_command;
mod path;
mod request_id;
mod response_index;
mod server;
mod time_limit;

pub use dependencies::{Dependency, probe_dependencies};
pub use edge::Edge;
pub use healthcheck::healthcheck;
pub use log::start_log;
pub use log_level::LogLevel;
pub use metrics::Metrics;
pub use outbox_command::{OutboxCommand, OutboxCommandError};
pub use server::{Server, Service, shutdown_signal};
