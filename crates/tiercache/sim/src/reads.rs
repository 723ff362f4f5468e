//! The readers of a process.

use std::collections::HashMap;
use std::sync::Arc;

use tiercache::{Failure, Source};

use crate::database::Unavailable;
use crate::process::App;

/// The values that a read has returned, by key.
pub(crate) type Found = Vec<(u64, Option<u64>, From)>;

/// Where a value is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Source(Source),
    /// Memory or Valkey.
    Peeked,
    /// Any source: reads of several keys name none.
    Any,
}

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
        let (_, version, from) = found.into_iter().next()?;
        match from {
            From::Source(source) => Some((version?, source)),
            From::Peeked | From::Any => None,
        }
    }

    /// Reads a key: half of the time through its handle first.
    async fn get(&self, key: u64) -> Result<Found, Failure<Arc<Unavailable>>> {
        if self.random(0..2) == 0
            && let Some(value) = self.handles[key as usize].get()
        {
            return Ok(vec![(key, value, From::Source(Source::Local))]);
        }
        let loader = self.clone();
        let load = move || async move { loader.load(key).await.map(Some) };
        let read = self.values.lookup(&key, load).await?;
        Ok(vec![(key, read.value, From::Source(read.source))])
    }

    async fn peek(&self, key: u64) -> Result<Found, Failure<Arc<Unavailable>>> {
        let value = self.values.peek(&key).await;
        let found = value.map(|value| (key, value, From::Peeked));
        Ok(found.into_iter().collect())
    }

    /// Loads a key from the database.
    async fn load(&self, key: u64) -> Result<u64, Unavailable> {
        let loaded = self.world.clone().load(key).await;
        if loaded.is_err() {
            self.world.with(|state| {
                let now = state.now();
                state.oracle.last_known.load_failed(self.life, now);
            });
        }
        loaded
    }

    /// Reads a key, and the ones that follow it, with one call.
    async fn read_many(&self, first: u64) {
        let last = self.world.with(|state| state.plan.keys).min(first + 3);
        let keys: Vec<u64> = (first..last).collect();
        let loader = self.clone();
        let load = move |keys: Vec<u64>| {
            let loader = loader.clone();
            async move {
                let mut rows = HashMap::new();
                for key in keys {
                    rows.insert(key, loader.load(key).await?);
                }
                Ok(rows)
            }
        };
        let reading = async {
            let found = self.values.get_many(keys.iter().copied(), load).await?;
            let of = |key: &u64| (*key, found.get(key).copied(), From::Any);
            Ok(keys.iter().map(of).collect())
        };
        self.judged(&keys, reading).await;
    }
}
