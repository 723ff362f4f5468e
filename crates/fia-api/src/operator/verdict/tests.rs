use std::time::SystemTime;

use super::*;

fn dependency(id: &'static str, state: State, ago: u64) -> Dependency {
    Dependency {
        id,
        name: id,
        state,
        text: String::new(),
        since: Some(At(SystemTime::now() - Duration::from_secs(ago))),
        last_failure: None,
    }
}

fn verdict(down: &[(&'static str, u64)], pending: usize, compared: (u64, u64)) -> Verdict {
    let dependencies: Vec<Dependency> = down
        .iter()
        .map(|(id, ago)| dependency(id, State::Down, *ago))
        .collect();
    let facts = Facts {
        dependencies: &dependencies,
        bounds: bounds(),
        pending,
        compared,
        fleet: &Fleet::default(),
        backlog: 0,
        backlog_age: Duration::ZERO,
        parked: 0,
        is_draining: false,
    };
    facts.verdict()
}

/// The bounds of the default settings, with a change feed.
fn bounds() -> Bounds {
    Bounds::with_defaults(true)
}

#[test]
fn answers_are_current_while_nothing_is_wrong() {
    let verdict = verdict(&[], 0, (100, 0));
    assert_eq!(verdict.level, Level::Ok);
    assert_eq!(
        verdict.sentence,
        "Answers are current: a write shows within 1 s."
    );
    assert_eq!(verdict.max_age_seconds, None);
    assert!(verdict.problems.is_empty());
}

#[test]
fn the_bound_grows_with_an_outage_of_the_database_up_to_the_configured_one() {
    for (ago, bound) in [(0, 4), (30, 34), (100_000, 420)] {
        let verdict = verdict(&[("postgresql", ago)], 0, (0, 0));
        assert_eq!(verdict.level, Level::Failing);
        assert_eq!(verdict.max_age_seconds, Some(bound));
        let beginning =
            format!("Answers may be up to {bound} s old: PostgreSQL has been unavailable");
        assert!(
            verdict.sentence.starts_with(&beginning),
            "{}",
            verdict.sentence
        );
        assert!(!verdict.announcement.contains("up to"));
    }
}

#[test]
fn without_feed_and_groups_the_bounds_are_ttls() {
    assert_eq!(
        Bounds::with_defaults(false).short(),
        "a write shows within 1 s, an edit past the API within 2 min"
    );
}

#[test]
fn several_causes_are_all_named_with_the_largest_bound() {
    let verdict = verdict(&[("postgresql", 1), ("github", 5_000)], 0, (0, 0));
    assert_eq!(verdict.max_age_seconds, Some(3_900));
    assert!(verdict.sentence.contains("PostgreSQL has") && verdict.sentence.contains("GitHub"));
}

#[test]
fn an_outage_of_valkey_ages_answers_elsewhere_only_if_a_change_is_pending() {
    let slower = verdict(&[("valkey", 5), ("tracking", 5)], 0, (0, 0));
    assert!(
        slower
            .sentence
            .starts_with("Answers of this replica are current, but reads are slower")
    );
    assert_eq!((slower.max_age_seconds, slower.problems.len()), (None, 1));
    let older = verdict(&[("valkey", 5)], 2, (0, 0));
    assert_eq!(older.max_age_seconds, Some(120));
    assert!(
        older
            .sentence
            .contains("2 changes made here are not known to other replicas yet")
    );
}

#[test]
fn outages_that_age_nothing_are_named_with_their_effect() {
    let broker = verdict(&[("rabbitmq", 5)], 0, (0, 0));
    assert_eq!(
        (broker.level, broker.max_age_seconds),
        (Level::Degraded, None)
    );
    let current = "Answers of this replica are current, but new jobs are announced later: \
         RabbitMQ has been unavailable since ";
    assert!(broker.sentence.starts_with(current), "{}", broker.sentence);
    let both = verdict(&[("rabbitmq", 5), ("auth_service", 5)], 0, (0, 0));
    assert!(
        both.sentence
            .contains("; some users may get 503: the auth service has been")
    );
    let with_age = verdict(&[("postgresql", 5), ("rabbitmq", 5)], 0, (0, 0));
    assert_eq!(with_age.max_age_seconds, Some(9));
    assert!(
        with_age
            .sentence
            .contains(". Also, new jobs are announced later: RabbitMQ")
    );
    assert!(with_age.announcement.contains(". Also, new jobs"));
}

#[test]
fn a_stale_sample_is_the_worst() {
    let verdict = verdict(&[("valkey", 5)], 0, (50, 3));
    assert_eq!(verdict.level, Level::Failing);
    assert_eq!(
        verdict.sentence, verdict.announcement,
        "the sentence does not change each second"
    );
    assert!(verdict.sentence.starts_with(
        "Some answers are older than they should be: 3 of 50 that were compared with PostgreSQL \
         in the last 2 minutes. Also, reads are slower: Valkey"
    ));
    assert_eq!(verdict.problems[0].runbook, "FiaApiCacheStale");
}
