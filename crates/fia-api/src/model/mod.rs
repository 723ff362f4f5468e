//! Values of the domain, with no I/O.

mod instrument;
pub mod json;
pub mod openapi;

pub use instrument::InstrumentName;
