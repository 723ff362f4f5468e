//! Values of the domain, with no I/O.

mod cached_column;
pub mod canonical;
pub mod dumps;
pub mod error_chain;
mod filter;
mod instrument;
mod job;
mod job_list;
pub mod json;
mod message;
mod missing_files;
pub mod openapi;
pub mod python;
pub mod script_text;
mod timestamp;

pub use cached_column::{BodyForm, CachedColumn, ColumnKind, traceback_key};
pub use filter::{BadFilter, Condition, Filters, TextField, TimeField};
pub use instrument::InstrumentName;
pub use job::{Job, JobChanges, JobOrigin, JobState, Owner, Run, ScriptText};
pub use job_list::{Direction, JobList, OrderBy, Ordering, Page, Selection};
pub use message::{Message, Program, RunData};
pub use missing_files::MissingFiles;
pub use timestamp::Timestamp;
