//! Reduction scripts: where they come from, and how they are made ready for a job.

mod github;
mod last_known;
mod source;
pub mod transforms;

pub use github::Unreachable;
pub use source::{Script, ScriptError, Scripts};
