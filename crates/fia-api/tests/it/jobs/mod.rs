//! Job records: lists, counts, single jobs, updates, runner images.

mod access;
mod cache;
mod indexes;
mod input;
mod list_table;
mod long;
mod model;
mod page;
mod runners;
mod texts;
mod timestamps;
mod update;

use devstack::Upstreams;

use crate::harness::{Database, Replica, Vars, upstream_vars, vars};

/// A private database and private upstream stand-ins, and replicas that use both.
struct JobsFixture {
    database: Database,
    upstreams: Upstreams,
}

impl JobsFixture {
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

    /// A replica without a local cache.
    fn replica(&self) -> Replica {
        self.replica_with(&vars(&[("CACHE_LOCAL", "off")]))
    }
}

/// Adds filters to a path's query.
fn filtered(path: &str, filters: &serde_json::Value) -> String {
    let filters = filters.to_string();
    let encoded =
        percent_encoding::utf8_percent_encode(&filters, percent_encoding::NON_ALPHANUMERIC);
    let separator = if path.contains('?') { '&' } else { '?' };
    format!("{path}{separator}filters={encoded}")
}
