//! Points in time as the page shows them: UTC, as the log does.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

use crate::model::civil_date;

/// A point in time; in JSON as RFC 3339 with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct At(pub(super) SystemTime);

impl At {
    pub(super) fn now() -> Self {
        Self(SystemTime::now())
    }

    /// A time in seconds since the epoch.
    pub(super) fn from_unix(seconds: u64) -> Self {
        Self(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    pub(super) fn unix(self) -> u64 {
        self.since_epoch().as_secs()
    }

    /// The time from then to now; zero for the future.
    pub(super) fn elapsed(self) -> Duration {
        self.0.elapsed().unwrap_or_default()
    }

    /// `2026-11-27T14:03:11.042Z`
    pub(super) fn rfc3339(self) -> String {
        let elapsed = self.since_epoch();
        let seconds = i64::try_from(elapsed.as_secs()).unwrap_or_default();
        let (year, month, day) = civil_date(seconds.div_euclid(86_400));
        let millis = elapsed.subsec_millis();
        format!(
            "{year:04}-{month:02}-{day:02}T{}.{millis:03}Z",
            self.clock()
        )
    }

    /// `14:03:11`
    pub(super) fn clock(self) -> String {
        let of_day = self.unix() % 86_400;
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        format!("{hour:02}:{minute:02}:{second:02}")
    }

    fn since_epoch(self) -> Duration {
        self.0.duration_since(UNIX_EPOCH).unwrap_or_default()
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.rfc3339())
    }
}

/// A duration for people, in the two largest units: `3 d 4 h`, `12 min`, `7 s`.
pub(super) fn duration_text(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, 1..10) if !seconds.is_multiple_of(60) => format!("{minutes} min {} s", seconds % 60),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, 0) => format!("{hours} h"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, 0, _) => format!("{days} d"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        let at = At(UNIX_EPOCH + Duration::from_millis(1_795_788_191_042));
        assert_eq!(at.rfc3339(), "2026-11-27T14:03:11.042Z");
        assert_eq!(at.clock(), "14:03:11");
        assert_eq!(At::from_unix(at.unix()).clock(), "14:03:11");
    }

    #[test]
    fn durations_have_at_most_two_units() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (61, "1 min 1 s"),
            (725, "12 min"),
            (3600, "1 h"),
            (7260, "2 h 1 min"),
            (86_400, "1 d"),
            (273_600, "3 d 4 h"),
        ] {
            assert_eq!(duration_text(Duration::from_secs(seconds)), text);
        }
    }
}
