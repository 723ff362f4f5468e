use super::*;

const TTL: Duration = Duration::from_secs(3);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn span(from: u64, to: u64) -> Span {
    Span {
        from: ms(from),
        to: ms(to),
    }
}

/// Version 1 existed before; replica 0 writes version 2 from 1.0 s to 1.1 s.
fn one_write() -> History {
    History {
        keys: vec![Key {
            name: "a".to_owned(),
            ttl: TTL,
            committed: vec![1, 2],
        }],
        writes: vec![Write {
            key: 0,
            version: 2,
            by: Writer::Replica(0),
            span: span(1000, 1100),
            outcome: Ok(()),
            invalidated: true,
        }],
        ..History::default()
    }
}

fn response(history: &mut History, replica: usize, at: u64, version: u64, source: Source) {
    history.reads.push(Read {
        key: 0,
        replica,
        span: span(at, at + 5),
        outcome: Outcome::Value(version, source),
    });
}

fn fault(history: &mut History, from: u64, to: u64, target: FaultTarget) {
    history.faults.push(Fault {
        kind: "fault",
        span: span(from, to),
        target,
    });
}

#[track_caller]
fn assert_one(history: &History, expected: &str) {
    let found = check(history).violations;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].description.contains(expected),
        "{}",
        found[0].description
    );
    let text = explain(history, &found[0]);
    assert!(text.contains(&found[0].description), "{text}");
}

#[track_caller]
fn assert_none(history: &History) {
    assert_eq!(check(history).violations, []);
}

#[test]
fn a_read_concurrent_with_a_write_may_return_either_version() {
    for version in [1, 2] {
        let mut history = one_write();
        for replica in [0, 1] {
            response(&mut history, replica, 1099, version, Source::Shared);
        }
        assert_none(&history);
    }
}

#[test]
fn a_replica_reads_its_own_writes() {
    let mut history = one_write();
    response(&mut history, 0, 1101, 1, Source::Local);
    assert_one(
        &history,
        "returned 1, 1 ms after the write of 2 returned (written on the same replica)",
    );
    // A fault is no excuse.
    fault(&mut history, 900, 1200, FaultTarget::Link(0));
    assert_one(&history, "written on the same replica");
}

#[test]
fn the_other_replica_may_lag_by_the_propagation_bound() {
    let mut history = one_write();
    response(&mut history, 1, 2300, 1, Source::Local);
    assert_none(&history);
    assert_eq!(
        check(&history).lags[Bound::Propagated as usize],
        Lag {
            responses: 1,
            max: ms(1200)
        }
    );
    response(&mut history, 1, 2500, 1, Source::Local);
    assert_one(&history, "written on the other replica");
}

#[test]
fn a_lost_invalidation_permits_the_ttl_bound() {
    for target in [FaultTarget::Link(0), FaultTarget::Valkey] {
        let mut history = one_write();
        fault(&mut history, 500, 1050, target);
        for replica in [0, 1] {
            response(&mut history, replica, 1060, 1, Source::Local);
        }
        response(&mut history, 1, 9300, 1, Source::Shared);
        assert_none(&history);
        response(&mut history, 1, 9500, 1, Source::Shared);
        assert_one(&history, "Valkey unreachable for the writer");
    }
    // A fault of the reader's link, or of another target, is no excuse.
    for target in [
        FaultTarget::Link(1),
        FaultTarget::Nothing,
        FaultTarget::Database,
    ] {
        let mut history = one_write();
        fault(&mut history, 500, 1050, target);
        response(&mut history, 1, 1060, 1, Source::Local);
        response(&mut history, 1, 2500, 1, Source::Shared);
        assert_one(&history, "written on the other replica");
    }
}

#[test]
fn a_late_fill_permits_the_ttl_bound_until_it_expires() {
    let mut history = one_write();
    history.fills.push(Fill {
        key: 0,
        version: 1,
        span: span(990, 1200),
    });
    response(&mut history, 0, 4100, 1, Source::Shared);
    assert_none(&history);
    response(&mut history, 0, 4600, 1, Source::Shared);
    assert_one(&history, "written on the same replica");
    // A fill that began after the write had returned is no excuse.
    history.fills[0].span.from = ms(1150);
    assert_eq!(check(&history).violations.len(), 2);
}

