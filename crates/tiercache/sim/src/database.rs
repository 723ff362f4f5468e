//! A simulated database: a row for each key, with a lock, and transactions whose COMMIT takes its
//! time and whose outcome may stay unknown.

use std::sync::Arc;

use rand::RngExt as _;
use tokio::sync::{Mutex, OwnedMutexGuard, oneshot};

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

/// A transaction that has updated a row, whose lock it holds.
pub(crate) struct Transaction {
    world: World,
    key: u64,
    pub(crate) version: u64,
    lock: OwnedMutexGuard<()>,
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
            Ok((version, state.statement()))
        })?;
        self.sleep(after).await;
        Ok(version)
    }

    /// Begins a transaction, and updates a row.
    pub(crate) async fn update(&self, key: u64) -> Result<Transaction, Unavailable> {
        let lock = self.with(|state| Arc::clone(&state.database.rows[key as usize].lock));
        let lock = lock.lock_owned().await;
        let before = self.with(State::statement);
        self.sleep(before).await;
        let version = self.with(|state| {
            state.is_available()?;
            let now = state.now();
            let row = &mut state.database.rows[key as usize];
            row.updates += 1;
            let version = row.updates;
            let who = Who::Database;
            state
                .trace
                .line(now, who, || format!("UPDATE row {key}: {version}"));
            Ok(version)
        })?;
        Ok(Transaction {
            world: self.clone(),
            key,
            version,
            lock,
        })
    }
}

impl Transaction {
    /// COMMIT. Once it is sent it is executed, even if the client dies.
    pub(crate) async fn commit(self) -> Result<(), Unavailable> {
        let Self {
            world,
            key,
            version,
            lock,
        } = self;
        let (before, after, is_unknown, late) = world.with(|state| {
            let is_unknown = state.random.random::<u8>() < state.plan.unknown;
            let late = state.random.random_range(0..400);
            (state.statement(), state.statement(), is_unknown, late)
        });
        let (done, outcome) = oneshot::channel();
        let database = world.clone();
        // A task of the database, not of the process.
        tokio::spawn(async move {
            database.sleep(before).await;
            database.with(|state| {
                let now = state.now();
                state.database.rows[key as usize].committed = version;
                state.trace.add(&[now, 3, key, version]);
                state.oracle.committed(key, version, now);
                let who = Who::Database;
                state
                    .trace
                    .line(now, who, || format!("COMMIT row {key}: {version}"));
            });
            drop(lock);
            database.sleep(after).await;
            let _ = done.send(());
        });
        if is_unknown {
            world.sleep(late).await;
            // Its process invalidates now, perhaps before COMMIT is executed.
            world.with(|state| state.oracle.given_up(key, version));
            return Err(Unavailable);
        }
        outcome.await.map_err(|_| Unavailable)
    }
}
