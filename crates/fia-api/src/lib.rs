//! The ReST API of FIA (Flexible Interactive Automation), which reduces neutron and muon data.
//!
//! A drop-in replacement of an older server: what is on the wire, in Valkey and in PostgreSQL
//! is fixed by the programs that already use it. In reading order:
//!
//! ```text
//! start:    main → config → state → app, operator
//! request:  app → routes → extract → auth → [ops] → cached | scripts → store | upstream | broker | files | streams
//! imports:  operator > app > routes > extract > state > ops > admission > auth > error > {cached, scripts} > {store, upstream, broker, files, streams, traces} > config > {model, observe}
//! ```
//!
//! A test (`tests/it/layering.rs`) keeps the imports pointing down.

pub mod admission;
pub mod app;
pub mod auth;
pub mod broker;
pub mod cached;
pub mod config;
pub mod error;
pub mod extract;
pub mod files;
pub mod model;
pub mod observe;
pub mod operator;
pub mod ops;
pub mod routes;
pub mod scripts;
pub mod state;
pub mod store;
pub mod streams;
pub mod traces;
pub mod upstream;
