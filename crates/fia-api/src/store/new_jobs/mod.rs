//! Insertion of new jobs, with their script, owner, run and instrument if these do not exist.
//!
//! Concurrent requests for the same row insert it once: a unique index ensures that where there
//! is one, an advisory lock where there is none.

mod insert;
mod original;
mod parts;
mod run;

pub use insert::{InsertedJob, NewJob, insert_autoreduction, insert_rerun, insert_simple};
pub use original::{Original, original};
pub use run::{KnownRun, run_of, run_of_file};
