//! Private servers for the demo, the tests and the benchmarks.
//!
//! Starts PostgreSQL, Valkey, RabbitMQ, `PgBouncer` and stand-ins for the services that the API calls, each on a free
//! loopback port, with its files under one temporary directory of this process, and ends them. Nothing outlives the
//! process, even when it is killed: see [`process`].
//!
//! In reading order: [`Stack`] puts everything together; [`Postgres`], [`Valkey`], [`RabbitMq`] and [`PgBouncer`] are
//! the servers; [`Upstreams`] are the stand-ins; [`FaultProxy`] breaks connections on purpose; [`shared`] has the
//! servers that all tests of one process use together; [`Api`] runs the API itself. To start any other server, build a
//! [`Server`] from a [`Port`], a [`Scratch`] directory and a [`Launch`](process::Launch).

mod api;
mod error;
pub mod fault;
pub mod files;
mod generate;
pub mod http;
mod pgbouncer;
mod ports;
mod postgres;
mod postgres_template;
pub mod probe;
pub mod process;
mod programs;
mod rabbitmq;
mod running;
mod scratch;
pub mod shared;
mod stack;
pub mod tokens;
pub mod upstreams;
mod valkey;

pub use api::Api;
pub use error::{Error, Result};
pub use fault::{Direction, FaultProxy, Mode};
pub use files::{SEED_SQL, materialise_files};
pub use generate::add_jobs;
pub use pgbouncer::{PgBouncer, PgBouncerOptions, PoolMode};
pub use ports::{Port, retry_on_clash};
pub use postgres::{Postgres, PostgresBuilder};
pub use process::Server;
pub use programs::{ServerUser, find_program};
pub use rabbitmq::RabbitMq;
pub use running::Running;
pub use scratch::Scratch;
pub use stack::{Stack, StackBuilder};
pub use upstreams::Upstreams;
pub use valkey::Valkey;
