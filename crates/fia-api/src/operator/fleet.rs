//! The fleet: each replica keeps a line about itself in Valkey, from which every replica's page
//! shows all of them.
//!
//! The ids are members of a set, so that no replica has to search Valkey's keys; a line expires
//! after 10 s. Lines are outside of the prefixes that client tracking follows.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;
use redis::{cmd, pipe};
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};

use crate::operator::at::At;
use crate::operator::valkey::{Valkey, ValkeyError};
use crate::ops::Readiness;

/// The set of the ids of all replicas. The keys of their lines begin with it: in a cluster the part
/// within braces has them all in one slot.
pub(super) const REPLICAS: &str = "fia_api:{fleet}";
/// The interval between two lines.
const INTERVAL: Duration = Duration::from_secs(2);
/// The TTL of a line, in seconds.
const LINE_TTL: u64 = 10;
/// The age of a line from which on its replica is taken to have fallen silent if the line is gone:
/// that of three missed ones. Valkey may have lost the lines of all of them.
const SILENCE: u64 = 6;
/// The time for which a replica that fell silent is shown.
const MEMORY: Duration = Duration::from_secs(600);

/// The line of a replica about itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) replica: String,
    pub(super) version: String,
    /// When it started, in seconds since the epoch.
    pub(super) started: u64,
    /// When it wrote the line, likewise.
    pub(super) written: u64,
    /// `ok`, `degraded` or `failing`.
    pub(super) level: String,
    /// What it says of its responses.
    pub(super) sentence: String,
    pub(super) requests_per_second: f64,
    pub(super) local_entries: usize,
    pub(super) pending_invalidations: usize,
    pub(super) is_draining: bool,
}

/// The replicas as one of them sees them.
#[derive(Debug, Default, Clone, Serialize)]
pub(super) struct Fleet {
    /// All replicas with a line, by their ids.
    pub(super) replicas: Vec<Line>,
    /// The last lines of replicas that fell silent without having been drained.
    pub(super) silent: Vec<Line>,
    /// Why other replicas are not known.
    pub(super) problem: Option<String>,
}

/// What is known of the fleet; refreshed every 2 s.
#[derive(Default)]
pub(super) struct FleetWatch(Mutex<Known>);

#[derive(Default)]
struct Known {
    lines: Vec<Line>,
    /// The last line of every replica that was seen.
    seen: BTreeMap<String, Line>,
    problem: Option<String>,
    /// When the lines were last read, and when that last failed, in seconds since the epoch.
    read: u64,
    failed: u64,
}

impl FleetWatch {
    /// Writes this replica's line, and reads those of all. Never ends.
    pub(super) async fn run(
        &self,
        valkey: &Valkey,
        readiness: &Readiness,
        line: impl Fn() -> Line,
    ) {
        if !valkey.is_configured() {
            return std::future::pending().await;
        }
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                // The last line of a process says that it has ended.
                () = readiness.drained(), if !readiness.is_draining() => {}
            }
            let lines = exchange(valkey, &line()).await;
            self.update(lines, At::now().unix());
        }
    }

    fn update(&self, lines: Result<Vec<Line>, ValkeyError>, now: u64) {
        let mut known = self.0.lock();
        match lines {
            Ok(lines) => {
                let kept = |line: &Line| now.saturating_sub(line.written) < MEMORY.as_secs();
                known.seen.retain(|_, line| kept(line));
                let seen = lines
                    .iter()
                    .map(|line| (line.replica.clone(), line.clone()));
                known.seen.extend(seen);
                known.lines = lines;
                known.problem = None;
                known.read = now;
            }
            Err(error) => {
                known.problem = Some(format!("Valkey: {error}"));
                known.failed = now;
            }
        }
    }

    /// The fleet, with the present line of this replica.
    pub(super) fn fleet(&self, own: Line) -> Fleet {
        let known = self.0.lock();
        let is_known = known.problem.is_none();
        let others = known
            .lines
            .iter()
            .filter(|line| is_known && line.replica != own.replica);
        let mut replicas: Vec<Line> = others.cloned().collect();
        let is_silent = |line: &&Line| {
            let is_present = known.lines.iter().any(|one| one.replica == line.replica);
            // After an outage of Valkey, each replica has to write its line first.
            let missed_from = line.written.max(known.failed);
            let is_overdue = known.read.saturating_sub(missed_from) >= SILENCE;
            let is_other = line.replica != own.replica;
            is_known && !is_present && is_overdue && !line.is_draining && is_other
        };
        let silent = known.seen.values().filter(is_silent).cloned().collect();
        replicas.push(own);
        replicas.sort_by(|one, other| one.replica.cmp(&other.replica));
        Fleet {
            replicas,
            silent,
            problem: known.problem.clone(),
        }
    }
}

