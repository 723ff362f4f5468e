//! Reduction scripts: their source, and the transforms that adapt them to a job.

mod cached_script;
mod source;
mod transforms;

pub use source::{Script, ScriptError, Scripts};
pub use transforms::{BadInput, Inputs, Transform};
