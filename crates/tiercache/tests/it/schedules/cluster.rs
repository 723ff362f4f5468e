//! Failovers of the primaries of a cluster, and slots that move.

use std::time::Duration;

use devstack::{Valkey, ValkeyCluster};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tiercache::{Cache, CacheBuilder};
use tokio::time::{Instant, sleep};

use super::{LOST, Traffic, cut_replication, is_primary, soak_time, wait_for_replicas};
use crate::schedules::traffic::Checked;
use crate::support::{MEMORY, Raw, wait_until};

/// The longest time from the promotion until recent writes are repeated: the nodes are asked at every
/// heartbeat.
const BOUND: Duration = Duration::from_secs(2);
const PRIMARIES: usize = 3;

async fn run(time: Duration, settings: impl Fn(String) -> CacheBuilder) -> Checked {
    let cluster = ValkeyCluster::start().await.unwrap();
    let traffic = Traffic::start(|| settings(cluster.url()), 3).await;
    let mut rng = StdRng::seed_from_u64(3);
    let began = Instant::now();
    let (mut failovers, mut moves) = (0, 0);
    while began.elapsed() < time || failovers == 0 {
        traffic.wait_until_recovered().await;
        if failovers > 0 && rng.random_bool(0.5) {
            move_a_slot(&cluster, &traffic, &mut rng).await;
            moves += 1;
        } else {
            fail_over(&cluster, &traffic, rng.random_range(0..PRIMARIES)).await;
            failovers += 1;
        }
        sleep(BOUND).await;
    }
    println!("{failovers} failovers, {moves} slots moved");
    traffic.end().await
}

/// Fails over the primary of a pair, which the pair's other server replaces.
async fn fail_over(cluster: &ValkeyCluster, traffic: &Traffic, pair: usize) {
    let servers = cluster.servers();
    let pair: [&Valkey; 2] = [&servers[pair], &servers[pair + PRIMARIES]];
    let [primary, replica] = match is_primary(pair[0]).await {
        true => pair,
        false => [pair[1], pair[0]],
    };
    cut_replication(primary).await;
    sleep(LOST).await;
    // Valkey 8.0 does not save every change of a shard's id, and does not start with an older one.
    let save: &[&[u8]] = &[b"CLUSTER", b"SAVECONFIG"];
    Raw::connect(primary).await.run::<()>(save).await;
    traffic.failover_begins();
    primary.kill();
    wait_until("a promotion", async || is_primary(replica).await).await;
    traffic.promoted(BOUND);
    primary.restart().await.unwrap();
    wait_for_replicas(replica, 1).await;
}

/// Moves the slot of a row, with its key, between the primaries of two pairs.
async fn move_a_slot(cluster: &ValkeyCluster, traffic: &Traffic, rng: &mut StdRng) {
    let keys = traffic.keys();
    let key = &keys[rng.random_range(0..keys.len())];
    let slot = cluster.slot_of(key).await.unwrap();
    let from = cluster.owner_of(slot).await.unwrap();
    let mut primaries = Vec::new();
    for (i, server) in cluster.servers().iter().enumerate() {
        if i != from && is_primary(server).await {
            primaries.push(i);
        }
    }
    let to = primaries[rng.random_range(0..primaries.len())];
    cluster.move_slot(slot, from, to).await.unwrap();
    let raw = Raw::connect(&cluster.servers()[to]).await;
    let get: &[&[u8]] = &[b"GET", key.as_bytes()];
    let got: redis::RedisResult<Option<Vec<u8>>> = raw.try_run(get).await;
    assert!(got.is_ok(), "the slot has not moved");
}

fn settings(url: String) -> CacheBuilder {
    Cache::builder(url).memory(MEMORY)
}

#[limited::test(worker_threads = 2, limit = 2 * soak_time())]
#[ignore = "takes minutes: part of `make soak`"]
async fn a_schedule_with_failovers_and_moves_in_a_cluster_has_no_violation() {
    run(soak_time(), settings).await.assert_holds();
}

#[limited::test(worker_threads = 2, seconds = 180)]
#[ignore = "takes a minute: part of `make soak`"]
async fn without_repeated_invalidations_a_schedule_in_a_cluster_has_violations() {
    let forgetful = |url| settings(url).replication_lag(Duration::from_millis(1));
    let checked = run(Duration::from_secs(20), forgetful).await;
    checked.assert_violated();
}
