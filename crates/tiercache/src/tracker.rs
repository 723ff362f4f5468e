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
use crate::coherence::{Coherence, Confirmation, TRUST};
use crate::debts::Debts;
use crate::epochs::KeyHash;
use crate::session::{Session, Trouble};

/// Keeps a tracking connection alive.
pub(crate) struct Tracker {
    /// Speaks RESP3: over RESP2 the server accepts the subscription and tells nothing.
    pub(crate) client: Client,
    pub(crate) coherence: Arc<Coherence>,
    pub(crate) debts: Arc<Debts>,
    pub(crate) connect_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) heartbeat: Duration,
}

impl Tracker {
    /// Connects, listens, and connects again; never returns.
    pub(crate) async fn run(self) {
        // Without a prefix, Valkey would send the changes of every key.
        self.coherence.wait_for_prefix_after(0).await;
        let mut back_off = BackOff::new();
        let mut is_known = false;
        loop {
            let number = self.coherence.connecting();
            match timeout(self.connect_timeout, self.connect(number)).await {
                Ok(Ok((session, subscribed))) => {
                    if self.listen(&session, number, subscribed).await {
                        (back_off, is_known) = (BackOff::new(), true);
                        tracing::warn!(
                            "client tracking lost: local cache bypassed until it reconnects"
                        );
                    }
                }
                // Once, and not at each attempt.
                Ok(Err(trouble)) if !is_known => {
                    is_known = true;
                    tracing::warn!(
                        ?trouble,
                        "client tracking unavailable: local cache bypassed; retrying"
                    );
                }
                Ok(Err(_)) | Err(_) => {}
            }
            self.coherence.lost(number);
            sleep(back_off.next()).await;
        }
    }

    async fn connect(&self, number: u64) -> Result<(Session, usize), Trouble> {
        let coherence = Arc::clone(&self.coherence);
        let config = AsyncConnectionConfig::new().set_push_sender(move |push: PushInfo| {
            note(&coherence, number, &push);
            Ok::<(), SendError>(())
        });
        let purpose = "the connection that tells of changes";
        let session = Session::open(&self.client, purpose, config).await?;
        let limit = self.connect_timeout;
        let subscribed = self.subscribe(&session, 0, limit).await?;
        self.coherence
            .tells_of(number, session.server(limit).await?);
        self.debts.settle(&session, self.write_timeout).await?;
        Ok((session, subscribed))
    }

    /// Subscribes to the prefixes after the first `subscribed`. Returns how many there are now.
    async fn subscribe(
        &self,
        session: &Session,
        subscribed: usize,
        limit: Duration,
    ) -> Result<usize, Trouble> {
        let prefixes = self.coherence.prefixes_after(subscribed);
        if !prefixes.is_empty() {
            let mut tracking = cmd("CLIENT");
            tracking.arg("TRACKING").arg("ON").arg("BCAST");
            for prefix in &prefixes {
                tracking.arg("PREFIX").arg(*prefix);
            }
            session.call(&tracking, Instant::now() + limit).await?;
        }
        Ok(subscribed + prefixes.len())
    }

    /// Sends heartbeats, and subscribes to prefixes that are added. Returns when the connection
    /// has failed or was silent for [`TRUST`]; `true` if the local cache was in use before.
    async fn listen(&self, session: &Session, number: u64, mut subscribed: usize) -> bool {
        let mut was_trusted = false;
        loop {
            let sent = Instant::now();
            if session.ping(TRUST).await.is_err() {
                return was_trusted;
            }
            match self.coherence.confirmed(number, subscribed, sent) {
                Confirmation::Trusted if !was_trusted => {
                    was_trusted = true;
                    tracing::info!("client tracking established: local cache in use");
                }
                Confirmation::Trusted | Confirmation::PrefixMissing => {}
                Confirmation::Rejected => return was_trusted,
            }
            let pause = async {
                tokio::select! {
                    () = session.broken() => {}
                    () = self.coherence.wait_for_prefix_after(subscribed) => {}
                }
            };
            let _ = timeout(self.heartbeat, pause).await;
            match self.subscribe(session, subscribed, TRUST).await {
                Ok(now) => subscribed = now,
                Err(_) => return was_trusted,
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
        coherence.confirmed(number, 0, Instant::now());
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
