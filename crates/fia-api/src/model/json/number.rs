//! JSON numbers as Python writes them.

use std::borrow::Cow;
use std::io;

use serde_json::ser::Formatter;

/// The most digits that Python's `int()` accepts.
pub(in crate::model) const MAX_INT_DIGITS: usize = 4300;

/// `serde_json`'s compact format, with numbers as Python writes them.
pub(super) struct PythonNumbers;

impl Formatter for PythonNumbers {
    fn write_number_str<W>(&mut self, writer: &mut W, number: &str) -> io::Result<()>
    where
        W: ?Sized + io::Write,
    {
        writer.write_all(python_number(number).as_bytes())
    }
}

/// Returns true for a JSON number without fraction and exponent.
pub(super) fn is_integer(number: &str) -> bool {
    !number.contains(['.', 'e', 'E'])
}

/// Returns true if a JSON number is in the form in which Python writes it.
pub(super) fn is_pythons(number: &[u8]) -> bool {
    std::str::from_utf8(number)
        .is_ok_and(|number| number.len() <= MAX_INT_DIGITS && python_number(number) == number)
}

/// A JSON number as Python writes it after parsing: `int` exact, `float` by its `repr`.
pub(in crate::model) fn python_number(number: &str) -> Cow<'_, str> {
    if is_integer(number) {
        return Cow::Borrowed(if number == "-0" { "0" } else { number });
    }
    number
        .parse()
        .map_or(Cow::Borrowed(number), |value| Cow::Owned(float_repr(value)))
}

/// Python's `repr` of a float: the shortest digits that round-trip, with an exponent below 1e-4
/// and from 1e16 on.
#[must_use]
pub fn float_repr(value: f64) -> String {
    let scientific = format!("{value:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        // `inf`, `-inf` and `NaN` have no exponent; JSON texts hold none of them.
        return scientific;
    };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs());
    }
    let plain = format!("{value}");
    if plain.contains('.') {
        plain
    } else {
        plain + ".0"
    }
}
