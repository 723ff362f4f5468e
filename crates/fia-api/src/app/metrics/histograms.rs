//! Histograms in the text format. The recorder cannot import them: it accepts single values only.

use std::fmt::Write as _;

use crate::app::metrics::family::Family;
use crate::observe::Snapshot;

/// Appends a histogram family; each series has its label values in the order of the family.
pub(super) fn write<const N: usize>(
    text: &mut String,
    family: &Family,
    series: impl Iterator<Item = ([&'static str; N], Snapshot)>,
) {
    let name = family.name;
    let mut line = |line: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{line}");
    };
    line(format_args!("# HELP {name} {}", family.help));
    line(format_args!("# TYPE {name} histogram"));
    for (values, snapshot) in series {
        let labels = family.labels.iter().zip(values);
        let labels: Vec<String> = labels
            .map(|(label, value)| format!("{label}=\"{value}\""))
            .collect();
        let labels = labels.join(",");
        let comma = if labels.is_empty() { "" } else { "," };
        let braced = if labels.is_empty() {
            String::new()
        } else {
            format!("{{{labels}}}")
        };
        for (bound, count) in &snapshot.buckets {
            line(format_args!(
                "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}"
            ));
        }
        let (count, sum) = (snapshot.count, snapshot.sum.as_secs_f64());
        line(format_args!(
            "{name}_bucket{{{labels}{comma}le=\"+Inf\"}} {count}"
        ));
        line(format_args!("{name}_sum{braced} {sum}"));
        line(format_args!("{name}_count{braced} {count}"));
    }
}
