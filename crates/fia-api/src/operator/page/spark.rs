//! Sparklines: reads per second by level, stacked, of the last two minutes, as inline SVG.
//!
//! Drawn by the server, so that they need no script and no library. All geometry is in attributes:
//! the page's policy forbids styles within it.

use std::fmt::Write as _;

use maud::{Markup, html};

use crate::operator::history::{History, Rates};

const WIDTH: usize = 2 * History::POINTS;
const HEIGHT: f64 = 28.0;
/// The classes of the levels, in stacking order.
const LEVELS: [&str; 4] = ["memory", "valkey", "miss", "stale"];

/// A chart; empty history is at its left.
pub(super) fn stacked(rates: &Rates) -> Markup {
    let levels = rates.levels();
    let points = levels.iter().map(|level| level.len()).max().unwrap_or(0);
    let total = |point: usize| -> f64 { levels.iter().filter_map(|level| level.get(point)).sum() };
    let highest = (0..points).map(total).fold(0.0, f64::max);
    let label = format!("Reads per second, last two minutes; at most {highest:.1}");
    html! {
        svg.spark viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(label) {
            @if highest > 0.0 {
                @for (index, name) in LEVELS.iter().enumerate() {
                    @let below = levels.get(..index).unwrap_or_default();
                    @let own = levels.get(index).copied().unwrap_or_default();
                    @if own.iter().any(|rate| *rate > 0.0) {
                        path class=(name) d=(area(below, own, highest)) {}
                    }
                }
            }
        }
    }
}

/// The area between the sum of the levels below and the level on top of it, in steps.
fn area(below: &[&[f64]], own: &[f64], highest: f64) -> String {
    let from = History::POINTS.saturating_sub(own.len());
    let x = |point: usize| 2 * (from + point);
    let base = |point: usize| -> f64 { below.iter().filter_map(|level| level.get(point)).sum() };
    let y = |rate: f64| HEIGHT - rate / highest * HEIGHT;
    let mut path = String::new();
    for (point, rate) in own.iter().enumerate() {
        let command = if point == 0 { 'M' } else { 'L' };
        let top = y(base(point) + rate);
        // Writing to a string does not fail.
        let _ = write!(path, "{command}{} {top:.1}H{}", x(point), x(point) + 2);
    }
    for point in (0..own.len()).rev() {
        let _ = write!(path, "L{} {:.1}H{}", x(point) + 2, y(base(point)), x(point));
    }
    path.push('Z');
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_stacked_and_end_at_the_right() {
        let (below, own) = ([5.0, 5.0], [5.0, 0.0]);
        assert_eq!(
            area(&[&below], &own, 10.0),
            "M116 0.0H118L118 14.0H120L120 14.0H118L118 14.0H116Z"
        );
    }

    #[test]
    fn an_idle_read_has_an_empty_chart() {
        let chart = stacked(&Rates::default()).into_string();
        assert!(!chart.contains("path"), "{chart}");
    }
}
