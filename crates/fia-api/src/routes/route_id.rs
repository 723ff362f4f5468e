//! The route of a request as a number, so that counters can be indexed by it.

use crate::routes::table;

/// A row of the route table, or the row after the last one for paths without a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteId(usize);

impl RouteId {
    /// Its position, below [`RouteMatcher::count`].
    #[must_use]
    pub fn index(self) -> usize {
        self.0
    }
}

/// Finds the route of a path, independently of its method.
#[derive(Clone)]
pub struct RouteMatcher {
    paths: matchit::Router<RouteId>,
    templates: Vec<&'static str>,
}

impl RouteMatcher {
    /// The matcher of all routes.
    #[must_use]
    pub fn new() -> Self {
        let mut paths = matchit::Router::new();
        let mut templates = Vec::new();
        for (index, (path, _)) in table().into_iter().enumerate() {
            // Cannot fail: axum accepted the path, and uses the same matcher.
            if let Err(error) = paths.insert(path, RouteId(index)) {
                tracing::error!(%error, path, "path rejected by the matcher: requests to it count as unmatched");
            }
            templates.push(path);
        }
        Self { paths, templates }
    }

    /// The route of a path without prefix; `None` without a route.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<RouteId> {
        self.paths.at(path).ok().map(|found| *found.value)
    }

    /// The path template of a route, such as `/job/{job_id}`; `None` for requests without a route.
    #[must_use]
    pub fn template(&self, route: RouteId) -> Option<&'static str> {
        self.templates.get(route.index()).copied()
    }

    /// The id of requests without a route.
    #[must_use]
    pub fn unmatched(&self) -> RouteId {
        RouteId(self.templates.len())
    }

    /// The number of ids.
    #[must_use]
    pub fn count(&self) -> usize {
        self.templates.len() + 1
    }

    /// Every id with its path template, `unmatched` being the last.
    pub fn templates(&self) -> impl Iterator<Item = (RouteId, &'static str)> {
        let templates = self.templates.iter().copied().chain(["unmatched"]);
        templates
            .enumerate()
            .map(|(index, template)| (RouteId(index), template))
    }
}

impl Default for RouteMatcher {
    fn default() -> Self {
        Self::new()
    }
}
