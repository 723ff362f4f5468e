//! Waiting requests, and waits with a limit.

use std::fmt::Display;
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

/// Polls a condition until it holds, for [a limited time](limited::waiting).
#[track_caller]
pub(crate) fn wait_until(
    what: impl Display,
    mut happened: impl AsyncFnMut() -> bool,
) -> impl Future<Output = ()> {
    limited::waiting(what, async move {
        while !happened().await {
            tokio::task::yield_now().await;
        }
    })
}

/// Waits until the shared level is up or down, for a limited time.
#[track_caller]
pub(crate) fn wait_for_shared_level(cache: &Cache, up: bool) -> impl Future<Output = ()> {
    let state = if up { "up" } else { "down" };
    let what = format!("the shared level to be {state}");
    limited::waiting(what, cache.wait_for_shared_level(up))
}

/// Waits until changes are tracked, for a limited time.
#[track_caller]
pub(crate) fn wait_for_tracking(cache: &Cache) -> impl Future<Output = ()> {
    limited::waiting("tracking", cache.wait_for_tracking())
}

/// Panics if a request takes over 1 s while Valkey is unavailable. (The timeouts add up to
/// 300 ms; the rest is a margin for concurrently running tests.)
#[track_caller]
pub(crate) fn within_a_second<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    limited::within(Duration::from_secs(1), "a request", work)
}
