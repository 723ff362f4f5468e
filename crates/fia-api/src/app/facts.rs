//! What is known about a request once it has a response.

use crate::auth::CallerKind;
use crate::routes::{CacheResult, RouteId};

/// The result of routing, authentication and the cache, for metrics, log and traces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts {
    /// The route.
    pub(super) route: RouteId,
    /// The part of the cache in the response.
    pub(super) cache: CacheResult,
    /// The kind of the caller; `None` for one who was not authenticated.
    pub(super) caller: Option<CallerKind>,
}

impl Facts {
    /// The name of the caller's kind.
    pub(super) fn caller_name(self) -> &'static str {
        self.caller.map_or("anonymous", CallerKind::as_str)
    }
}
