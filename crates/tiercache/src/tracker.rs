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

use crate::back_off::BackOff;
use crate::coherence::{Coherence, TRUST};
use crate::debts::Debts;
use crate::epochs::KeyHash;
use crate::session::{Session, Trouble};

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
        let mut is_known = false;
        loop {
            let number = self.coherence.connecting();
            match timeout(self.connect_timeout, self.connect(number)).await {
                Ok(Ok(session)) => {
                    tracing::info!("answers are kept in memory: changes are told");
                    (back_off, is_known) = (BackOff::new(), true);
                    self.listen(&session, number).await;
                    tracing::warn!("answers in memory are not used: changes are not told");
                }
                // Once, and not at each attempt.
                Ok(Err(trouble)) if !is_known => {
                    is_known = true;
                    tracing::warn!(
                        ?trouble,
                        "answers in memory are not used: changes are not told; trying on"
                    );
                }
                Ok(Err(_)) | Err(_) => {}
            }
            self.coherence.lost(number);
            sleep(back_off.next()).await;
        }
    }

    async fn connect(&self, number: u64) -> Result<Session, Trouble> {
        let coherence = Arc::clone(&self.coherence);
        let config = AsyncConnectionConfig::new().set_push_sender(move |push: PushInfo| {
            note(&coherence, number, &push);
            Ok::<(), SendError>(())
        });
        let purpose = "the connection that tells of changes";
        let session = Session::open(&self.client, purpose, config).await?;
        let mut tracking = cmd("CLIENT");
        tracking.arg("TRACKING").arg("ON").arg("BCAST");
        for prefix in &self.prefixes {
            tracking.arg("PREFIX").arg(*prefix);
        }
        let limit = self.connect_timeout;
        session.call(&tracking, Instant::now() + limit).await?;
        let sent = Instant::now();
        session.ping(limit).await?;
        self.coherence
            .tells_of(number, session.server(limit).await?);
        self.debts.settle(&session, self.write_timeout).await?;
        if self.coherence.confirmed(number, sent) {
            Ok(session)
        } else {
            Err(Trouble::Down)
        }
    }

    /// Returns when the connection has failed, or has been silent for so long that nothing
    /// that was told is trusted any more.
    async fn listen(&self, session: &Session, number: u64) {
        loop {
            let _ = timeout(self.heartbeat, session.broken()).await;
            let sent = Instant::now();
            let alive = session.ping(TRUST).await.is_ok();
            if !alive || !self.coherence.confirmed(number, sent) {
                return;
            }
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
