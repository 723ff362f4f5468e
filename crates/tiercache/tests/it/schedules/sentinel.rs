//! Failovers by Sentinel.

use std::time::Duration;

use devstack::SentinelService;
use tiercache::{Cache, CacheBuilder};
use tokio::time::{Instant, sleep};

use super::{LOST, Traffic, cut_replication, is_primary, soak_time, wait_for_replicas};
use crate::schedules::traffic::Checked;
use crate::support::{MEMORY, Raw, wait_until};

/// The longest time from the promotion until recent writes are repeated: the sentinels are asked at
/// every heartbeat.
const BOUND: Duration = Duration::from_secs(2);
/// The sentinels do not fail over the same service more often.
const INTERVAL: Duration = Duration::from_secs(7);

async fn run(time: Duration, settings: impl Fn(String) -> CacheBuilder) -> Checked {
    let service = SentinelService::start().await.unwrap();
    let servers = service.servers();
    let traffic = Traffic::start(|| settings(service.url()), 2).await;
    let (began, mut primary, mut failovers) = (Instant::now(), 0, 0);
    while began.elapsed() < time {
        traffic.wait_until_recovered().await;
        cut_replication(&servers[primary]).await;
        sleep(LOST).await;
        traffic.failover_begins();
        servers[primary].kill();
        let mut promoted = None;
        wait_until("a promotion", async || {
            for (i, server) in servers.iter().enumerate() {
                if i != primary && is_primary(server).await {
                    promoted = Some(i);
                }
            }
            promoted.is_some()
        })
        .await;
        traffic.promoted(BOUND);
        let promoted = promoted.unwrap();
        servers[primary].restart().await.unwrap();
        let port = servers[promoted].port().to_string();
        let follow: &[&[u8]] = &[b"REPLICAOF", b"127.0.0.1", port.as_bytes()];
        // The sentinels do so, too, but on a busy machine only after their timeout for a failover.
        for (i, server) in servers.iter().enumerate() {
            if i != promoted {
                Raw::connect(server).await.run::<()>(follow).await;
            }
        }
        wait_for_replicas(&servers[promoted], 2).await;
        (primary, failovers) = (promoted, failovers + 1);
        sleep(INTERVAL).await;
    }
    println!("{failovers} failovers");
    assert!(failovers > 0);
    traffic.end().await
}

fn settings(url: String) -> CacheBuilder {
    Cache::builder(url).memory(MEMORY)
}

#[limited::test(worker_threads = 2, limit = 2 * soak_time())]
#[ignore = "takes minutes: part of `make soak`"]
async fn a_schedule_with_failovers_by_sentinel_has_no_violation() {
    run(soak_time(), settings).await.assert_holds();
}

#[limited::test(worker_threads = 2, seconds = 180)]
#[ignore = "takes a minute: part of `make soak`"]
async fn without_repeated_invalidations_a_schedule_with_sentinel_has_violations() {
    let forgetful = |url| settings(url).replication_lag(Duration::from_millis(1));
    let checked = run(Duration::from_secs(20), forgetful).await;
    checked.assert_violated();
}
