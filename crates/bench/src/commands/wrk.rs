//! Runs `wrk` and parses its output.

use tokio::process::Command;

use crate::Outcome;

/// The result of one run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    /// Completed requests.
    pub(super) requests: f64,
    /// Requests per second.
    pub(super) rate: f64,
    /// The median latency, in milliseconds.
    pub(super) p50_ms: f64,
    /// The 99th percentile of the latency, in milliseconds.
    pub(super) p99_ms: f64,
}

/// Runs `wrk` with one thread and 32 connections.
pub(super) async fn run(url: &str, seconds: u32, headers: &[(&str, String)]) -> Outcome<Run> {
    run_script(url, seconds, headers, None).await
}

/// Runs `wrk` as [`run`] does, with a Lua script.
pub(super) async fn run_script(
    url: &str,
    seconds: u32,
    headers: &[(&str, String)],
    script: Option<&str>,
) -> Outcome<Run> {
    let mut wrk = Command::new("wrk");
    wrk.args(["-t1", "-c32", &format!("-d{seconds}s"), "--latency", url]);
    for (name, value) in headers {
        wrk.args(["-H", &format!("{name}: {value}")]);
    }
    if let Some(script) = script {
        wrk.args(["--script", script]);
    }
    let output = wrk
        .output()
        .await
        .map_err(|e| format!("wrk (scripts/install-deps bench): {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() || text.contains("Non-2xx") || text.contains("Socket errors") {
        return Err(format!("wrk reported errors at {url}:\n{text}").into());
    }
    let after = |label: &str| {
        let line = text
            .lines()
            .map(str::trim)
            .find_map(|line| line.strip_prefix(label));
        line.map(str::trim)
            .ok_or_else(|| format!("wrk printed no {label}:\n{text}"))
    };
    let time = |label| -> Outcome<f64> {
        milliseconds(after(label)?).ok_or_else(|| format!("wrk's {label} cannot be parsed").into())
    };
    let completed = text
        .lines()
        .find_map(|line| line.trim().split_once(" requests in "));
    let (requests, _) = completed.ok_or_else(|| format!("wrk printed no count:\n{text}"))?;
    Ok(Run {
        requests: requests.parse()?,
        rate: after("Requests/sec:")?.parse()?,
        p50_ms: time("50%")?,
        p99_ms: time("99%")?,
    })
}

/// The median of the figures of several runs.
pub(super) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn milliseconds(text: &str) -> Option<f64> {
    let factor = [("us", 1e-3), ("ms", 1.0), ("s", 1e3)];
    let (unit, factor) = factor.into_iter().find(|(unit, _)| text.ends_with(unit))?;
    Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * factor)
}
