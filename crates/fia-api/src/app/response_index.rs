//! The fast path: an index from (scope, request target) to an entry of the local cache.
//!
//! The target alone determines which entry a request reads, and the caller determines whether it
//! may. The index remembers that mapping, so that a repeated request skips routing, query
//! parsing and the digest. It never holds a body: the cache checks on each hit that its entry is
//! still valid. The caller is authenticated before each use of a private entry.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use http::{Method, Uri};
use quick_cache::sync::Cache;
use quick_cache::{Equivalent, Weighter};
use tiercache::Source;

use crate::app::facts::Facts;
use crate::auth::Caller;
use crate::cached::LocalHandle;
use crate::routes::{CacheResult, CacheScope, Indexable, Negotiation, RouteId};
use crate::state::AppState;

/// The memory limit of the index, in bytes.
const MAX_BYTES: u64 = 4 * 1024 * 1024;
/// The longest target that is indexed, in bytes.
const MAX_TARGET: usize = 2048;
/// The estimated size of an entry beside its target, in bytes.
const ENTRY_OVERHEAD: u64 = 300;
/// The length of a common target, in bytes, to estimate the number of entries.
const TYPICAL_TARGET: u64 = 100;

/// The index; bounded by [`MAX_BYTES`].
pub(super) struct ResponseIndex(Cache<Key, Entry, ByBytes>);

/// The entry of the local cache that a target reads, and the target's route.
type Entry = Arc<(LocalHandle, RouteId)>;

impl ResponseIndex {
    pub(super) fn new() -> Self {
        let entries = MAX_BYTES / (ENTRY_OVERHEAD + TYPICAL_TARGET);
        let entries = usize::try_from(entries).unwrap_or_default();
        Self(Cache::with_weighter(entries, MAX_BYTES, ByBytes))
    }

    /// The response and the facts about it, if the local cache has a valid entry for the request
    /// and may be used for its caller.
    pub(super) fn respond(&self, request: &Request, state: &AppState) -> Option<(Response, Facts)> {
        let target = target(request.method(), request.uri())?;
        let entry = |scope| self.0.get(&KeyRef { scope, target });
        let (entry, scope) = match entry(CacheScope::Public) {
            Some(entry) => (entry, CacheScope::Public),
            None => {
                let caller = state
                    .authenticator
                    .authenticate_locally(request.headers())?;
                let scope = CacheScope::Private(caller);
                (entry(scope)?, scope)
            }
        };
        if !state.cached.is_usable_for(scope.freshness()) {
            return None;
        }
        let (local, route) = &*entry;
        let body = local.get()?;
        let negotiation = Negotiation::of(request.headers());
        let response = negotiation.respond_with(&body, Source::Local, scope);
        let facts = Facts {
            route: *route,
            cache: CacheResult::Local,
            caller: scope.caller().map(Caller::kind),
        };
        Some((response, facts))
    }

    /// Indexes a response that is marked [`Indexable`].
    pub(super) fn insert(
        &self,
        method: &Method,
        uri: &Uri,
        route: RouteId,
        response: &mut Response,
    ) {
        let indexable = response.extensions_mut().remove::<Indexable>();
        if let (Some(Indexable { local, scope }), Some(target)) = (indexable, target(method, uri)) {
            let target = target.into();
            self.0
                .insert(Key { scope, target }, Arc::new((local, route)));
        }
    }
}

fn target<'a>(method: &Method, uri: &'a Uri) -> Option<&'a str> {
    let target = uri.path_and_query()?.as_str();
    (method == Method::GET && target.len() <= MAX_TARGET).then_some(target)
}

#[derive(Clone, PartialEq, Eq)]
struct Key {
    scope: CacheScope,
    target: Box<str>,
}

/// A borrowed key: a look-up does not allocate.
struct KeyRef<'a> {
    scope: CacheScope,
    target: &'a str,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.scope, &*self.target).hash(state);
    }
}

impl Hash for KeyRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.scope, self.target).hash(state);
    }
}

impl Equivalent<Key> for KeyRef<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        self.scope == key.scope && *self.target == *key.target
    }
}

#[derive(Clone)]
struct ByBytes;

impl Weighter<Key, Entry> for ByBytes {
    fn weight(&self, key: &Key, _: &Entry) -> u64 {
        ENTRY_OVERHEAD + key.target.len() as u64
    }
}
