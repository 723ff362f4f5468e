//! The tests of the service: one binary, so that they share one PostgreSQL.
//!
//! They drive the router in process, against real servers that `devstack` starts.
#![expect(missing_docs, reason = "tests")]

mod harness;
mod layering;
mod recorded;
