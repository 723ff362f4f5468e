//! Timestamps without a time zone: PostgreSQL's `timestamp`.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::model::civil_date;

/// A timestamp in microseconds since 2000-01-01, as in PostgreSQL's binary format. The two
/// extremes of the integer are `-infinity` and `infinity`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Timestamp(i64);

const MICROS_PER_SECOND: i64 = 1_000_000;
const MICROS_PER_DAY: i64 = 86_400 * MICROS_PER_SECOND;
/// Days from 1970-01-01 to 2000-01-01.
const UNIX_TO_POSTGRES_DAYS: i64 = 10_957;

impl Timestamp {
    /// 0001-01-01T00:00:00, the earliest that the older server can read.
    const FIRST: Self = Self(-63_082_281_600 * MICROS_PER_SECOND);
    /// 9999-12-31T23:59:59.999999, the latest that it can read.
    const LAST: Self = Self(252_455_616_000 * MICROS_PER_SECOND - 1);

    /// Creates a timestamp from PostgreSQL's binary format.
    #[must_use]
    pub fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// The microseconds since 2000-01-01.
    #[must_use]
    pub fn micros(self) -> i64 {
        self.0
    }

    /// Returns true if the older server can read it back: it is infinite, or within the years 1
    /// to 9999. One row with any other timestamp makes that server's whole list fail.
    #[must_use]
    pub fn is_readable(self) -> bool {
        matches!(self.0, i64::MIN | i64::MAX) || (Self::FIRST..=Self::LAST).contains(&self)
    }
}

/// `2020-02-03T04:05:06`, with six fractional digits unless the fraction is zero. Values outside
/// the years 1 to 9999, `infinity` included, are clamped to them.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = self.0.clamp(Self::FIRST.0, Self::LAST.0);
        let (year, month, day) =
            civil_date(micros.div_euclid(MICROS_PER_DAY) + UNIX_TO_POSTGRES_DAYS);
        let of_day = micros.rem_euclid(MICROS_PER_DAY);
        let (seconds, fraction) = (of_day / MICROS_PER_SECOND, of_day % MICROS_PER_SECOND);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_are_written_as_the_older_server_writes_them() {
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
    fn only_timestamps_that_the_older_server_reads_back_are_readable() {
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
