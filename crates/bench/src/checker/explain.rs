//! What happened around a violation, for people.

use std::time::Duration;

use super::{History, Outcome, Span, Violation};

/// How much of the history before a violation is told, and after it.
const BEFORE: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_millis(300);

/// A violation with the history of its key around it: writes, fills, faults, and the answers
/// where they changed.
pub fn explain(history: &History, violation: &Violation) -> String {
    let around = Span {
        from: violation.span.from.saturating_sub(BEFORE),
        to: violation.span.to + AFTER,
    };
    let of_key = |key: usize| violation.key.is_none_or(|wanted| wanted == key);
    let mut lines = Vec::new();
    for write in &history.writes {
        if of_key(write.key) && write.span.meets(around, Duration::ZERO) {
            let outcome = write.outcome.as_ref().err().map_or("returned", |why| why);
            let told = format!("write {} by {:?}: {outcome}", write.version, write.by);
            lines.push((write.span, told));
        }
    }
    for fill in &history.fills {
        if of_key(fill.key) && fill.span.meets(around, Duration::ZERO) {
            lines.push((fill.span, format!("the peer stored {}", fill.version)));
        }
    }
    for fault in &history.faults {
        if fault.span.meets(around, Duration::ZERO) {
            lines.push((fault.span, format!("{} ({:?})", fault.kind, fault.hits)));
        }
    }
    // Without a key the answers would be too many to read.
    if let Some(key) = violation.key {
        changes(history, key, around, &mut lines);
    }
    lines.sort_by_key(|(span, _)| span.from);
    let key = violation.key.map_or("", |key| &history.keys[key].name);
    let mut text = format!("{} {key}: {}\n", seconds(violation.span), violation.what);
    for (span, line) in lines {
        text.push_str(&format!("    {} {line}\n", seconds(span)));
    }
    text
}

/// The answers of each replica that differ from the one before, and how often each was repeated.
fn changes(history: &History, key: usize, around: Span, lines: &mut Vec<(Span, String)>) {
    let mut reads: Vec<_> = history
        .reads
        .iter()
        .filter(|read| read.key == key && read.span.meets(around, Duration::ZERO))
        .collect();
    reads.sort_by_key(|read| (read.replica, read.span.from));
    for same in reads
        .chunk_by(|one, next| one.replica == next.replica && alike(&one.outcome, &next.outcome))
    {
        let span = Span {
            from: same[0].span.from,
            to: same[same.len() - 1].span.to,
        };
        let (replica, times) = (same[0].replica, same.len());
        let outcome = &same[0].outcome;
        lines.push((
            span,
            format!("{times} × replica {replica} answered {outcome:?}"),
        ));
    }
}

fn alike(one: &Outcome, other: &Outcome) -> bool {
    match (one, other) {
        (Outcome::Value(one, from), Outcome::Value(other, also)) => (one, from) == (other, also),
        (Outcome::Failed(one), Outcome::Failed(other)) => one == other,
        _ => false,
    }
}

fn seconds(span: Span) -> String {
    format!(
        "{:9.4} – {:9.4}",
        span.from.as_secs_f64(),
        span.to.as_secs_f64()
    )
}
