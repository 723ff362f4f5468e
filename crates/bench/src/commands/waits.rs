//! How long messages wait in the outbox while servers are killed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use devstack::Stack;
use tokio::sync::{Mutex, oneshot};
use tokio::time::sleep;

use super::new_jobs::DATABASE;
use crate::Outcome;

/// The interval of the observations, and so their error.
const INTERVAL: Duration = Duration::from_millis(20);

/// The time since which RabbitMQ accepts connections; `None` while it does not.
#[derive(Clone)]
pub(super) struct BrokerUp(Arc<Mutex<Option<Instant>>>);

impl BrokerUp {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Some(Instant::now()))))
    }

    pub(super) async fn set(&self, is_up: bool) {
        *self.0.lock().await = is_up.then(Instant::now);
    }
}

/// The longest waits. A message waits from its commit, or from the time when RabbitMQ accepted
/// connections again if that is later, until its row is deleted.
#[derive(Default)]
pub(super) struct Waits {
    /// By message: its longest wait while RabbitMQ was up.
    by_message: HashMap<i64, Duration>,
    /// Those of them that were committed before RabbitMQ was last restarted.
    after_restart: HashMap<i64, Duration>,
}

impl Waits {
    /// Observes the outbox until the sender is dropped.
    pub(super) async fn observe(
        stack: &Stack,
        broker: BrokerUp,
        mut end: oneshot::Receiver<()>,
    ) -> Outcome<Self> {
        let postgres = stack.postgres().ok_or("no PostgreSQL")?;
        let database = postgres.connect(DATABASE).await?;
        let sql = "SELECT id, extract(epoch FROM clock_timestamp() - created_at)::float8 \
                   FROM fia_api_outbox";
        let mut waits = Self::default();
        while end.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
            let rows = database.query(sql, &[]).await?;
            if let Some(up) = *broker.0.lock().await {
                for row in rows {
                    waits.record(row.get(0), row.get(1), up.elapsed());
                }
            }
            sleep(INTERVAL).await;
        }
        Ok(waits)
    }

    fn record(&mut self, id: i64, age: f64, up: Duration) {
        let age = Duration::try_from_secs_f64(age).unwrap_or_default();
        let (waits, wait) = if age > up {
            (&mut self.after_restart, up)
        } else {
            (&mut self.by_message, age)
        };
        let longest = waits.entry(id).or_default();
        *longest = wait.max(*longest);
    }

    /// The longest wait of a message that was committed while RabbitMQ was up, and of one that was
    /// committed before, from the time when it accepted connections again.
    pub(super) fn longest(&self) -> [Duration; 2] {
        [&self.by_message, &self.after_restart]
            .map(|waits| waits.values().max().copied().unwrap_or_default())
    }

    /// Messages with a wait above a limit.
    pub(super) fn above(&self, limit: Duration) -> usize {
        let waits = self.by_message.values().chain(self.after_restart.values());
        waits.filter(|wait| **wait > limit).count()
    }
}
