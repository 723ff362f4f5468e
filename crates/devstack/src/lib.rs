//! Private servers for the demo, the tests and the benchmarks.
//!
//! Starts PostgreSQL, Valkey, RabbitMQ, `PgBouncer` and stand-ins for the services that the API
//! calls. Each server gets a free loopback port and its own temporary directory. No server, process
//! or file outlives this process, even if it is killed: see [`Scratch`].
//!
//! In reading order: [`Stack`] combines the servers; [`Postgres`], [`Valkey`], [`RabbitMq`] and
//! [`PgBouncer`] are the servers; [`Upstreams`] are the stand-ins; [`FaultProxy`] injects network
//! faults; [`shared`] provides servers shared by all tests of one process; [`Api`] runs the API
//! server; [`http`] is a client for it, and [`Browser`] one for its pages. Any other server is a [`Server`], built from a [`Port`], a
//! [`Scratch`] directory and a [`Launch`](process::Launch).

mod api;
mod browser;
mod error;
pub mod fault;
pub mod files;
mod generate;
pub mod http;
mod pgbouncer;
mod ports;
mod postgres;
pub mod probe;
pub mod process;
mod programs;
mod prometheus;
mod rabbitmq;
mod running;
mod scratch;
pub mod shared;
mod stack;
pub mod tokens;
pub mod upstreams;
mod valkey;

pub use api::Api;
pub use browser::{Browser, Page};
pub use error::{Error, Result};
pub use fault::{Direction, FaultProxy, Mode};
pub use files::{SEED_SQL, materialise_files};
pub use generate::{Distribution, add_distributed_jobs, add_jobs};
pub use pgbouncer::{PgBouncer, PgBouncerOptions, PoolMode};
pub use ports::{Port, retry_on_clash};
pub use postgres::{Postgres, PostgresBuilder};
pub use process::Server;
pub use programs::{ServerUser, find_program};
pub use prometheus::Prometheus;
pub use rabbitmq::RabbitMq;
pub use running::Running;
pub use scratch::Scratch;
pub use stack::{Stack, StackBuilder};
pub use upstreams::Upstreams;
pub use valkey::{Certificates, Sentinel, SentinelService, Valkey, ValkeyCluster};
