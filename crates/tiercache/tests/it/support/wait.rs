//! Waiting requests, and waits with a limit.

use std::fmt::Debug;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tiercache::Cache;

use crate::support::{DbError, NAME, Response, Rows};

/// Polls a request once, so that it is enqueued as a waiter, and spawns it.
pub(crate) fn enqueue<F>(rows: &Rows, load: F) -> tokio::task::JoinHandle<Response>
where
    F: FnOnce() -> BoxFuture<'static, Result<u64, DbError>> + Send + 'static,
{
    let rows = rows.clone();
    let mut request = Box::pin(async move { rows.get_or_load(NAME, load).await });
    let waker = std::task::Waker::noop();
    let first = request
        .as_mut()
        .poll(&mut std::task::Context::from_waker(waker));
    assert!(first.is_pending());
    tokio::spawn(request)
}

/// Polls a condition until it holds; panics after 20 s.
pub(crate) async fn wait_until(what: &str, mut happened: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !happened().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait)
        .await
        .unwrap_or_else(|_| panic!("timed out waiting for: {what}"));
}

/// Waits until the shared level is up or down; panics after 20 s.
pub(crate) async fn wait_for_shared_level(cache: &Cache, up: bool) {
    tokio::time::timeout(Duration::from_secs(20), cache.wait_for_shared_level(up))
        .await
        .unwrap_or_else(|_| panic!("timed out waiting for the shared level, up: {up}"));
}

/// Panics if a request takes over 1 s while Valkey is unavailable. (The timeouts add up to
/// 300 ms; the rest is a margin for concurrently running tests.)
pub(crate) async fn within_a_second<T: Debug>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(1), work)
        .await
        .expect("took over 1 s")
}
