//! What a browser sends along: the origin of a request, and the session's cookie.

use std::time::Duration;

use http::header::{COOKIE, HOST, ORIGIN};
use http::{HeaderMap, HeaderValue};

/// The name of the session's cookie.
const COOKIE_NAME: &str = "fia-operator";

/// Whether a browser sent the request from a page of this server.
pub(super) fn is_from_page(headers: &HeaderMap) -> bool {
    let text = |value: Option<&HeaderValue>| value?.to_str().ok().map(str::to_owned);
    if let Some(site) = text(headers.get("sec-fetch-site"))
        && site != "same-origin"
    {
        return false;
    }
    let (origin, host) = (text(headers.get(ORIGIN)), text(headers.get(HOST)));
    match (origin, host) {
        (Some(origin), Some(host)) => {
            let authority = origin.split_once("://").map(|(_, authority)| authority);
            authority.is_some_and(|authority| authority.eq_ignore_ascii_case(&host))
        }
        _ => false,
    }
}

/// The value of the session's cookie.
pub(super) fn cookie(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get_all(COOKIE).iter();
    let mut pairs = cookies
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'));
    pairs.find_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE_NAME).then_some(value)
    })
}

/// The header that sets the cookie for some time.
pub(super) fn set_cookie(token: &str, life: Duration) -> HeaderValue {
    let text = format!(
        "{COOKIE_NAME}={token}; Path=/; Max-Age={}; HttpOnly; SameSite=Strict",
        life.as_secs()
    );
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn only_requests_of_the_page_itself_are_from_it() {
        for (pairs, expected) in [
            (
                &[("origin", "http://127.0.0.1:9"), ("host", "127.0.0.1:9")][..],
                true,
            ),
            (
                &[("origin", "https://ops.example"), ("host", "Ops.Example")],
                true,
            ),
            (
                &[("origin", "http://127.0.0.1:8"), ("host", "127.0.0.1:9")],
                false,
            ),
            (&[("origin", "null"), ("host", "127.0.0.1:9")], false),
            (&[("host", "127.0.0.1:9")], false),
            (
                &[
                    ("origin", "http://a"),
                    ("host", "a"),
                    ("sec-fetch-site", "same-site"),
                ],
                false,
            ),
            (
                &[
                    ("origin", "http://a"),
                    ("host", "a"),
                    ("sec-fetch-site", "same-origin"),
                ],
                true,
            ),
        ] {
            assert_eq!(is_from_page(&headers(pairs)), expected, "{pairs:?}");
        }
    }

    #[test]
    fn the_cookie_is_found_among_others() {
        let found = headers(&[("cookie", "a=b; fia-operator=x; c=d")]);
        assert_eq!(cookie(&found), Some("x"));
        assert_eq!(cookie(&headers(&[("cookie", "xfia-operator=x")])), None);
    }
}
