//! What a read has returned, and how long it took, before the oracle.

use std::sync::Arc;

use tiercache::{Failure, Source};
use tokio::time::timeout;

use crate::database::Unavailable;
use crate::oracle::Required;
use crate::oracle::last_known::{Ended, Kept};
use crate::process::{App, LONGEST};
use crate::reads::{Found, From};
use crate::trace::Who;
use crate::world::State;

/// What is known of a key when a read of it begins.
struct Expected {
    key: u64,
    required: Required,
    kept: Option<Kept>,
}

impl App {
    /// Judges what a read of keys returns. `None` if it fails.
    pub(crate) async fn judged(
        &self,
        keys: &[u64],
        reading: impl Future<Output = Result<Found, Failure<Arc<Unavailable>>>>,
    ) -> Option<Found> {
        let began = self.world.now();
        let expected: Vec<Expected> = self.world.with(|state| {
            let of = |key: &u64| Expected {
                key: *key,
                required: state.oracle.required(self.life, *key, began),
                kept: state.oracle.last_known.kept(self.life, *key),
            };
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
        let found = self.check(&expected, began, read)?;
        for (expected, (key, version, from)) in expected.into_iter().zip(&found) {
            self.judge(*key, (began, expected.required), *version, *from);
        }
        Some(found)
    }

    /// Judges how long a read took, and its failure.
    fn check(
        &self,
        expected: &[Expected],
        began: u64,
        read: Result<Found, Failure<Arc<Unavailable>>>,
    ) -> Option<Found> {
        let keys: Vec<(u64, Option<Kept>)> = expected.iter().map(|of| (of.key, of.kept)).collect();
        self.world.with(|state| {
            let now = state.now();
            let ended = state.ended(self.process, began);
            if now - began > state.plan.longest_read(keys.len()) && !ended.is_suspended {
                let (first, elapsed) = (keys[0].0, now - began);
                let text = format!(
                    "a read of {} keys from {first} on took {elapsed} ms",
                    keys.len()
                );
                state.oracle.fail(text);
            }
            if let [key] = keys[..] {
                state.oracle.judge_wait(self.life, key, ended);
            }
            if let Err(Failure::Panicked | Failure::TimedOut) = &read {
                let text = format!("a read of key {} fails: {read:?}", keys[0].0);
                state.oracle.fail(text);
            }
            if read.is_err() {
                state.oracle.judge_failure(self.life, &keys, now);
                state.trace.add(&[now, 4, self.process as u64, keys[0].0]);
            }
            read.ok()
        })
    }

    fn judge(
        &self,
        key: u64,
        (began, required): (u64, Required),
        version: Option<u64>,
        from: From,
    ) {
        self.world.with(|state| {
            let now = state.now();
            let is_memory = from == From::Source(Source::Local);
            let numbers = [
                now,
                5,
                self.process as u64,
                key,
                version.unwrap_or(u64::MAX),
                u64::from(is_memory),
            ];
            state.trace.add(&numbers);
            let ended = state.ended(self.process, began);
            let oracle = &mut state.oracle;
            // Less than when it began, if Valkey has failed over meanwhile.
            let required = required.min(oracle.required(self.life, key, began));
            oracle.memory_reads += u64::from(is_memory);
            let stale_age = match from {
                From::Source(Source::Stale { age, past_ttl }) => {
                    oracle.judge_stale(self.life, (age, past_ttl), ended);
                    state.coverage.count("last known values");
                    Some(age)
                }
                From::Any if oracle.last_known.is_used() => Some(oracle.longest_age()),
                _ => None,
            };
            let of = (self.life, key);
            let oracle = &mut state.oracle;
            let required = match (from, stale_age) {
                (_, Some(age)) => {
                    let least = oracle.required_of_stale(of, age, began);
                    (least.max(required.own), "last known values")
                }
                (From::Source(Source::Local) | From::Any | From::Peeked, _) => {
                    (required.of_memory, "memory")
                }
                (From::Source(_), _) => (required.otherwise, "Valkey or the loader"),
            };
            let is_right = oracle.judge(of, required, version);
            if is_memory {
                oracle.was_in_memory(self.life, key, now);
            }
            if !is_memory || !is_right {
                let who = Who::Process(self.process);
                let mark = if is_right { "" } else { " ◀── wrong" };
                let text = || format!("reads key {key}: {version:?} from {from:?}{mark}");
                state.trace.line(now, who, text);
            }
        });
    }
}

impl State {
    /// A read of a process that ends now.
    fn ended(&self, process: usize, began: u64) -> Ended {
        Ended {
            began,
            now: self.now(),
            is_suspended: self.plan.suspends(process),
        }
    }
}
