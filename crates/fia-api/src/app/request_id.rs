//! Request ids, which correlate the logs of several programs.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::trace::TraceId;

/// Accepted from the caller, returned to it, and logged.
pub(super) const HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is accepted from a caller, in bytes.
const MAX_LENGTH: usize = 64;

/// Generates request ids: a random prefix of this process and a counter.
pub(super) struct RequestIds {
    process: u32,
    next: AtomicU64,
}

impl RequestIds {
    pub(super) fn new() -> Self {
        let random = RandomState::new().hash_one(std::process::id());
        Self {
            process: (random >> 32) as u32,
            next: AtomicU64::new(1),
        }
    }

    /// The caller's id for the request, if it is safe to log; otherwise that of its trace, or a
    /// new one.
    pub(super) fn of(&self, headers: &HeaderMap, trace_id: Option<TraceId>) -> HeaderValue {
        if let Some(given) = headers.get(HEADER)
            && is_plain(given.as_bytes())
        {
            return given.clone();
        }
        let id = match trace_id {
            Some(trace_id) => trace_id.to_string(),
            None => {
                let number = self.next.fetch_add(1, Ordering::Relaxed);
                format!("{:08x}-{number:x}", self.process)
            }
        };
        HeaderValue::try_from(id).unwrap_or(HeaderValue::from_static("-"))
    }
}

fn is_plain(id: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    !id.is_empty() && id.len() <= MAX_LENGTH && id.iter().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_id_is_kept_and_any_other_replaced() {
        let ids = RequestIds::new();
        for (given, kept) in [
            ("abc-1.2_3", true),
            ("", false),
            ("a b", false),
            ("a\"b", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HEADER, given.parse().unwrap());
            assert_eq!(ids.of(&headers, None) == given, kept, "{given}");
        }
        let long = "x".repeat(MAX_LENGTH + 1);
        let headers = HeaderMap::from_iter([(HEADER, long.parse().unwrap())]);
        assert_ne!(ids.of(&headers, None), long);
        let trace = TraceId::from(0xa1);
        assert_eq!(ids.of(&headers, Some(trace)), trace.to_string());
        assert_ne!(
            ids.of(&HeaderMap::new(), None),
            ids.of(&HeaderMap::new(), None)
        );
    }
}
