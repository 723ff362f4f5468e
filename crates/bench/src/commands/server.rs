//! The server that is measured: its start, its settings, its memory.

use std::path::Path;
use std::time::Duration;

use devstack::{Api, Postgres, Stack};

use crate::Outcome;

/// Starts a server on a stack, with `LOG_LEVEL=warn` and further settings.
pub(super) async fn start(
    server: &Path,
    stack: &Stack,
    settings: &[(&str, String)],
) -> Outcome<Api> {
    let mut env = stack.env();
    env.push(("LOG_LEVEL".to_owned(), "warn".to_owned()));
    env.extend(
        settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone())),
    );
    Ok(Api::start(server, env).await?)
}

/// The settings of a server that uses this database, and no Valkey.
pub(super) fn database_settings(postgres: &Postgres) -> Vec<(&'static str, String)> {
    vec![
        ("DB_IP", postgres.addr().ip().to_string()),
        ("DB_PORT", postgres.port().to_string()),
        ("DB_USERNAME", Postgres::USER.to_owned()),
        ("DB_PASSWORD", Postgres::PASSWORD.to_owned()),
        ("VALKEY_URL", String::new()),
    ]
}

/// The settings that give every cached read of the service's own data this TTL.
pub(super) fn ttl_settings(seconds: u64) -> Vec<(&'static str, String)> {
    fia_bench::TTL_VARIABLES
        .map(|name| (name, seconds.to_string()))
        .to_vec()
}

/// The resident memory of a process in MiB.
pub(super) fn resident_mib(pid: Option<u32>) -> Outcome<f64> {
    let pid = pid.ok_or("the server has exited")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = line
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .ok_or("the resident memory of the server cannot be read")?;
    Ok(kib / 1024.0)
}

/// The CPU time that all threads of a process have used.
pub(super) fn cpu_time(pid: Option<u32>) -> Outcome<Duration> {
    let pid = pid.ok_or("the server has exited")?;
    let mut nanoseconds = 0;
    for task in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let statistics = std::fs::read_to_string(task?.path().join("schedstat"))?;
        let used = statistics.split_whitespace().next();
        nanoseconds += used.ok_or("no CPU time")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(nanoseconds))
}
