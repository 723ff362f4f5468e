//! The id of the request that the current task works for.

use http::HeaderValue;

tokio::task_local! {
    /// The id, as in the header `x-request-id`.
    static REQUEST_ID: HeaderValue;
}

/// Runs work for the request with this id.
pub fn with_request_id<F: Future>(id: HeaderValue, work: F) -> impl Future<Output = F::Output> {
    REQUEST_ID.scope(id, work)
}

/// Calls a function for the request with this id; `None` for no request.
pub fn sync_with_request_id<T>(id: Option<HeaderValue>, work: impl FnOnce() -> T) -> T {
    match id {
        Some(id) => REQUEST_ID.sync_scope(id, work),
        None => work(),
    }
}

/// The id of the current request, to carry it to another task.
#[must_use]
pub fn carried() -> Option<HeaderValue> {
    REQUEST_ID.try_with(HeaderValue::clone).ok()
}

/// The id of the current request as text.
pub(super) fn current() -> Option<String> {
    let text = |id: &HeaderValue| id.to_str().map(str::to_owned).ok();
    REQUEST_ID.try_with(text).ok().flatten()
}
