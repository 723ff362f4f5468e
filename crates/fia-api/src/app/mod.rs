//! The running server: what stands around the routes, and the sockets.

mod access;
mod cors;
mod edge;
mod metrics;
mod path;
mod repeats;
mod request_id;
mod server;
mod traffic;

pub use edge::Edge;
pub use metrics::Metrics;
pub use server::{Server, Service, shutdown_signal};
