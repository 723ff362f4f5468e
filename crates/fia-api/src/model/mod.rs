//! Values of the domain, without I/O.

mod cached_column;
pub mod canonical;
mod dates;
pub mod dumps;
pub mod encoding;
pub mod error_chain;
mod filter;
mod hex;
pub mod input;
mod instrument;
mod job;
mod job_changes;
mod job_list;
pub mod json;
mod message;
mod missing_files;
mod new_run;
pub mod openapi;
pub mod python;
pub mod script_text;
mod timestamp;

pub use cached_column::{BodyForm, CachedColumn, ColumnKind};
pub use dates::civil_date;
pub use filter::{BadFilter, Condition, Filters, TextField, TimeField};
pub use hex::hex;
pub use instrument::InstrumentName;
pub use job::{Job, JobOrigin, JobState, Owner, Run, ScriptText};
pub use job_changes::{JobChanges, NewValue};
pub use job_list::{Direction, JobList, OrderBy, Ordering, Page, Selection};
pub use message::{Message, Program, RunData};
pub use missing_files::{HEADER_ENCODED, MissingFiles};
pub use new_run::{NewRun, RbNumber};
pub use timestamp::Timestamp;
