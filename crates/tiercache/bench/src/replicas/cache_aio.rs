//! The client-side cache of redis-rs (`cache-aio`): SETEX after a load, DEL after a commit.

use redis::aio::MultiplexedConnection;
use redis::caching::CacheConfig;
use redis::{AsyncCommands, AsyncConnectionConfig};

use super::{Load, Replica, Row, TTL};
use crate::Result;

#[derive(Clone)]
pub struct CacheAio(MultiplexedConnection);

impl CacheAio {
    pub async fn new(url: &str) -> Result<Self> {
        let client = redis::Client::open(format!("{url}?protocol=resp3"))?;
        let config = AsyncConnectionConfig::new().set_cache_config(CacheConfig::new());
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        Ok(Self(connecting.await?))
    }
}

impl Replica for CacheAio {
    async fn read(&self, key: String, load: Load) -> u64 {
        let (mut shared, key) = (self.0.clone(), format!("race:aio:{key}"));
        let cached: Option<u64> = shared.get(&key).await.expect("GET");
        if let Some(value) = cached {
            return value;
        }
        let value = load().await;
        let () = shared
            .set_ex(&key, value, TTL.as_secs())
            .await
            .expect("SETEX");
        value
    }

    async fn write(&self, key: String, row: Row) {
        row.commit();
        let mut shared = self.0.clone();
        let () = shared.del(format!("race:aio:{key}")).await.expect("DEL");
    }
}