#[test]
fn a_legacy_write_has_the_propagation_bound_if_it_invalidated() {
    let mut history = one_write();
    history.writes[0].by = Writer::LegacyClient;
    response(&mut history, 0, 2500, 1, Source::Local);
    assert_one(&history, "written by the legacy client");
    history.writes[0].invalidated = false;
    assert_none(&history);
}

#[test]
fn an_uncommitted_version_is_a_violation() {
    let mut history = one_write();
    response(&mut history, 0, 500, 7, Source::Loaded);
    assert_one(&history, "never committed");
}

#[test]
fn versions_are_ordered_by_commit() {
    let mut history = one_write();
    history.keys[0].committed = vec![1, 3, 2];
    let third = Write {
        version: 3,
        span: span(900, 1300),
        ..history.writes[0].clone()
    };
    history.writes.push(third);
    response(&mut history, 0, 1400, 2, Source::Loaded);
    assert_none(&history);
    response(&mut history, 0, 1400, 3, Source::Loaded);
    assert_one(&history, "returned 3, 300 ms after the write of 2 returned");
}

#[test]
fn a_failed_write_counts_only_for_convergence() {
    let mut history = one_write();
    history.writes[0].outcome = Err("503".to_owned());
    fault(&mut history, 900, 1000, FaultTarget::Database);
    response(&mut history, 0, 5000, 1, Source::Shared);
    assert_none(&history);
    history.quiet = Some(ms(5000));
    for replica in [0, 1] {
        response(&mut history, replica, 6000, 2, Source::Local);
    }
    response(&mut history, 0, 13_200, 1, Source::Shared);
    assert_none(&history);
    response(&mut history, 0, 13_400, 1, Source::Shared);
    assert_one(&history, "still returns 1 in the quiet phase");
}

#[test]
fn failures_and_stale_sources_require_a_database_fault() {
    let mut history = one_write();
    history.reads.push(Read {
        key: 0,
        replica: 0,
        span: span(300, 310),
        outcome: Outcome::Failed("503".to_owned()),
    });
    assert_one(&history, "failed with the database available: 503");
    history.reads.clear();
    response(&mut history, 0, 1500, 1, Source::Stale);
    assert_one(&history, "served past the TTL with the database available");
    history.writes[0].outcome = Err("503".to_owned());
    assert_eq!(check(&history).violations.len(), 2);
    fault(&mut history, 200, 300, FaultTarget::Database);
    assert_none(&history);
    fault(&mut history, 200, 300, FaultTarget::Valkey);
    history.faults.remove(0);
    assert_eq!(check(&history).violations.len(), 2);
}

#[test]
fn latency_has_a_limit() {
    let mut history = one_write();
    response(&mut history, 0, 1200, 2, Source::Loaded);
    history.reads[0].span.to = ms(3300);
    assert_one(&history, "a response took 2100 ms");
    fault(&mut history, 1300, 1400, FaultTarget::Database);
    assert_none(&history);
    assert_eq!(check(&history).max_latency, [ms(100), ms(2100)]);
}

#[test]
fn local_hits_resume_after_a_fault() {
    let mut history = one_write();
    fault(&mut history, 100, 500, FaultTarget::Link(1));
    response(&mut history, 1, 400, 1, Source::Local);
    response(&mut history, 0, 900, 1, Source::Local);
    response(&mut history, 1, 2900, 2, Source::Local);
    assert_one(&history, "replica 1 had no local hit");
    // A fault within the window suspends the check.
    fault(&mut history, 2000, 2100, FaultTarget::Database);
    assert_none(&history);
    history.faults.pop();
    response(&mut history, 1, 1900, 2, Source::Local);
    assert_none(&history);
    assert_eq!(check(&history).recovery, ms(1400));
}

#[test]
fn every_key_has_local_hits_in_the_quiet_phase() {
    let mut history = one_write();
    history.quiet = Some(ms(2000));
    response(&mut history, 0, 3000, 2, Source::Local);
    response(&mut history, 1, 5000, 2, Source::Shared);
    assert_one(&history, "replica 1 has no local hit in the quiet phase");
    response(&mut history, 1, 6000, 2, Source::Local);
    assert_none(&history);
    assert_eq!(check(&history).full_recovery, ms(4000));
}
