//! PUTs that race with reads, forced by a proxy that delays the readers' commands.
//!
//! With every Valkey command of a reader delayed by `LATE`, its SELECT runs about two delays
//! after its start and its fill arrives a delay later: a PUT in between completes before the
//! stale fill arrives. The legacy server stores that fill.

use std::time::Duration;

use devstack::{Direction, FaultProxy, Mode, Valkey};
use http::StatusCode;
use serde_json::json;

use crate::harness::{Database, Replica, vars};

const LATE: Duration = Duration::from_millis(12);
/// Races for each pair of replicas.
const RACES: u64 = 100;
/// Concurrent races, each on its own instrument.
const INSTRUMENTS: [&str; 5] = ["MARI", "LET", "TOSCA", "LOQ", "EMU"];

/// One race: a slow read, a PUT during it, and reads after the PUT on both replicas.
async fn race(slow: &Replica, writer: &Replica, instrument: &str, number: u64) {
    let path = format!("/instrument/{instrument}/latest-run");
    let value = json!({"latest_run": format!("{number}")});
    // Cycles through every phase of the read, from its start to after its fill.
    let timestamp = LATE * 4 * u32::try_from(number % 25).unwrap() / 25;
    let reading = slow.get(&path, "apikey");
    let writing = async {
        tokio::time::sleep(timestamp).await;
        let response = writer.put(&path, "apikey", &value).await;
        assert_eq!(response.status, StatusCode::OK, "{}", response.text());
        for replica in [slow, writer] {
            assert_eq!(
                replica.get(&path, "apikey").await.json(),
                value,
                "race {number} at {timestamp:?}"
            );
        }
    };
    let (read, ()) = tokio::join!(reading, writing);
    assert_eq!(read.status, StatusCode::OK);
    // The slow read has finished; its fill must not have restored the old value.
    for replica in [writer, slow] {
        assert_eq!(
            replica.get(&path, "apikey").await.json(),
            value,
            "race {number}, afterwards"
        );
    }
    // Invalidates the entry, so that the next race starts with a miss.
    let last = json!({"latest_run": "between"});
    assert_eq!(
        writer.put(&path, "apikey", &last).await.status,
        StatusCode::OK
    );
}

/// Runs the races and returns the number of refused late fills.
async fn races(across_replicas: bool) -> u64 {
    let (database, valkey) = tokio::join!(Database::seeded(), Valkey::start());
    let valkey = valkey.unwrap();
    let proxy = FaultProxy::start(valkey.addr()).await.unwrap();
    let near = vars(&[("VALKEY_URL", &valkey.url())]);
    let far = vars(&[("VALKEY_URL", &format!("redis://{}/0", proxy.addr()))]);
    let slow = Replica::new(&[&database.vars(), &far]);
    let other = Replica::new(&[&database.vars(), &near]);
    slow.wait_for_shared_level().await;
    other.wait_for_shared_level().await;
    // The reads are by the API key, which bypasses the cache until then.
    slow.wait_until_reachable().await;
    other.wait_until_reachable().await;
    proxy.set(Direction::ToServer, Mode::Delay(LATE));
    let writer = if across_replicas { &other } else { &slow };
    let all = INSTRUMENTS.iter().map(|instrument| async {
        for number in 0..RACES / INSTRUMENTS.len() as u64 {
            race(&slow, writer, instrument, number).await;
        }
    });
    futures_util::future::join_all(all).await;
    let namespaces = slow.state.cached.statistics().namespaces;
    namespaces
        .iter()
        .map(|namespace| namespace.fills_refused)
        .sum()
}

/// Takes some seconds: a hundred races of delayed commands.
#[tokio::test]
async fn a_hundred_races_on_one_replica_leave_no_stale_value() {
    races(false).await;
}

/// Takes some seconds: a hundred races of delayed commands.
#[tokio::test]
async fn a_hundred_races_across_two_replicas_leave_no_stale_value() {
    let refused = races(true).await;
    // Otherwise no PUT hit the critical phase of a read.
    assert!(refused >= 10, "only {refused} late fills were refused");
}
