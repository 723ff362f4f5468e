//! Lax coercions of numbers and booleans in paths, queries and bodies, as in the older server.

use crate::model::python::parse_digits;

/// Parses an integer: surrounding spaces, a sign, leading zeros, single underscores between
/// digits and a fraction of zeros are accepted. Saturates at 128 bits.
#[must_use]
pub fn integer(text: &str) -> Option<i128> {
    let text = text.trim();
    match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => {
            parse_digits(whole)
        }
        Some(_) => None,
        None => parse_digits(text),
    }
}

/// Converts a JSON number without a fraction to an integer.
#[must_use]
pub fn whole(number: &serde_json::Number) -> Option<i128> {
    let text = number.as_str();
    if !text.contains(['e', 'E']) {
        return integer(text);
    }
    let value = number.as_f64().filter(|value| value.fract() == 0.0)?;
    integer(&value.to_string())
}

/// Clamps an id to 64 bits; no id lies beyond them.
#[must_use]
pub fn clamp(number: i128) -> i64 {
    let nearest = if number < 0 { i64::MIN } else { i64::MAX };
    i64::try_from(number).unwrap_or(nearest)
}

/// Parses a boolean, in any case.
#[must_use]
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "on" | "yes" | "y" | "t" => Some(true),
        "false" | "0" | "off" | "no" | "n" | "f" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_many_spellings() {
        for (text, number) in [
            ("5", Some(5)),
            (" +5 ", Some(5)),
            ("-1", Some(-1)),
            ("01", Some(1)),
            ("1_0", Some(10)),
            ("1.0", Some(1)),
            ("-1.000", Some(-1)),
            ("", None),
            (" ", None),
            ("+", None),
            (".0", None),
            ("1.5", None),
            ("1e2", None),
            ("0x10", None),
            ("true", None),
            ("_1", None),
            ("1__0", None),
            ("+-1", None),
            ("1\0", None),
            ("١", None),
        ] {
            assert_eq!(integer(text), number, "{text:?}");
        }
        assert_eq!(integer(&"9".repeat(4300)), Some(i128::MAX));
        assert_eq!(integer(&"9".repeat(4301)), None);
    }

    #[test]
    fn numbers_without_a_fraction_are_whole() {
        for (text, number) in [
            ("90001", Some(90001)),
            ("-1.0", Some(-1)),
            ("1e3", Some(1000)),
            ("1.5e1", Some(15)),
            ("1e30", Some(1_000_000_000_000_000_000_000_000_000_000)),
            ("1.5", None),
            ("15e-1", None),
        ] {
            let json: serde_json::Number = serde_json::from_str(text).unwrap();
            assert_eq!(whole(&json), number, "{text}");
        }
        assert_eq!(clamp(i128::MAX), i64::MAX);
        assert_eq!(clamp(-i128::MAX), i64::MIN);
    }

    #[test]
    fn flags_have_six_spellings_each() {
        for text in ["true", "True", "1", "ON", "yes", "y", "t"] {
            assert_eq!(boolean(text), Some(true), "{text}");
        }
        for text in ["false", "FALSE", "0", "off", "No", "n", "f"] {
            assert_eq!(boolean(text), Some(false), "{text}");
        }
        for text in ["", " true", "2", "maybe"] {
            assert_eq!(boolean(text), None, "{text}");
        }
    }
}
