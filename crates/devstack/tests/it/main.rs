//! Tests with real servers, in one binary: it links once and its tests share servers.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fault;
mod footprint;
mod http;
mod pgbouncer;
mod postgres;
mod process;
mod prometheus;
mod rabbitmq;
mod stack;
mod upstreams;
mod valkey;
mod wait;
