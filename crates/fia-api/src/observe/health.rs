//! The state of a dependency: whether it is available, since when, and its last failure.

use std::fmt::Display;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::SystemTime;

use parking_lot::Mutex;

/// The longest text of a failure that is kept, in bytes.
const MAX_TEXT: usize = 300;

const UNKNOWN: u8 = 0;
const DOWN: u8 = 1;
const UP: u8 = 2;

/// The state of a dependency. Recording a success takes an atomic load unless the state changes.
#[derive(Debug)]
pub struct Health {
    state: AtomicU8,
    details: Mutex<Details>,
}

#[derive(Debug)]
struct Details {
    since: SystemTime,
    last_failure: Option<LastFailure>,
}

/// The last failure of a dependency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastFailure {
    /// When it was noticed.
    pub at: SystemTime,
    /// Its text, cut to 300 bytes.
    pub text: String,
    /// Whether the dependency was reached, and responded with an error.
    pub is_response: bool,
}

/// The state of a dependency at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthSnapshot {
    /// Whether it is available; `None` before the first outcome.
    pub up: Option<bool>,
    /// When this state began.
    pub since: SystemTime,
    /// The last failure, which may be over.
    pub last_failure: Option<LastFailure>,
}

impl Default for Health {
    /// Unknown since now.
    fn default() -> Self {
        Self {
            state: AtomicU8::new(UNKNOWN),
            details: Mutex::new(Details {
                since: SystemTime::now(),
                last_failure: None,
            }),
        }
    }
}

impl Health {
    /// Records that the dependency is available.
    pub fn succeeded(&self) {
        if self.state.load(Ordering::Relaxed) != UP {
            self.set(UP, None);
        }
    }

    /// Records that the dependency is unavailable.
    pub fn failed(&self, cause: impl Display) {
        self.set(DOWN, Some((cause.to_string(), false)));
    }

    /// Records that the dependency responded with an error of its own.
    pub fn faulty(&self, cause: impl Display) {
        self.set(DOWN, Some((cause.to_string(), true)));
    }

    /// Records that the dependency is unavailable, for a reason that is not known yet.
    pub fn lost(&self) {
        self.set(DOWN, None);
    }

    fn set(&self, state: u8, failure: Option<(String, bool)>) {
        let mut details = self.details.lock();
        let now = SystemTime::now();
        if self.state.swap(state, Ordering::Relaxed) != state {
            details.since = now;
        }
        if let Some((mut text, is_response)) = failure {
            let end = (0..=MAX_TEXT.min(text.len()))
                .rev()
                .find(|end| text.is_char_boundary(*end));
            text.truncate(end.unwrap_or_default());
            details.last_failure = Some(LastFailure {
                at: now,
                text,
                is_response,
            });
        }
    }

    /// The state now.
    #[must_use]
    pub fn snapshot(&self) -> HealthSnapshot {
        let details = self.details.lock();
        let up = match self.state.load(Ordering::Relaxed) {
            UNKNOWN => None,
            state => Some(state == UP),
        };
        HealthSnapshot {
            up,
            since: details.since,
            last_failure: details.last_failure.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_lasts_until_it_changes_and_a_failure_until_the_next() {
        let health = Health::default();
        let unknown = health.snapshot();
        assert_eq!((unknown.up, unknown.last_failure), (None, None));
        health.succeeded();
        let up = health.snapshot();
        assert_eq!(up.up, Some(true));
        health.succeeded();
        assert_eq!(health.snapshot(), up);
        health.failed("refused");
        let down = health.snapshot();
        assert_eq!(down.up, Some(false));
        assert!(down.since >= up.since);
        health.failed("timeout");
        let still = health.snapshot();
        assert_eq!(still.since, down.since);
        assert_eq!(still.last_failure.unwrap().text, "timeout");
        health.succeeded();
        let again = health.snapshot();
        assert_eq!(again.up, Some(true));
        assert_eq!(again.last_failure.unwrap().text, "timeout");
    }

    #[test]
    fn a_long_text_is_cut_at_a_character() {
        let health = Health::default();
        health.failed("ü".repeat(200));
        let text = health.snapshot().last_failure.unwrap().text;
        assert_eq!(text, "ü".repeat(150));
        health.failed(format!("x{}", "ü".repeat(200)));
        let text = health.snapshot().last_failure.unwrap().text;
        assert_eq!(text.len(), 299);
    }
}
