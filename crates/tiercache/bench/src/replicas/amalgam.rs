//! amalgam-cache, with Redis as the distributed cache, and with or without its backplane.

use std::convert::Infallible;
use std::sync::Arc;

use amalgam::provider::{
    Backplane, DistributedCache, DistributedSerializer, JsonSerializer, RedisBackplane,
    RedisDistributedCache,
};
use amalgam::{Cache, EntryOptions};

use super::{Load, Replica, Row, TTL};
use crate::Result;

#[derive(Clone)]
pub struct Amalgam(Arc<Cache<u64>>);

impl Amalgam {
    pub async fn new(url: &str, name: &str, with_backplane: bool) -> Result<Self> {
        let shared = RedisDistributedCache::connect(url.to_owned()).await?;
        let mut builder = Cache::builder()
            .distributed(Arc::new(shared) as Arc<dyn DistributedCache>)
            .serializer(Arc::new(JsonSerializer) as Arc<dyn DistributedSerializer<u64>>)
            .default_options(EntryOptions::new(TTL))
            .instance_id(name);
        if with_backplane {
            let backplane = RedisBackplane::connect(url.to_owned()).await?;
            builder = builder.backplane(Arc::new(backplane) as Arc<dyn Backplane>);
        }
        Ok(Self(Arc::new(builder.try_build()?)))
    }
}

impl Replica for Amalgam {
    async fn read(&self, key: String, load: Load) -> u64 {
        let value = self
            .0
            .get_or_set(&*key, |_| async move { Ok::<_, Infallible>(load().await) });
        value.await.expect("the factory succeeds")
    }

    async fn write(&self, key: String, row: Row) {
        row.commit();
        self.0.remove(&*key).await.expect("the removal succeeds");
    }
}
