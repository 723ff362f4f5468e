//! Responses of cached reads: `ETag` and `If-None-Match`, the content encoding, `Cache-Control`, and
//! the level of the cache that a body came from.

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::FromRequestParts;
use axum::response::Response;
use http::header::{
    ACCEPT_ENCODING, AGE, CACHE_CONTROL, CONTENT_ENCODING, ETAG, HeaderName, IF_NONE_MATCH, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use tiercache::Source;

use crate::auth::Caller;
use crate::cached::{self, Bypass, CachedResponse, Freshness, LocalHandle};
use crate::model::encoding::Encoding;
use crate::routes::{CacheResult, json};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The callers that may receive a stored response.
///
/// Every response is `no-cache`: clients and proxies revalidate before each reuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CacheScope {
    /// Anybody: the route requires no token.
    Public,
    /// The caller whose token was verified.
    Private(Caller),
}

impl CacheScope {
    /// The caller whose token was verified, if the route requires one.
    pub(crate) fn caller(self) -> Option<Caller> {
        match self {
            Self::Public => None,
            Self::Private(caller) => Some(caller),
        }
    }

    /// The freshness that its callers need: programs act on what they read.
    pub(crate) fn freshness(self) -> Freshness {
        match self {
            Self::Private(Caller::ApiKey) => Freshness::Verified,
            Self::Private(Caller::Staff { .. } | Caller::User { .. }) | Self::Public => {
                Freshness::FailSafe
            }
        }
    }

    fn cache_control(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Public => "no-cache",
            Self::Private(_) => "private, no-cache",
        })
    }
}

/// Response extension: the edge may serve further requests of this target from the local cache,
/// within the scope.
#[derive(Debug, Clone)]
pub(crate) struct Indexable {
    pub(crate) local: LocalHandle,
    pub(crate) scope: CacheScope,
}

/// The representation that a request asks for, and the one that the client has.
#[derive(Debug)]
pub(crate) struct Negotiation {
    /// The header `If-None-Match`.
    if_none_match: Option<HeaderValue>,
    /// Chosen by `Accept-Encoding`.
    encoding: Option<Encoding>,
}

impl<S: Sync> FromRequestParts<S> for Negotiation {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.headers))
    }
}

impl Negotiation {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self {
            if_none_match: headers.get(IF_NONE_MATCH).cloned(),
            encoding: Encoding::negotiate(headers),
        }
    }

    /// Compares weakly, as RFC 9110 requires for this header.
    fn matches(&self, etag: &HeaderValue) -> bool {
        let Some(Ok(list)) = self.if_none_match.as_ref().map(HeaderValue::to_str) else {
            return false;
        };
        list.split(',').map(str::trim).any(|one| {
            let opaque = one.strip_prefix("W/").unwrap_or(one);
            one == "*" || etag == opaque
        })
    }

    /// The response of a cached read.
    pub(super) fn respond(&self, cached: CachedResponse, scope: CacheScope) -> Response {
        let mut response = self.respond_with(&cached.body, cached.source, scope);
        let result = CacheResult::from(cached.source);
        response.extensions_mut().insert(result);
        if let Some(reason) = cached.bypass {
            let headers = response.headers_mut();
            headers.insert(CACHE_STATUS, bypass_status(reason));
        }
        if let Some(local) = cached.local {
            let indexable = Indexable { local, scope };
            response.extensions_mut().insert(indexable);
        }
        response
    }

    /// A response with this body, or 304 where the client has it already.
    pub(crate) fn respond_with(
        &self,
        body: &cached::Body,
        source: Source,
        scope: CacheScope,
    ) -> Response {
        let encoding = self
            .encoding
            .map(|encoding| encoding.for_size(body.bytes().len()));
        let encoded = encoding.and_then(|encoding| Some((encoding, body.encoded(encoding)?)));
        let (bytes, etag) = match encoded {
            Some((_, encoded)) => (&encoded.bytes, Some(&encoded.etag)),
            None => (body.bytes(), body.etag()),
        };
        let is_unchanged = etag.is_some_and(|etag| self.matches(etag));
        let mut response = if is_unchanged {
            let mut unchanged = Response::new(Body::empty());
            *unchanged.status_mut() = StatusCode::NOT_MODIFIED;
            unchanged
        } else {
            json(bytes.clone())
        };
        let headers = response.headers_mut();
        headers.reserve(8);
        if let Some((encoding, _)) = encoded.filter(|_| !is_unchanged) {
            headers.insert(CONTENT_ENCODING, encoding.header());
        }
        if body.is_compressible() {
            headers.insert(VARY, HeaderValue::from(ACCEPT_ENCODING));
        }
        if let Some(etag) = etag {
            headers.insert(ETAG, etag.clone());
        }
        headers.insert(CACHE_CONTROL, scope.cache_control());
        headers.insert(CACHE_STATUS, cache_status(source));
        if let Source::Stale { age, .. } = source {
            headers.insert(AGE, HeaderValue::from(age.as_secs()));
        }
        response
    }
}

