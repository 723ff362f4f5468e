//! Tests of the simulator itself: that it replays, and that it detects defects.

use tiercache::simulated::Mutant;

use crate::history;
use crate::minimize::minimize;
use crate::plan::Plan;
use crate::setup::Kind;

#[test]
fn a_seed_replays_its_history_to_the_byte() {
    for seed in 0..12 {
        let run = || history::run(Plan::of_kind(seed, None, None), false);
        let (first, second) = (run(), run());
        assert_eq!((first.hash, first.events), (second.hash, second.events));
        let recorded = history::run(Plan::of_kind(seed, None, None), true);
        assert_eq!(first.hash, recorded.hash, "a timeline changes nothing");
    }
    let hash = |seed| history::run(Plan::of_kind(seed, None, None), false).hash;
    assert_ne!(hash(1), hash(2));
}

/// Each set-up, with fewer seeds than a search has.
#[test]
fn the_bounds_of_each_set_up_hold_and_its_histories_replay() {
    for (name, kind) in Kind::ALL {
        for seed in 0..12 {
            let run = || history::run(Plan::of_kind(seed, None, Some(kind)), false);
            let (first, second) = (run(), run());
            assert_eq!(first.violation, None, "{name}: seed {seed}");
            assert_eq!(first.hash, second.hash, "{name}: seed {seed}");
        }
    }
}

/// The fences and invalidations that a failover loses are repeated, in each set-up that has
/// failovers.
#[test]
fn lost_invalidations_that_are_not_repeated_are_detected() {
    for (kind, mutant) in [
        (Kind::Sentinel, Mutant::RecentNotRepeated),
        (Kind::Cluster, Mutant::RecentNotRepeated),
        (Kind::Replicas, Mutant::ReplicasNotAwaited),
    ] {
        let mutant = Some(mutant);
        let is_detected = |seed| {
            let plan = Plan::of_kind(seed, mutant, Some(kind));
            history::run(plan, false).violation.is_some()
        };
        assert!((0..100).any(is_detected), "{kind:?}");
    }
}

#[test]
fn the_published_bounds_hold() {
    for seed in 0..60 {
        let outcome = history::run(Plan::of_kind(seed, None, None), false);
        assert_eq!(outcome.violation, None, "seed {seed}");
        assert!(outcome.reads > 0);
    }
}

/// An error of COMMIT whose outcome is unknown removes the fence, perhaps before COMMIT is executed,
/// and the process dies afterwards. The oracle once required the version all the same.
#[test]
fn a_write_that_was_given_up_requires_nothing() {
    for seed in [366, 7525, 8465, 8727, 10_774] {
        let outcome = history::run(Plan::of_kind(seed, None, None), false);
        assert_eq!(outcome.violation, None, "seed {seed}");
    }
}

/// The first seed whose history detects a mutant.
fn detected(mutant: Mutant) -> Option<u64> {
    (0..100).find(|seed| {
        history::run(Plan::of_kind(*seed, Some(mutant), None), false)
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
    let plan = Plan::of_kind(detected(mutant).unwrap(), Some(mutant), None);
    let smaller = minimize(plan.clone());
    assert!(smaller.faults.len() <= plan.faults.len());
    assert!(history::run(smaller, false).violation.is_some());
}
