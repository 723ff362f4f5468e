//! Servers shared by all tests of one process: started by the first call, stopped with the process.
//!
//! They are independent of the runtime of the first caller, as every `#[tokio::test]` has its own.
//! A test that kills or freezes a server starts its own instead.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::process::blocking;
use crate::{Postgres, RabbitMq, Result, Upstreams, Valkey};

static POSTGRES: Slot<Postgres> = Mutex::new(None);
static VALKEY: Slot<Valkey> = Mutex::new(None);
static RABBITMQ: Slot<RabbitMq> = Mutex::new(None);
static UPSTREAMS: Slot<Upstreams> = Mutex::new(None);
static NEXT_NAME: AtomicU64 = AtomicU64::new(1);

type Slot<T> = Mutex<Option<&'static T>>;

/// The shared PostgreSQL. Each test creates its own database in it, named by [`unique_name`].
///
/// # Errors
/// As for [`Postgres::start`]; the next call retries.
pub async fn postgres() -> Result<&'static Postgres> {
    get(&POSTGRES, || Postgres::builder().start_blocking()).await
}

/// The shared Valkey. Each test uses its own keys or numbered database.
///
/// # Errors
/// As for [`Valkey::start`]; the next call retries.
pub async fn valkey() -> Result<&'static Valkey> {
    get(&VALKEY, Valkey::start_blocking).await
}

/// The shared RabbitMQ. Each test uses its own queues.
///
/// # Errors
/// As for [`RabbitMq::start`]; the next call retries.
pub async fn rabbitmq() -> Result<&'static RabbitMq> {
    get(&RABBITMQ, RabbitMq::start_blocking).await
}

/// The shared stand-ins with the recorded data. Tests must neither change their state nor rely on
/// their request counts.
///
/// # Errors
/// As for [`Upstreams::start`]; the next call retries.
pub async fn upstreams() -> Result<&'static Upstreams> {
    get(&UPSTREAMS, Upstreams::start_blocking).await
}

/// A name that is unique within this process: `prefix_1`, `prefix_2`, …
pub fn unique_name(prefix: &str) -> String {
    format!("{prefix}_{}", NEXT_NAME.fetch_add(1, Ordering::Relaxed))
}

/// Returns the slot's server; starts it first if needed, while concurrent callers wait.
async fn get<T: Send + Sync>(
    slot: &'static Slot<T>,
    start: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<&'static T> {
    blocking(move || {
        let mut slot = slot.lock();
        if let Some(server) = *slot {
            return Ok(server);
        }
        Ok(*slot.insert(Box::leak(Box::new(start()?))))
    })
    .await
}
