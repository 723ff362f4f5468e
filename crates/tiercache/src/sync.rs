//! What threads share: of the standard library, or of `loom`, which has every interleaving of
//! a test's threads, and every value that the memory orderings allow an atomic to show.
//!
//! Used by the modules that have such tests (`every_interleaving`). With the feature `loom`
//! these work only within a test of that kind, so nothing else can be run with it.

#[cfg(feature = "loom")]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic::AtomicU64};
#[cfg(not(feature = "loom"))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicU64};
