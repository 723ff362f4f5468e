//! The table `jobs`, with what belongs to a job: its script, run, owner.
//!
//! Lists and counts are of jobs that have a run; they look at the run's owner and instrument,
//! not at the job's own. A statement joins what its filters and its order need, and no more.

mod count;
mod list;
mod origin;
mod row;
mod selection;
mod single;
mod time;
mod update;
mod values;

pub use count::count;
pub use list::{Listing, page};
pub use origin::origins;
pub use selection::Viewer;
pub use single::{Found, find};
pub use update::{parse_timestamp, update};
