//! The tests of the service: one binary, so that they share one PostgreSQL.
//!
//! They drive the router in process, against real servers that `devstack` starts.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test cannot go on without ends it, in its helpers too"
)]

mod auth;
mod cache;
mod faults;
mod harness;
mod jobs;
mod layering;
mod openapi;
mod pooler;
mod races;
mod recorded;
mod schema;
mod settings;
mod sockets;
mod trees;
mod wire;
