//! The tests of the service: one binary, so that they share one PostgreSQL.
//!
//! They drive the router in process, against real servers that `devstack` starts.
mod archives;
mod auth;
mod cache;
mod faults;
mod files;
mod harness;
mod layering;
mod logs;
mod openapi;
mod pooler;
mod races;
mod recorded;
mod schema;
mod settings;
mod sockets;
mod trees;
mod uploads;
mod wire;
