//! The judgement.

use std::collections::HashMap;
use std::time::Duration;

use super::{
    Bound, DATABASE_RECOVERY, FENCE_LIFE, History, Hits, LEASE_LIFE, MACHINE, Outcome, RECOVERY,
    REPLICAS, Read, SLOWEST, Source, Span, Verdict, Violation, Write, Writer,
};

/// How much earlier than a write that was committed before it a write may have begun.
const LONGEST_WRITE: Duration = Duration::from_secs(10);

/// Judges a run.
pub fn judge(history: &History) -> Verdict {
    let mut court = Court {
        history,
        orders: (0..history.keys.len())
            .map(|key| Order::of(history, key))
            .collect(),
        verdict: Verdict::default(),
    };
    for read in &history.reads {
        court.read(read);
    }
    for write in &history.writes {
        court.write(write);
    }
    court.recoveries();
    court.convergence();
    court
        .verdict
        .violations
        .sort_by_key(|found| found.span.from);
    court.verdict
}

/// The versions of a key in the order of their commits.
struct Order<'a> {
    positions: HashMap<u64, usize>,
    /// By position; none for the first, which nobody wrote.
    writes: Vec<Option<&'a Write>>,
}

impl<'a> Order<'a> {
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

struct Court<'a> {
    history: &'a History,
    /// By key.
    orders: Vec<Order<'a>>,
    verdict: Verdict,
}

