//! Counters that other modules keep and `/metrics` reads. Recording takes a few atomic additions:
//! no lock, no allocation.

mod calls;
mod histogram;

pub use calls::{Calls, Dependency, Failure};
pub use histogram::{BOUNDS, Histogram, Snapshot};
