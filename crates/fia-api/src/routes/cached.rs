//! Answers of cached reads: how they may be reused, and where they came from.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::Response;
use http::header::{AGE, CACHE_CONTROL, ETAG, HeaderName, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use tiercache::{Found, Source};

use crate::cached;
use crate::routes::json;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Who may reuse an answer. Whoever does asks first whether it is still good: it is never
/// served stale after a write.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reuse {
    /// Anybody.
    Public,
    /// Only who got it: a token was wanted for it.
    Private,
}

impl Reuse {
    fn control(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Public => "no-cache",
            Self::Private => "private, no-cache",
        })
    }
}

/// The answers that a client has already: the header `If-None-Match`.
#[derive(Debug)]
pub(super) struct Known(Option<HeaderValue>);

impl<S: Sync> FromRequestParts<S> for Known {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self(parts.headers.get(IF_NONE_MATCH).cloned()))
    }
}

impl Known {
    /// Whether the answer with this tag is among them.
    fn has(&self, etag: &HeaderValue) -> bool {
        let Some(Ok(known)) = self.0.as_ref().map(HeaderValue::to_str) else {
            return false;
        };
        known.split(',').map(str::trim).any(|one| {
            let strong = one.strip_prefix("W/").unwrap_or(one);
            one == "*" || etag == strong
        })
    }

    /// An answer with this body, or 304 if the client has it.
    pub(super) fn answer(&self, found: Found<cached::Body>, reuse: Reuse) -> Response {
        let Found { value, source } = found;
        let etag = value.etag();
        let mut response = if etag.is_some_and(|etag| self.has(etag)) {
            let mut unchanged = Response::new(Body::empty());
            *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
            unchanged
        } else {
            json(value.bytes().clone())
        };
        let headers = response.headers_mut();
        if let Some(etag) = etag {
            headers.insert(ETAG, etag.clone());
        }
        headers.insert(CACHE_CONTROL, reuse.control());
        headers.insert(CACHE_STATUS, status(source));
        if let Source::Stale { age, .. } = source {
            headers.insert(AGE, HeaderValue::from(age.as_secs()));
        }
        response
    }
}

/// How the cache took part (RFC 9211), with the level an answer came from.
fn status(source: Source) -> HeaderValue {
    match source {
        Source::Local => HeaderValue::from_static("fia-api; hit; detail=local"),
        Source::Shared => HeaderValue::from_static("fia-api; hit; detail=shared"),
        Source::Loaded => HeaderValue::from_static("fia-api; fwd=miss"),
        Source::Stale { overdue, .. } => {
            let text = format!("fia-api; hit; ttl=-{}; detail=stale", overdue.as_secs());
            HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("fia-api; hit"))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_known_answer_is_not_sent_again() {
        let body = cached::Body::new(Bytes::from_static(b"null"));
        let etag = body.etag().unwrap().to_str().unwrap().to_owned();
        for (known, unchanged) in [
            (None, false),
            (Some("\"other\"".to_owned()), false),
            (Some(etag.clone()), true),
            (Some(format!("W/{etag}")), true),
            (Some(format!("\"a\" , {etag}")), true),
            (Some("*".to_owned()), true),
            (Some("74234e98afe7498fb5daf1f36ac2d78a".to_owned()), false),
        ] {
            let header = known.as_deref().map(|known| known.parse().unwrap());
            let found = Found {
                value: body.clone(),
                source: Source::Local,
            };
            let response = Known(header).answer(found, Reuse::Private);
            assert_eq!(response.status() == 304, unchanged, "{known:?}");
            let header = |name: HeaderName| response.headers()[name].to_str().unwrap();
            assert_eq!(header(ETAG), etag);
            assert_eq!(header(CACHE_CONTROL), "private, no-cache");
            assert_eq!(header(CACHE_STATUS), "fia-api; hit; detail=local");
            assert!(response.headers().get(AGE).is_none());
        }
    }

    #[test]
    fn a_stale_answer_says_how_old_it_is() {
        let found = Found {
            value: cached::Body::new(Bytes::from_static(b"null")),
            source: Source::Stale {
                age: Duration::from_millis(17_900),
                overdue: Duration::from_millis(2_900),
            },
        };
        let response = Known(None).answer(found, Reuse::Public);
        let headers = response.headers();
        assert_eq!(headers[AGE], "17");
        assert_eq!(headers[CACHE_STATUS], "fia-api; hit; ttl=-2; detail=stale");
        assert_eq!(headers[CACHE_CONTROL], "no-cache");
    }
}
