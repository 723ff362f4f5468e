//! Lists, counts and experiments in Valkey, shared with legacy servers.

mod groups;
mod payloads;
mod scopes;

use devstack::Valkey;
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;

use crate::harness::{Replica, vars};
use crate::jobs::JobsFixture;

/// The legacy server's own test vectors: requests and their keys.
const KEYS: [(&str, &str); 6] = [
    (
        "/jobs?limit=1",
        "fia_api:jobs:list:all:8f83e474a95422571d8cab4097ac582b8c55b67ca654e5d6bff8b1d0609145c9",
    ),
    (
        "/instrument/mari/jobs?limit=2&order_by=id&order_direction=asc",
        "fia_api:jobs:list:instrument:b3bf7eded9bc8748d3c311c0261b2332f19e461933fb752281a6fbbd977357f7",
    ),
    (
        "/instrument/mari/jobs/count",
        "fia_api:jobs:count:instrument:e22c1dd7b0a39ae0ea9ac65273fa348dab68c4e2f5a3678acbdd657cd209e2d7",
    ),
    (
        "/jobs/count",
        "fia_api:jobs:count:all:cedaaad1f26f269dd47cc833fcb633307bbaaa9bc15bf36b600716bb92938f55",
    ),
    (
        "/jobs/count?filters={}",
        "fia_api:jobs:count:all:c75966b2403b0433db40c05898902c770a510d4961bc52dbdbca2885fc7e9d9d",
    ),
    (
        "/jobs/count?filters=%7B%22experiment_number_after%22:1e2%7D",
        "fia_api:jobs:count:all:ab83971ca910d3d7201eea70dd3a6503996c8a70509245a656f2777f394fd4db",
    ),
];

/// A jobs fixture with a private Valkey.
struct SharedCacheFixture {
    jobs: JobsFixture,
    valkey: Valkey,
    redis: MultiplexedConnection,
}

impl SharedCacheFixture {
    async fn new() -> Self {
        let (jobs, valkey) = tokio::join!(JobsFixture::new(), Valkey::start());
        let valkey = valkey.unwrap();
        let client = redis::Client::open(valkey.url()).unwrap();
        let redis = client.get_multiplexed_async_connection().await.unwrap();
        Self {
            jobs,
            valkey,
            redis,
        }
    }

    async fn replica_with(&self, more: &[(&str, &str)]) -> Replica {
        let url = self.valkey.url();
        let more: Vec<(&str, &str)> = [&[("VALKEY_URL", url.as_str())], more].concat();
        let replica = self.jobs.replica_with(&vars(&more));
        replica.wait_for_shared_level().await;
        replica.wait_until_reachable().await;
        replica
    }

    async fn replica(&self) -> Replica {
        self.replica_with(&[]).await
    }

    /// The keys of entries, without those of groups.
    async fn keys(&mut self) -> Vec<String> {
        let mut keys: Vec<String> = self.redis.keys("*").await.unwrap();
        keys.retain(|key| !key.contains(":group:"));
        keys.sort();
        keys
    }
}
