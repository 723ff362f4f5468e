//! Repeated attempts while PostgreSQL fails over, or has no connection to spare.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use crate::store::StoreError;
use crate::store::pool::POOL_WAIT;
use crate::store::timeout::TimeLimit;

/// Timeout for all attempts of a statement with small parameters.
const TIMEOUT: Duration = Duration::from_millis(4800);
/// How long after the first attempt another one may begin, while the server fails over. Short
/// enough that a request is refused within 5 s.
const FAILOVER_WAIT: Duration = Duration::from_millis(1500);
/// The backoff between attempts: none before the second, then it doubles from the minimum to the
/// maximum, with a jitter of up to a half.
const MIN_BACKOFF: Duration = Duration::from_millis(5);
const MAX_BACKOFF: Duration = Duration::from_millis(100);

/// Whether a statement may be repeated after its connection was lost without a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Nothing can have been written.
    Always,
    /// The change may have been committed: only a refusal proves that it was not.
    IfRefused,
}

/// Repeats an attempt while the server fails over or is saturated.
pub(super) fn repeated<T, F>(
    repeat: Repeat,
    attempt: impl FnMut() -> F,
) -> impl Future<Output = Result<T, StoreError>>
where
    F: Future<Output = Result<T, StoreError>>,
{
    repeated_within(TimeLimit::of_parameters(0), repeat, attempt)
}

/// As [`repeated`], for a statement with another limit.
pub(super) async fn repeated_within<T, F>(
    limit: TimeLimit,
    repeat: Repeat,
    mut attempt: impl FnMut() -> F,
) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let attempts = async {
        let mut attempts = Attempts::begin();
        loop {
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => attempts.next(error, repeat).await?,
            }
        }
    };
    let outcome = timeout(TIMEOUT + limit.extension(), attempts).await;
    outcome.unwrap_or_else(|_| Err(StoreError::timeout()))
}

/// The attempts of one statement or transaction.
struct Attempts {
    begun: Instant,
    backoff: Option<Duration>,
}

impl Attempts {
    fn begin() -> Self {
        Self {
            begun: Instant::now(),
            backoff: None,
        }
    }

    /// Waits until the next attempt.
    ///
    /// # Errors
    /// The error of the last attempt, if another one is of no use, could repeat a change, or would
    /// begin too late.
    async fn next(&mut self, error: StoreError, repeat: Repeat) -> Result<(), StoreError> {
        let Some(limit) = wait_after(&error, repeat) else {
            return Err(error);
        };
        let pause = self.backoff.map_or(Duration::ZERO, |backoff| {
            backoff.mul_f64(rand::random_range(0.5..1.0))
        });
        if self.begun.elapsed() + pause > limit {
            return Err(error);
        }
        sleep(pause).await;
        let next = self.backoff.map_or(MIN_BACKOFF, |backoff| backoff * 2);
        self.backoff = Some(next.min(MAX_BACKOFF));
        Ok(())
    }
}

/// How long after the first attempt another one may begin; `None` if it is of no use, or could
/// repeat a change.
fn wait_after(error: &StoreError, repeat: Repeat) -> Option<Duration> {
    match error {
        StoreError::Failover(_) => Some(FAILOVER_WAIT),
        StoreError::Lost(_) => (repeat == Repeat::Always).then_some(FAILOVER_WAIT),
        StoreError::Saturated(_) => Some(POOL_WAIT),
        StoreError::Busy
        | StoreError::Unavailable(_)
        | StoreError::BadValue(_)
        | StoreError::Refused(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_have_been_written_is_repeated() {
        use Repeat::{Always, IfRefused};
        let text = || "x".into();
        for repeat in [Always, IfRefused] {
            let wait = |error| wait_after(&error, repeat);
            assert_eq!(wait(StoreError::Failover(text())), Some(FAILOVER_WAIT));
            assert_eq!(wait(StoreError::Saturated(text())), Some(POOL_WAIT));
            assert_eq!(wait(StoreError::Unavailable(text())), None);
            assert_eq!(wait(StoreError::Refused(text())), None);
        }
        let lost = StoreError::Lost(text());
        assert_eq!(wait_after(&lost, Always), Some(FAILOVER_WAIT));
        assert_eq!(wait_after(&lost, IfRefused), None);
    }

    #[tokio::test]
    async fn attempts_end_with_the_last_error_when_the_wait_is_over() {
        let begun = Instant::now();
        let mut count = 0;
        let outcome: Result<(), StoreError> = repeated(Repeat::IfRefused, || {
            count += 1;
            async { Err(StoreError::Saturated("full".into())) }
        })
        .await;
        assert!(matches!(outcome, Err(StoreError::Saturated(_))));
        assert!(count > 3, "{count}");
        assert!(begun.elapsed() < POOL_WAIT * 2, "{:?}", begun.elapsed());
    }
}
