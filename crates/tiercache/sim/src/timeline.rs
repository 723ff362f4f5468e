//! The text of a timeline: a column for each process.

use crate::trace::{Line, Who};

/// The lines before the end that are printed at most.
const MOST: usize = 400;
/// The width of a column's indentation.
const INDENT: usize = 2;

/// Prints the last lines of a timeline.
pub(crate) fn print(lines: &[Line]) {
    let skipped = lines.len().saturating_sub(MOST);
    if skipped > 0 {
        println!("({skipped} earlier lines)");
    }
    for Line { at, who, text } in &lines[skipped..] {
        let (column, name) = match who {
            Who::World => (0, "fault".to_owned()),
            Who::Database => (1, "database".to_owned()),
            Who::Valkey => (2, "Valkey".to_owned()),
            Who::Process(process) => (3 + process, format!("process {process}")),
        };
        println!("{at:>6} ms {}{name}: {text}", " ".repeat(column * INDENT));
    }
}
