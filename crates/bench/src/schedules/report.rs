//! What a run was, and what the oracle says of it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Plan;
use crate::checker::{Bound, History, Verdict, Writer, explain, judge};

/// Violations that are told with their history; the others are only counted.
const TOLD: usize = 5;

/// A run that has ended. Shown, it is a table, followed by the violations.
pub struct Report {
    plan: Plan,
    history: History,
    verdict: Verdict,
    /// The ends of the replicas' logs.
    logs: Vec<String>,
}

impl Report {
    pub(super) fn new(plan: Plan, history: History, logs: Vec<String>) -> Self {
        let verdict = judge(&history);
        Self {
            plan,
            history,
            verdict,
            logs,
        }
    }

    /// What the oracle says.
    pub fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// What happened.
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
            writeln!(f, "| answers, {source} | {count} |")?;
        }
        let unconfirmed = history.writes.iter().filter(|write| write.outcome.is_err());
        for (what, count) in [
            ("requests without a value (database away)", verdict.failed),
            (
                "writes through replicas",
                self.writes_by(|by| by != Writer::Peer),
            ),
            ("of them not confirmed (database away)", unconfirmed.count()),
            (
                "writes of the older program",
                self.writes_by(|by| by == Writer::Peer),
            ),
            ("fills of the older program", history.fills.len()),
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
            ("slowest answer, database well", verdict.slowest[0]),
            ("slowest answer, database away", verdict.slowest[1]),
            ("from a fault's end to memory, at most", verdict.recovery),
            (
                "from the last fault to every key in memory",
                verdict.last_key,
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
            "| answers older than a write | count | largest lag ms | allowed ms |"
        )?;
        writeln!(f, "|---|---|---|---|")?;
        for (bound, lag) in Bound::ALL.iter().zip(self.verdict.lags) {
            let (largest, allowed) = (ms(lag.largest), ms(bound.limit(longest)));
            let (name, count) = (bound.name(), lag.answers);
            writeln!(f, "| {name} | {count} | {largest:.1} | {allowed:.0} |")?;
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
        writeln!(f, "seed {seed}, {busy} s, guard of writes {guard}\n")?;
        self.counts(f)?;
        self.times(f)?;
        self.lags(f)?;
        let violations = &self.verdict.violations;
        for violation in violations.iter().take(TOLD) {
            write!(f, "\n{}", explain(&self.history, violation))?;
        }
        if !violations.is_empty() {
            for (replica, log) in self.logs.iter().enumerate() {
                writeln!(f, "\nthe end of the log of replica {replica}:\n{log}")?;
            }
        }
        Ok(())
    }
}
