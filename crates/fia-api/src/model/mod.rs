//! Values of the domain, with no I/O.

pub mod dumps;
mod instrument;
pub mod json;
pub mod openapi;
pub mod python;

pub use instrument::InstrumentName;
