//! Reduction scripts without secrets.

use std::borrow::Cow;

use memchr::memmem;

use crate::model::python;

/// The markers of lines with a GitHub token.
const TOKEN_MARKERS: [&str; 2] = ["ghp_", "network.github.api_token"];

/// The script without the lines that contain a token, joined by `\n`.
///
/// Lines are split as by Python's `str.splitlines`, and a trailing line break is lost, as in the
/// older server's responses. Most scripts have no token and no other line break than `\n`, so that
/// only the trailing one is cut off.
#[must_use]
pub fn without_token_lines(script: &str) -> Cow<'_, str> {
    let has = |marker: &&str| memmem::find(script.as_bytes(), marker.as_bytes()).is_some();
    if python::breaks_by_newlines_only(script) && !TOKEN_MARKERS.iter().any(has) {
        return Cow::Borrowed(script.strip_suffix('\n').unwrap_or(script));
    }
    let is_kept = |line: &&str| !TOKEN_MARKERS.iter().any(|marker| line.contains(marker));
    let kept: Vec<&str> = python::split_lines(script).filter(is_kept).collect();
    Cow::Owned(kept.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_lines_are_removed() {
        for (script, seen) in [
            ("", ""),
            ("a\r\nb\r\n", "a\nb"),
            ("a = 'ghp_x'", ""),
            ("\nx['network.github.api_token'] = 1\n\nb", "\n\nb"),
            ("GHP_ stays\nghp stays", "GHP_ stays\nghp stays"),
        ] {
            assert_eq!(without_token_lines(script), seen, "{script:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_short_way_is_the_same(script in "([a-c \t\n]|ghp_|\r|\u{b}|\u{2028}|é){0,12}") {
            let lines = python::split_lines(&script).filter(|line| !line.contains("ghp_"));
            let kept: Vec<&str> = lines.collect();
            proptest::prop_assert_eq!(without_token_lines(&script), kept.join("\n"));
        }
    }
}
