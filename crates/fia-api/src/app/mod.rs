//! The running server: what stands around the routes, and the sockets.

mod access;
mod cors;
mod edge;
mod path;
mod repeats;
mod request_id;
mod server;

pub use edge::Edge;
pub use server::{Server, shutdown_signal};
