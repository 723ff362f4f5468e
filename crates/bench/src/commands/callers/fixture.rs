//! All servers, each dependency behind a proxy that can make it unavailable.

use std::path::Path;

use devstack::{Api, FaultProxy, Stack};

use super::super::new_jobs::apply_schema;
use crate::Outcome;

/// The exchange and queue of new jobs.
pub(super) const QUEUE: &str = "scheduled-jobs";

pub(super) struct Fixture {
    pub(super) stack: Stack,
    pub(super) links: Vec<(&'static str, FaultProxy)>,
    pub(super) api: Api,
}

impl Fixture {
    pub(super) async fn start(server: &Path) -> Outcome<Self> {
        let stack = Stack::builder().everything().start().await?;
        apply_schema(server, &stack).await?;
        let upstreams = stack.upstreams().ok_or("no stand-ins")?.addr();
        let postgres = stack.postgres().ok_or("no PostgreSQL")?.addr();
        let rabbitmq = stack.rabbitmq().ok_or("no RabbitMQ")?.addr();
        let valkey = stack.valkey().ok_or("no Valkey")?.addr();
        let mut links = Vec::new();
        for (name, address) in [
            ("PostgreSQL", postgres),
            ("RabbitMQ", rabbitmq),
            ("Valkey", valkey),
            ("auth service", upstreams),
            ("GitHub", upstreams),
        ] {
            links.push((name, FaultProxy::start(address).await?));
        }
        let port = |i: usize| links[i].1.port().to_string();
        let url = |i: usize| format!("http://{}", links[i].1.addr());
        let settings = [
            ("DB_PORT", port(0)),
            ("QUEUE_PORT", port(1)),
            ("VALKEY_URL", format!("redis://{}/0", links[2].1.addr())),
            ("AUTH_API_URL", url(3)),
            ("GITHUB_RAW_URL", url(4)),
            ("GITHUB_API_URL", url(4)),
            ("EGRESS_QUEUE_NAME", QUEUE.to_owned()),
        ];
        let api = super::super::start(server, &stack, &settings).await?;
        Ok(Self { stack, links, api })
    }
}
