//! The performance targets of the cached routes.

use super::contenders::Kind;
use crate::Outcome;

/// The minimum rate of local hits, relative to the constant handler.
const RATE: f64 = 0.85;
/// The same with access lines.
const LOGGED_RATE: f64 = 0.6;
/// The maximum 99th percentile of the latency, relative to the constant handler.
const P99: f64 = 1.5;
/// The maximum resident memory.
const MIB: f64 = 40.0;
/// The maximum CPU time of a local hit, relative to the floor.
const CPU: f64 = 1.3;
/// The number of routes on which it must be below the constant handler's.
const CHEAPER_ROUTES: usize = 4;
/// The minimum rate of hits, relative to the baseline binary.
const BASELINE_RATE: f64 = 0.97;

/// The measurement of one contender on one route. Each figure is the median of the rounds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Measurement {
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    /// Requests a second.
    pub(super) rate: f64,
    /// The rate relative to the constant handler in the same round.
    pub(super) ratio: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// The 99th percentile relative to the constant handler in the same round.
    pub(super) p99_ratio: f64,
    /// Resident memory.
    pub(super) mib: f64,
    /// CPU time of a request in microseconds.
    pub(super) cpu_micros: f64,
    /// The CPU time relative to the floor and to the constant handler in the same round.
    pub(super) cpu_to_floor: f64,
    pub(super) cpu_to_constant: f64,
    /// The rate and the 99th percentile relative to the baseline binary in the same round.
    pub(super) to_baseline: Option<[f64; 2]>,
}

/// A target, with the figure of the worst route.
struct Target {
    name: String,
    worst: Option<(f64, &'static str)>,
    met: fn(f64) -> bool,
}

/// Prints which targets are met.
pub(super) fn report(lines: &[Measurement]) -> Outcome {
    println!("\n| target | worst | on | met |");
    println!("|---|---|---|---|");
    for target in targets(lines) {
        let (figure, path) = target.worst.ok_or("nothing was measured")?;
        let met = if (target.met)(figure) { "yes" } else { "NO" };
        println!("| {} | {figure:.2} | {path} | {met} |", target.name);
    }
    Ok(())
}

fn targets(lines: &[Measurement]) -> Vec<Target> {
    let of = |kind| lines.iter().filter(move |line| line.kind == kind);
    let least = |figures: &mut dyn Iterator<Item = (f64, &'static str)>| {
        figures.min_by(|a, b| a.0.total_cmp(&b.0))
    };
    let most = |figures: &mut dyn Iterator<Item = (f64, &'static str)>| {
        figures.max_by(|a, b| a.0.total_cmp(&b.0))
    };
    // Both ratios are to the constant handler of the same round, which cancels the machine's load.
    let against = |other| {
        let pairs = of(Kind::Memory).zip(of(other));
        least(&mut pairs.map(|(ours, theirs)| (ours.ratio / theirs.ratio, ours.path)))
    };
    let ratios = |kind| least(&mut of(kind).map(|line| (line.ratio, line.path)));
    let mut targets = vec![
        Target {
            name: format!("rate in memory, of the constant's: at least {RATE}"),
            worst: ratios(Kind::Memory),
            met: |ratio| ratio >= RATE,
        },
        Target {
            name: format!("the same with access lines: at least {LOGGED_RATE}"),
            worst: ratios(Kind::Logged),
            met: |ratio| ratio >= LOGGED_RATE,
        },
        Target {
            name: format!("p99 in memory, of the constant's: at most {P99}"),
            worst: most(&mut of(Kind::Memory).map(|line| (line.p99_ratio, line.path))),
            met: |ratio| ratio <= P99,
        },
        Target {
            name: format!("memory: less than {MIB} MiB"),
            worst: most(&mut of(Kind::Memory).map(|line| (line.mib, line.path))),
            met: |mib| mib < MIB,
        },
        Target {
            name: "rate in memory, of nginx's: more than 1".to_owned(),
            worst: against(Kind::Nginx),
            met: |ratio| ratio > 1.0,
        },
        Target {
            name: "rate in memory, of Varnish's: more than 1".to_owned(),
            worst: against(Kind::Varnish),
            met: |ratio| ratio > 1.0,
        },
    ];
    targets.extend(cpu_targets(of(Kind::Memory)));
    for kind in [Kind::Memory, Kind::Logged, Kind::Valkey] {
        let ratios = of(kind).filter_map(|line| Some((line.to_baseline?[0], line.path)));
        if let Some(worst) = least(&mut ratios.into_iter()) {
            targets.push(Target {
                name: format!(
                    "rate, {}, of the baseline's: at least {BASELINE_RATE}",
                    kind.name()
                ),
                worst: Some(worst),
                met: |ratio| ratio >= BASELINE_RATE,
            });
        }
    }
    targets
}

/// The targets of the CPU time of hits in memory.
fn cpu_targets<'a>(hits: impl Iterator<Item = &'a Measurement> + Clone) -> [Target; 2] {
    let to_floor = hits.clone().map(|line| (line.cpu_to_floor, line.path));
    let to_constant = hits.map(|line| (line.cpu_to_constant, line.path));
    let mut to_constant: Vec<_> = to_constant.collect();
    to_constant.sort_by(|a, b| a.0.total_cmp(&b.0));
    [
        Target {
            name: format!("CPU time in memory, of the floor's: at most {CPU}"),
            worst: to_floor.max_by(|a, b| a.0.total_cmp(&b.0)),
            met: |ratio| ratio <= CPU,
        },
        Target {
            name: format!("the same, of the constant's on the {CHEAPER_ROUTES} best: less than 1"),
            worst: to_constant.get(CHEAPER_ROUTES - 1).copied(),
            met: |ratio| ratio < 1.0,
        },
    ]
}
