//! This crate.

use std::convert::Infallible;

use tiercache::{Cache, CommitWith, Json, Namespace};

use super::{Load, Replica, Row, TTL};
use crate::Result;

#[derive(Clone)]
pub struct Ours {
    cache: Cache,
    rows: Namespace<str, u64, Infallible>,
}

impl Ours {
    pub async fn new(url: &str) -> Result<Self> {
        let cache = Cache::builder(url).memory(64 << 20).connect()?;
        let rows = cache.namespace("race:ours:", Json).ttl(TTL).build()?;
        cache.wait_for_shared_level(true).await;
        cache.wait_for_tracking().await;
        Ok(Self { cache, rows })
    }
}

impl Replica for Ours {
    async fn read(&self, key: String, load: Load) -> u64 {
        let load = async move || Ok(load().await);
        self.rows
            .get(&key, load)
            .await
            .expect("the loader succeeds")
    }

    async fn write(&self, key: String, row: Row) {
        let fenced = self.rows.key(&key);
        let commit = CommitWith(async move || {
            row.commit();
            Ok::<_, Infallible>(())
        });
        let write =
            async move |write: tiercache::Write| write.fence(commit, [fenced]).await.commit().await;
        self.cache.write(write).await.expect("the write succeeds");
    }
}
