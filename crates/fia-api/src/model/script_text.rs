//! A reduction script as clients may see it.

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
    for line in lines(script) {
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

/// The lines of a text as Python's `str.splitlines` gives them, without their ends.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let Some((at, end)) = rest.char_indices().find(|(_, c)| ends_line(*c)) else {
            return Some(std::mem::take(&mut rest));
        };
        let line = &rest[..at];
        rest = &rest[at + end.len_utf8()..];
        if end == '\r' {
            rest = rest.strip_prefix('\n').unwrap_or(rest);
        }
        Some(line)
    })
}

fn ends_line(c: char) -> bool {
    matches!(
        c,
        '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_python_ends_them() {
        for (text, expected) in [
            ("", vec![]),
            ("a", vec!["a"]),
            ("a\n", vec!["a"]),
            ("a\n\n", vec!["a", ""]),
            ("a\r\nb\rc\n\rd", vec!["a", "b", "c", "", "d"]),
            (
                "1\x0b2\x0c3\x1c4\x1d5\x1e6\u{85}7\u{2028}8\u{2029}9",
                vec!["1", "2", "3", "4", "5", "6", "7", "8", "9"],
            ),
            ("a\x1fb\u{a0}c", vec!["a\x1fb\u{a0}c"]),
        ] {
            assert_eq!(lines(text).collect::<Vec<_>>(), expected, "{text:?}");
        }
    }

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
