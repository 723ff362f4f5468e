//! A request's path before routing, as the older server sees it: percent-decoded first, with
//! or without the prefix `/api`.

use std::borrow::Cow;

use http::Uri;
use http::uri::PathAndQuery;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

/// The characters that are percent-encoded in a path.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// The URI for routing. `None` where no route can match: the path contains a `.` or `..`
/// segment, encoded or not.
///
/// An encoded slash separates segments like a plain one; invalid UTF-8 becomes U+FFFD. In
/// `DEV_MODE` the prefix is `/` instead of `/api`.
pub(super) fn routed(uri: &Uri, dev_mode: bool) -> Option<Cow<'_, Uri>> {
    let raw = uri.path();
    let decoded = percent_decode_str(raw).decode_utf8_lossy();
    if decoded
        .split('/')
        .any(|segment| matches!(segment, "." | ".."))
    {
        return None;
    }
    let inner = if dev_mode {
        decoded
            .strip_prefix('/')
            .filter(|rest| rest.starts_with('/'))
    } else {
        decoded
            .strip_prefix("/api")
            .filter(|rest| rest.starts_with('/'))
    };
    let path = inner.unwrap_or(&decoded);
    if path == raw {
        return Some(Cow::Borrowed(uri));
    }
    let mut text: String = utf8_percent_encode(path, ESCAPED).collect();
    if let Some(query) = uri.query() {
        text.push('?');
        text.push_str(query);
    }
    let path_and_query = PathAndQuery::try_from(text).ok()?;
    Some(Cow::Owned(Uri::from(path_and_query)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routed_as(uri: &str, dev_mode: bool) -> Option<String> {
        routed(&uri.parse().unwrap(), dev_mode).map(|uri| uri.to_string())
    }

    #[test]
    fn paths_are_decoded_and_lose_their_prefix() {
        for (given, kept) in [
            ("/jobs", Some("/jobs")),
            ("/api/jobs?limit=1", Some("/jobs?limit=1")),
            ("/api/api/jobs", Some("/api/jobs")),
            ("/apix", Some("/apix")),
            ("/api", Some("/api")),
            ("/%61pi/jobs", Some("/jobs")),
            ("/job%2F1", Some("/job/1")),
            ("/live-data/%C3%BC/script", Some("/live-data/%C3%BC/script")),
            (
                "/live-data/a%20b/script?x=%20",
                Some("/live-data/a%20b/script?x=%20"),
            ),
            ("/live-data/a%00b/script", Some("/live-data/a%00b/script")),
            ("/live-data/%FF/script", Some("/live-data/%EF%BF%BD/script")),
            ("/live-data/%2e%2e/script", None),
            ("/api/./jobs", None),
            ("//healthz", Some("//healthz")),
        ] {
            assert_eq!(routed_as(given, false).as_deref(), kept, "{given}");
        }
    }

    #[test]
    fn in_dev_mode_the_prefix_is_a_slash() {
        assert_eq!(routed_as("/api/jobs", true).as_deref(), Some("/api/jobs"));
        assert_eq!(routed_as("//healthz", true).as_deref(), Some("/healthz"));
    }
}
