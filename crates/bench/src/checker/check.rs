//! The checks of single reads and writes.

use std::collections::HashMap;
use std::time::Duration;

use super::bounds::{DATABASE_RECOVERY, MAX_LATENCY, RECOVERY, TOLERANCE};
use super::{
    Bound, FaultTarget, History, Outcome, Read, Source, Span, Verdict, Violation, Write, Writer,
};

/// The maximum duration of a write: one that started later than this after a read began was
/// committed after it, as were all that follow it in commit order.
const MAX_WRITE: Duration = Duration::from_secs(10);

/// Checks a run.
pub fn check(history: &History) -> Verdict {
    let mut checker = Checker {
        history,
        orders: (0..history.keys.len())
            .map(|key| CommitOrder::of(history, key))
            .collect(),
        verdict: Verdict::default(),
    };
    for read in &history.reads {
        checker.read(read);
    }
    for write in &history.writes {
        checker.write(write);
    }
    checker.recoveries();
    checker.convergence();
    let Checker { mut verdict, .. } = checker;
    verdict
        .violations
        .sort_by_key(|violation| violation.span.from);
    verdict
}

/// The versions of a key in commit order.
struct CommitOrder<'a> {
    positions: HashMap<u64, usize>,
    /// By position. None for the initial version.
    writes: Vec<Option<&'a Write>>,
}

impl<'a> CommitOrder<'a> {
    fn of(history: &'a History, key: usize) -> Self {
        let committed = &history.keys[key].committed;
        let positions: HashMap<u64, usize> = committed.iter().copied().zip(0..).collect();
        let mut writes = vec![None; committed.len()];
        for write in history.writes.iter().filter(|write| write.key == key) {
            if let Some(position) = positions.get(&write.version) {
                writes[*position] = Some(write);
            }
        }
        Self { positions, writes }
    }
}

/// A check in progress.
pub(super) struct Checker<'a> {
    pub(super) history: &'a History,
    /// By key.
    orders: Vec<CommitOrder<'a>>,
    pub(super) verdict: Verdict,
}

impl Checker<'_> {
    fn read(&mut self, read: &Read) {
        let excused = self.latency(read.span, read.key, "a response");
        let replica = read.replica;
        match &read.outcome {
            Outcome::Failed(why) => {
                self.verdict.failed += 1;
                if !excused {
                    let found =
                        format!("replica {replica} failed with the database available: {why}");
                    self.report(read.span, read.key, found);
                }
            }
            Outcome::Value(version, source) => {
                *self.verdict.sources.entry(*source).or_default() += 1;
                let Some(position) = self.orders[read.key].positions.get(version).copied() else {
                    let found =
                        format!("replica {replica} returned {version}, which was never committed");
                    return self.report(read.span, read.key, found);
                };
                if *source != Source::Stale {
                    self.staleness(read, *version, position);
                } else if !excused {
                    let found = format!(
                        "replica {replica} served past the TTL with the database available"
                    );
                    self.report(read.span, read.key, found);
                }
            }
        }
    }

    /// Compares a response with the writes that had returned before its request.
    fn staleness(&mut self, read: &Read, version: u64, position: usize) {
        let began = read.span.from;
        let newer = &self.orders[read.key].writes[position + 1..];
        let mut exceeded = None;
        let mut lags: [Option<Duration>; Bound::ALL.len()] = [None; Bound::ALL.len()];
        for write in newer.iter().flatten() {
            if write.span.from > began + MAX_WRITE {
                break;
            }
            if write.outcome.is_err() || write.span.to >= began {
                continue;
            }
            let (bound, lag) = (self.bound(write, read), began - write.span.to);
            let max = &mut lags[bound as usize];
            *max = Some(max.unwrap_or_default().max(lag));
            if lag > bound.limit(self.history.keys[read.key].ttl) {
                exceeded.get_or_insert((bound, lag, write.version));
            }
        }
        for (total, lag) in self.verdict.lags.iter_mut().zip(lags) {
            total.responses += usize::from(lag.is_some());
            total.max = total.max.max(lag.unwrap_or_default());
        }
        if let Some((bound, lag, newer)) = exceeded {
            let found = format!(
                "replica {} returned {version}, {} ms after the write of {newer} returned ({})",
                read.replica,
                lag.as_millis(),
                bound.name()
            );
            self.report(read.span, read.key, found);
        }
    }

    /// The bound of this response relative to that write.
    fn bound(&self, write: &Write, read: &Read) -> Bound {
        let ttl = self.history.keys[write.key].ttl;
        let filled_late = self.history.fills.iter().any(|fill| {
            fill.key == write.key
                && fill.span.overlaps(write.span, Duration::ZERO)
                && read.span.from <= fill.span.to + ttl + TOLERANCE
        });
        if filled_late {
            return Bound::Ttl;
        }
        match write.by {
            Writer::Replica(replica) if replica == read.replica => Bound::ReadYourWrites,
            Writer::Replica(replica) if !self.was_cut_off(Some(replica), write.span) => {
                Bound::Propagated
            }
            Writer::LegacyClient if write.invalidated && !self.was_cut_off(None, write.span) => {
                Bound::LegacyPropagated
            }
            _ => Bound::Ttl,
        }
    }

    /// Whether a fault may have kept a replica, or the legacy client (`None`), from Valkey.
    fn was_cut_off(&self, replica: Option<usize>, span: Span) -> bool {
        self.history.faults.iter().any(|fault| {
            let affects = match fault.target {
                FaultTarget::Link(link) => Some(link) == replica,
                FaultTarget::Valkey => true,
                FaultTarget::Nothing | FaultTarget::Database => false,
            };
            affects && span.overlaps(fault.span, RECOVERY)
        })
    }

    fn write(&mut self, write: &Write) {
        let Writer::Replica(replica) = write.by else {
            return;
        };
        let excused = self.latency(write.span, write.key, "a write");
        if let Err(why) = &write.outcome
            && !excused
        {
            let found =
                format!("a write on replica {replica} failed with the database available: {why}");
            self.report(write.span, write.key, found);
        }
    }

    /// Checks the latency of a request. Returns whether the database was unavailable meanwhile.
    fn latency(&mut self, span: Span, key: usize, request: &str) -> bool {
        let excused = self.history.faults.iter().any(|fault| {
            fault.target == FaultTarget::Database && span.overlaps(fault.span, DATABASE_RECOVERY)
        });
        let max = &mut self.verdict.max_latency[usize::from(excused)];
        *max = (*max).max(span.length());
        if span.length() > MAX_LATENCY[usize::from(excused)] {
            let found = format!("{request} took {} ms", span.length().as_millis());
            self.report(span, key, found);
        }
        excused
    }

    /// Adds a violation that concerns one key.
    pub(super) fn report(&mut self, span: Span, key: usize, description: String) {
        self.verdict.violations.push(Violation {
            span,
            key: Some(key),
            description,
        });
    }
}
