//! New jobs, and what a job needs that may not be there yet: its script, owner, run, instrument.
//!
//! Two requests that want the same at the same time end with one row of it: a unique index sees
//! to that where there is one, a lock where there is none.

mod insert;
mod original;
mod parts;
mod run;

pub use insert::{NewJob, insert_autoreduction, insert_rerun, insert_simple};
pub use original::{Original, original};
pub use run::{KnownRun, NewRun, run_of, run_of_file};
