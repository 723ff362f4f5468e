//! A simulated database: a row for each key, with a lock, and transactions whose COMMIT takes its
//! time and whose outcome may stay unknown.

use std::sync::Arc;

use rand::RngExt as _;
use tiercache::simulated::Process;
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

use crate::plan::Step;
use crate::trace::Who;
use crate::world::{State, World};

/// A failed statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unavailable;

pub(crate) struct Database {
    rows: Vec<Row>,
    /// Until then, statements fail.
    pub(crate) unavailable: u64,
    /// Until then, statements take a second longer.
    pub(crate) slow: u64,
}

#[derive(Default)]
struct Row {
    lock: Arc<Mutex<()>>,
    committed: u64,
    updates: u64,
}

impl Database {
    pub(crate) fn new(keys: u64) -> Self {
        Self {
            rows: (0..keys).map(|_| Row::default()).collect(),
            unavailable: 0,
            slow: 0,
        }
    }

    /// The committed version of a row.
    pub(crate) fn committed(&self, key: u64) -> u64 {
        self.rows[key as usize].committed
    }
}

impl State {
    /// The time of a statement.
    fn statement(&mut self) -> u64 {
        let longest = self.plan.database_delay;
        let late = if self.database.slow > self.now() {
            900
        } else {
            0
        };
        late + self.random.random_range(0..=longest)
    }

    fn is_available(&self) -> Result<(), Unavailable> {
        match self.database.unavailable > self.now() {
            true => Err(Unavailable),
            false => Ok(()),
        }
    }
}

/// A transaction that has updated rows, whose locks it holds.
pub(crate) struct Transaction {
    world: World,
    pub(crate) rows: Vec<Updated>,
    locks: Vec<OwnedMutexGuard<()>>,
}

/// An updated row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Updated {
    pub(crate) key: u64,
    pub(crate) version: u64,
}

impl World {
    /// Reads a row.
    pub(crate) async fn load(self, key: u64) -> Result<u64, Unavailable> {
        let before = self.with(State::statement);
        self.sleep(before).await;
        let (version, after) = self.with(|state| {
            state.is_available()?;
            let version = state.database.committed(key);
            let now = state.now();
            state.trace.add(&[now, 2, key, version]);
            let who = Who::Database;
            state
                .trace
                .line(now, who, || format!("SELECT row {key}: {version}"));
            let loading = state.random.random_range(0..=state.plan.reads.loading);
            Ok((version, state.statement() + loading))
        })?;
        self.sleep(after).await;
        Ok(version)
    }

    /// Begins a transaction, and updates rows, in the order of their keys.
    pub(crate) async fn update(&self, keys: &[u64]) -> Result<Transaction, Unavailable> {
        let mut locks = Vec::new();
        for key in keys {
            let lock = self.with(|state| Arc::clone(&state.database.rows[*key as usize].lock));
            locks.push(lock.lock_owned().await);
        }
        let before = self.with(State::statement);
        self.sleep(before).await;
        let rows = self.with(|state| {
            state.is_available()?;
            Ok(keys.iter().map(|key| state.update(*key)).collect())
        })?;
        Ok(Transaction {
            world: self.clone(),
            rows,
            locks,
        })
    }
}

impl State {
    fn update(&mut self, key: u64) -> Updated {
        let now = self.now();
        let row = &mut self.database.rows[key as usize];
        row.updates += 1;
        let version = row.updates;
        let text = || format!("UPDATE row {key}: {version}");
        self.trace.line(now, Who::Database, text);
        Updated { key, version }
    }

    fn commit(&mut self, Updated { key, version }: Updated) {
        let now = self.now();
        self.database.rows[key as usize].committed = version;
        self.trace.add(&[now, 3, key, version]);
        self.oracle.committed(key, version, now);
        let text = || format!("COMMIT row {key}: {version}");
        self.trace.line(now, Who::Database, text);
    }
}

impl Transaction {
    /// COMMIT. Once it is sent it is executed, even if the client dies; now and then it fails, and
    /// the transaction is rolled back.
    pub(crate) async fn commit(self) -> Result<(), Unavailable> {
        let Self { world, rows, locks } = self;
        let process = Process::current().map(|process| process.id());
        let (before, after, late, outcome) = world.with(|state| {
            let writes = &state.plan.writes;
            let (rollbacks, unknown) = (writes.rollbacks, writes.unknown);
            let outcome = match state.random.random::<u8>() {
                of if of < rollbacks => Outcome::RolledBack,
                of if of < rollbacks + unknown => Outcome::Unknown,
                _ => Outcome::Known,
            };
            let late = state.random.random_range(0..400);
            (state.statement(), state.statement(), late, outcome)
        });
        let given_up = |state: &mut State| {
            for row in &rows {
                state.oracle.given_up(row.key, row.version);
            }
        };
        if outcome == Outcome::RolledBack {
            world.sleep(before).await;
            world.with(|state| {
                given_up(state);
                state.coverage.count("COMMIT refused");
            });
            return Err(Unavailable);
        }
        let (done, executed) = oneshot::channel();
        let (database, updated) = (world.clone(), rows.clone());
        // A task of the database, not of the process.
        tokio::spawn(async move {
            database.sleep(before).await;
            database.with(|state| {
                updated.iter().for_each(|row| state.commit(*row));
                if let Some(process) = process {
                    state.step(process, Step::Commit);
                }
            });
            drop(locks);
            database.sleep(after).await;
            let _ = done.send(());
        });
        if outcome == Outcome::Unknown {
            world.sleep(late).await;
            // Its process invalidates now, perhaps before COMMIT is executed.
            world.with(given_up);
            return Err(Unavailable);
        }
        executed.await.map_err(|_| Unavailable)
    }
}

/// How a COMMIT ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Known,
    Unknown,
    RolledBack,
}
