//! The readers of a process.

use std::collections::HashMap;
use std::sync::Arc;

use tiercache::{Failure, Source};
use tokio::time::timeout;

use crate::database::Unavailable;
use crate::oracle::Required;
use crate::process::{App, LONGEST};
use crate::trace::Who;

/// The values that a read has returned, by key. Without a source if it is not known.
type Found = Vec<(u64, Option<u64>, Option<Source>)>;

impl App {
    /// Reads until the horizon.
    pub(crate) async fn keep_reading(self) {
        let (keys, reads) = self
            .world
            .with(|state| (state.plan.keys, state.plan.reads.clone()));
        while self.is_busy() {
            for _ in 0..reads.burst {
                let key = self.random(0..keys);
                if self.chance(reads.many) {
                    self.read_many(key).await;
                } else if self.chance(reads.peeks) {
                    self.judged(&[key], self.peek(key)).await;
                } else {
                    self.read(key).await;
                }
            }
            self.world.sleep(self.random(1..reads.pause + 1)).await;
        }
    }

    /// Reads a key, and judges what is returned. `None` if the read fails.
    pub(crate) async fn read(&self, key: u64) -> Option<(u64, Source)> {
        let found = self.judged(&[key], self.get(key)).await?;
        let (_, version, source) = found.into_iter().next()?;
        Some((version?, source?))
    }

    /// Reads a key: half of the time through its handle first.
    async fn get(&self, key: u64) -> Result<Found, Failure<Arc<Unavailable>>> {
        if self.random(0..2) == 0
            && let Some(value) = self.handles[key as usize].get()
        {
            return Ok(vec![(key, value, Some(Source::Local))]);
        }
        let loader = self.world.clone();
        let load = move || async move { loader.load(key).await.map(Some) };
        let read = self.values.lookup(&key, load).await?;
        Ok(vec![(key, read.value, Some(read.source))])
    }

    async fn peek(&self, key: u64) -> Result<Found, Failure<Arc<Unavailable>>> {
        let value = self.values.peek(&key).await;
        Ok(value.map(|value| (key, value, None)).into_iter().collect())
    }

    /// Reads a key, and the ones that follow it, with one call.
    async fn read_many(&self, first: u64) {
        let last = self.world.with(|state| state.plan.keys).min(first + 3);
        let keys: Vec<u64> = (first..last).collect();
        let loader = self.world.clone();
        let load = move |keys: Vec<u64>| {
            let loader = loader.clone();
            async move {
                let mut rows = HashMap::new();
                for key in keys {
                    rows.insert(key, loader.clone().load(key).await?);
                }
                Ok(rows)
            }
        };
        let reading = async {
            let found = self.values.get_many(keys.iter().copied(), load).await?;
            let of = |key: &u64| (*key, found.get(key).copied(), None);
            Ok(keys.iter().map(of).collect())
        };
        self.judged(&keys, reading).await;
    }

    /// Judges what a read of keys returns. `None` if it fails.
    async fn judged(
        &self,
        keys: &[u64],
        reading: impl Future<Output = Result<Found, Failure<Arc<Unavailable>>>>,
    ) -> Option<Found> {
        let began = self.world.now();
        let required: Vec<Required> = self.world.with(|state| {
            let of = |key: &u64| state.oracle.required(self.life, *key, began);
            keys.iter().map(of).collect()
        });
        let Ok(read) = timeout(LONGEST, reading).await else {
            let text = format!(
                "a read of {keys:?} by process {} does not end",
                self.process
            );
            self.world.with(|state| state.oracle.fail(text));
            return None;
        };
        self.world.with(|state| {
            let elapsed = state.now() - began;
            let is_late = elapsed > state.plan.longest_read(keys.len());
            if is_late && !state.plan.suspends(self.process) {
                let text = format!("a read of {keys:?} took {elapsed} ms");
                state.oracle.fail(text);
            }
        });
        let found = self.check_failure(keys, read)?;
        for (required, (key, version, source)) in required.into_iter().zip(&found) {
            self.judge(*key, (began, required), *version, *source);
        }
        Some(found)
    }

    fn check_failure(
        &self,
        keys: &[u64],
        read: Result<Found, Failure<Arc<Unavailable>>>,
    ) -> Option<Found> {
        self.world.with(|state| {
            let now = state.now();
            if let Err(Failure::Panicked | Failure::TimedOut) = &read {
                state
                    .oracle
                    .fail(format!("a read of {keys:?} fails: {read:?}"));
            }
            let trace = &mut state.trace;
            if read.is_err() {
                trace.add(&[now, 4, self.process as u64, keys[0]]);
            }
            read.ok()
        })
    }

    fn judge(
        &self,
        key: u64,
        (began, required): (u64, Required),
        version: Option<u64>,
        source: Option<Source>,
    ) {
        self.world.with(|state| {
            let now = state.now();
            let is_memory = source == Some(Source::Local);
            let numbers = [
                now,
                5,
                self.process as u64,
                key,
                version.unwrap_or(u64::MAX),
                u64::from(is_memory),
            ];
            state.trace.add(&numbers);
            // A read of several keys may take any of them from memory.
            let from_memory = is_memory || source.is_none();
            let oracle = &mut state.oracle;
            // Less than when it began, if Valkey has failed over meanwhile.
            let required = required.min(oracle.required(self.life, key, began));
            oracle.memory_reads += u64::from(is_memory);
            let is_right = oracle.judge((self.life, key), (required, from_memory), version);
            if !is_memory || !is_right {
                let who = Who::Process(self.process);
                let mark = if is_right { "" } else { " ◀── wrong" };
                let text = || format!("reads key {key}: {version:?} from {source:?}{mark}");
                state.trace.line(now, who, text);
            }
        });
    }
}
