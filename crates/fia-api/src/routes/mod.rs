//! The route table.

mod cache_result;
mod conditional;
mod docs;
mod extras;
mod files;
mod health;
mod instruments;
mod jobs;
mod live_data;
mod logs;
mod route_id;
mod runners;
mod swagger_ui;

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderValue, StatusCode, Uri};

pub(crate) use cache_result::CacheResult;
pub(crate) use conditional::{CacheScope, Indexable, Negotiation};
pub use route_id::{RouteId, RouteMatcher};

use crate::error::ApiError;
use crate::state::AppState;

/// Every path and its handlers. A 405 response names the first method of a path.
#[rustfmt::skip]
fn table() -> Vec<(&'static str, MethodRouter<AppState>)> {
    vec![
        ("/healthz", get(health::healthz)),
        ("/ready", get(health::ready)),

        ("/docs", get(docs::swagger_ui)),
        ("/redoc", get(docs::swagger_ui)),
        ("/docs/oauth2-redirect", get(docs::oauth2_redirect)),
        ("/docs/{asset}", get(docs::asset)),
        ("/openapi.json", get(docs::openapi)),

        ("/instrument/{instrument}/latest-run", get(instruments::latest_run).put(instruments::update_latest_run)),
        ("/instrument/{instrument}/specification", get(instruments::specification).put(instruments::update_specification)),

        ("/jobs", get(jobs::all)),
        ("/jobs/count", get(jobs::count)),
        ("/jobs/runners", get(runners::images)),
        ("/instrument/{instrument}/jobs", get(jobs::of_instrument)),
        ("/instrument/{instrument}/jobs/count", get(jobs::count_of_instrument)),
        ("/job/{job_id}", job_by_id()),
        ("/job/{job_id}/resubmit", post(jobs::new::resubmit)),
        ("/job/rerun", job_by_id().post(jobs::new::rerun)),
        ("/job/simple", job_by_id().post(jobs::new::simple)),
        (HELD, job_by_id().post(jobs::new::autoreduction)),
        (DOWNLOAD, get(files::download)),
        ("/job/download-zip", job_by_id().post(files::download_zip)),

        ("/find_file/instrument/{instrument}/experiment_number/{experiment_number}", get(files::find_of_instrument)),
        ("/find_file/generic/experiment_number/{experiment_number}", get(files::find_of_experiment)),
        ("/find_file/generic/user_number/{user_number}", get(files::find_of_user)),

        ("/extras/", get(extras::list)),
        ("/extras/{subdir}", get(extras::list_sub_folder)),
        ("/extras/{instrument}/{filename}", post(extras::upload)),

        ("/live-data/instruments", get(live_data::instruments)),
        ("/live-data/{instrument}/script", get(live_data::script).put(live_data::update_script)),
        ("/live-data/{instrument}/logs", get(logs::stream)),
        ("/live-data/{instrument}/traceback", get(live_data::traceback)),
    ]
}

/// The path whose requests are held while a dependency is unavailable.
const HELD: &str = "/job/autoreduction";

/// Returns true if a request for this path may be held longer than others are.
#[must_use]
pub fn is_held(path: &str) -> bool {
    path.ends_with(HELD)
}

/// The one path that HEAD is served for.
const DOWNLOAD: &str = "/job/{job_id}/filename/{filename}";

/// Returns true if HEAD is served for a path. The framework serves it for every GET; the older
/// server for none.
#[must_use]
pub fn serves_head(path: &str) -> bool {
    let mut segments = path.split('/');
    DOWNLOAD.split('/').all(|part| {
        let segment = segments.next();
        if part.starts_with('{') {
            segment.is_some_and(|segment| !segment.is_empty())
        } else {
            segment == Some(part)
        }
    }) && segments.next().is_none()
}

/// The handlers of `/job/{job_id}`. Every fixed path below `/job/` (`/job/simple`) adds them to its
/// own: in the older server, other methods of such a path match `/job/{job_id}` and are 422.
fn job_by_id() -> MethodRouter<AppState> {
    get(jobs::one).patch(jobs::update)
}

/// The router, with fallbacks for unknown paths and methods.
pub fn router(state: AppState) -> Router {
    let paths = RouteMatcher::new();
    let mut router = Router::new();
    for (path, methods) in table() {
        router = router.route(path, methods);
    }
    router
        .fallback(move |uri: Uri| async move { other_slash(&paths, &uri).ok_or(ApiError::NoRoute) })
        .method_not_allowed_fallback(async || ApiError::Method)
        .with_state(state)
}

/// The paths of the table, in its order.
#[must_use]
pub fn paths() -> Vec<&'static str> {
    table().into_iter().map(|(path, _)| path).collect()
}

/// A redirect to the same path with or without its trailing slash, if that is a route.
///
/// Relative to the URL of the request: a gateway may have removed a prefix, and the scheme is not
/// known here.
fn other_slash(paths: &RouteMatcher, uri: &Uri) -> Option<Response> {
    let path = uri.path();
    let (other, mut location) = match path.strip_suffix('/') {
        Some(shorter) => {
            let last = shorter.rsplit('/').next().unwrap_or_default();
            (shorter.to_owned(), format!("../{last}"))
        }
        None => {
            let last = path.rsplit('/').next().unwrap_or_default();
            (format!("{path}/"), format!("./{last}/"))
        }
    };
    paths.find(&other)?;
    if let Some(query) = uri.query() {
        location.push('?');
        location.push_str(query);
    }
    let location = HeaderValue::try_from(location).ok()?;
    Some((StatusCode::TEMPORARY_REDIRECT, [(LOCATION, location)]).into_response())
}

/// A response with a serialized JSON body.
fn json(body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

/// The result of a handler.
type HandlerResult = Result<Response, ApiError>;
