//! A reduction script as clients may see it.

use crate::model::python;

/// What a line holds that gives a GitHub token away.
const MARKS: [&str; 2] = ["ghp_", "network.github.api_token"];

/// The script without the lines that hold a token, its lines joined by `\n`.
///
/// Lines end where Python's `str.splitlines` ends them, and a line end at the end is lost, as in
/// the older server's answers.
#[must_use]
pub fn without_token_lines(script: &str) -> String {
    let mut kept = String::with_capacity(script.len());
    let mut first = true;
    for line in python::split_lines(script) {
        if MARKS.iter().any(|mark| line.contains(mark)) {
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
    fn token_lines_are_left_out() {
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
