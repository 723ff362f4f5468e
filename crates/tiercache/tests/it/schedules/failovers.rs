//! Failovers behind an address that follows them, many in a row.

use std::time::Duration;

use devstack::Valkey;
use tiercache::{Cache, CacheBuilder};
use tokio::time::sleep;

use super::{LOST, Traffic, cut_replication, wait_for_replicas};
use crate::schedules::traffic::Checked;
use crate::support::{Front, MEMORY, Raw};

/// The longest time from the promotion until recent writes are repeated.
const BOUND: Duration = Duration::from_secs(1);

/// Lets a server follow another.
async fn follow(replica: &Valkey, primary: &Valkey) {
    let port = primary.port().to_string();
    let command: &[&[u8]] = &[b"REPLICAOF", b"127.0.0.1", port.as_bytes()];
    Raw::connect(replica).await.run::<()>(command).await;
    wait_for_replicas(primary, 1).await;
}

/// Fails over from one server to another and back. Each time the promoted one lacks the writes of
/// the last 500 ms.
async fn run(failovers: usize, settings: impl Fn(String) -> CacheBuilder) -> Checked {
    let servers = [
        Valkey::start().await.unwrap(),
        Valkey::start().await.unwrap(),
    ];
    follow(&servers[1], &servers[0]).await;
    let front = Front::switched(servers[0].addr()).await;
    let traffic = Traffic::start(|| settings(front.url()), 1).await;
    for i in 0..failovers {
        let (primary, replica) = (&servers[i % 2], &servers[(i + 1) % 2]);
        traffic.wait_until_recovered().await;
        cut_replication(primary).await;
        // What is written meanwhile is lost.
        sleep(LOST).await;
        traffic.failover_begins();
        primary.kill();
        let promoted = Raw::connect(replica).await;
        promoted.run::<()>(&[b"REPLICAOF", b"NO", b"ONE"]).await;
        front.switch_to(replica.addr());
        traffic.promoted(BOUND);
        primary.restart().await.unwrap();
        follow(primary, replica).await;
        // Stale values would be served now.
        sleep(2 * BOUND).await;
    }
    traffic.end().await
}

fn settings(url: String) -> CacheBuilder {
    Cache::builder(url).memory(MEMORY)
}

/// Takes seconds: each failover loses half a second, and is watched for two.
#[limited::test(worker_threads = 2)]
async fn after_failovers_nothing_is_stale_a_second_after_the_promotion() {
    run(4, settings).await.assert_holds();
}

/// Takes seconds, as above: without the repeated invalidations the same run has violations.
#[limited::test(worker_threads = 2)]
async fn without_repeated_invalidations_a_failover_undoes_writes() {
    let forgetful = |url| settings(url).replication_lag(Duration::from_millis(1));
    let checked = run(2, forgetful).await;
    checked.assert_violated();
}

#[limited::test(worker_threads = 2, seconds = 900)]
#[ignore = "takes five minutes: part of `make soak`"]
async fn after_a_hundred_failovers_nothing_is_stale_a_second_after_the_promotion() {
    run(100, settings).await.assert_holds();
}
