//! Job records: lists, counts, single jobs, updates, runner images.

mod access;
mod cache;
mod indexes;
mod input;
mod long;
mod model;
mod runners;
mod update;

use devstack::Upstreams;

use crate::harness::{Database, Replica, Vars, upstream_vars, vars};

/// A database and stand-ins of a test's own, and replicas on both.
struct Bench {
    database: Database,
    upstreams: Upstreams,
}

impl Bench {
    async fn new() -> Self {
        Self {
            database: Database::seeded().await,
            upstreams: Upstreams::start().await.unwrap(),
        }
    }

    fn replica_with(&self, more: &Vars) -> Replica {
        let upstreams = upstream_vars(&self.upstreams);
        Replica::new(&[&self.database.vars(), &upstreams, more])
    }

    /// One that remembers nothing.
    fn replica(&self) -> Replica {
        self.replica_with(&vars(&[("CACHE_LOCAL", "off")]))
    }
}

/// A path with filters in its query.
fn filtered(path: &str, filters: &serde_json::Value) -> String {
    let filters = filters.to_string();
    let encoded =
        percent_encoding::utf8_percent_encode(&filters, percent_encoding::NON_ALPHANUMERIC);
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}filters={encoded}")
}