impl Court<'_> {
    fn read(&mut self, read: &Read) {
        let troubled = self.took(read.span, read.key, "an answer");
        match &read.outcome {
            Outcome::Failed(why) => {
                self.verdict.failed += 1;
                if !troubled {
                    let what = format!("replica {} failed without need: {why}", read.replica);
                    self.object(read.span, read.key, what);
                }
            }
            Outcome::Value(version, source) => {
                *self.verdict.sources.entry(*source).or_default() += 1;
                let Some(position) = self.orders[read.key].positions.get(version).copied() else {
                    let what =
                        format!("replica {} answered {version}: never written", read.replica);
                    return self.object(read.span, read.key, what);
                };
                if *source != Source::Stale {
                    self.age(read, *version, position);
                } else if !troubled {
                    let what = format!(
                        "replica {} gave a last known value without need",
                        read.replica
                    );
                    self.object(read.span, read.key, what);
                }
            }
        }
    }

    /// Holds an answer against the writes that had returned before it was asked for.
    fn age(&mut self, read: &Read, version: u64, position: usize) {
        let began = read.span.from;
        let newer = &self.orders[read.key].writes[position + 1..];
        let mut found = None;
        let mut lags: [Option<Duration>; Bound::ALL.len()] = [None; Bound::ALL.len()];
        for write in newer.iter().flatten() {
            if write.span.from > began + LONGEST_WRITE {
                break;
            }
            if write.outcome.is_err() || write.span.to >= began {
                continue;
            }
            let (bound, lag) = (self.bound(write, read), began - write.span.to);
            let largest = &mut lags[bound as usize];
            *largest = Some(largest.unwrap_or_default().max(lag));
            if lag > bound.limit(self.history.keys[read.key].ttl) {
                found.get_or_insert((bound, lag, write.version));
            }
        }
        for (seen, lag) in self.verdict.lags.iter_mut().zip(lags) {
            seen.answers += usize::from(lag.is_some());
            seen.largest = seen.largest.max(lag.unwrap_or_default());
        }
        if let Some((bound, lag, newest)) = found {
            let what = format!(
                "replica {} answered {version} although {newest} had been written {} ms before ({})",
                read.replica,
                lag.as_millis(),
                bound.name()
            );
            self.object(read.span, read.key, what);
        }
    }

    /// What this answer may lag behind that write.
    fn bound(&self, write: &Write, read: &Read) -> Bound {
        let ttl = self.history.keys[write.key].ttl;
        let filled_late = self.history.fills.iter().any(|fill| {
            fill.key == write.key
                && fill.span.meets(write.span, Duration::ZERO)
                && read.span.from <= fill.span.to + ttl + MACHINE
        });
        if filled_late {
            return Bound::Late;
        }
        match write.by {
            Writer::Replica(replica) if replica == read.replica => Bound::Own,
            Writer::Replica(replica) if !self.was_cut_off(Some(replica), write.span) => Bound::Told,
            Writer::Peer if write.cleared && !self.was_cut_off(None, write.span) => Bound::PeerTold,
            _ => Bound::Late,
        }
    }

    /// Whether a fault was in the way from a replica, or from the peer, to Valkey.
    fn was_cut_off(&self, replica: Option<usize>, span: Span) -> bool {
        self.history.faults.iter().any(|fault| {
            let in_the_way = match fault.hits {
                Hits::Link(link) => Some(link) == replica,
                Hits::Valkey => true,
                Hits::Nothing | Hits::Database => false,
            };
            in_the_way && span.meets(fault.span, RECOVERY)
        })
    }

    fn write(&mut self, write: &Write) {
        let Writer::Replica(replica) = write.by else {
            return;
        };
        let troubled = self.took(write.span, write.key, "a write");
        if let Err(why) = &write.outcome
            && !troubled
        {
            let what = format!("a write on replica {replica} failed without need: {why}");
            self.object(write.span, write.key, what);
        }
    }

    /// Looks at the duration of something. Says whether the database was in trouble.
    fn took(&mut self, span: Span, key: usize, what: &str) -> bool {
        let troubled =
            self.history.faults.iter().any(|fault| {
                fault.hits == Hits::Database && span.meets(fault.span, DATABASE_RECOVERY)
            });
        let slowest = &mut self.verdict.slowest[usize::from(troubled)];
        *slowest = (*slowest).max(span.length());
        if span.length() > SLOWEST[usize::from(troubled)] {
            let what = format!("{what} took {} ms", span.length().as_millis());
            self.object(span, key, what);
        }
        troubled
    }

    /// After each fault of Valkey, or of the way there, memory must be in use again soon, unless
    /// the next fault comes first.
    fn recoveries(&mut self) {
        let ends = self.history.reads.iter().map(|read| read.span.to).max();
        let end = ends.unwrap_or_default();
        for replica in 0..REPLICAS {
            let mut hits: Vec<Duration> = self.memory_hits(replica).map(|(_, at)| at).collect();
            hits.sort();
            for fault in &self.history.faults {
                let after = Span {
                    from: fault.span.to,
                    to: fault.span.to + RECOVERY + MACHINE,
                };
                let is_judged = is_met(fault.hits, replica) && after.to <= end;
                if !is_judged || self.is_disturbed(replica, after) {
                    continue;
                }
                let next = hits.partition_point(|hit| *hit < after.from);
                let next = hits
                    .get(next)
                    .map_or(Duration::MAX, |hit| *hit - after.from);
                if next <= after.length() {
                    self.verdict.recovery = self.verdict.recovery.max(next);
                } else {
                    let what = format!(
                        "replica {replica} answered nothing from memory after {:?}",
                        fault.kind
                    );
                    self.verdict.violations.push(Violation {
                        span: after,
                        key: None,
                        what,
                    });
                }
            }
        }
    }

    /// Whether a fault began, or went on, in this time.
    fn is_disturbed(&self, replica: usize, span: Span) -> bool {
        self.history.faults.iter().any(|fault| {
            let matters = is_met(fault.hits, replica) || fault.hits == Hits::Database;
            matters && fault.span.from < span.to && fault.span.to > span.from
        })
    }

    /// The keys and times of answers from a replica's memory.
    fn memory_hits(&self, replica: usize) -> impl Iterator<Item = (usize, Duration)> {
        let reads = self.history.reads.iter();
        reads
            .filter(move |read| {
                read.replica == replica && matches!(read.outcome, Outcome::Value(_, Source::Local))
            })
            .map(|read| (read.key, read.span.from))
    }

    /// In the end all answers are the last version, also of writes whose outcome nobody knew, and
    /// all keys are in the memory of both replicas.
    fn convergence(&mut self) {
        let Some(quiet) = self.history.quiet else {
            return;
        };
        for read in &self.history.reads {
            let Outcome::Value(version, _) = read.outcome else {
                continue;
            };
            let key = &self.history.keys[read.key];
            let settled = quiet + key.ttl + LEASE_LIFE + MACHINE;
            if read.span.from > settled && key.committed.last() != Some(&version) {
                let what = format!(
                    "replica {} still answers {version} in the end",
                    read.replica
                );
                self.object(read.span, read.key, what);
            }
        }
        for replica in 0..REPLICAS {
            for key in 0..self.history.keys.len() {
                let first = self
                    .memory_hits(replica)
                    .filter(|(hit, at)| *hit == key && *at >= quiet)
                    .map(|(_, at)| at - quiet)
                    .min();
                let first = first.unwrap_or(Duration::MAX);
                if first <= FENCE_LIFE + RECOVERY + MACHINE {
                    self.verdict.last_key = self.verdict.last_key.max(first);
                } else {
                    let what = format!("replica {replica} has nothing in memory in the end");
                    let span = Span {
                        from: quiet,
                        to: quiet,
                    };
                    self.object(span, key, what);
                }
            }
        }
    }

    fn object(&mut self, span: Span, key: usize, what: String) {
        let key = Some(key);
        self.verdict.violations.push(Violation { span, key, what });
    }
}

fn is_met(hits: Hits, replica: usize) -> bool {
    hits == Hits::Valkey || hits == Hits::Link(replica)
}
