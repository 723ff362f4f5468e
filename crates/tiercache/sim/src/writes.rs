//! The writer of a process.

use std::time::Duration;

use tiercache::{Cache, CommitWith, Failure, Fenced, Key, Write};
use tokio::time::{Instant, timeout};

use crate::database::{Transaction, Unavailable, Updated};
use crate::oracle::Life;
use crate::oracle::last_known::LastKnown;
use crate::process::{App, LONGEST};
use crate::trace::Who;

/// The longest that raising fences takes, in milliseconds: the `write_timeout` of the cache.
const RAISING: u64 = 102;

impl App {
    /// Writes until the horizon.
    pub(crate) async fn keep_writing(self) {
        let writes = self.world.with(|state| state.plan.writes.clone());
        loop {
            let pause = match self.chance(writes.pairs) {
                true => 1,
                false => self.random(1..writes.pause + 1),
            };
            self.world.sleep(pause).await;
            if !self.is_busy() {
                return;
            }
            let keys = self.some_keys(writes.rows);
            let changing = async {
                if self.chance(writes.operators) {
                    self.change_as_operator(&keys).await;
                } else if self.chance(writes.elsewhere) {
                    self.change_elsewhere(&keys, writes.all).await;
                } else {
                    self.write(&keys, writes.puts).await;
                }
            };
            self.note(&keys, LastKnown::begin_write);
            if timeout(LONGEST, changing).await.is_err() {
                let text = format!(
                    "a write of {keys:?} by process {} does not end",
                    self.process
                );
                self.world.with(|state| state.oracle.fail(text));
            }
            self.note(&keys, LastKnown::end_write);
        }
    }

    /// The oracle learns which keys are being written.
    fn note(&self, keys: &[u64], note: fn(&mut LastKnown, Life, u64)) {
        self.world.with(|state| {
            for key in keys {
                note(&mut state.oracle.last_known, self.life, *key);
            }
        });
    }

    /// Up to so many keys that follow each other.
    fn some_keys(&self, most: u64) -> Vec<u64> {
        let keys = self.world.with(|state| state.plan.keys);
        let first = self.random(0..keys);
        let count = self.random(1..most + 1);
        (first..keys.min(first + count)).collect()
    }

    /// A transaction through the cache.
    async fn write(&self, keys: &[u64], puts: u8) {
        let begun = self.world.now();
        let (app, rows, is_put) = (self.clone(), keys.to_vec(), self.chance(puts));
        let writing = self.cache.write(async move |write: Write| {
            let transaction = app.world.update(&rows).await?;
            let rows = transaction.rows.clone();
            let fenced = app.raise(write, transaction, is_put, begun).await;
            Ok::<_, Unavailable>(fenced.commit().await?.with(rows))
        });
        let written = writing.await;
        self.world.with(|state| {
            if let Err(Failure::Panicked) = &written {
                state.oracle.fail(format!("a write of {keys:?} panicked"));
            }
        });
        match written {
            Ok(rows) => self.returned(Some(self.life), &rows, begun),
            Err(_) => self.world.with(|state| {
                let (now, who) = (state.now(), Who::Process(self.process));
                state.coverage.count("rolled back, or unknown outcome");
                state.trace.add(&[now, 6, self.process as u64, keys[0]]);
                let text = || format!("write of {keys:?} failed");
                state.trace.line(now, who, text);
            }),
        }
    }

    /// Raises the fences of a transaction.
    async fn raise(
        &self,
        write: Write,
        transaction: Transaction,
        is_put: bool,
        begun: u64,
    ) -> Fenced<impl tiercache::Transaction<Error = Unavailable> + use<>> {
        let rows = transaction.rows.clone();
        let key_of = |row: &Updated| match is_put {
            true => self.values.put(&row.key, &Some(row.version)),
            false => self.values.key(&row.key),
        };
        let fenced: Vec<Key> = match &self.groups {
            Some(groups) => vec![groups.key("all")],
            None => rows.iter().map(key_of).collect(),
        };
        let (was_up, raising) = (self.cache.is_shared_level_up(), Instant::now());
        let unreplicated = fences_unreplicated(&self.cache);
        let commit = CommitWith(move || transaction.commit());
        let fenced = write.fence(commit, fenced).await;
        let is_replicated = was_up && unreplicated == fences_unreplicated(&self.cache);
        self.world.with(|state| {
            let waits = state.plan.setup.wait_replicas > 0 && !state.plan.is_grouped;
            let (oracle, life) = (&mut state.oracle, self.life);
            for row in &rows {
                if is_replicated && waits {
                    oracle.replicated(life, row.key, row.version, begun);
                }
                if self.cache.is_shared_level_up() && was_up {
                    oracle.fenced(life, row.key, row.version, begun);
                }
            }
            let elapsed = raising.elapsed();
            let longest = oracle.reached.stretched(RAISING);
            if elapsed > Duration::from_millis(longest) && !state.plan.suspends(self.process) {
                let text = format!("raising fences took {elapsed:?}");
                state.oracle.fail(text);
            }
        });
        fenced
    }

    /// A transaction without the cache. `None` if it fails.
    async fn commit_elsewhere(&self, keys: &[u64]) -> Option<Vec<Updated>> {
        let transaction = self.world.update(keys).await.ok()?;
        let rows = transaction.rows.clone();
        transaction.commit().await.ok()?;
        Some(rows)
    }

    /// Invalidates what was changed without the cache.
    async fn change_elsewhere(&self, keys: &[u64], all: u8) {
        let Some(rows) = self.commit_elsewhere(keys).await else {
            return;
        };
        let begun = self.world.now();
        let is_of_all = self.chance(all);
        if is_of_all {
            self.world.with(|state| {
                let known = &mut state.oracle.last_known;
                known.begin_invalidate_all(self.life);
            });
            self.values.invalidate_all().await;
            self.world
                .with(|state| state.coverage.count("invalidate_all"));
        } else {
            for key in keys {
                self.values.invalidate(key).await;
            }
            self.world.with(|state| state.coverage.count("invalidate"));
        }
        self.returned(Some(self.life), &rows, begun);
        if is_of_all {
            let invalidated = |row: &Updated| {
                self.world
                    .with(|state| state.oracle.invalidated_all(row.key));
            };
            rows.iter().for_each(invalidated);
        }
    }

    /// Deletes the keys in Valkey whose rows were changed without the cache.
    async fn change_as_operator(&self, keys: &[u64]) {
        let Some(rows) = self.commit_elsewhere(keys).await else {
            return;
        };
        let (begun, flushes) = (self.world.now(), self.random(0..2) == 0);
        self.world.with(|state| {
            let now = state.now();
            state.delete_as_operator(keys, flushes);
            let text = || format!("an operator deletes {keys:?} (FLUSHALL: {flushes})");
            state.trace.line(now, Who::World, text);
            state.coverage.count("operator");
        });
        self.returned(None, &rows, begun);
    }

    fn returned(&self, writer: Option<Life>, rows: &[Updated], begun: u64) {
        self.world.with(|state| {
            let (now, process) = (state.now(), self.process);
            for Updated { key, version } in rows.iter().copied() {
                state.trace.add(&[now, 7, process as u64, key, version]);
                let text = || format!("write of key {key} returned: version {version}");
                state.trace.line(now, Who::Process(process), text);
                let times = (begun, now);
                state.oracle.returned(writer, key, version, times);
            }
        });
    }
}

/// The number of fences that no replica had in time. A process writes one at a time.
fn fences_unreplicated(cache: &Cache) -> u64 {
    let namespaces = cache.stats().namespaces;
    namespaces.iter().map(|of| of.fences_unreplicated).sum()
}
