//! The level of the log, which an operator may change for some time.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tracing::Level;

/// The level of the log. Cheap to clone.
#[derive(Clone)]
pub struct LogLevel(Arc<Inner>);

struct Inner {
    configured: Level,
    apply: Box<dyn Fn(Level) + Send + Sync>,
    changed: Mutex<Option<Changed>>,
}

/// A level other than the configured one.
struct Changed {
    level: Level,
    until: SystemTime,
    restore: AbortHandle,
}

impl LogLevel {
    /// The configured level, and how to apply another one.
    #[must_use]
    pub fn new(configured: Level, apply: impl Fn(Level) + Send + Sync + 'static) -> Self {
        Self(Arc::new(Inner {
            configured,
            apply: Box::new(apply),
            changed: Mutex::new(None),
        }))
    }

    /// The level now, and until when, if it is not the configured one.
    #[must_use]
    pub fn current(&self) -> (Level, Option<SystemTime>) {
        match &*self.0.changed.lock() {
            Some(changed) => (changed.level, Some(changed.until)),
            None => (self.0.configured, None),
        }
    }

    /// Sets the level for some time, after which the configured one applies again. Must be called
    /// within a Tokio runtime.
    pub fn set_for(&self, level: Level, duration: Duration) {
        let control = self.clone();
        let mut changed = self.0.changed.lock();
        if let Some(before) = changed.take() {
            before.restore.abort();
        }
        (self.0.apply)(level);
        let restore = tokio::spawn(async move {
            sleep(duration).await;
            control.restore();
        });
        *changed = Some(Changed {
            level,
            until: SystemTime::now() + duration,
            restore: restore.abort_handle(),
        });
    }

    fn restore(&self) {
        let mut changed = self.0.changed.lock();
        *changed = None;
        (self.0.apply)(self.0.configured);
        tracing::info!(level = %self.0.configured, "configured log level restored");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_level_is_restored_and_the_last_change_counts() {
        let (applied, mut levels) = tokio::sync::mpsc::unbounded_channel();
        let level = LogLevel::new(Level::INFO, move |level| {
            let _ = applied.send(level);
        });
        assert_eq!(level.current(), (Level::INFO, None));
        level.set_for(Level::TRACE, Duration::from_secs(600));
        level.set_for(Level::DEBUG, Duration::from_millis(1));
        assert_eq!(level.current().0, Level::DEBUG);
        for expected in [Level::TRACE, Level::DEBUG, Level::INFO] {
            assert_eq!(levels.recv().await, Some(expected));
        }
        assert_eq!(level.current(), (Level::INFO, None));
    }
}