fn key(replica: &str) -> String {
    format!("{REPLICAS}:{replica}")
}

/// Writes a line, and reads those of all replicas.
async fn exchange(valkey: &Valkey, own: &Line) -> Result<Vec<Line>, ValkeyError> {
    let text = serde_json::to_string(own).unwrap_or_default();
    let mut write = pipe();
    write
        .cmd("SET")
        .arg(key(&own.replica))
        .arg(text)
        .arg("EX")
        .arg(LINE_TTL);
    write
        .ignore()
        .cmd("SADD")
        .arg(REPLICAS)
        .arg(&own.replica)
        .ignore();
    write.cmd("SMEMBERS").arg(REPLICAS);
    let (replicas,): (Vec<String>,) = valkey.call_all(&write).await?;
    let mut read = cmd("MGET");
    for replica in &replicas {
        read.arg(key(replica));
    }
    let texts: Vec<Option<String>> = valkey.call(&read).await?;
    let mut expired = cmd("SREM");
    expired.arg(REPLICAS);
    let mut has_expired = false;
    let mut lines = Vec::new();
    for (replica, text) in replicas.iter().zip(texts) {
        match text {
            // Those of other versions may differ.
            Some(text) => lines.extend(serde_json::from_str::<Line>(&text).ok()),
            None => {
                expired.arg(replica);
                has_expired = true;
            }
        }
    }
    if has_expired {
        let _: u64 = valkey.call(&expired).await?;
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(replica: &str, written: u64) -> Line {
        Line {
            replica: replica.to_owned(),
            version: String::new(),
            started: 0,
            written,
            level: "ok".to_owned(),
            sentence: String::new(),
            requests_per_second: 0.0,
            local_entries: 0,
            pending_invalidations: 0,
            is_draining: replica == "drained",
        }
    }

    fn ids(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| &*line.replica).collect()
    }

    #[test]
    fn a_replica_that_fell_silent_is_remembered_unless_it_was_drained() {
        let watch = FleetWatch::default();
        let lines = vec![line("b", 100), line("drained", 100), line("own", 100)];
        watch.update(Ok(lines), 100);
        assert_eq!(
            ids(&watch.fleet(line("own", 100)).replicas),
            ["b", "drained", "own"]
        );
        watch.update(Ok(vec![line("own", 112)]), 112);
        let fleet = watch.fleet(line("own", 112));
        assert_eq!(ids(&fleet.replicas), ["own"]);
        assert_eq!(ids(&fleet.silent), ["b"]);
        watch.update(Err(ValkeyError::Unavailable), 114);
        let fleet = watch.fleet(line("own", 114));
        assert_eq!((ids(&fleet.replicas), fleet.silent.len()), (vec!["own"], 0));
        assert!(fleet.problem.is_some());
        watch.update(Ok(vec![line("own", 800)]), 800);
        assert!(watch.fleet(line("own", 800)).silent.is_empty());
    }

    #[test]
    fn lines_that_valkey_lost_are_awaited() {
        let silent = |watch: &FleetWatch| watch.fleet(line("own", 0)).silent.len();
        let watch = FleetWatch::default();
        watch.update(Ok(vec![line("b", 100), line("own", 100)]), 100);
        // Flushed.
        watch.update(Ok(vec![line("own", 104)]), 104);
        assert_eq!(silent(&watch), 0);
        watch.update(Ok(vec![line("b", 105), line("own", 106)]), 106);
        // Restarted after an outage.
        watch.update(Err(ValkeyError::Unavailable), 130);
        watch.update(Ok(vec![line("own", 132)]), 132);
        assert_eq!(silent(&watch), 0);
        watch.update(Ok(vec![line("own", 136)]), 136);
        assert_eq!(silent(&watch), 1);
    }
}
