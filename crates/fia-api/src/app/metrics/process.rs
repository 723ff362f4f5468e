//! What the operating system knows of this process, under the names that every program uses.

use std::fs;

use metrics::{Unit, describe_gauge, gauge};

const MEMORY: &str = "process_resident_memory_bytes";
const OPEN_FILES: &str = "process_open_fds";
const START: &str = "process_start_time_seconds";
/// What Linux counts a process's times in, on every machine that this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

pub(super) fn describe() {
    describe_gauge!(MEMORY, Unit::Bytes, "Resident memory size in bytes.");
    describe_gauge!(OPEN_FILES, Unit::Count, "Number of open file descriptors.");
    describe_gauge!(
        START,
        Unit::Seconds,
        "Start time of the process since unix epoch in seconds."
    );
}

/// Takes the numbers; what cannot be read is left out.
pub(super) fn take() {
    if let Some(bytes) = resident() {
        gauge!(MEMORY).set(bytes);
    }
    if let Ok(files) = fs::read_dir("/proc/self/fd") {
        // One of them is the folder itself.
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
    // The name of the program comes second, in brackets, and may hold anything.
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
    fn this_process_has_memory_and_started_just_now() {
        assert!(resident().unwrap() > 1e6);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - start().unwrap();
        assert!((-2.0..3600.0).contains(&age), "{age}");
    }
}
