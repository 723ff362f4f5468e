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

/// Version 1 was there; 2 is written on replica 0 from 1.0 s to 1.1 s.
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
            cleared: true,
        }],
        ..History::default()
    }
}

fn answer(history: &mut History, replica: usize, at: u64, version: u64, source: Source) {
    history.reads.push(Read {
        key: 0,
        replica,
        span: span(at, at + 5),
        outcome: Outcome::Value(version, source),
    });
}

fn fault(history: &mut History, from: u64, to: u64, hits: Hits) {
    history.faults.push(Fault {
        kind: "fault",
        span: span(from, to),
        hits,
    });
}

#[track_caller]
fn assert_one(history: &History, what: &str) {
    let found = judge(history).violations;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].what.contains(what), "{}", found[0].what);
    let told = explain(history, &found[0]);
    assert!(told.contains(&found[0].what), "{told}");
}

#[track_caller]
fn assert_none(history: &History) {
    assert_eq!(judge(history).violations, []);
}

#[test]
fn what_is_asked_before_a_write_returns_may_be_either() {
    for version in [1, 2] {
        let mut history = one_write();
        for replica in [0, 1] {
            answer(&mut history, replica, 1099, version, Source::Shared);
        }
        assert_none(&history);
    }
}

#[test]
fn the_same_replica_never_answers_an_older_value() {
    let mut history = one_write();
    answer(&mut history, 0, 1101, 1, Source::Local);
    assert_one(
        &history,
        "answered 1 although 2 had been written 1 ms before (written on the same",
    );
    // Not even with a fault in the way.
    fault(&mut history, 900, 1200, Hits::Link(0));
    assert_one(&history, "written on the same replica");
}

#[test]
fn another_replica_follows_within_a_second() {
    let mut history = one_write();
    answer(&mut history, 1, 2300, 1, Source::Local);
    assert_none(&history);
    assert_eq!(
        judge(&history).lags[Bound::Told as usize],
        Lag {
            answers: 1,
            largest: ms(1200)
        }
    );
    answer(&mut history, 1, 2500, 1, Source::Local);
    assert_one(&history, "written on the other replica");
}

#[test]
fn a_writer_that_was_cut_off_is_followed_within_the_time_to_live() {
    for hits in [Hits::Link(0), Hits::Valkey] {
        let mut history = one_write();
        fault(&mut history, 500, 1050, hits);
        for replica in [0, 1] {
            answer(&mut history, replica, 1060, 1, Source::Local);
        }
        answer(&mut history, 1, 9300, 1, Source::Shared);
        assert_none(&history);
        answer(&mut history, 1, 9500, 1, Source::Shared);
        assert_one(&history, "Valkey not told");
    }
    // The reader's own way is no excuse.
    for hits in [Hits::Link(1), Hits::Nothing, Hits::Database] {
        let mut history = one_write();
        fault(&mut history, 500, 1050, hits);
        answer(&mut history, 1, 1060, 1, Source::Local);
        answer(&mut history, 1, 2500, 1, Source::Shared);
        assert_one(&history, "written on the other replica");
    }
}

#[test]
fn what_the_peer_stores_late_excuses_for_as_long_as_it_lives() {
    let mut history = one_write();
    history.fills.push(Fill {
        key: 0,
        version: 1,
        span: span(990, 1200),
    });
    answer(&mut history, 0, 4100, 1, Source::Shared);
    assert_none(&history);
    answer(&mut history, 0, 4600, 1, Source::Shared);
    assert_one(&history, "written on the same replica");
    // What it read after the write had returned is no excuse at all.
    history.fills[0].span.from = ms(1150);
    assert_eq!(judge(&history).violations.len(), 2);
}

#[test]
fn the_peers_writes_are_followed_as_others_are() {
    let mut history = one_write();
    history.writes[0].by = Writer::Peer;
    answer(&mut history, 0, 2500, 1, Source::Local);
    assert_one(&history, "written by the older program");
    history.writes[0].cleared = false;
    assert_none(&history);
}