/// The header `Cache-Status` (RFC 9211); its `detail` names the level of the cache.
fn cache_status(source: Source) -> HeaderValue {
    match source {
        Source::Local => HeaderValue::from_static("fia-api; hit; detail=local"),
        Source::Shared => HeaderValue::from_static("fia-api; hit; detail=shared"),
        Source::Loaded => HeaderValue::from_static("fia-api; fwd=miss"),
        Source::Stale { past_ttl, .. } => {
            let text = format!("fia-api; hit; ttl=-{}; detail=stale", past_ttl.as_secs());
            HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("fia-api; hit"))
        }
    }
}

/// The header `Cache-Status` of a response that bypassed the cache, with the reason.
fn bypass_status(reason: Bypass) -> HeaderValue {
    HeaderValue::from_static(match reason {
        Bypass::DatabaseUnreachable => "fia-api; fwd=bypass; detail=database-unreachable",
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    #[test]
    fn a_matching_etag_yields_304_without_a_body() {
        let body = cached::Body::new(Bytes::from_static(b"null"));
        let etag = body.etag().unwrap().to_str().unwrap().to_owned();
        for (list, unchanged) in [
            (None, false),
            (Some("\"other\"".to_owned()), false),
            (Some(etag.clone()), true),
            (Some(format!("W/{etag}")), true),
            (Some(format!("\"a\" , {etag}")), true),
            (Some("*".to_owned()), true),
            (Some("74234e98afe7498fb5daf1f36ac2d78a".to_owned()), false),
        ] {
            let header = list.as_deref().map(|list| list.parse().unwrap());
            let scope = CacheScope::Private(Caller::ApiKey);
            let negotiation = Negotiation {
                if_none_match: header,
                encoding: None,
            };
            let response = negotiation.respond_with(&body, Source::Local, scope);
            assert_eq!(response.status() == 304, unchanged, "{list:?}");
            let header = |name: HeaderName| response.headers()[name].to_str().unwrap();
            assert_eq!(header(ETAG), etag);
            assert_eq!(header(CACHE_CONTROL), "private, no-cache");
            assert_eq!(header(CACHE_STATUS), "fia-api; hit; detail=local");
            assert!(response.headers().get(AGE).is_none());
        }
    }

    #[test]
    fn each_encoding_has_a_tag_of_its_own_and_304_names_it() {
        let body = cached::Body::new(vec![b' '; 4096].into());
        let respond = |accept: &'static str, known: Option<&HeaderValue>| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(accept));
            if let Some(known) = known {
                headers.insert(IF_NONE_MATCH, known.clone());
            }
            Negotiation::of(&headers).respond_with(&body, Source::Local, CacheScope::Public)
        };
        let identity = respond("identity", None);
        assert!(identity.headers().get(CONTENT_ENCODING).is_none());
        assert_eq!(identity.headers()[VARY], "accept-encoding");
        for encoding in ["gzip", "br"] {
            let response = respond(encoding, None);
            assert_eq!(response.headers()[CONTENT_ENCODING], encoding);
            assert_eq!(response.headers()[VARY], "accept-encoding");
            let etag = &response.headers()[ETAG];
            assert_ne!(etag, &identity.headers()[ETAG]);
            let unchanged = respond(encoding, Some(etag));
            assert_eq!(unchanged.status(), StatusCode::NOT_MODIFIED);
            assert_eq!(&unchanged.headers()[ETAG], etag);
            assert!(unchanged.headers().get(CONTENT_ENCODING).is_none());
            assert_eq!(respond("identity", Some(etag)).status(), StatusCode::OK);
        }
    }

    #[test]
    fn a_stale_response_carries_its_age() {
        let body = cached::Body::new(Bytes::from_static(b"null"));
        let source = Source::Stale {
            age: Duration::from_millis(17_900),
            past_ttl: Duration::from_millis(2_900),
        };
        let negotiation = Negotiation::of(&HeaderMap::new());
        let response = negotiation.respond_with(&body, source, CacheScope::Public);
        let headers = response.headers();
        assert_eq!(headers[AGE], "17");
        assert_eq!(headers[CACHE_STATUS], "fia-api; hit; ttl=-2; detail=stale");
        assert_eq!(headers[CACHE_CONTROL], "no-cache");
    }
}
