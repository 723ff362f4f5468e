use super::*;

const MARI: fn() -> KeyHash = || KeyHash::of("spec:MARI");

fn live() -> (Coherence, u64) {
    let coherence = Coherence::new();
    coherence.set_command_server(NodeId::ONLY, server());
    let id = connecting(&coherence);
    coherence.confirm(NodeId::ONLY, id, 0, Moment::now());
    (coherence, id)
}

fn server() -> ServerId {
    Some("a".to_owned())
}

fn connecting(coherence: &Coherence) -> u64 {
    let id = coherence.connecting(NodeId::ONLY);
    coherence.set_tracking_server(NodeId::ONLY, id, server());
    id
}

#[limited::test(start_paused = true)]
async fn a_change_invalidates_the_stamps_of_its_key_only() {
    let (coherence, _) = live();
    let (mari, let_) = (MARI(), KeyHash::of("spec:LET"));
    let stamps = (coherence.stamp(mari), coherence.stamp(let_));
    coherence.key_changed(mari);
    let now = Moment::now();
    assert!(!coherence.is_current(stamps.0, mari, now));
    assert!(coherence.is_current(stamps.1, let_, now));
    coherence.all_changed();
    assert!(!coherence.is_current(stamps.1, let_, now));
}

#[limited::test(start_paused = true)]
async fn entries_are_valid_for_max_silence_after_the_heartbeat_was_sent() {
    let (coherence, id) = live();
    let (stamp, sent) = (coherence.stamp(MARI()), Moment::now());
    tokio::time::advance(Duration::from_millis(400)).await;
    coherence.confirm(NodeId::ONLY, id, 0, sent);
    let good_at =
        |millis| coherence.is_current(stamp, MARI(), sent + Duration::from_millis(millis));
    assert!(good_at(999) && !good_at(1000));
}

#[limited::test(start_paused = true)]
async fn a_lost_connection_invalidates_all_stamps_and_cannot_be_confirmed() {
    let (coherence, id) = live();
    let stamp = coherence.stamp(MARI());
    coherence.lost(NodeId::ONLY, id);
    coherence.confirm(NodeId::ONLY, id, 0, Moment::now());
    assert!(!coherence.is_live(Moment::now()));
    let next = connecting(&coherence);
    coherence.lost(NodeId::ONLY, id);
    assert!(!coherence.is_live(Moment::now()));
    coherence.confirm(NodeId::ONLY, next, 0, Moment::now());
    assert!(coherence.is_live(Moment::now()));
    assert!(!coherence.is_current(stamp, MARI(), Moment::now()));
}

#[limited::test(start_paused = true)]
async fn tracking_another_server_than_the_command_server_is_rejected() {
    let (coherence, id) = live();
    let (a, b) = (Some("a".to_owned()), Some("b".to_owned()));
    coherence.set_command_server(NodeId::ONLY, b.clone());
    assert!(!coherence.is_live(Moment::now()));
    assert_eq!(
        coherence.confirm(NodeId::ONLY, id, 0, Moment::now()),
        Confirmation::Rejected
    );
    for (server, expected) in [(a, false), (b, true)] {
        let id = coherence.connecting(NodeId::ONLY);
        coherence.set_tracking_server(NodeId::ONLY, id, server);
        let is_live = coherence.confirm(NodeId::ONLY, id, 0, Moment::now()) == Confirmation::Live;
        assert_eq!(is_live, expected);
        assert_eq!(coherence.is_live(Moment::now()), expected);
    }
}

#[limited::test(start_paused = true)]
async fn servers_of_unknown_identity_do_not_count_as_the_same() {
    let coherence = Coherence::new();
    coherence.set_command_server(NodeId::ONLY, None);
    let id = coherence.connecting(NodeId::ONLY);
    coherence.set_tracking_server(NodeId::ONLY, id, None);
    let confirmation = coherence.confirm(NodeId::ONLY, id, 0, Moment::now());
    assert_eq!(confirmation, Confirmation::Unidentified);
    assert!(!coherence.is_live(Moment::now()));
}

#[limited::test(start_paused = true)]
async fn a_prefix_added_later_bypasses_the_local_cache_until_it_is_subscribed() {
    let (coherence, id) = live();
    let now = Moment::now();
    coherence.add_prefix("spec:").unwrap();
    let stamp = coherence.stamp(MARI());
    assert!(!coherence.is_live(now));
    let unsubscribed = coherence.confirm(NodeId::ONLY, id, 0, now);
    assert_eq!(unsubscribed, Confirmation::PrefixMissing);
    assert!(!coherence.is_live(now));
    assert_eq!(coherence.prefixes_after(0), ["spec:"]);
    let subscribed = coherence.confirm(NodeId::ONLY, id, 1, now);
    assert_eq!(subscribed, Confirmation::Live);
    assert!(coherence.is_live(now));
    assert!(!coherence.is_current(stamp, MARI(), now), "read before");
}

#[test]
fn a_prefix_of_another_is_refused() {
    let coherence = Coherence::new();
    for prefix in ["live:instruments", "live:script:", "jobs:"] {
        coherence.add_prefix(prefix).unwrap();
    }
    for (prefix, other) in [
        ("live:", "live:instruments"),
        ("live:script:MARI", "live:script:"),
        ("jobs:", "jobs:"),
        ("", "live:instruments"),
    ] {
        assert_eq!(coherence.add_prefix(prefix), Err(other.to_owned()));
    }
    assert_eq!(coherence.prefixes_after(2), ["jobs:"]);
}

#[limited::test(start_paused = true)]
async fn a_stamp_taken_before_tracking_became_live_is_not_current() {
    let coherence = Coherence::new();
    coherence.set_command_server(NodeId::ONLY, server());
    let id = connecting(&coherence);
    let stamp = coherence.stamp(MARI());
    coherence.confirm(NodeId::ONLY, id, 0, Moment::now());
    assert!(!coherence.is_current(stamp, MARI(), Moment::now()));
    assert!(coherence.age().is_some());
}