#[test]
fn a_value_that_nobody_committed_is_an_invention() {
    let mut history = one_write();
    answer(&mut history, 0, 500, 7, Source::Loaded);
    assert_one(&history, "never written");
}

#[test]
fn the_order_is_that_of_the_commits() {
    let mut history = one_write();
    history.keys[0].committed = vec![1, 3, 2];
    let third = Write {
        version: 3,
        span: span(900, 1300),
        ..history.writes[0].clone()
    };
    history.writes.push(third);
    answer(&mut history, 0, 1400, 2, Source::Loaded);
    assert_none(&history);
    answer(&mut history, 0, 1400, 3, Source::Loaded);
    assert_one(&history, "answered 3 although 2 had been written");
}

#[test]
fn a_failed_write_promises_nothing_until_the_end() {
    let mut history = one_write();
    history.writes[0].outcome = Err("503".to_owned());
    fault(&mut history, 900, 1000, Hits::Database);
    answer(&mut history, 0, 5000, 1, Source::Shared);
    assert_none(&history);
    history.quiet = Some(ms(5000));
    for replica in [0, 1] {
        answer(&mut history, replica, 6000, 2, Source::Local);
    }
    answer(&mut history, 0, 13_200, 1, Source::Shared);
    assert_none(&history);
    answer(&mut history, 0, 13_400, 1, Source::Shared);
    assert_one(&history, "still answers 1 in the end");
}

#[test]
fn failures_and_last_known_values_need_a_reason() {
    let mut history = one_write();
    history.reads.push(Read {
        key: 0,
        replica: 0,
        span: span(300, 310),
        outcome: Outcome::Failed("503".to_owned()),
    });
    assert_one(&history, "failed without need: 503");
    history.reads.clear();
    answer(&mut history, 0, 1500, 1, Source::Stale);
    assert_one(&history, "a last known value without need");
    history.writes[0].outcome = Err("503".to_owned());
    assert_eq!(judge(&history).violations.len(), 2);
    fault(&mut history, 200, 300, Hits::Database);
    assert_none(&history);
    fault(&mut history, 200, 300, Hits::Valkey);
    history.faults.remove(0);
    assert_eq!(judge(&history).violations.len(), 2);
}

#[test]
fn answers_have_a_limit() {
    let mut history = one_write();
    answer(&mut history, 0, 1200, 2, Source::Loaded);
    history.reads[0].span.to = ms(3300);
    assert_one(&history, "an answer took 2100 ms");
    fault(&mut history, 1300, 1400, Hits::Database);
    assert_none(&history);
    assert_eq!(judge(&history).slowest, [ms(100), ms(2100)]);
}

#[test]
fn memory_is_used_again_soon() {
    let mut history = one_write();
    fault(&mut history, 100, 500, Hits::Link(1));
    answer(&mut history, 1, 400, 1, Source::Local);
    answer(&mut history, 0, 900, 1, Source::Local);
    answer(&mut history, 1, 2900, 2, Source::Local);
    assert_one(&history, "replica 1 answered nothing from memory");
    // Another fault had come first.
    fault(&mut history, 2000, 2100, Hits::Database);
    assert_none(&history);
    history.faults.pop();
    answer(&mut history, 1, 1900, 2, Source::Local);
    assert_none(&history);
    assert_eq!(judge(&history).recovery, ms(1400));
}

#[test]
fn every_key_is_in_memory_in_the_end() {
    let mut history = one_write();
    history.quiet = Some(ms(2000));
    answer(&mut history, 0, 3000, 2, Source::Local);
    answer(&mut history, 1, 5000, 2, Source::Shared);
    assert_one(&history, "replica 1 has nothing in memory in the end");
    answer(&mut history, 1, 6000, 2, Source::Local);
    assert_none(&history);
    assert_eq!(judge(&history).last_key, ms(4000));
}
