//! Schedules of failovers in which the promoted server lacks the last 500 ms of writes: two processes
//! read and write the same rows meanwhile, and every read is checked.
//!
//! A read must not be older than a write of its own process that had returned, and not older than one
//! of the other process that had returned a second before; during a failover, and for the time
//! until the writer must have repeated its invalidations, only the former holds.
//!
//! The ignored ones are long: `make soak` runs them, for `TIERCACHE_SOAK_SECONDS` each (60).

mod cluster;
mod failovers;
mod sentinel;
mod traffic;

use std::time::Duration;

use devstack::Valkey;

use crate::support::{Raw, wait_until};
use traffic::Traffic;

/// The writes that a promoted server lacks.
const LOST: Duration = Duration::from_millis(500);

#[expect(clippy::disallowed_methods, reason = "a parameter of the test run")]
fn soak_time() -> Duration {
    let seconds = std::env::var("TIERCACHE_SOAK_SECONDS");
    let seconds = seconds.map_or(60, |seconds| seconds.parse().unwrap());
    Duration::from_secs(seconds)
}

/// Cuts a primary's replicas off: from now on they get nothing. It ends with the process.
async fn cut_replication(primary: &Valkey) {
    let raw = Raw::connect(primary).await;
    raw.set_acl(b"-psync -sync -replconf").await;
    raw.run::<u64>(&[b"CLIENT", b"KILL", b"TYPE", b"replica"])
        .await;
}

/// Whether a server is a primary; false if it is unavailable.
async fn is_primary(server: &Valkey) -> bool {
    let Some(raw) = Raw::try_connect(server).await else {
        return false;
    };
    let info: redis::RedisResult<String> = raw.try_run(&[b"INFO", b"replication"]).await;
    info.is_ok_and(|info| info.contains("role:master"))
}

/// Waits until a primary has this many replicas in sync.
async fn wait_for_replicas(primary: &Valkey, count: u32) {
    let count = count.to_string();
    wait_until("replicas in sync", async || {
        let Some(raw) = Raw::try_connect(primary).await else {
            return false;
        };
        let wait: &[&[u8]] = &[b"WAIT", count.as_bytes(), b"100"];
        let reached: redis::RedisResult<u32> = raw.try_run(wait).await;
        reached.is_ok_and(|reached| reached.to_string() == count)
    })
    .await;
}
