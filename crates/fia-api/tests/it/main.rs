//! The tests of the service: one binary, so that they share one PostgreSQL.
//!
//! They drive the router in process, against real servers that `devstack` starts.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "what a test cannot go on without ends it, in its helpers too"
)]

mod archives;
mod auth;
mod cache;
mod consumer;
mod faults;
mod feed;
mod files;
mod first_level;
mod harness;
mod jobs;
mod layering;
mod logs;
mod metrics;
mod new_jobs;
mod openapi;
mod outbox;
mod pooler;
mod races;
mod recorded;
mod schedules;
mod schema;
mod scripts;
mod secrets;
mod settings;
mod sockets;
mod trees;
mod uploads;
mod wire;
