//! Values of the domain, with no I/O.

pub mod dumps;
mod instrument;
pub mod json;
mod message;
pub mod openapi;
pub mod python;

pub use instrument::InstrumentName;
pub use message::{Message, Program, RunData};
