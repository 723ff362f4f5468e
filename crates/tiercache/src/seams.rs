//! Where a simulation replaces what the crate takes from its surroundings: the start of tasks,
//! randomness, hashing, clocks and timers, and TCP.
//!
//! `sim/` builds the crate with `--cfg tiercache_simulation`. Without it, each name is Tokio's,
//! rand's, or the standard library's own, and [`mutant!`] is nothing.

#[cfg(not(tiercache_simulation))]
pub(crate) use {
    quick_cache::DefaultHashBuilder as StoreHasher,
    rand::{random, random_range},
    std::hash::RandomState,
    tokio::spawn,
    tokio::time::{Instant, sleep, timeout, timeout_at},
};

#[cfg(tiercache_simulation)]
pub(crate) use crate::simulated::{
    RandomState, RandomState as StoreHasher, random, random_range, spawn,
    timers::{Instant, sleep, timeout, timeout_at},
};

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// Spawns a task on a runtime.
pub(crate) fn spawn_on<F>(runtime: &Handle, task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    #[cfg(tiercache_simulation)]
    return crate::simulated::spawn_on(runtime, task);
    #[cfg(not(tiercache_simulation))]
    runtime.spawn(task)
}

/// `mutant!(NAME => STATEMENT)` is a defect: a statement that only a run of the simulator with this
/// mutant executes, to prove that its checks detect it. Otherwise it is nothing.
#[cfg(tiercache_simulation)]
macro_rules! mutant {
    ($name:ident => $($statement:tt)+) => {
        if crate::mutants::Mutant::$name.is_active() {
            $($statement)+
        }
    };
}
#[cfg(not(tiercache_simulation))]
macro_rules! mutant {
    ($name:ident => $($statement:tt)+) => {};
}
pub(crate) use mutant;
