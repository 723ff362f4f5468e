//! A readable account of a violation.

use std::time::Duration;

use super::{History, Span, Violation};

/// How much of the history before and after a violation is included.
const BEFORE: Duration = Duration::from_secs(3);
const AFTER: Duration = Duration::from_millis(300);

/// Describes a violation with the events of its key around it: writes, fills, faults, and the
/// responses where they changed.
pub fn explain(history: &History, violation: &Violation) -> String {
    let around = Span {
        from: violation.span.from.saturating_sub(BEFORE),
        to: violation.span.to + AFTER,
    };
    let of_key = |key: usize| violation.key.is_none_or(|wanted| wanted == key);
    let mut lines = Vec::new();
    for write in &history.writes {
        if of_key(write.key) && write.span.overlaps(around, Duration::ZERO) {
            let outcome = write.outcome.as_ref().err().map_or("returned", |why| why);
            let line = format!("write {} by {:?}: {outcome}", write.version, write.by);
            lines.push((write.span, line));
        }
    }
    for fill in &history.fills {
        if of_key(fill.key) && fill.span.overlaps(around, Duration::ZERO) {
            lines.push((
                fill.span,
                format!("the legacy client stored {}", fill.version),
            ));
        }
    }
    for fault in &history.faults {
        if fault.span.overlaps(around, Duration::ZERO) {
            lines.push((fault.span, format!("{} ({:?})", fault.kind, fault.target)));
        }
    }
    // Without a key there would be too many responses to read.
    if let Some(key) = violation.key {
        changes(history, key, around, &mut lines);
    }
    lines.sort_by_key(|(span, _)| span.from);
    let key = violation.key.map_or("", |key| &history.keys[key].name);
    let mut text = format!(
        "{} {key}: {}\n",
        seconds(violation.span),
        violation.description
    );
    for (span, line) in lines {
        text.push_str(&format!("    {} {line}\n", seconds(span)));
    }
    text
}

/// Appends the responses of each replica, with consecutive equal ones merged.
fn changes(history: &History, key: usize, around: Span, lines: &mut Vec<(Span, String)>) {
    let mut reads: Vec<_> = history
        .reads
        .iter()
        .filter(|read| read.key == key && read.span.overlaps(around, Duration::ZERO))
        .collect();
    reads.sort_by_key(|read| (read.replica, read.span.from));
    for same in
        reads.chunk_by(|one, next| one.replica == next.replica && one.outcome == next.outcome)
    {
        let span = Span {
            from: same[0].span.from,
            to: same[same.len() - 1].span.to,
        };
        let (replica, times) = (same[0].replica, same.len());
        let outcome = &same[0].outcome;
        lines.push((span, format!("{times} × replica {replica}: {outcome:?}")));
    }
}

fn seconds(span: Span) -> String {
    format!(
        "{:9.4} – {:9.4}",
        span.from.as_secs_f64(),
        span.to.as_secs_f64()
    )
}
