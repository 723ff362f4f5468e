//! The cached routes: rates and latency relative to a constant handler, other caches, and optionally
//! a baseline binary.

use std::path::Path;

use devstack::{Stack, tokens};

use super::contenders::{Binary, Contender, Kind, address, constants, get, start_all};
use super::targets::{self, Measurement};
use super::wrk::{self, median};
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

/// The binaries to measure, and for how long.
pub(super) struct Setup<'a> {
    pub(super) server: &'a Path,
    /// Another binary of the server, to compare with.
    pub(super) baseline: Option<&'a Path>,
    /// A constant handler behind the server's edge.
    pub(super) edge: &'a Path,
    /// The duration of a round.
    pub(super) seconds: u32,
    /// How often each contender is measured on a route.
    pub(super) rounds: usize,
}

/// One measurement of a contender.
struct Round {
    run: wrk::Run,
    /// CPU time of a request.
    cpu_micros: f64,
}

pub(super) async fn run(setup: &Setup<'_>) -> Outcome {
    let Setup {
        seconds, rounds, ..
    } = setup;
    let stack = Stack::builder().postgres().valkey().start().await?;
    let servers = start_all(setup.server, setup.baseline, &stack).await?;
    println!(
        "wrk -t1 -c32 -d{seconds}s, LOG_LEVEL=warn except with access lines, medians of {rounds} rounds\n"
    );
    println!(
        "| route | bytes | served by | requests/s | ratio | p50 ms | p99 ms | MiB | CPU µs | of the floor's |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    let mut measurements = Vec::new();
    for path in ROUTES {
        // The uncached server defines the expected body.
        let body = get(address(&servers, Kind::Miss)?, path).await?.body;
        let constants = constants(setup.edge, &stack, body.len()).await?;
        let contenders: Vec<&Contender> = constants.iter().chain(&servers).collect();
        let measured = measure(&contenders, path, &body, setup).await?;
        for (contender, measurement) in contenders.iter().zip(measured) {
            println!(
                "| {path} | {} | {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.1} | {:.1} | {:.2} |",
                body.len(),
                contender.name(),
                measurement.rate,
                measurement.ratio,
                measurement.p50_ms,
                measurement.p99_ms,
                measurement.mib,
                measurement.cpu_micros,
                measurement.cpu_to_floor
            );
            if contender.binary == Binary::Measured {
                measurements.push(measurement);
            }
        }
    }
    compare(&measurements);
    targets::report(&measurements)
}

/// Prints the ratios to the baseline binary.
fn compare(measurements: &[Measurement]) {
    let compared = measurements
        .iter()
        .filter_map(|m| Some((m, m.to_baseline?)));
    let compared: Vec<_> = compared.collect();
    if compared.is_empty() {
        return;
    }
    println!("\n| route | served by | rate, of the baseline's | p99, of the baseline's |");
    println!("|---|---|---|---|");
    for (measurement, [rate, p99]) in compared {
        let name = measurement.kind.name();
        println!("| {} | {name} | {rate:.3} | {p99:.2} |", measurement.path);
    }
}

/// Measures each contender once per round. The start of the order rotates, and every other round has
/// the opposite direction, so that a contender and its baseline alternate in going first.
async fn measure(
    contenders: &[&Contender],
    path: &'static str,
    body: &[u8],
    setup: &Setup<'_>,
) -> Outcome<Vec<Measurement>> {
    let key = [("Authorization", format!("Bearer {}", tokens::API_KEY))];
    let mut runs: Vec<Vec<Round>> = contenders.iter().map(|_| Vec::new()).collect();
    for round in 0..setup.rounds {
        for i in order(contenders.len(), round, setup.rounds) {
            let contender = contenders[i];
            contender.warm(path, body).await?;
            let before = contender.cpu_micros()?;
            let run = wrk::run(&contender.url(path), setup.seconds, &key).await?;
            let cpu_micros = (contender.cpu_micros()? - before) / run.requests;
            runs[i].push(Round { run, cpu_micros });
            contender.check(path, body).await?;
        }
    }
    let find = |kind, binary| {
        let found = contenders
            .iter()
            .position(|c| c.kind == kind && c.binary == binary);
        found.map(|i| &runs[i])
    };
    let constant = find(Kind::Constant, Binary::Measured).ok_or("no constant handler")?;
    let floor = find(Kind::Floor, Binary::Measured).ok_or("no floor")?;
    let measurement = |(contender, runs): (&&Contender, &Vec<Round>)| {
        let median = |of: fn(&Round) -> f64| median(runs.iter().map(of).collect());
        let baseline = find(contender.kind, Binary::Baseline);
        Ok(Measurement {
            path,
            kind: contender.kind,
            rate: median(|round| round.run.rate),
            ratio: ratio(runs, constant, |round| round.run.rate),
            p50_ms: median(|round| round.run.p50_ms),
            p99_ms: median(|round| round.run.p99_ms),
            p99_ratio: ratio(runs, constant, |round| round.run.p99_ms),
            mib: contender.mib()?,
            cpu_micros: median(|round| round.cpu_micros),
            cpu_to_floor: ratio(runs, floor, |round| round.cpu_micros),
            cpu_to_constant: ratio(runs, constant, |round| round.cpu_micros),
            to_baseline: baseline.map(|baseline| {
                [
                    ratio(runs, baseline, |round| round.run.rate),
                    ratio(runs, baseline, |round| round.run.p99_ms),
                ]
            }),
        })
    };
    contenders.iter().zip(&runs).map(measurement).collect()
}

/// The order of the contenders in a round, by index.
fn order(count: usize, round: usize, rounds: usize) -> Vec<usize> {
    let rotated = (0..count).map(|i| (i + round * count / rounds) % count);
    if round.is_multiple_of(2) {
        rotated.collect()
    } else {
        rotated.rev().collect()
    }
}

/// The median over the rounds of a figure relative to another contender's in the same round.
fn ratio(runs: &[Round], others: &[Round], of: fn(&Round) -> f64) -> f64 {
    let pairs = runs.iter().zip(others);
    median(pairs.map(|(run, other)| of(run) / of(other)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_measures_every_contender_once() {
        for rounds in 1..6 {
            for round in 0..rounds {
                let mut order = order(12, round, rounds);
                order.sort_unstable();
                assert_eq!(order, (0..12).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn neighbours_alternate_in_going_first() {
        let first = |round| order(12, round, 4).into_iter().find(|i| [4, 5].contains(i));
        assert_eq!([0, 1, 2, 3].map(first), [4, 5, 4, 5].map(Some));
    }

    #[test]
    fn a_ratio_is_the_median_of_the_ratios_within_rounds() {
        let run = |rate| Round {
            run: wrk::Run {
                requests: rate,
                rate,
                p50_ms: 1.0,
                p99_ms: 1.0,
            },
            cpu_micros: 1.0,
        };
        let (ours, others) = ([10.0, 40.0, 90.0], [10.0, 20.0, 30.0]);
        let ratio = ratio(&ours.map(run), &others.map(run), |round| round.run.rate);
        assert!((ratio - 2.0).abs() < f64::EPSILON);
    }
}
