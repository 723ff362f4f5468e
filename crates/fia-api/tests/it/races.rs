//! PUTs that race with reads, forced by a proxy that holds the readers' commands up.
//!
//! With every command of a reader late by `LATE`, its SELECT runs about two delays after its
//! start and its fill arrives a delay later: a PUT that starts in between is done before an
//! old value is on its way into the cache. The older server leaves it there.

use std::time::Duration;

use devstack::{Direction, FaultProxy, Mode, Valkey};
use http::StatusCode;
use serde_json::json;

use crate::harness::{Database, Replica, vars};

const LATE: Duration = Duration::from_millis(12);
/// Races for each pair of replicas.
const RACES: u64 = 100;
/// Races that run at the same time, each with an instrument of its own.
const INSTRUMENTS: [&str; 5] = ["MARI", "LET", "TOSCA", "LOQ", "EMU"];

/// One race: a slow read, a PUT in the middle of it, reads after the PUT on both replicas.
async fn race(slow: &Replica, writer: &Replica, instrument: &str, number: u64) {
    let path = format!("/instrument/{instrument}/latest-run");
    let value = json!({"latest_run": format!("{number}")});
    // Every phase of the read is met in turn: from its start to after its fill.
    let moment = LATE * 4 * u32::try_from(number % 25).unwrap() / 25;
    let reading = slow.get(&path, "apikey");
    let writing = async {
        tokio::time::sleep(moment).await;
        let answer = writer.put(&path, "apikey", &value).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
        for replica in [slow, writer] {
            assert_eq!(
                replica.get(&path, "apikey").await.json(),
                value,
                "race {number} at {moment:?}"
            );
        }
    };
    let (read, ()) = tokio::join!(reading, writing);
    assert_eq!(read.status, StatusCode::OK);
    // Whatever the slow read has done by now must not have brought the old value back.
    for replica in [writer, slow] {
        assert_eq!(
            replica.get(&path, "apikey").await.json(),
            value,
            "race {number}, afterwards"
        );
    }
    // The next race begins with nothing cached.
    let last = json!({"latest_run": "between"});
    assert_eq!(
        writer.put(&path, "apikey", &last).await.status,
        StatusCode::OK
    );
}

/// Runs the races; returns how many late fills were refused.
async fn races(across_replicas: bool) -> u64 {
    let (database, valkey) = tokio::join!(Database::seeded(), Valkey::start());
    let valkey = valkey.unwrap();
    let proxy = FaultProxy::start(valkey.addr()).await.unwrap();
    let near = vars(&[("VALKEY_URL", &valkey.url())]);
    let far = vars(&[("VALKEY_URL", &format!("redis://{}/0", proxy.addr()))]);
    let slow = Replica::new(&[&database.vars(), &far]);
    let other = Replica::new(&[&database.vars(), &near]);
    slow.shared_level_is_up().await;
    other.shared_level_is_up().await;
    proxy.set(Direction::ToServer, Mode::Delay(LATE));
    let writer = if across_replicas { &other } else { &slow };
    let all = INSTRUMENTS.iter().map(|instrument| async {
        for number in 0..RACES / INSTRUMENTS.len() as u64 {
            race(&slow, writer, instrument, number).await;
        }
    });
    futures_util::future::join_all(all).await;
    let classes = slow.state.cached.statistics().classes;
    classes.iter().map(|class| class.fills_refused).sum()
}

/// Takes some seconds: each of its hundred races is made of commands that are held up.
#[tokio::test]
async fn a_hundred_races_on_one_replica_leave_no_old_value() {
    races(false).await;
}

/// Takes some seconds, as the one before.
#[tokio::test]
async fn a_hundred_races_across_two_replicas_leave_no_old_value() {
    let refused = races(true).await;
    // Else the PUTs met no read at the moment that matters.
    assert!(refused >= 10, "only {refused} late fills were refused");
}
