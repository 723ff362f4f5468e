//! The report of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Plan;
use crate::checker::{Bound, History, Verdict, Writer, check, explain};

/// How many violations are printed with their history; the others are only counted.
const EXPLAINED: usize = 5;

/// The result of a run. It displays as tables, followed by the violations.
pub struct Report {
    plan: Plan,
    history: History,
    verdict: Verdict,
    /// The last lines of each replica's log.
    logs: Vec<String>,
}

impl Report {
    pub(super) fn new(plan: Plan, history: History, logs: Vec<String>) -> Self {
        let verdict = check(&history);
        Self {
            plan,
            history,
            verdict,
            logs,
        }
    }

    /// The verdict of the checker.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// The recorded history.
    pub fn history(&self) -> &History {
        &self.history
    }

    fn counts(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            history, verdict, ..
        } = self;
        writeln!(f, "| | |\n|---|---|")?;
        for (source, count) in &verdict.sources {
            let source = format!("{source:?}").to_lowercase();
            writeln!(f, "| responses, {source} | {count} |")?;
        }
        let unconfirmed = history.writes.iter().filter(|write| write.outcome.is_err());
        for (what, count) in [
            (
                "requests without a value (database unavailable)",
                verdict.failed,
            ),
            (
                "writes through replicas",
                self.writes_by(|by| by != Writer::LegacyClient),
            ),
            (
                "of them not confirmed (database unavailable)",
                unconfirmed.count(),
            ),
            (
                "writes of the legacy client",
                self.writes_by(|by| by == Writer::LegacyClient),
            ),
            ("fills of the legacy client", history.fills.len()),
        ] {
            writeln!(f, "| {what} | {count} |")?;
        }
        let mut faults = BTreeMap::<&str, usize>::new();
        for fault in &history.faults {
            *faults.entry(fault.kind).or_default() += 1;
        }
        for (kind, count) in faults {
            writeln!(f, "| {kind} | {count} |")?;
        }
        Ok(())
    }

    fn times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = &self.verdict;
        for (what, time) in [
            (
                "slowest response, database available",
                verdict.max_latency[0],
            ),
            (
                "slowest response, database unavailable",
                verdict.max_latency[1],
            ),
            (
                "end of a fault to the first local hit, maximum",
                verdict.recovery,
            ),
            (
                "last fault to local hits of all keys",
                verdict.full_recovery,
            ),
        ] {
            writeln!(f, "| {what} | {:.1} ms |", ms(time))?;
        }
        writeln!(f, "| violations | {} |\n", verdict.violations.len())
    }

    fn lags(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ttls = self.history.keys.iter().map(|key| key.ttl);
        let longest = ttls.max().unwrap_or_default();
        writeln!(
            f,
            "| responses older than a write | count | largest lag ms | allowed ms |"
        )?;
        writeln!(f, "|---|---|---|---|")?;
        for (bound, lag) in Bound::ALL.iter().zip(self.verdict.lags) {
            let (max, permitted) = (ms(lag.max), ms(bound.limit(longest)));
            let (name, count) = (bound.name(), lag.responses);
            writeln!(f, "| {name} | {count} | {max:.1} | {permitted:.0} |")?;
        }
        Ok(())
    }

    fn writes_by(&self, is_counted: impl Fn(Writer) -> bool) -> usize {
        let writes = self.history.writes.iter();
        writes.filter(|write| is_counted(write.by)).count()
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let guard = if self.plan.guard { "on" } else { "off" };
        let (seed, busy) = (self.plan.seed, self.plan.busy.as_secs());
        writeln!(f, "seed {seed}, {busy} s, CACHE_MIGRATION_GUARD {guard}\n")?;
        self.counts(f)?;
        self.times(f)?;
        self.lags(f)?;
        let violations = &self.verdict.violations;
        for violation in violations.iter().take(EXPLAINED) {
            write!(f, "\n{}", explain(&self.history, violation))?;
        }
        if !violations.is_empty() {
            for (replica, log) in self.logs.iter().enumerate() {
                writeln!(f, "\nlog of replica {replica} (last lines):\n{log}")?;
            }
        }
        Ok(())
    }
}
