//! The table `jobs`, with the script, run and owner of each job.
//!
//! Lists and counts contain only jobs with a run; they use the run's owner and instrument, not
//! the job's own. A statement joins only the tables that its filters and its order need.

mod count;
mod joins;
mod list;
mod order;
mod origin;
mod page;
mod row;
mod selection;
mod single;
mod tables;
mod texts;
mod time;
mod update;
mod values;

pub use count::count;
pub use list::{Listing, page};
pub use origin::origins;
pub(super) use row::RUN_INSTRUMENT;
pub use selection::Viewer;
pub use single::{FoundJob, find};
pub use update::{parse_timestamp, update};
