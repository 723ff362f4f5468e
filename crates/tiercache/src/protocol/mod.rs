//! The protocol in Valkey: the control values a key may hold, and the commands that change it.
//!
//! Other programs use the same keys, so both are a wire format: see the table in [`marker`] and
//! the scripts in `protocol/scripts`, each of which reads and writes one key atomically.

pub(crate) mod commands;
#[cfg(tiercache_simulation)]
mod defects;
pub(crate) mod generation;
mod group_commands;
pub(crate) mod marker;
pub(crate) mod read;
mod script;
mod write_commands;
