//! Numbers and flags as the older server takes them from paths and queries: in many spellings.

/// An integer: surrounding spaces, a sign, leading zeros, single underscores between digits and
/// a fraction of zeros are fine. What 128 bits cannot hold is their nearest.
pub(super) fn integer(text: &str) -> Option<i128> {
    let text = text.trim();
    let text = match text.split_once('.') {
        Some((whole, fraction)) if fraction.bytes().all(|digit| digit == b'0') => whole,
        Some(_) => return None,
        None => text,
    };
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let groups = || digits.split('_');
    let is_number = |group: &str| !group.is_empty() && group.bytes().all(|b| b.is_ascii_digit());
    if digits.len() > MAX_DIGITS || !groups().all(is_number) {
        return None;
    }
    let magnitude = groups().flat_map(str::bytes).fold(0_i128, |number, digit| {
        number
            .saturating_mul(10)
            .saturating_add(i128::from(digit - b'0'))
    });
    Some(if negative { -magnitude } else { magnitude })
}

/// An integer of JSON, or a number of its without a fraction.
pub(super) fn whole(number: &serde_json::Number) -> Option<i128> {
    let text = number.as_str();
    if !text.contains(['e', 'E']) {
        return integer(text);
    }
    let value = number.as_f64().filter(|value| value.fract() == 0.0)?;
    integer(&value.to_string())
}

/// The nearest number of 64 bits; beyond them there are no ids.
pub(super) fn clamp(number: i128) -> i64 {
    let nearest = if number < 0 { i64::MIN } else { i64::MAX };
    i64::try_from(number).unwrap_or(nearest)
}

/// Python's own limit for reading an integer.
const MAX_DIGITS: usize = 4300;

/// A truth value, in any case.
pub(super) fn boolean(text: &str) -> Option<bool> {
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
