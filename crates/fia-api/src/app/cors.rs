//! Cross-origin requests: browsers on any origin (or on a list) may call, with credentials.

use axum::response::{IntoResponse, Response};
use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, CONTENT_TYPE, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

/// The methods that a browser may use, as the older server lists them.
const METHODS: &str = "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT, QUERY";

/// The policy on cross-origin requests.
#[derive(Debug, Clone)]
pub(super) struct Cors {
    /// Empty: any origin.
    allowed_origins: Vec<String>,
}

impl Cors {
    pub(super) fn new(allowed_origins: Vec<String>) -> Self {
        Self { allowed_origins }
    }

    /// The request's origin, if it is allowed.
    pub(super) fn origin(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(ORIGIN)?;
        let allowed = self.allowed_origins.is_empty()
            || self
                .allowed_origins
                .iter()
                .any(|allowed| origin == allowed.as_str());
        allowed.then(|| origin.clone())
    }

    /// The response to a preflight request on any path; `None` for other requests.
    pub(super) fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<Response> {
        if method != Method::OPTIONS || !headers.contains_key(ORIGIN) {
            return None;
        }
        let method = headers.get(ACCESS_CONTROL_REQUEST_METHOD)?;
        let is_known = method
            .to_str()
            .is_ok_and(|method| METHODS.split(", ").any(|known| known == method));
        let (status, text) = match (self.origin(headers), is_known) {
            (None, _) => (StatusCode::BAD_REQUEST, "Disallowed CORS origin"),
            (_, false) => (StatusCode::BAD_REQUEST, "Disallowed CORS method"),
            _ => (StatusCode::OK, "OK"),
        };
        let mut response = (status, text).into_response();
        let fields = response.headers_mut();
        fields.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        fields.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static(METHODS),
        );
        fields.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        if let Some(wanted) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            fields.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        Some(response)
    }

    /// Adds the headers with which a browser lets the calling page read a response, errors
    /// included.
    pub(super) fn mark(fields: &mut HeaderMap, origin: Option<HeaderValue>) {
        if let Some(further) = fields.insert(VARY, HeaderValue::from_static("Origin")) {
            fields.append(VARY, further);
        }
        if let Some(origin) = origin {
            fields.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            let yes = HeaderValue::from_static("true");
            fields.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
    }
}
