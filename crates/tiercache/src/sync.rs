//! Locks and atomics: the standard library's, or loom's, which explores every interleaving of a
//! test's threads and every value that the memory orderings allow an atomic to return.
//!
//! Loom replaces them in the `every_interleaving` tests, which are built with `--cfg loom` (see
//! `make test`). Such a build runs no other test: loom's types work only within a loom model.

use std::sync::PoisonError;

#[cfg(all(test, loom))]
pub(crate) use loom::sync::{Mutex, MutexGuard, atomic::AtomicU64};
#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::{Mutex, MutexGuard, atomic::AtomicU64};

/// Locks a mutex, also one whose holder panicked: the guarded data is consistent between any
/// two statements that could panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
