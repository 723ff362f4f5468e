//! Locks, atomics and slots: the standard library's and arc-swap's, or loom's, which explores every interleaving of a
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

/// A place for a shared value, which is read often and rarely set.
#[cfg(not(all(test, loom)))]
pub(crate) struct Slot<T>(arc_swap::ArcSwapOption<T>);

#[cfg(not(all(test, loom)))]
impl<T> Slot<T> {
    pub(crate) fn new() -> Self {
        Self(arc_swap::ArcSwapOption::empty())
    }

    /// Calls `f` with the value, if there is one.
    #[inline]
    pub(crate) fn with<R>(&self, f: impl FnOnce(&T) -> Option<R>) -> Option<R> {
        f(self.0.load().as_deref()?)
    }

    pub(crate) fn set(&self, value: Option<std::sync::Arc<T>>) {
        self.0.store(value);
    }
}

/// The same with a lock, which loom knows.
#[cfg(all(test, loom))]
pub(crate) struct Slot<T>(Mutex<Option<std::sync::Arc<T>>>);

#[cfg(all(test, loom))]
impl<T> Slot<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(None))
    }

    pub(crate) fn with<R>(&self, f: impl FnOnce(&T) -> Option<R>) -> Option<R> {
        f(lock(&self.0).as_deref()?)
    }

    pub(crate) fn set(&self, value: Option<std::sync::Arc<T>>) {
        *lock(&self.0) = value;
    }
}
