//! Random histories on two replicas. Invariants: a read that starts after a write has returned
//! never returns an older value; with a local level that holds on the writing replica, and the
//! other one returns the newest value once the push has arrived.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::task::JoinSet;

use crate::support::{Database, Fixture, Raw, Rows, local_settings, long_timeouts, wait_until};

#[derive(Clone, Copy, Debug)]
enum Operation {
    Read,
    Write,
    /// A transaction that fails after the fence.
    FailedWrite,
    /// The TTL of the entry expires.
    Expire,
    /// A legacy replica writes its tombstone.
    Tombstone,
}

/// An operation, its replica, and its delay within the batch in scheduler yields.
#[derive(Clone, Copy, Debug)]
struct Step {
    operation: Operation,
    replica: usize,
    yields: u8,
}

fn histories() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let operation = prop_oneof![
        6 => Just(Operation::Read),
        3 => Just(Operation::Write),
        1 => Just(Operation::FailedWrite),
        1 => Just(Operation::Expire),
        1 => Just(Operation::Tombstone),
    ];
    let step = (operation, 0..2_usize, 0..60_u8).prop_map(|(operation, replica, yields)| Step {
        operation,
        replica,
        yields,
    });
    let batch = prop::collection::vec(step, 1..12);
    prop::collection::vec(batch, 1..8)
}

/// The state of one history: two replicas and one row.
struct History {
    replicas: [Rows; 2],
    raw: Raw,
    name: String,
    database: Database,
    /// Per replica, the minimum version that a read starting now must return.
    min_version: [AtomicU64; 2],
    /// Values are cached locally: a write reaches the other replica with the push latency.
    has_local: bool,
}

impl History {
    async fn run(&self, step: Step) {
        for _ in 0..step.yields {
            tokio::task::yield_now().await;
        }
        let rows = &self.replicas[step.replica];
        let key = rows.key(&self.name);
        match step.operation {
            Operation::Read => {
                let min_version = self.min_version[step.replica].load(Ordering::SeqCst);
                let found = rows
                    .get_or_load(&self.name, self.database.loader())
                    .await
                    .unwrap();
                assert!(
                    found.value >= min_version,
                    "read {found:?} after version {min_version} was written"
                );
            }
            Operation::Write | Operation::FailedWrite => {
                let database = self.database.clone();
                let fails = matches!(step.operation, Operation::FailedWrite);
                let write = rows.write(&self.name, Vec::new(), move |fence| async move {
                    let version = database.update(fence).await.map_err(|_| 0_u64)?;
                    if fails { Err(version) } else { Ok(version) }
                });
                let (Ok(version) | Err(tiercache::Failure::Failed(version))) = write.await else {
                    panic!("the write panicked");
                };
                self.min_version[step.replica].fetch_max(version, Ordering::SeqCst);
                if !self.has_local {
                    self.min_version[1 - step.replica].fetch_max(version, Ordering::SeqCst);
                }
            }
            Operation::Expire => self.raw.run(&[b"DEL", key.as_str().as_bytes()]).await,
            Operation::Tombstone => {
                self.raw
                    .run::<()>(&[b"SETEX", key.as_str().as_bytes(), b"1", b"null"])
                    .await;
            }
        }
    }
}

impl History {
    /// Waits until both replicas return the newest value.
    async fn wait_until_current(&self) {
        let newest = self.database.version();
        for (i, (rows, min_version)) in self.replicas.iter().zip(&self.min_version).enumerate() {
            let what = format!("the newest value of {} at replica {i}", self.name);
            wait_until(what, async || {
                let found = rows.get_or_load(&self.name, self.database.loader()).await;
                found.unwrap().value == newest
            })
            .await;
            min_version.fetch_max(newest, Ordering::SeqCst);
        }
    }
}

// Takes seconds: 200 histories on real connections.
#[limited::test]
fn no_history_returns_a_stale_value() {
    check(false);
}

// Takes seconds, as above.
#[limited::test]
fn no_history_with_a_local_level_returns_a_stale_value() {
    check(true);
}

fn check(has_local: bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (fixture, replica) = runtime.block_on(async {
        let settings = if has_local {
            local_settings
        } else {
            long_timeouts
        };
        let fixture = Fixture::with(settings).await;
        let replica = fixture.replica(settings).await;
        (fixture, replica)
    });
    let histories_so_far = AtomicU64::new(0);
    let mut runner = TestRunner::new(Config {
        cases: 200,
        failure_persistence: None,
        // A history that fails may wait until the limit.
        max_shrink_time: 5_000,
        ..Config::default()
    });
    let result = runner.run(&histories(), |batches| {
        let history = Arc::new(History {
            replicas: [fixture.rows.clone(), replica.rows.clone()],
            raw: fixture.raw.clone(),
            name: histories_so_far.fetch_add(1, Ordering::Relaxed).to_string(),
            database: Database::default(),
            min_version: [0, 0].map(AtomicU64::new),
            has_local,
        });
        runtime.block_on(async {
            for batch in batches {
                let mut steps = JoinSet::new();
                for step in batch {
                    let history = Arc::clone(&history);
                    steps.spawn(async move { history.run(step).await });
                }
                while let Some(done) = steps.join_next().await {
                    done.map_err(|error| TestCaseError::fail(error.to_string()))?;
                }
                history.wait_until_current().await;
            }
            Ok(())
        })
    });
    drop((fixture, replica));
    result.unwrap();
}
