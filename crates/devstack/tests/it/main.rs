//! Tests with the real servers: one binary, so that it links once and its tests share servers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fault;
mod pgbouncer;
mod postgres;
mod process;
mod rabbitmq;
mod stack;
mod traces;
mod upstreams;
mod valkey;
mod wait;
