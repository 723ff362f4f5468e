//! Tests of the cache against a real Valkey, and of its protocol in a model checker.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed test reports the location"
)]
#![expect(
    clippy::print_stdout,
    reason = "the model checker prints its counterexamples"
)]

mod model;

mod adapters;
mod addresses;
mod cluster;
mod dead_writers;
mod examples;
mod faults;
mod groups;
mod guarded_writes;
mod hiccups;
mod histories;
mod invalidate_all;
mod killed_writers;
mod kit;
mod large_values;
mod layering;
mod leases;
mod limits;
mod local;
mod many;
mod namespaces;
mod odd_servers;
mod peek;
mod puts;
mod races;
mod reads;
mod replicas;
mod schedules;
mod single_flight;
mod support;
mod waiters;
mod wire;
mod writes;
