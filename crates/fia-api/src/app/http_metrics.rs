//! HTTP request counters, kept at the edge: three atomic additions a request, no look-up and no
//! allocation.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};

use crate::observe::{Histogram, Snapshot};
use crate::routes::{CacheResult, RouteId, RouteMatcher};

/// The methods with a label of their own; another one follows for all others.
const METHODS: [Method; 5] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
];
const METHOD_LABELS: [&str; METHODS.len() + 1] = ["GET", "HEAD", "POST", "PUT", "PATCH", "other"];
/// The statuses with a label of their own; another one follows for all others.
const CODES: [(u16, &str); 23] = [
    (200, "200"),
    (201, "201"),
    (204, "204"),
    (206, "206"),
    (304, "304"),
    (307, "307"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (411, "411"),
    (413, "413"),
    (415, "415"),
    (416, "416"),
    (422, "422"),
    (424, "424"),
    (429, "429"),
    (500, "500"),
    (501, "501"),
    (503, "503"),
    (504, "504"),
];
const OTHER_CODE: &str = "other";
const CODE_SLOTS: usize = CODES.len() + 1;

/// The counters of all requests since the start.
pub(super) struct HttpMetrics {
    /// The path templates, by route.
    routes: Vec<&'static str>,
    /// Responses by series and status.
    responses: Box<[[AtomicU64; CODE_SLOTS]]>,
    /// Durations by series.
    durations: Box<[Histogram]>,
}

/// A series: a position in the counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Series(usize);

/// The labels of a series.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SeriesLabels {
    pub(super) route: &'static str,
    pub(super) method: &'static str,
    pub(super) cache: &'static str,
}

impl Series {
    /// The series of a request.
    pub(super) fn of(route: RouteId, method: &Method, cache: CacheResult) -> Self {
        let method = METHODS.iter().position(|known| known == method);
        let method = method.unwrap_or(METHODS.len());
        let route_and_method = route.index() * METHOD_LABELS.len() + method;
        Self(route_and_method * CacheResult::ALL.len() + cache as usize)
    }
}

impl HttpMetrics {
    pub(super) fn new(routes: &RouteMatcher) -> Self {
        let series = routes.count() * METHOD_LABELS.len() * CacheResult::ALL.len();
        let routes = routes.templates().map(|(_, template)| template).collect();
        let counters = || std::array::from_fn(|_| AtomicU64::default());
        Self {
            routes,
            responses: (0..series).map(|_| counters()).collect(),
            durations: (0..series).map(|_| Histogram::default()).collect(),
        }
    }

    /// Counts a response.
    pub(super) fn record(&self, series: Series, status: StatusCode, elapsed: Duration) {
        let slot = CODES.binary_search_by_key(&status.as_u16(), |(code, _)| *code);
        let slot = slot.unwrap_or(CODES.len());
        let Series(series) = series;
        if let Some(count) = self.responses.get(series).and_then(|by| by.get(slot)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(durations) = self.durations.get(series) {
            durations.record(elapsed);
        }
    }

    /// The responses by series and status, those that occurred.
    pub(super) fn responses(&self) -> impl Iterator<Item = (SeriesLabels, &'static str, u64)> {
        let codes = || CODES.iter().map(|(_, code)| *code).chain([OTHER_CODE]);
        let all = self.responses.iter().enumerate();
        all.flat_map(move |(series, counts)| {
            let counts = counts.iter().map(|count| count.load(Ordering::Relaxed));
            let occurred = codes().zip(counts).filter(|(_, count)| *count > 0);
            occurred.filter_map(move |(code, count)| Some((self.labels(series)?, code, count)))
        })
    }

    /// The durations by series, those that occurred.
    pub(super) fn durations(&self) -> impl Iterator<Item = (SeriesLabels, Snapshot)> {
        let all = self.durations.iter().map(Histogram::snapshot).enumerate();
        let occurred = all.filter(|(_, durations)| durations.count > 0);
        occurred.filter_map(|(series, durations)| Some((self.labels(series)?, durations)))
    }

    fn labels(&self, series: usize) -> Option<SeriesLabels> {
        let caches = CacheResult::ALL.len();
        let (route_and_method, cache) = (series / caches, series % caches);
        let methods = METHOD_LABELS.len();
        Some(SeriesLabels {
            route: self.routes.get(route_and_method / methods)?,
            method: METHOD_LABELS.get(route_and_method % methods)?,
            cache: CacheResult::ALL.get(cache)?.label(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_counted_under_its_labels() {
        let routes = RouteMatcher::new();
        let metrics = HttpMetrics::new(&routes);
        let jobs = routes.find("/jobs").unwrap();
        let get = Series::of(jobs, &Method::GET, CacheResult::Shared);
        let unmatched = Series::of(routes.unmatched(), &Method::DELETE, CacheResult::None);
        for (series, status, micros) in [(get, 200, 50), (get, 418, 60), (unmatched, 504, 7)] {
            let status = StatusCode::from_u16(status).unwrap();
            metrics.record(series, status, Duration::from_micros(micros));
        }
        let labels = |route, method, cache| SeriesLabels {
            route,
            method,
            cache,
        };
        let expected = [
            (labels("/jobs", "GET", "shared"), "200", 1),
            (labels("/jobs", "GET", "shared"), "other", 1),
            (labels("unmatched", "other", "none"), "504", 1),
        ];
        assert_eq!(metrics.responses().collect::<Vec<_>>(), expected);
        let durations = metrics.durations();
        let sums = durations.map(|(labels, durations)| (labels.route, durations.sum.as_micros()));
        assert_eq!(sums.collect::<Vec<_>>(), [("/jobs", 110), ("unmatched", 7)]);
    }

    #[test]
    fn the_tables_of_labels_are_consistent() {
        assert!(CODES.is_sorted());
        for (code, label) in CODES {
            assert_eq!(code.to_string(), label);
        }
        for (method, label) in METHODS.iter().zip(METHOD_LABELS) {
            assert_eq!(method.as_str(), label);
        }
        for (index, cache) in CacheResult::ALL.into_iter().enumerate() {
            assert_eq!(cache as usize, index);
        }
    }
}
