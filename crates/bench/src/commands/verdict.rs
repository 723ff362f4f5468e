//! The end of a benchmark's output.

use std::time::Duration;

use crate::Outcome;

/// Prints which guarantees hold. An error if one does not.
pub(super) fn verdict(guarantees: &[(&str, bool)]) -> Outcome {
    for (guarantee, holds) in guarantees {
        println!("{} {guarantee}", if *holds { "pass" } else { "FAIL" });
    }
    match guarantees.iter().find(|(_, holds)| !holds) {
        Some((guarantee, _)) => Err(format!("violated: {guarantee}").into()),
        None => Ok(()),
    }
}

/// A duration in milliseconds, to print it.
pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
