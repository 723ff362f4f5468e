//! Reduction scripts: where they come from, and how they are made ready for a job.

mod last_known;
mod source;
mod transforms;

pub use source::{Script, ScriptError, Scripts};
pub use transforms::{BadInput, Inputs, Transform};
