//! Tests of the simulator itself: that it replays, and that it detects defects.

use tiercache::simulated::{self, Mutant};
use tokio::runtime::Builder;

use crate::history;
use crate::minimize::minimize;
use crate::oracle::Oracle;
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

/// Each set-up, with fewer seeds than a search has. (With replicas, writes of the seeds 7, 9 and 11 once
/// waited for the connection of their fences, longer than `write_timeout`.)
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
        (Kind::Cluster, Mutant::InvalidationNotKept),
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
    let required = |gives_up: bool| {
        let mut oracle = Oracle::new(&fault_free());
        let life = oracle.reached.begin_life();
        oracle.fenced(life, 0, 1, 100);
        if gives_up {
            oracle.given_up(0, 1);
        }
        oracle.committed(0, 1, 120);
        oracle.killed(life);
        oracle.required(life, 0, 200).otherwise
    };
    assert_eq!((required(false), required(true)), (1, 0));
}

/// A second failover may lose the invalidations that were repeated after the first one.
#[test]
fn a_repeated_invalidation_may_be_lost_again() {
    let mut oracle = Oracle::new(&fault_free());
    let (writer, reader) = (oracle.reached.begin_life(), oracle.reached.begin_life());
    oracle.returned(Some(writer), 0, 1, (900, 1_000));
    oracle.failed_over(500, 2_000);
    let required = |oracle: &mut Oracle, now| oracle.required(reader, 0, now).otherwise;
    assert_eq!(required(&mut oracle, 2_050), 0);
    oracle.reached.connected((writer, 0), (true, true), 2_070);
    assert_eq!(required(&mut oracle, 2_090), 0, "it was refused");
    oracle.reached.connected((writer, 0), (true, false), 2_100);
    assert_eq!(required(&mut oracle, 2_150), 1);
    oracle.failed_over(1_500, 3_000);
    assert_eq!(required(&mut oracle, 3_050), 0);
    oracle.reached.connected((writer, 0), (true, false), 3_100);
    assert_eq!(required(&mut oracle, 3_150), 1);
}

/// `invalidate_all` was once not repeated after a failover to a replica that lacked it.
#[test]
fn invalidations_of_all_keys_are_repeated_after_a_failover() {
    for seed in [41, 2_704] {
        let run = |mutant| history::run(Plan::of_kind(seed, mutant, None), false).violation;
        assert_eq!(run(None), None, "seed {seed}");
        assert!(run(Some(Mutant::AllNotRepeated)).is_some(), "seed {seed}");
    }
}

/// `invalidate_all` was once not repeated to a new primary of a cluster while the former one was still
/// connected.
#[test]
fn invalidations_of_all_keys_are_repeated_to_a_new_primary() {
    let run = |mutant| history::run(Plan::of_kind(27_335, mutant, None), false).violation;
    assert_eq!(run(None), None);
    assert!(run(Some(Mutant::NewPrimaryIgnored)).is_some());
}

/// The keys of a slot were once used on a node that had taken it over, and was connected already, before
/// the invalidations of the process were repeated there; by commands that followed a redirection
/// even later. And an invalidation of all keys missed those that moved meanwhile.
#[test]
fn what_moves_to_another_node_is_invalidated_there() {
    for (kind, seed, mutant) in [
        (Kind::Moves, 29, Mutant::ConnectedPrimaryTrusted),
        (Kind::Moves, 29, Mutant::RedirectedReadTrusted),
        (Kind::Moves, 2_666, Mutant::SlotsNotLearnt),
    ] {
        let run = |mutant| {
            let plan = Plan::of_kind(seed, mutant, Some(kind));
            history::run(plan, false).violation
        };
        assert_eq!(run(None), None, "seed {seed}");
        assert!(run(Some(mutant)).is_some(), "seed {seed}: {mutant:?}");
    }
}

/// Last known values: how old they may be, when they are served, and when they must be.
#[test]
fn defects_of_last_known_values_are_detected() {
    for mutant in [
        Mutant::AgeUnlimited,
        Mutant::AgeUnderstated,
        Mutant::LastKnownKept,
        Mutant::LastKnownNotServed,
        Mutant::OutageAssumed,
        Mutant::SoftTimeoutIgnored,
    ] {
        let is_detected = |seed| {
            let plan = Plan::of_kind(seed, Some(mutant), Some(Kind::Outages));
            history::run(plan, false).violation.is_some()
        };
        assert!((0..100).any(is_detected), "{mutant:?}");
    }
}

/// The plan of the first seed, with safe fences.
fn fault_free() -> Plan {
    let mut plan = Plan::of_kind(0, None, None);
    (plan.faults, plan.stepped) = (Vec::new(), Vec::new());
    (plan.is_grouped, plan.is_unshared) = (false, false);
    (plan.legacy_readers, plan.legacy_writers) = (0, 0);
    plan.writes.operators = 0;
    plan
}

#[test]
fn tasks_that_run_for_ever_are_named() {
    let mut builder = Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build().unwrap();
    let ran = runtime.block_on(async {
        simulated::begin(0, None, Box::new(|_, _| unreachable!()));
        let process = simulated::Process::new(0, 0, 0);
        drop(process.spawn(runs_for_ever()));
        simulated::livelock().await
    });
    simulated::end();
    assert!(ran.contains("runs_for_ever"), "{ran}");
}

async fn runs_for_ever() {
    loop {
        tokio::task::yield_now().await;
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
