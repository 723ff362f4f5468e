//! What the cached routes must reach, on each of them.

use super::contenders::Kind;
use crate::Outcome;

/// The least part of the constant handler's rate.
const RATE: f64 = 0.85;
/// The same with access lines.
const LOGGED_RATE: f64 = 0.6;
/// The most of its 99th percentile.
const P99: f64 = 1.5;
/// The most resident memory.
const MIB: f64 = 40.0;

/// What was measured of one contender on one route: the median of each figure over the turns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    /// Requests a second.
    pub(super) rate: f64,
    /// The rate's part of the constant handler's in the same turn.
    pub(super) ratio: f64,
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    /// The same of the 99th percentile.
    pub(super) p99_ratio: f64,
    /// Resident memory.
    pub(super) mib: f64,
}

/// One bar: its figure on the route where it is worst.
struct Bar {
    name: String,
    worst: Option<(f64, &'static str)>,
    met: fn(f64) -> bool,
}

/// Says which bars are met.
pub(super) fn judge(lines: &[Line]) -> Outcome {
    println!("\n| bar | worst | on | met |");
    println!("|---|---|---|---|");
    for bar in bars(lines) {
        let (figure, path) = bar.worst.ok_or("nothing was measured")?;
        let met = if (bar.met)(figure) { "yes" } else { "NO" };
        println!("| {} | {figure:.2} | {path} | {met} |", bar.name);
    }
    Ok(())
}

fn bars(lines: &[Line]) -> Vec<Bar> {
    let of = |kind| lines.iter().filter(move |line| line.kind == kind);
    let least = |figures: &mut dyn Iterator<Item = (f64, &'static str)>| {
        figures.min_by(|a, b| a.0.total_cmp(&b.0))
    };
    let most = |figures: &mut dyn Iterator<Item = (f64, &'static str)>| {
        figures.max_by(|a, b| a.0.total_cmp(&b.0))
    };
    // Both are parts of the same turn's constant, so the machine's moods cancel out.
    let against = |other| {
        let pairs = of(Kind::Memory).zip(of(other));
        least(&mut pairs.map(|(ours, theirs)| (ours.ratio / theirs.ratio, ours.path)))
    };
    let ratios = |kind| least(&mut of(kind).map(|line| (line.ratio, line.path)));
    vec![
        Bar {
            name: format!("rate in memory, of the constant's: at least {RATE}"),
            worst: ratios(Kind::Memory),
            met: |ratio| ratio >= RATE,
        },
        Bar {
            name: format!("the same with access lines: at least {LOGGED_RATE}"),
            worst: ratios(Kind::Logged),
            met: |ratio| ratio >= LOGGED_RATE,
        },
        Bar {
            name: format!("p99 in memory, of the constant's: at most {P99}"),
            worst: most(&mut of(Kind::Memory).map(|line| (line.p99_ratio, line.path))),
            met: |ratio| ratio <= P99,
        },
        Bar {
            name: format!("memory: less than {MIB} MiB"),
            worst: most(&mut of(Kind::Memory).map(|line| (line.mib, line.path))),
            met: |mib| mib < MIB,
        },
        Bar {
            name: "rate in memory, of nginx's: more than 1".to_owned(),
            worst: against(Kind::Nginx),
            met: |ratio| ratio > 1.0,
        },
        Bar {
            name: "rate in memory, of Varnish's: more than 1".to_owned(),
            worst: against(Kind::Varnish),
            met: |ratio| ratio > 1.0,
        },
    ]
}
