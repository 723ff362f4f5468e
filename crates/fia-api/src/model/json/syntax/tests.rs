//! The check against the parser.

use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::*;

fn check(text: &str, chunk: usize) -> SyntaxCheck {
    let mut check = SyntaxCheck::default();
    text.as_bytes()
        .chunks(chunk)
        .for_each(|part| check.push(part));
    check
}

fn accepts(text: &str) -> bool {
    check(text, 3).is_complete()
}

/// Without a tree, the parser accepts lone surrogates.
fn parses(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// Valid and invalid texts.
const TEXTS: &[&str] = &[
    "",
    " ",
    "null",
    " true\r\n\t",
    "false ",
    "nul",
    "nulll",
    "True",
    "0",
    "-0",
    "-",
    "01",
    "1.",
    "1.5",
    ".5",
    "1e",
    "1e+",
    "1e5",
    "1E-05",
    "-1.0e+1",
    "+1",
    "1 2",
    "1,",
    "NaN",
    "Infinity",
    "1e999",
    r#""""#,
    r#""a"#,
    r#""\"#,
    r#""\"""#,
    r#""\x""#,
    r#""\b\f\n\r\t\/\\""#,
    r#""\u00e9""#,
    r#""\u00g9""#,
    r#""\u00""#,
    r#""\ud83d\ude00""#,
    r#""\ud83d""#,
    r#""\ud83d\n""#,
    r#""\ud83dx""#,
    r#""\ud83d\ud83d""#,
    r#""\ude00""#,
    r#""\uD83D\uDE00""#,
    "\"\t\"",
    "\"\u{7f}\"",
    "\"é😀\"",
    "[]",
    "[ ]",
    "[,]",
    "[1,]",
    "[1 ,2]",
    "[1 2]",
    "[1}",
    "{}",
    "{ }",
    "{,}",
    r#"{"a"}"#,
    r#"{"a":}"#,
    r#"{"a":1}"#,
    r#"{"a":1,}"#,
    r#"{"a" : [{}]}"#,
    r#"{"a":1]"#,
    r#"{1:2}"#,
    "]",
    "}",
    "[",
    "{",
    "[[]",
    "[]]",
    ":",
    ",",
    "[0e]",
    "[-]",
    "[1e1]",
];

#[test]
fn texts_are_accepted_as_the_parser_accepts_them() {
    for text in TEXTS {
        assert_eq!(accepts(text), parses(text), "{text:?}");
    }
}

#[test]
fn nesting_is_limited_as_in_the_parser() {
    for depth in [1, 126, 127, 128, 129, 5000] {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let inner = if open == "[" { "" } else { "1" };
            let text = format!("{}{inner}{}", open.repeat(depth), close.repeat(depth));
            let parsed: Result<Value, _> = serde_json::from_str(&text);
            assert_eq!(accepts(&text), parsed.is_ok(), "{depth} {open}");
        }
    }
    assert!(accepts(&format!("{}{}", "[".repeat(127), "]".repeat(127))));
}

#[test]
fn values_and_keys_are_counted() {
    for (text, nodes) in [
        ("1", 1),
        ("[]", 1),
        ("[1,[2,\"x\"],null]", 6),
        (r#"{"a":1,"b":{"c":[]}}"#, 7),
    ] {
        assert_eq!(check(text, 1).nodes(), nodes, "{text}");
    }
}

/// Texts of the characters that matter.
fn soup() -> impl Strategy<Value = String> {
    let part = prop::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"", "\\", "u", "d83d", "\\ude00", "0", "1", "-", ".", "e",
        "+", "null", "true", "\"a\"", "\"a\":", " ", "\n", "é", "\u{1}",
    ]);
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn random_texts_are_accepted_as_the_parser_accepts_them(text in soup(), chunk in 1..8_usize) {
        prop_assert_eq!(check(&text, chunk).is_complete(), parses(&text));
    }

    /// One character of a valid text is replaced, which mostly leaves it nearly valid.
    #[test]
    fn nearly_valid_texts_are_accepted_as_the_parser_accepts_them(
        strings in prop::collection::vec(any::<String>(), 0..4),
        numbers in prop::collection::vec(any::<f64>(), 0..4),
        at in any::<prop::sample::Index>(),
        other in prop::sample::select(vec!["\"", "\\", "}", "]", ",", "0", "e", "-", " "]),
    ) {
        let text = serde_json::json!({ "s": strings, "n": [numbers] }).to_string();
        prop_assert!(check(&text, 5).is_complete());
        let characters: Vec<char> = text.chars().collect();
        let at = at.index(characters.len());
        let mut changed: String = characters[..at].iter().collect();
        changed.push_str(other);
        changed.extend(&characters[at + 1..]);
        prop_assert_eq!(check(&changed, 7).is_complete(), parses(&changed));
    }
}
