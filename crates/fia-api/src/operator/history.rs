//! The last two minutes of the cached reads' counters, sampled in the background.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::app::Edge;
use crate::operator::view::misses;

/// The interval between two samples.
const INTERVAL: Duration = Duration::from_secs(2);
/// The number of intervals that are kept.
const POINTS: usize = 60;
/// Levels: memory, Valkey, miss, stale.
const LEVELS: usize = 4;

/// The samples of the last two minutes.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<VecDeque<Sample>>);

/// The counters at one time.
#[derive(Debug)]
struct Sample {
    at: Instant,
    reads: Vec<(Arc<str>, [u64; LEVELS])>,
    responses: u64,
    compared: u64,
    stale: u64,
}

/// Reads per second by the level that served them, the latest last.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Rates {
    pub(super) step_seconds: u64,
    pub(super) memory: Vec<f64>,
    pub(super) valkey: Vec<f64>,
    pub(super) miss: Vec<f64>,
    pub(super) stale: Vec<f64>,
}

impl Rates {
    /// The levels in the order in which they are stacked.
    pub(super) fn levels(&self) -> [&[f64]; LEVELS] {
        [&self.memory, &self.valkey, &self.miss, &self.stale]
    }

    /// The reads per second at the end.
    pub(super) fn now(&self) -> f64 {
        let last = self.levels().map(|level| level.last().copied());
        rounded(last.into_iter().flatten().sum())
    }
}

impl History {
    /// The number of points of a complete history.
    pub(super) const POINTS: usize = POINTS;

    /// Takes samples. Never ends.
    pub(super) async fn run(&self, edge: &Edge) {
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.add(sample(edge));
        }
    }

    fn add(&self, sample: Sample) {
        let mut samples = self.0.lock();
        if samples.len() > POINTS {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// The rates of the read of this name.
    pub(super) fn rates(&self, name: &str) -> Rates {
        let samples = self.0.lock();
        let counts = |sample: &Sample| {
            let mut reads = sample.reads.iter();
            let found = reads.find(|(read, _)| **read == *name);
            found.map_or([0; LEVELS], |(_, counts)| *counts)
        };
        let mut levels: [Vec<f64>; LEVELS] = Default::default();
        for (one, next) in samples.iter().zip(samples.iter().skip(1)) {
            let seconds = (next.at - one.at).as_secs_f64();
            let (before, after) = (counts(one), counts(next));
            for (level, (before, after)) in levels.iter_mut().zip(before.into_iter().zip(after)) {
                level.push(rounded(after.saturating_sub(before) as f64 / seconds));
            }
        }
        let [memory, valkey, miss, stale] = levels;
        Rates {
            step_seconds: INTERVAL.as_secs(),
            memory,
            valkey,
            miss,
            stale,
        }
    }

    /// The responses per second at the end.
    pub(super) fn responses_per_second(&self) -> f64 {
        let samples = self.0.lock();
        let mut latest = samples.iter().rev();
        match (latest.next(), latest.next()) {
            (Some(last), Some(before)) => {
                let seconds = (last.at - before.at).as_secs_f64();
                rounded(last.responses.saturating_sub(before.responses) as f64 / seconds)
            }
            _ => 0.0,
        }
    }

    /// The local hits that were compared with the database in the last two minutes, and those of
    /// them that were stale.
    pub(super) fn compared(&self) -> (u64, u64) {
        let samples = self.0.lock();
        match (samples.front(), samples.back()) {
            (Some(first), Some(last)) => (
                last.compared.saturating_sub(first.compared),
                last.stale.saturating_sub(first.stale),
            ),
            _ => (0, 0),
        }
    }
}

fn sample(edge: &Edge) -> Sample {
    let namespaces = edge.state().cached.statistics().namespaces;
    let responses = edge.response_counts();
    Sample {
        at: Instant::now(),
        compared: namespaces.iter().map(|stats| stats.samples).sum(),
        stale: namespaces.iter().map(|stats| stats.samples_stale).sum(),
        responses: responses.iter().map(|(.., count)| count).sum(),
        reads: namespaces
            .iter()
            .map(|stats| {
                let counts = [stats.local_hits, stats.hits, misses(stats), stats.stale];
                (Arc::clone(&stats.name), counts)
            })
            .collect(),
    }
}

/// To a tenth; zero is positive, which the sum of nothing is not.
fn rounded(number: f64) -> f64 {
    (number * 10.0).round() / 10.0 + 0.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_differences_of_the_last_samples() {
        let (history, start) = (History::default(), Instant::now());
        assert!(history.rates("spec").now().is_sign_positive());
        for step in 0..100_u64 {
            history.add(Sample {
                at: start + INTERVAL * u32::try_from(step).unwrap(),
                reads: vec![("spec".into(), [step * 20, step * 2, 0, step])],
                responses: step * 100,
                compared: step,
                stale: 0,
            });
        }
        let rates = history.rates("spec");
        assert_eq!(rates.memory.len(), History::POINTS);
        assert!(rates.memory.iter().all(|rate| *rate == 10.0));
        assert_eq!(rates.now(), 11.5);
        assert_eq!(history.responses_per_second(), 50.0);
        assert_eq!(history.compared(), (60, 0));
        assert_eq!(history.rates("other").now(), 0.0);
    }
}
