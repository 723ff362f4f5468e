//! The tests of the service: one binary, so that they share one PostgreSQL.
//!
//! They drive the router in process, against real servers that `devstack` starts.
mod cache;
mod harness;
mod layering;
mod openapi;
mod recorded;
mod wire;
