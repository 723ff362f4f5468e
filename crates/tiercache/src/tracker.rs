//! The connection over which Valkey tells which keys have changed.
//!
//! ```text
//!   HELLO 3 ─▶ CLIENT TRACKING ON BCAST ─▶ PING ─▶ settle debts ─▶ trusted
//!      ▲                                                             │ PING every 500 ms
//!      └──────────────── back-off ◀── any error, no answer in 1 s ◀──┘
//! ```
//!
//! Nothing but this goes over it: a change must not wait behind an answer of a megabyte.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::SendError;
use redis::{AsyncConnectionConfig, Client, PushInfo, PushKind, Value, cmd};
use tokio::time::{Instant, sleep, timeout};

use crate::coherence::{Coherence, TRUST};
use crate::debts::Debts;
use crate::epochs::KeyHash;
use crate::link::{BackOff, Session, Trouble};

/// Keeps a tracking connection alive.
pub(crate) struct Tracker {
    /// Speaks RESP3: over RESP2 the server accepts the subscription and tells nothing.
    pub(crate) client: Client,
    /// What the keys that are of interest begin with. None may begin with another.
    pub(crate) prefixes: Vec<&'static str>,
    pub(crate) coherence: Arc<Coherence>,
    pub(crate) debts: Arc<Debts>,
    pub(crate) connect_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) heartbeat: Duration,
}

impl Tracker {
    /// Connects, listens, and connects again; never returns.
    pub(crate) async fn run(self) {
        let mut back_off = BackOff::new();
        loop {
            let number = self.coherence.connecting();
            match timeout(self.connect_timeout, self.connect(number)).await {
                Ok(Ok(session)) => {
                    tracing::info!("answers are kept in memory: changes are told");
                    back_off = BackOff::new();
                    self.listen(&session, number).await;
                    tracing::warn!("no answers are kept in memory: changes are not told");
                }
                Ok(Err(trouble)) => tracing::debug!(?trouble, "changes cannot be listened to"),
                Err(_) => tracing::debug!("changes cannot be listened to: no answer"),
            }
            self.coherence.lost(number);
            sleep(back_off.next()).await;
        }
    }

    async fn connect(&self, number: u64) -> Result<Session, Trouble> {
        let coherence = Arc::clone(&self.coherence);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None)
            .set_push_sender(move |push: PushInfo| {
                note(&coherence, number, &push);
                Ok::<(), SendError>(())
            });
        let connecting = self
            .client
            .get_multiplexed_async_connection_with_config(&config);
        let session = Session::new(
            "the connection that tells of changes",
            connecting.await.map_err(Trouble::Refused)?,
        );
        let mut tracking = cmd("CLIENT");
        tracking.arg("TRACKING").arg("ON").arg("BCAST");
        for prefix in &self.prefixes {
            tracking.arg("PREFIX").arg(*prefix);
        }
        let limit = self.connect_timeout;
        session.call(&tracking, Instant::now() + limit).await?;
        let sent = Instant::now();
        session.ping(limit).await?;
        self.debts.settle(&session, self.write_timeout).await?;
        self.coherence.confirmed(number, sent);
        Ok(session)
    }

    /// Returns when the connection has failed, or has been silent for so long that nothing
    /// that was told is trusted any more.
    async fn listen(&self, session: &Session, number: u64) {
        loop {
            let _ = timeout(self.heartbeat, session.broken()).await;
            let sent = Instant::now();
            if session.ping(TRUST).await.is_err() {
                return;
            }
            self.coherence.confirmed(number, sent);
        }
    }
}

/// Counts what was told. Called by the connection's own task, in the order of arrival.
fn note(coherence: &Coherence, number: u64, push: &PushInfo) {
    match (&push.kind, push.data.as_slice()) {
        (PushKind::Invalidate, [Value::Array(keys)]) => {
            for key in keys {
                match key {
                    Value::BulkString(key) => coherence.changed(KeyHash::of_bytes(key)),
                    _ => coherence.all_changed(),
                }
            }
        }
        // A flush names no keys.
        (PushKind::Invalidate, _) => coherence.all_changed(),
        (PushKind::Disconnection, _) => coherence.lost(number),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(kind: PushKind, data: Vec<Value>) -> PushInfo {
        PushInfo { kind, data }
    }

    #[tokio::test(start_paused = true)]
    async fn one_message_may_name_several_keys_or_none() {
        let coherence = Coherence::new();
        let number = coherence.connecting();
        coherence.confirmed(number, Instant::now());
        let keys = ["spec:MARI", "spec:LET", "spec:IRIS"].map(KeyHash::of);
        let stamps = keys.map(|key| coherence.stamp(key));
        let current = |i: usize| coherence.is_current(stamps[i], keys[i], Instant::now());
        let named = ["spec:MARI", "spec:LET"].map(|key| Value::BulkString(key.into()));
        note(
            &coherence,
            number,
            &push(PushKind::Invalidate, vec![Value::Array(named.to_vec())]),
        );
        assert_eq!([0, 1, 2].map(current), [false, false, true]);
        note(
            &coherence,
            number,
            &push(PushKind::Invalidate, vec![Value::Nil]),
        );
        assert!(!current(2));
        note(&coherence, number, &push(PushKind::Disconnection, vec![]));
        assert!(!coherence.is_trusted(Instant::now()));
    }
}
