//! The lifecycle of Prometheus: start with rules, cleanup; invalid rules.

use std::net::SocketAddr;

use devstack::{Error, Prometheus};

use crate::footprint::Footprint;

/// Nothing listens on port 1.
fn targets() -> Vec<SocketAddr> {
    vec!["127.0.0.1:1".parse().unwrap()]
}

#[tokio::test]
async fn it_starts_with_rules_and_leaves_nothing_behind() {
    let rules = "groups: [{name: a, rules: [{alert: Down, expr: up == 0}]}]\n";
    let prometheus = Prometheus::start(&targets(), rules).await.unwrap();
    let footprint = Footprint::of(prometheus.server(), prometheus.addr());
    drop(prometheus);
    footprint.assert_gone();
}

#[tokio::test]
async fn invalid_rules_are_a_startup_error() {
    let rules = "groups: [{name: a, rules: [{alert: Down, expr: up ==}]}]\n";
    let error = Prometheus::start(&targets(), rules).await.unwrap_err();
    assert!(matches!(error, Error::Exited { .. }), "{error}");
}
