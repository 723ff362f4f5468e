//! Answers of cached reads: how they may be reused, and where they came from.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::Response;
use http::header::{AGE, CACHE_CONTROL, ETAG, HeaderName, IF_NONE_MATCH};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use tiercache::Source;

use crate::auth::Caller;
use crate::cached::{self, Again, Answered};
use crate::routes::json;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Who may have an answer. Whoever keeps it asks before each use whether it is still good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Audience {
    /// Anybody: no token was wanted.
    Anybody,
    /// This caller, whose token allowed it.
    Only(Caller),
}

impl Audience {
    fn control(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Anybody => "no-cache",
            Self::Only(_) => "private, no-cache",
        })
    }
}

/// What a response says to the edge: this request can be answered again from memory, for this
/// audience.
#[derive(Debug, Clone)]
pub(crate) struct Repeatable {
    pub(crate) again: Again,
    pub(crate) audience: Audience,
}

/// The answers that a client has already: the header `If-None-Match`.
#[derive(Debug)]
pub(crate) struct Known(Option<HeaderValue>);

impl<S: Sync> FromRequestParts<S> for Known {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

impl Known {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self(headers.get(IF_NONE_MATCH).cloned())
    }

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

    /// An answer to a cached read.
    pub(super) fn answer(&self, answered: Answered, audience: Audience) -> Response {
        let mut response = self.respond(&answered.body, answered.source, audience);
        if let Some(again) = answered.again {
            let repeatable = Repeatable { again, audience };
            response.extensions_mut().insert(repeatable);
        }
        response
    }

    /// An answer with this body, or 304 if the client has it.
    pub(crate) fn respond(
        &self,
        body: &cached::Body,
        source: Source,
        audience: Audience,
    ) -> Response {
        let etag = body.etag();
        let mut response = if etag.is_some_and(|etag| self.has(etag)) {
            let mut unchanged = Response::new(Body::empty());
            *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
            unchanged
        } else {
            json(body.bytes().clone())
        };
        let headers = response.headers_mut();
        headers.reserve(6);
        if let Some(etag) = etag {
            headers.insert(ETAG, etag.clone());
        }
        headers.insert(CACHE_CONTROL, audience.control());
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
            let audience = Audience::Only(Caller::ApiKey);
            let response = Known(header).respond(&body, Source::Local, audience);
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
        let body = cached::Body::new(Bytes::from_static(b"null"));
        let source = Source::Stale {
            age: Duration::from_millis(17_900),
            overdue: Duration::from_millis(2_900),
        };
        let response = Known(None).respond(&body, source, Audience::Anybody);
        let headers = response.headers();
        assert_eq!(headers[AGE], "17");
        assert_eq!(headers[CACHE_STATUS], "fia-api; hit; ttl=-2; detail=stale");
        assert_eq!(headers[CACHE_CONTROL], "no-cache");
    }
}
