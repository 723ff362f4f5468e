//! Process metrics under Prometheus' conventional names.

use std::fs;

use metrics::{Unit, gauge};

use crate::app::metrics::family::Family;

const MEMORY: &str = "process_resident_memory_bytes";
const OPEN_FILES: &str = "process_open_fds";
const START: &str = "process_start_time_seconds";
/// The unit of process times in `/proc` (`USER_HZ`), on every platform that Rust targets.
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) const FAMILIES: [Family; 3] = [
    Family::gauge(MEMORY, &[], Unit::Bytes, "Resident memory size in bytes."),
    Family::gauge(
        OPEN_FILES,
        &[],
        Unit::Count,
        "Number of open file descriptors.",
    ),
    Family::gauge(
        START,
        &[],
        Unit::Seconds,
        "Start time of the process since unix epoch in seconds.",
    ),
];

/// Collects the metrics; omits those that cannot be read.
pub(super) fn collect() {
    if let Some(bytes) = resident() {
        gauge!(MEMORY).set(bytes);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // One of them is the open directory itself.
        gauge!(OPEN_FILES).set(files.count().saturating_sub(1) as f64);
    }
    if let Some(start) = start() {
        gauge!(START).set(start);
    }
}

fn resident() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kilobytes * 1024.0)
}

fn start() -> Option<f64> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses, which may contain anything.
    let (_, after_name) = stat.rsplit_once(')')?;
    let ticks: f64 = after_name.split_whitespace().nth(19)?.parse().ok()?;
    let system = fs::read_to_string("/proc/stat").ok()?;
    let boot = system
        .lines()
        .find_map(|line| line.strip_prefix("btime "))?;
    Some(boot.trim().parse::<f64>().ok()? + ticks / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use std::time::{SystemTime, UNIX_EPOCH};

    use super::*;

    #[test]
    fn memory_and_start_time_of_this_process_are_plausible() {
        assert!(resident().unwrap() > 1e6);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - start().unwrap();
        assert!((-2.0..3600.0).contains(&age), "{age}");
    }
}
