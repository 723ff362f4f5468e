//! Numbers for people.

/// A count with thin spaces between thousands: `12 345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 * 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A rate: `0`, `0.4`, `12`, `1 234`.
pub(super) fn rate(per_second: f64) -> String {
    if per_second == 0.0 {
        "0".to_owned()
    } else if per_second < 10.0 {
        format!("{per_second:.1}")
    } else {
        count(per_second.round() as u64)
    }
}

/// A size: `512 B`, `1.4 kB`, `23 MB`.
pub(super) fn bytes(number: u64) -> String {
    const UNITS: [&str; 4] = ["kB", "MB", "GB", "TB"];
    if number < 1_000 {
        return format!("{number} B");
    }
    let mut value = number as f64 / 1e3;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1e3;
        unit += 1;
    }
    let unit = UNITS.get(unit).unwrap_or(&"");
    if value < 9.95 {
        format!("{value:.1} {unit}")
    } else {
        format!("{value:.0} {unit}")
    }
}

/// A duration in milliseconds: `0.5`, `25`, `5 000`.
pub(super) fn millis(number: f64) -> String {
    if number < 1.0 || number == 2.5 {
        format!("{number}")
    } else {
        count(number.round() as u64)
    }
}

/// A part of a whole: `0 %`, `<1 %`, `97 %`.
pub(super) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 || part == 0 {
        return "0 %".to_owned();
    }
    let percent = part as f64 / whole as f64 * 100.0;
    if percent < 1.0 {
        "<1 %".to_owned()
    } else if part < whole && percent > 99.0 {
        ">99 %".to_owned()
    } else {
        format!("{percent:.0} %")
    }
}

/// A text whose lines do not end between a number and its unit.
pub(super) fn unbroken(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut before = ' ';
    for character in text.chars() {
        let is_joint = character == ' ' && before.is_ascii_digit();
        result.push(if is_joint { '\u{a0}' } else { character });
        before = character;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_exact_enough() {
        assert_eq!(
            [0, 999, 1_000, 1_234_567].map(count),
            ["0", "999", "1\u{202f}000", "1\u{202f}234\u{202f}567"]
        );
        assert_eq!([0.0, 0.4, 9.94, 12.6].map(rate), ["0", "0.4", "9.9", "13"]);
        assert_eq!(
            [0, 999, 1_400, 23_000_000, 999_600].map(bytes),
            ["0 B", "999 B", "1.4 kB", "23 MB", "1.0 MB"]
        );
        assert_eq!(
            [0.1, 0.5, 1.0, 2.5, 5_000.0].map(millis),
            ["0.1", "0.5", "1", "2.5", "5\u{202f}000"]
        );
        assert_eq!(
            [(0, 0), (1, 1_000), (999, 1_000), (1, 2), (2, 2)]
                .map(|(part, whole)| percent(part, whole)),
            ["0 %", "<1 %", ">99 %", "50 %", "100 %"]
        );
    }

    #[test]
    fn a_number_stays_with_its_unit() {
        assert_eq!(
            unbroken("within 2 min (15 s), at 14:03:11."),
            "within 2\u{a0}min (15\u{a0}s), at 14:03:11."
        );
    }
}
