//! A point in time without a zone, as PostgreSQL's `timestamp` holds it.

use std::fmt;

use serde::{Serialize, Serializer};

/// Microseconds since 2000-01-01, PostgreSQL's own count. The two extremes of the integer are
/// its `-infinity` and `infinity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64);

const MICROS_A_SECOND: i64 = 1_000_000;
const MICROS_A_DAY: i64 = 86_400 * MICROS_A_SECOND;
/// Days from 1970-01-01 to 2000-01-01.
const EPOCH: i64 = 10_957;

impl Timestamp {
    /// 0001-01-01T00:00:00, the first that the older server can read.
    const FIRST: Self = Self(-63_082_281_600 * MICROS_A_SECOND);
    /// 9999-12-31T23:59:59.999999, the last that it can read.
    const LAST: Self = Self(252_455_616_000 * MICROS_A_SECOND - 1);

    /// From PostgreSQL's binary form.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// PostgreSQL's binary form.
    #[must_use]
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Whether the older server can read it back: it is infinite, or of the years 1 to 9999.
    /// With any other in a row, that server fails at the whole list.
    #[must_use]
    pub fn is_readable(self) -> bool {
        matches!(self.0, i64::MIN | i64::MAX) || (Self::FIRST..=Self::LAST).contains(&self)
    }
}

/// `2020-02-03T04:05:06`, with six digits of a fraction where there is one. What is out of the
/// years 1 to 9999, `infinity` included, reads as their first or last moment.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.clamp(Self::FIRST.0, Self::LAST.0);
        let (year, month, day) = civil(micros.div_euclid(MICROS_A_DAY) + EPOCH);
        let of_day = micros.rem_euclid(MICROS_A_DAY);
        let (seconds, fraction) = (of_day / MICROS_A_SECOND, of_day % MICROS_A_SECOND);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )?;
        if fraction > 0 {
            write!(f, ".{fraction:06}")?;
        }
        Ok(())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
///
/// Counts in eras of 400 years that begin on the first of March, so that a leap day is the last
/// of its year (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_the_older_server_writes_them() {
        for (micros, text) in [
            (0, "2000-01-01T00:00:00"),
            (-1, "1999-12-31T23:59:59.999999"),
            (634_017_906_123_456, "2020-02-03T04:05:06.123456"),
            (634_017_906_100_000, "2020-02-03T04:05:06.100000"),
            (5_097_600_000_000, "2000-02-29T00:00:00"),
            (Timestamp::FIRST.0, "0001-01-01T00:00:00"),
            (Timestamp::LAST.0, "9999-12-31T23:59:59.999999"),
            (Timestamp::FIRST.0 - 1, "0001-01-01T00:00:00"),
            (Timestamp::LAST.0 + 1, "9999-12-31T23:59:59.999999"),
            (i64::MIN, "0001-01-01T00:00:00"),
            (i64::MAX, "9999-12-31T23:59:59.999999"),
        ] {
            assert_eq!(Timestamp(micros).to_string(), text, "{micros}");
        }
    }

    #[test]
    fn only_what_the_older_server_reads_back_is_readable() {
        for (micros, readable) in [
            (0, true),
            (i64::MIN, true),
            (i64::MAX, true),
            (Timestamp::FIRST.0, true),
            (Timestamp::FIRST.0 - 1, false),
            (Timestamp::LAST.0, true),
            (Timestamp::LAST.0 + 1, false),
        ] {
            assert_eq!(Timestamp(micros).is_readable(), readable, "{micros}");
        }
    }
}
