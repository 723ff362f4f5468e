//! The latency of a PATCH, with groups and without.

use std::time::{Duration, Instant};

use super::Fixture;
use crate::Outcome;
use crate::commands::client::Connection;
use crate::commands::milliseconds;
use crate::commands::new_jobs::bearer;

const PATCHES: usize = 500;
const BOUND: Duration = Duration::from_millis(1);

pub(super) async fn run(fixture: &Fixture<'_>) -> Outcome<Vec<(&'static str, bool)>> {
    let jobs = fixture.jobs().await?;
    let settings = |groups: &str| [("JOB_GROUPS", groups.to_owned())];
    let replicas = [
        fixture.replica(&settings("off")).await?,
        fixture.replica(&settings("on")).await?,
    ];
    let mut connections = Vec::new();
    for replica in &replicas {
        connections.push(Connection::open(replica.addr(), &bearer()).await?);
    }
    let mut times = [Vec::new(), Vec::new()];
    for i in 0..PATCHES {
        let path = format!("/job/{}", jobs.0[i % jobs.0.len()].id);
        for (connection, times) in connections.iter_mut().zip(&mut times) {
            let headers = [("content-type", "application/json")];
            let body = format!("{{\"status_message\": \"{i}\"}}");
            let sent = Instant::now();
            connection
                .send(http::Method::PATCH, &path, &headers, &body)
                .await?;
            times.push(sent.elapsed());
        }
    }
    println!("\n| JOB_GROUPS | PATCH p50 ms | p99 ms |\n|---|---|---|");
    for (groups, times) in ["off", "on"].iter().zip(&mut times) {
        times.sort();
        let at = |share: f64| milliseconds(times[(times.len() as f64 * share) as usize]);
        println!("| {groups} | {:.2} | {:.2} |", at(0.5), at(0.99));
    }
    let median = |times: &[Duration]| times[times.len() / 2];
    let more = median(&times[1]).saturating_sub(median(&times[0]));
    Ok(vec![(
        "a PATCH takes at most 1 ms more (p50)",
        more <= BOUND,
    )])
}
