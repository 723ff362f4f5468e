//! Servers that all tests of one process share: started at the first call, ended with the process.
//!
//! Each is independent of the runtime that asked first, as every `#[tokio::test]` has its own. A test that kills or
//! freezes a server starts one of its own instead.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::process::blocking;
use crate::{Postgres, RabbitMq, Result, Upstreams, Valkey};

static POSTGRES: Slot<Postgres> = Mutex::new(None);
static VALKEY: Slot<Valkey> = Mutex::new(None);
static RABBITMQ: Slot<RabbitMq> = Mutex::new(None);
static UPSTREAMS: Slot<Upstreams> = Mutex::new(None);
static NAMES: AtomicU64 = AtomicU64::new(1);

type Slot<T> = Mutex<Option<&'static T>>;

/// The shared PostgreSQL. Make a database of your own in it, named by [`unique_name`].
///
/// # Errors
/// As [`Postgres::start`]; the next call tries again.
pub async fn postgres() -> Result<&'static Postgres> {
    get(&POSTGRES, || Postgres::builder().start_blocking()).await
}

/// The shared Valkey. Use keys (or a numbered database) of your own.
///
/// # Errors
/// As [`Valkey::start`]; the next call tries again.
pub async fn valkey() -> Result<&'static Valkey> {
    get(&VALKEY, Valkey::start_blocking).await
}

/// The shared RabbitMQ. Use queues of your own.
///
/// # Errors
/// As [`RabbitMq::start`]; the next call tries again.
pub async fn rabbitmq() -> Result<&'static RabbitMq> {
    get(&RABBITMQ, RabbitMq::start_blocking).await
}

/// The shared stand-ins, with the recorded data: change nothing in them, and count no calls.
///
/// # Errors
/// As [`Upstreams::start`]; the next call tries again.
pub async fn upstreams() -> Result<&'static Upstreams> {
    get(&UPSTREAMS, Upstreams::start_blocking).await
}

/// A name that nobody else in this process gets: `prefix_1`, `prefix_2`, …
pub fn unique_name(prefix: &str) -> String {
    format!("{prefix}_{}", NAMES.fetch_add(1, Ordering::Relaxed))
}

/// Others wait for the one that starts the server.
async fn get<T: Send + Sync>(
    slot: &'static Slot<T>,
    start: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<&'static T> {
    blocking(move || {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(server) = *slot {
            return Ok(server);
        }
        Ok(*slot.insert(Box::leak(Box::new(start()?))))
    })
    .await
}
