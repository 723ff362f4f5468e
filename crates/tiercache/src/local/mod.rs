//! The local cache: values in process memory, and the rules that keep them coherent.

pub(crate) mod coherence;
pub(crate) mod entry;
pub(crate) mod group;
pub(crate) mod holders;
pub(crate) mod store;
pub(crate) mod versions;
