//! moka in front of redis-rs, as one writes it by hand: SETEX after a load, DEL after a commit.

use moka::future::Cache;
use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;

use super::{Load, Replica, Row, TTL};
use crate::Result;

#[derive(Clone)]
pub struct ByHand {
    local: Cache<String, u64>,
    shared: MultiplexedConnection,
}

impl ByHand {
    pub async fn new(url: &str) -> Result<Self> {
        let client = redis::Client::open(url)?;
        Ok(Self {
            local: Cache::builder()
                .max_capacity(100_000)
                .time_to_live(TTL)
                .build(),
            shared: client.get_multiplexed_async_connection().await?,
        })
    }
}

impl Replica for ByHand {
    async fn read(&self, key: String, load: Load) -> u64 {
        let (mut shared, shared_key) = (self.shared.clone(), format!("race:hand:{key}"));
        let value = async move {
            let cached: Option<u64> = shared.get(&shared_key).await.expect("GET");
            if let Some(value) = cached {
                return value;
            }
            let value = load().await;
            let stored = shared.set_ex(&shared_key, value, TTL.as_secs());
            let () = stored.await.expect("SETEX");
            value
        };
        self.local.get_with(key, value).await
    }

    async fn write(&self, key: String, row: Row) {
        row.commit();
        let mut shared = self.shared.clone();
        let () = shared.del(format!("race:hand:{key}")).await.expect("DEL");
        self.local.invalidate(&key).await;
    }
}
