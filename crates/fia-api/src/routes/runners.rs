//! The images that jobs can run in.

use axum::extract::State;
use http::HeaderValue;
use http::header::{AGE, HeaderName};

use crate::auth::Caller;
use crate::extract::Authed;
use crate::routes::{Answer, json};
use crate::state::AppState;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// `GET /jobs/runners`: digests with their versions, newest first. Where GitHub fails, the last
/// known ones, marked as stale.
pub(super) async fn images(State(state): State<AppState>, _: Authed<Caller, ()>) -> Answer {
    let images = state.cached.runner_images().await?;
    let mut response = json(images.body);
    if let Some(age) = images.age {
        let headers = response.headers_mut();
        headers.insert(AGE, HeaderValue::from(age.as_secs()));
        let stale = HeaderValue::from_static("fia-api; hit; detail=stale");
        headers.insert(CACHE_STATUS, stale);
    }
    Ok(response)
}
