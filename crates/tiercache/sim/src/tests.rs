//! Tests of the simulator itself: that it replays, and that it detects defects.

use tiercache::simulated::Mutant;

use crate::history;
use crate::minimize::minimize;
use crate::plan::Plan;

#[test]
fn a_seed_replays_its_history_to_the_byte() {
    for seed in 0..12 {
        let run = || history::run(Plan::of(seed, None), false);
        let (first, second) = (run(), run());
        assert_eq!((first.hash, first.events), (second.hash, second.events));
        let recorded = history::run(Plan::of(seed, None), true);
        assert_eq!(first.hash, recorded.hash, "a timeline changes nothing");
    }
    let hash = |seed| history::run(Plan::of(seed, None), false).hash;
    assert_ne!(hash(1), hash(2));
}

#[test]
fn the_published_bounds_hold() {
    for seed in 0..60 {
        let outcome = history::run(Plan::of(seed, None), false);
        assert_eq!(outcome.violation, None, "seed {seed}");
        assert!(outcome.reads > 0);
    }
}

/// An error of COMMIT whose outcome is unknown removes the fence, perhaps before COMMIT is executed,
/// and the process dies afterwards. The oracle once required the version all the same.
#[test]
fn a_write_that_was_given_up_requires_nothing() {
    for seed in [366, 7525, 8465, 8727, 10_774] {
        let outcome = history::run(Plan::of(seed, None), false);
        assert_eq!(outcome.violation, None, "seed {seed}");
    }
}

/// The first seed whose history detects a mutant.
fn detected(mutant: Mutant) -> Option<u64> {
    (0..100).find(|seed| {
        history::run(Plan::of(*seed, Some(mutant)), false)
            .violation
            .is_some()
    })
}

#[test]
fn defects_are_detected() {
    for mutant in [
        Mutant::FillWithoutLease,
        Mutant::InvalidateNotSent,
        Mutant::PushIgnored,
        Mutant::VersionsIgnored,
        Mutant::NoReconnection,
    ] {
        assert!(detected(mutant).is_some(), "{mutant:?}");
    }
}

#[test]
fn a_minimized_history_still_fails_and_has_no_more_faults() {
    let mutant = Mutant::FillWithoutLease;
    let plan = Plan::of(detected(mutant).unwrap(), Some(mutant));
    let smaller = minimize(plan.clone());
    assert!(smaller.faults.len() <= plan.faults.len());
    assert!(history::run(smaller, false).violation.is_some());
}
