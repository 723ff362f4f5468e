//! The state of a dependency from the last calls of its operations, and from the probes while
//! somebody looks at the page.

use crate::observe::HealthSnapshot;
use crate::operator::probes::Probed;

/// The state of a dependency from those of its operations and from its probes; `None` without any.
///
/// It is the worst of them, but a probe that was answered shows that an earlier failure to reach
/// the dependency is over. An operation to which it responded with an error is judged by its own
/// next call.
pub(super) fn state_of(
    operations: Vec<HealthSnapshot>,
    probed: Option<Probed>,
) -> Option<HealthSnapshot> {
    let Some(Probed { health, answered }) = probed.filter(|probed| probed.health.up.is_some())
    else {
        return merged(operations);
    };
    let is_probe_up = health.up == Some(true);
    let was_down = health.last_failure.is_some();
    let is_known = |operation: &HealthSnapshot| operation.up.is_some();
    let mut states: Vec<HealthSnapshot> = operations.into_iter().filter(is_known).collect();
    for operation in &mut states {
        let Some(failure) = &operation.last_failure else {
            continue;
        };
        let is_over = is_probe_up && !failure.is_response && answered > Some(failure.at);
        if operation.up == Some(false) && is_over {
            operation.up = Some(true);
            operation.since = failure.at.max(health.since);
        }
    }
    // The first probe that is answered says nothing of the time before.
    if !is_probe_up || was_down || states.is_empty() {
        states.push(health);
    }
    merged(states)
}

/// The worst of several states: since the first is as bad, or the last is as good; with the latest
/// failure of all.
fn merged(states: Vec<HealthSnapshot>) -> Option<HealthSnapshot> {
    let rank = |health: &HealthSnapshot| match health.up {
        Some(false) => 2,
        Some(true) => 1,
        None => 0,
    };
    let worst = states.iter().map(rank).max()?;
    let failures = states
        .iter()
        .filter_map(|health| health.last_failure.clone());
    let last_failure = failures.max_by_key(|failure| failure.at);
    let mut states = states.into_iter().filter(|health| rank(health) == worst);
    let first = states.next()?;
    let state = states.fold(first, |one, other| HealthSnapshot {
        since: match one.up {
            Some(false) => one.since.min(other.since),
            _ => one.since.max(other.since),
        },
        ..one
    });
    Some(HealthSnapshot {
        last_failure,
        ..state
    })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use super::*;
    use crate::observe::LastFailure;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn health(up: Option<bool>, since: u64, failure: Option<(u64, bool)>) -> HealthSnapshot {
        HealthSnapshot {
            up,
            since: at(since),
            last_failure: failure.map(|(seconds, is_response)| LastFailure {
                at: at(seconds),
                text: String::new(),
                is_response,
            }),
        }
    }

    fn probed(up: bool, since: u64, failure: Option<u64>, answered: Option<u64>) -> Option<Probed> {
        Some(Probed {
            health: health(Some(up), since, failure.map(|seconds| (seconds, false))),
            answered: answered.map(at),
        })
    }

    fn state<const N: usize>(
        operations: [HealthSnapshot; N],
        probed: Option<Probed>,
    ) -> (Option<bool>, u64) {
        let found = state_of(operations.to_vec(), probed).unwrap();
        let since = found.since.duration_since(UNIX_EPOCH).unwrap();
        (found.up, since.as_secs())
    }

    #[test]
    fn without_probes_the_worst_call_decides() {
        let (up, unknown) = (health(Some(true), 5, None), health(None, 0, None));
        let down = health(Some(false), 7, Some((8, false)));
        assert_eq!(state([unknown.clone()], None), (None, 0));
        assert_eq!(state([unknown, up.clone()], None), (Some(true), 5));
        assert_eq!(state([up, down], None), (Some(false), 7));
        assert_eq!(state_of(Vec::new(), None), None);
    }

    #[test]
    fn a_probe_finds_an_outage_that_no_call_has_met() {
        let up = health(Some(true), 5, None);
        let probe = probed(false, 20, Some(21), Some(19));
        assert_eq!(state([up], probe.clone()), (Some(false), 20));
        assert_eq!(state([health(None, 0, None)], probe), (Some(false), 20));
    }

    #[test]
    fn a_probe_that_is_answered_ends_an_outage_that_calls_have_met() {
        let down = health(Some(false), 7, Some((8, false)));
        let answered = probed(true, 30, None, Some(40));
        assert_eq!(state([down.clone()], answered), (Some(true), 30));
        // A failure after the last probe counts.
        let before = probed(true, 3, None, Some(6));
        assert_eq!(state([down], before), (Some(false), 7));
    }

    #[test]
    fn an_error_response_counts_until_the_next_call() {
        let faulty = health(Some(false), 7, Some((8, true)));
        let answered = probed(true, 30, None, Some(40));
        assert_eq!(state([faulty], answered), (Some(false), 7));
    }

    #[test]
    fn a_dependency_is_up_since_its_last_outage_and_not_since_the_page_was_opened() {
        let up = health(Some(true), 5, None);
        let opened = probed(true, 30, None, Some(40));
        assert_eq!(state([up.clone()], opened.clone()), (Some(true), 5));
        assert_eq!(state([], opened), (Some(true), 30));
        let recovered = probed(true, 35, Some(34), Some(40));
        assert_eq!(state([up], recovered), (Some(true), 35));
    }
}
