//! Random histories on two replicas against what must hold of every one: a read that starts
//! after a write has returned never gives an older value; and where values are kept in memory,
//! the other replica gives the newest as soon as it has heard of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use tokio::task::JoinSet;

use crate::support::{Database, Raw, Rows, Stage, keeping, patient, until};

#[derive(Clone, Copy, Debug)]
enum Deed {
    Read,
    Write,
    /// A transaction that fails after the fence.
    FailedWrite,
    /// The time of the entry is over.
    Expire,
    /// A peer of the older kind puts its tombstone.
    Tombstone,
}

/// A deed, where it is done, and how long after the start of its batch.
#[derive(Clone, Copy, Debug)]
struct Step {
    deed: Deed,
    replica: usize,
    pauses: u8,
}

fn histories() -> impl Strategy<Value = Vec<Vec<Step>>> {
    let deed = prop_oneof![
        6 => Just(Deed::Read),
        3 => Just(Deed::Write),
        1 => Just(Deed::FailedWrite),
        1 => Just(Deed::Expire),
        1 => Just(Deed::Tombstone),
    ];
    let step = (deed, 0..2_usize, 0..60_u8).prop_map(|(deed, replica, pauses)| Step {
        deed,
        replica,
        pauses,
    });
    let batch = prop::collection::vec(step, 1..12);
    prop::collection::vec(batch, 1..8)
}

/// Two replicas, one row per history.
struct World {
    replicas: [Rows; 2],
    raw: Raw,
    name: String,
    database: Database,
    /// The newest version whose write has returned, for each replica to have heard of.
    returned: [AtomicU64; 2],
    /// Whether values are kept in memory, and one hears of another's write a little later.
    keeps: bool,
}

impl World {
    async fn act(&self, step: Step) {
        for _ in 0..step.pauses {
            tokio::task::yield_now().await;
        }
        let rows = &self.replicas[step.replica];
        let key = rows.key(&self.name);
        match step.deed {
            Deed::Read => {
                let oldest = self.returned[step.replica].load(Ordering::SeqCst);
                let found = rows
                    .get_or_load(&self.name, self.database.loader())
                    .await
                    .unwrap();
                assert!(
                    found.value >= oldest,
                    "read {found:?} after version {oldest} was written"
                );
            }
            Deed::Write | Deed::FailedWrite => {
                let database = self.database.clone();
                let fails = matches!(step.deed, Deed::FailedWrite);
                let write = rows.write(&self.name, Vec::new(), move |fence| async move {
                    let version = database.update(fence).await.map_err(|_| 0_u64)?;
                    if fails { Err(version) } else { Ok(version) }
                });
                let (Ok(version) | Err(tiercache::Failure::Failed(version))) = write.await else {
                    panic!("the write panicked");
                };
                self.returned[step.replica].fetch_max(version, Ordering::SeqCst);
                if !self.keeps {
                    self.returned[1 - step.replica].fetch_max(version, Ordering::SeqCst);
                }
            }
            Deed::Expire => self.raw.run(&[b"DEL", key.as_bytes()]).await,
            Deed::Tombstone => {
                self.raw
                    .run::<()>(&[b"SETEX", key.as_bytes(), b"1", b"null"])
                    .await;
            }
        }
    }
}

impl World {
    /// Both replicas give the newest value.
    async fn settle(&self) {
        let newest = self.database.version();
        for (rows, returned) in self.replicas.iter().zip(&self.returned) {
            until("the newest value", async || {
                let found = rows.get_or_load(&self.name, self.database.loader()).await;
                found.unwrap().value == newest
            })
            .await;
            returned.fetch_max(newest, Ordering::SeqCst);
        }
    }
}

// Some seconds: two hundred histories on real connections.
#[test]
fn no_history_shows_an_old_value() {
    check(false);
}

// As above.
#[test]
fn nor_does_one_with_values_in_memory() {
    check(true);
}

fn check(keeps: bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let (stage, neighbour) = runtime.block_on(async {
        let settings = if keeps { keeping } else { patient };
        let stage = Stage::with(settings).await;
        let neighbour = stage.neighbour(settings).await;
        (stage, neighbour)
    });
    let histories_so_far = AtomicU64::new(0);
    let mut runner = TestRunner::new(Config {
        cases: 200,
        failure_persistence: None,
        ..Config::default()
    });
    let result = runner.run(&histories(), |history| {
        let world = Arc::new(World {
            replicas: [stage.rows.clone(), neighbour.rows.clone()],
            raw: stage.raw.clone(),
            name: histories_so_far.fetch_add(1, Ordering::Relaxed).to_string(),
            database: Database::default(),
            returned: [0, 0].map(AtomicU64::new),
            keeps,
        });
        runtime.block_on(async {
            for batch in history {
                let mut steps = JoinSet::new();
                for step in batch {
                    let world = Arc::clone(&world);
                    steps.spawn(async move { world.act(step).await });
                }
                while let Some(done) = steps.join_next().await {
                    done.map_err(|error| TestCaseError::fail(error.to_string()))?;
                }
                world.settle().await;
            }
            Ok(())
        })
    });
    drop((stage, neighbour));
    result.unwrap();
}
