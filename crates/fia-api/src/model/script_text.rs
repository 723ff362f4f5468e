//! Reduction scripts without secrets.

use crate::model::python;

/// The markers of lines with a GitHub token.
const TOKEN_MARKERS: [&str; 2] = ["ghp_", "network.github.api_token"];

/// The script without the lines that contain a token, joined by `\n`.
///
/// Lines are split as by Python's `str.splitlines`, and a trailing line break is lost, as in the
/// older server's responses.
#[must_use]
pub fn without_token_lines(script: &str) -> String {
    let mut kept = String::with_capacity(script.len());
    let mut first = true;
    for line in python::split_lines(script) {
        if TOKEN_MARKERS.iter().any(|marker| line.contains(marker)) {
            continue;
        }
        if !first {
            kept.push('\n');
        }
        first = false;
        kept.push_str(line);
    }
    kept
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
}
