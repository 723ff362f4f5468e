//! A two-level cache (process memory and Valkey) in which no stale value survives a write.
//!
//! Several replicas of a service, and other programs that use the same keys, share one Valkey in
//! front of one database. With plain cache-aside a reader can store a value that it read before
//! a write, after that write's invalidation, and the stale value stays until its TTL. Here a
//! reader fills a key only while it holds the key's *lease*, and a writer replaces the lease by a
//! *fence* before it commits:
//!
//! ```text
//!  read                                      write
//!   │ wait for the key's next fetch           │ BEGIN; UPDATE …   (takes the row's lock)
//!   │ GET ──▶ payload: done                   │ SET key fence     (no lease, no fill from here)
//!   │ GETLEASE ──▶ another's lease: wait      │ COMMIT
//!   │          ──▶ fence: load, do not fill   │ INVALIDATE: fence → tombstone
//!   │ load                                    ▼ return: no older value is served
//!   │ FILL, if the lease is still there
//!   ▼
//! ```
//!
//! In front of Valkey, each process keeps values in a local cache. Client tracking invalidates
//! it; while tracking is interrupted, the local cache is bypassed (`local::coherence`).
//!
//! Modules, in reading order:
//! * `builder`, `cache`, `namespace`, `codec`, `event`, `settings`: the public types;
//! * `group`: entries that are invalidated together;
//! * `shared`: what namespaces and writes share;
//! * `protocol`: the control values a key may hold, and the commands and scripts;
//! * `server`: the URL, TLS, and the current primary;
//! * `connection`: timeouts, circuit breaker, reconnection, client tracking;
//! * `cluster`: the nodes of a cluster; `link`: one server, or a cluster;
//! * `local`: the local cache, key versions, and when an entry is valid;
//! * `read`: coalesced fetches, fills, early refresh, comparison with the origin;
//! * `write`: fences, invalidation, and the queue of invalidations to retry;
//! * `observer`: hooks for traces;
//! * `inspect`: the state of one key, for operators;
//! * `stats`: counters; `sync`: locks and atomics that loom can replace; `clock`: coarse times;
//! * `seams`: what a simulation replaces (`sim/`).

mod builder;
mod cache;
mod clock;
mod cluster;
mod codec;
mod connection;
mod event;
#[cfg(fuzzing)]
pub mod fuzzing;
mod group;
mod inspect;
mod link;
#[cfg(tiercache_simulation)]
mod livelock;
mod local;
#[cfg(tiercache_simulation)]
mod mutants;
mod namespace;
mod observer;
mod protocol;
mod read;
mod seams;
mod server;
mod settings;
mod shared;
#[cfg(tiercache_simulation)]
pub mod simulated;
mod stats;
mod sync;
mod write;

pub use builder::CacheBuilder;
pub use cache::Cache;
pub use codec::{Codec, CodecError, Json, Raw, codec};
pub use event::Event;
pub use group::Groups;
pub use inspect::{ContentKind, Form, Inspection, LocalEntry, SharedEntry};
pub use namespace::Namespace;
pub use namespace::builder::NamespaceBuilder;
pub use observer::{Observer, Scope};
pub use read::LocalHandle;
pub use read::outcome::{CachedValue, Failure, Source};
pub use server::{InvalidUrl, Server};
pub use settings::{ConfigError, OverlappingPrefix};
pub use stats::{CacheStats, NamespaceStats, SharedLevel, Tracking};
pub use write::{CommitWith, Committed, Fenced, Key, Transaction, Write};

/// Compiles the programs of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
