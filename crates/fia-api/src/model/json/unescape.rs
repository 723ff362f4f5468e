//! Decoding of JSON strings that may hold lone surrogates.

/// Decodes the inner part of a JSON string that was checked for syntax. A lone surrogate, which no
/// Rust string and no database can hold, becomes U+FFFD.
pub(super) fn unescape(escaped: &str) -> String {
    let mut text = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some((plain, escape)) = rest.split_once('\\') {
        text.push_str(plain);
        let mut characters = escape.chars();
        rest = match characters.next() {
            Some('u') => {
                let (character, after) = code_point(characters.as_str());
                text.push(character);
                after
            }
            Some(short) => {
                text.push(short_escape(short));
                characters.as_str()
            }
            None => "",
        };
    }
    text.push_str(rest);
    text
}

fn short_escape(letter: char) -> char {
    match letter {
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        same => same,
    }
}

/// Decodes the digits after `\u`, with a second escape if both are a surrogate pair. Returns the
/// rest, too.
fn code_point(digits: &str) -> (char, &str) {
    let (unit, rest) = code_unit(digits);
    if let Some(character) = char::from_u32(unit) {
        return (character, rest);
    }
    if let Some((low, after)) = rest.strip_prefix("\\u").map(code_unit)
        && (0xd800..0xdc00).contains(&unit)
        && (0xdc00..0xe000).contains(&low)
        && let Some(character) = char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00))
    {
        return (character, after);
    }
    (char::REPLACEMENT_CHARACTER, rest)
}

/// Decodes four hexadecimal digits.
fn code_unit(digits: &str) -> (u32, &str) {
    let (unit, rest) = digits.split_at_checked(4).unwrap_or((digits, ""));
    let replacement = u32::from(char::REPLACEMENT_CHARACTER);
    (u32::from_str_radix(unit, 16).unwrap_or(replacement), rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lone_surrogates_are_replaced() {
        for (escaped, text) in [
            ("", ""),
            (r"\ud83d\ude00", "😀"),
            (r"\uD83D\uDE00x", "😀x"),
            (r"a\udc80b", "a\u{fffd}b"),
            (r"\ud800", "\u{fffd}"),
            (r"\ud800\ud83d\ude00", "\u{fffd}😀"),
            (r"\ud800\n", "\u{fffd}\n"),
            (r"\ude00\ud83d", "\u{fffd}\u{fffd}"),
            (r"\u0000\\u0000", "\0\\u0000"),
            (r#"\"\/\b\f\r\t"#, "\"/\u{8}\u{c}\r\t"),
        ] {
            assert_eq!(unescape(escaped), text, "{escaped}");
        }
    }

    proptest! {
        /// Compared with the parser, for strings with all kinds of escapes.
        #[test]
        fn strings_without_lone_surrogates_are_decoded_as_by_the_parser(
            parts in prop::collection::vec(prop_oneof![
                "[^\"\\\\\\x00-\\x1f]{0,4}",
                "\\\\[\"\\\\/bfnrt]",
                "\\\\u[0-9a-c][0-9a-fA-F]{3}",
                "\\\\ud[89ab][0-9a-f]{2}\\\\ud[c-f][0-9A-F]{2}",
            ], 0..12)
        ) {
            let escaped = parts.concat();
            let parsed: String = serde_json::from_str(&format!("\"{escaped}\"")).unwrap();
            prop_assert_eq!(unescape(&escaped), parsed);
        }
    }
}
