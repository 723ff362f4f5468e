//! Random fault schedules and the consistency checker.
//!
//! [`schedules`] runs two replicas of the service while their dependencies fail at random and
//! records every request. [`checker`] finds the responses in that history that are staler, slower
//! or less available than the service guarantees.

pub mod checker;
pub mod schedules;
