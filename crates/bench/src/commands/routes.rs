//! The cached routes: how near each comes to a constant, and what others make of them.

use std::path::Path;

use devstack::{Stack, tokens};

use super::bars::{Line, judge};
use super::contenders::{Contender, Kind, address, constants, get, lasting};
use super::wrk;
use crate::Outcome;

/// The cached reads.
pub(super) const ROUTES: [&str; 6] = [
    "/live-data/instruments",
    "/live-data/MARI/script",
    "/instrument/MARI/specification",
    "/instrument/MARI/latest-run",
    "/jobs/count",
    "/jobs?limit=10&include_run=true",
];

const TURNS: usize = 3;

pub(super) async fn run(server: &Path, edge: &Path, seconds: u32) -> Outcome {
    let stack = Stack::builder().postgres().valkey().start().await?;
    let lasting = lasting(server, &stack).await?;
    println!(
        "wrk -t1 -c32 -d{seconds}s, LOG_LEVEL=warn but where there are access lines, medians of {TURNS} turns\n"
    );
    println!("| route | bytes | answered by | requests/s | ratio | p50 ms | p99 ms | MiB |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut lines = Vec::new();
    for path in ROUTES {
        // The one that asks PostgreSQL says what is right.
        let body = get(address(&lasting, Kind::Miss)?, path).await?.body;
        let constants = constants(edge, &stack, body.len()).await?;
        let contenders: Vec<&Contender> = constants.iter().chain(&lasting).collect();
        for line in measure(&contenders, path, &body, seconds).await? {
            println!(
                "| {path} | {} | {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.1} |",
                body.len(),
                line.kind.name(),
                line.rate,
                line.ratio,
                line.p50_ms,
                line.p99_ms,
                line.mib
            );
            lines.push(line);
        }
    }
    judge(&lines)
}

/// Each contender once a turn, another one first in each.
async fn measure(
    contenders: &[&Contender],
    path: &'static str,
    body: &[u8],
    seconds: u32,
) -> Outcome<Vec<Line>> {
    let key = [("Authorization", format!("Bearer {}", tokens::API_KEY))];
    let mut runs = vec![Vec::new(); contenders.len()];
    for turn in 0..TURNS {
        for i in 0..contenders.len() {
            let i = (i + turn * contenders.len() / TURNS) % contenders.len();
            contenders[i].warm(path, body).await?;
            runs[i].push(wrk::run(&contenders[i].url(path), seconds, &key).await?);
            contenders[i].check(path, body).await?;
        }
    }
    let constant = contenders.iter().position(|c| c.kind == Kind::Constant);
    let constant = runs[constant.ok_or("no constant handler")?].clone();
    let line = |(contender, runs): (&&Contender, Vec<wrk::Run>)| {
        let median = |of: &dyn Fn(&wrk::Run) -> f64| median(runs.iter().map(of).collect());
        let ratio = |of: &dyn Fn(&wrk::Run) -> f64| {
            let pairs = runs.iter().zip(&constant);
            self::median(
                pairs
                    .map(|(run, constant)| of(run) / of(constant))
                    .collect(),
            )
        };
        Ok(Line {
            path,
            kind: contender.kind,
            rate: median(&|run| run.rate),
            ratio: ratio(&|run| run.rate),
            p50_ms: median(&|run| run.p50_ms),
            p99_ms: median(&|run| run.p99_ms),
            p99_ratio: ratio(&|run| run.p99_ms),
            mib: contender.mib()?,
        })
    };
    contenders.iter().zip(runs).map(line).collect()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
