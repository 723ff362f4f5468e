//! The checks of recovery after faults, and of convergence at the end of a run.

use std::time::Duration;

use super::bounds::{FENCE_TTL, LEASE_TTL, RECOVERY, TOLERANCE};
use super::check::Checker;
use super::{FaultTarget, Outcome, REPLICAS, Source, Span, Violation};

impl Checker<'_> {
    /// After each fault of Valkey, or of a link to it, the affected replicas must have local hits
    /// again within [`RECOVERY`], unless the next fault comes first.
    pub(super) fn recoveries(&mut self) {
        let ends = self.history.reads.iter().map(|read| read.span.to).max();
        let end = ends.unwrap_or_default();
        for replica in 0..REPLICAS {
            let mut hits: Vec<Duration> = self.local_hits(replica).map(|(_, at)| at).collect();
            hits.sort();
            for fault in &self.history.faults {
                let window = Span {
                    from: fault.span.to,
                    to: fault.span.to + RECOVERY + TOLERANCE,
                };
                let applies = affects(fault.target, replica) && window.to <= end;
                if !applies || self.is_disturbed(replica, window) {
                    continue;
                }
                let next = hits.partition_point(|hit| *hit < window.from);
                let next = hits
                    .get(next)
                    .map_or(Duration::MAX, |hit| *hit - window.from);
                if next <= window.length() {
                    self.verdict.recovery = self.verdict.recovery.max(next);
                } else {
                    let description = format!(
                        "replica {replica} had no local hit within {} ms of the end of {:?}",
                        window.length().as_millis(),
                        fault.kind
                    );
                    self.verdict.violations.push(Violation {
                        span: window,
                        key: None,
                        description,
                    });
                }
            }
        }
    }

    /// Whether a fault that affects the replica was active in this time span.
    fn is_disturbed(&self, replica: usize, span: Span) -> bool {
        self.history.faults.iter().any(|fault| {
            let matters = affects(fault.target, replica) || fault.target == FaultTarget::Database;
            matters && fault.span.from < span.to && fault.span.to > span.from
        })
    }

    /// The keys and start times of a replica's local hits.
    fn local_hits(&self, replica: usize) -> impl Iterator<Item = (usize, Duration)> {
        let reads = self.history.reads.iter();
        reads
            .filter(move |read| {
                read.replica == replica && matches!(read.outcome, Outcome::Value(_, Source::Local))
            })
            .map(|read| (read.key, read.span.from))
    }

    /// In the quiet phase all responses must become the last committed version, including those of
    /// writes with an unknown outcome, and every key must get local hits on every replica.
    pub(super) fn convergence(&mut self) {
        let Some(quiet) = self.history.quiet else {
            return;
        };
        for read in &self.history.reads {
            let Outcome::Value(version, _) = read.outcome else {
                continue;
            };
            let key = &self.history.keys[read.key];
            let settled = quiet + key.ttl + LEASE_TTL + TOLERANCE;
            if read.span.from > settled && key.committed.last() != Some(&version) {
                let found = format!(
                    "replica {} still returns {version} in the quiet phase",
                    read.replica
                );
                self.report(read.span, read.key, found);
            }
        }
        for replica in 0..REPLICAS {
            for key in 0..self.history.keys.len() {
                let first = self
                    .local_hits(replica)
                    .filter(|(hit, at)| *hit == key && *at >= quiet)
                    .map(|(_, at)| at - quiet)
                    .min();
                let first = first.unwrap_or(Duration::MAX);
                if first <= FENCE_TTL + RECOVERY + TOLERANCE {
                    self.verdict.full_recovery = self.verdict.full_recovery.max(first);
                } else {
                    let found = format!("replica {replica} has no local hit in the quiet phase");
                    let span = Span {
                        from: quiet,
                        to: quiet,
                    };
                    self.report(span, key, found);
                }
            }
        }
    }
}

/// Whether a fault stands between this replica and Valkey.
fn affects(target: FaultTarget, replica: usize) -> bool {
    target == FaultTarget::Valkey || target == FaultTarget::Link(replica)
}
