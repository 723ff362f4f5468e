//! The contenders. Each is used as its documentation shows: a read loads on a miss, a write
//! commits and then invalidates. Two replicas share one Valkey.

pub mod amalgam;
pub mod by_hand;
pub mod cache_aio;
pub mod tiercache;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;

/// The TTL of every entry: longer than a run.
pub const TTL: Duration = Duration::from_secs(600);

/// A row of the database: its version.
#[derive(Clone, Default)]
pub struct Row(Arc<AtomicU64>);

impl Row {
    pub fn select(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub fn commit(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Loads the version of a row.
pub type Load = Box<dyn FnOnce() -> BoxFuture<'static, u64> + Send>;

/// One process of a service.
pub trait Replica: Clone + Send + Sync + 'static {
    /// Reads a key through the cache.
    fn read(&self, key: String, load: Load) -> impl Future<Output = u64> + Send;

    /// Changes the row and invalidates its key.
    fn write(&self, key: String, row: Row) -> impl Future<Output = ()> + Send;
}
