//! Requests that were answered from memory before, to be answered from there again at once.
//!
//! What a request asks for follows from its address alone, and who may have it from its caller.
//! So the way from an address to an entry of the cache, which a request finds through routing,
//! the reading of its query and a digest, is remembered; not the answer, which only the cache
//! knows to be current. Who calls is found out before each look.

use std::hash::{Hash, Hasher};

use axum::extract::Request;
use axum::response::Response;
use http::{Method, Uri};
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};
use tiercache::Source;

use crate::auth::Authenticator;
use crate::cached::Again;
use crate::routes::{Audience, Known, Repeatable};

/// The most memory that addresses take, in bytes.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// The longest address that is remembered, in bytes.
const LONGEST: usize = 2048;
/// What an address takes beside itself, in bytes.
const OVERHEAD: u64 = 300;

/// The addresses that are remembered.
pub(super) struct Repeats(Cache<Asked, Again, ByBytes>);

impl Repeats {
    pub(super) fn new() -> Self {
        let typical = usize::try_from(MAX_BYTES / (OVERHEAD + 100)).unwrap_or_default();
        Self(Cache::with_weighter(typical, MAX_BYTES, ByBytes))
    }

    /// The answer, if there is one at once.
    pub(super) fn answer(&self, request: &Request, callers: &Authenticator) -> Option<Response> {
        let target = target(request.method(), request.uri())?;
        let asked = |audience| self.0.get(&AskedRef { audience, target });
        let (again, audience) = match asked(Audience::Anybody) {
            Some(again) => (again, Audience::Anybody),
            None => {
                let audience = Audience::Only(callers.at_once(request.headers())?);
                (asked(audience)?, audience)
            }
        };
        let body = again.body()?;
        Some(Known::of(request.headers()).respond(&body, Source::Local, audience))
    }

    /// Remembers what a response says of its request.
    pub(super) fn note(&self, method: &Method, uri: &Uri, response: &mut Response) {
        let repeatable = response.extensions_mut().remove::<Repeatable>();
        if let (Some(repeatable), Some(target)) = (repeatable, target(method, uri)) {
            let asked = Asked {
                audience: repeatable.audience,
                target: target.into(),
            };
            self.0.insert(asked, repeatable.again);
        }
    }
}

fn target<'a>(method: &Method, uri: &'a Uri) -> Option<&'a str> {
    let target = uri.path_and_query()?.as_str();
    (method == Method::GET && target.len() <= LONGEST).then_some(target)
}

#[derive(Clone, PartialEq, Eq)]
struct Asked {
    audience: Audience,
    target: Box<str>,
}

struct AskedRef<'a> {
    audience: Audience,
    target: &'a str,
}

impl Hash for Asked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.audience, &*self.target).hash(state);
    }
}

impl Hash for AskedRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.audience, self.target).hash(state);
    }
}

impl Equivalent<Asked> for AskedRef<'_> {
    fn equivalent(&self, asked: &Asked) -> bool {
        self.audience == asked.audience && *self.target == *asked.target
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Asked, Again> for ByBytes {
    fn weight(&self, asked: &Asked, _: &Again) -> u64 {
        OVERHEAD + asked.target.len() as u64
    }
}
