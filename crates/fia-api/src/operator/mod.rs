//! The operator's page: what the cache does and why, and what an operator may do about it.
//!
//! On a listener of its own, off by default. Nothing here is on the path of requests: a page is
//! collected from the counters of other modules when it is asked for. The threat model is in
//! `docs/operator-page.md`.
//!
//! In reading order: `service` (HTTP), `shared` (collection), `view` (what is shown, as values),
//! `verdict` (the sentence on top), `page` (HTML), `access` and `actions`; `history`, `fleet`,
//! `probes` and `valkey` work in the background.

mod access;
mod actions;
mod assets;
mod at;
mod browser;
mod fleet;
mod form;
mod history;
mod page;
mod probes;
mod response;
mod service;
mod shared;
mod valkey;
mod verdict;
mod view;

pub use service::Operator;
