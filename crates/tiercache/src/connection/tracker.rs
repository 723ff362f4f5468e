//! The client-tracking connection, over which Valkey pushes the keys that change.
//!
//! ```text
//!   HELLO 3 ─▶ CLIENT TRACKING ON BCAST PREFIX … ─▶ flush pending ─▶ PING ─▶ live
//!      ▲                                                                     │ PING every 500 ms
//!      └────────── backoff ◀── any error, no reply within MAX_SILENCE ◀──────┘
//! ```
//!
//! The prefixes are those of the tracked namespaces. One that is added while the connection is
//! open is subscribed to on it.
//!
//! The connection is used for nothing else: an invalidation must not wait behind a large reply.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::SendError;
use redis::{AsyncConnectionConfig, PushInfo, PushKind, Value, cmd};
use tokio::time::{Instant, sleep, timeout};

use crate::clock::Moment;
use crate::connection::backoff::Backoff;
use crate::connection::{CommandError, Connection};
use crate::event::{Event, Events};
use crate::local::coherence::{Coherence, Confirmation, MAX_SILENCE};
use crate::local::versions::KeyHash;
use crate::server::Server;
use crate::write::pending::PendingInvalidations;

/// The task that keeps client tracking established.
pub(crate) struct Tracker {
    pub(crate) server: Server,
    pub(crate) coherence: Arc<Coherence>,
    pub(crate) pending: Arc<PendingInvalidations>,
    pub(crate) connect_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) heartbeat: Duration,
    pub(crate) events: Events,
}

impl Tracker {
    /// Connects, sends heartbeats, and reconnects. Never returns.
    pub(crate) async fn run(self) {
        // BCAST without a prefix would track every key of the server.
        self.coherence.wait_for_prefix_after(0).await;
        let mut backoff = Backoff::new();
        let mut is_logged = false;
        loop {
            let id = self.coherence.connecting();
            match timeout(self.connect_timeout, self.connect(id)).await {
                Ok(Ok((connection, subscribed))) => {
                    if self.keep_alive(&connection, id, subscribed).await {
                        self.events.emit(Event::TrackingDown);
                        (backoff, is_logged) = (Backoff::new(), true);
                        tracing::warn!(
                            "client tracking lost: local cache bypassed until it reconnects"
                        );
                    }
                }
                Ok(Err(error)) if !is_logged => {
                    is_logged = true;
                    tracing::warn!(
                        ?error,
                        "client tracking unavailable: local cache bypassed; retrying"
                    );
                }
                Ok(Err(_)) | Err(_) => {}
            }
            self.coherence.lost(id);
            sleep(backoff.next()).await;
        }
    }

    /// A connection, and the number of prefixes that it has subscribed to.
    async fn connect(&self, id: u64) -> Result<(Connection, usize), CommandError> {
        let coherence = Arc::clone(&self.coherence);
        let config = AsyncConnectionConfig::new().set_push_sender(move |push: PushInfo| {
            apply(&coherence, id, &push);
            Ok::<(), SendError>(())
        });
        // On RESP2 the server accepts the subscription but sends no invalidations.
        let connect = async |config| self.server.connect_resp3(&config).await;
        let connection = Connection::open("client tracking", config, connect).await?;
        let limit = self.connect_timeout;
        let subscribed = self.subscribe(&connection, 0, limit).await?;
        let server = connection.server(limit).await?;
        self.coherence.set_tracking_server(id, server);
        self.pending.flush(&connection, self.write_timeout).await?;
        Ok((connection, subscribed))
    }

    /// Subscribes to the prefixes after the first `subscribed`, and returns their number. (The
    /// server adds them to those it has, and refuses one that it has already.)
    async fn subscribe(
        &self,
        connection: &Connection,
        subscribed: usize,
        limit: Duration,
    ) -> Result<usize, CommandError> {
        let prefixes = self.coherence.prefixes_after(subscribed);
        if !prefixes.is_empty() {
            let mut tracking = cmd("CLIENT");
            tracking.arg("TRACKING").arg("ON").arg("BCAST");
            for prefix in &prefixes {
                tracking.arg("PREFIX").arg(prefix);
            }
            connection.call(&tracking, Instant::now() + limit).await?;
        }
        Ok(subscribed + prefixes.len())
    }

    /// Sends heartbeats and subscribes to added prefixes. Returns when the connection has failed
    /// or was silent for [`MAX_SILENCE`]; `true` if tracking was live before.
    async fn keep_alive(&self, connection: &Connection, id: u64, mut subscribed: usize) -> bool {
        let (mut was_live, mut is_unidentified) = (false, false);
        loop {
            let sent = Moment::now();
            if connection.ping(MAX_SILENCE).await.is_err() {
                return was_live;
            }
            match self.coherence.confirm(id, subscribed, sent) {
                Confirmation::Live if !was_live => {
                    was_live = true;
                    self.events.emit(Event::TrackingUp);
                    tracing::info!("client tracking established: local cache in use");
                }
                Confirmation::Unidentified if !is_unidentified => {
                    is_unidentified = true;
                    tracing::warn!(
                        "server not identified (INFO refused): local cache bypassed until reconnect"
                    );
                }
                Confirmation::Live | Confirmation::PrefixMissing | Confirmation::Unidentified => {}
                Confirmation::Rejected => return was_live,
            }
            let pause = async {
                tokio::select! {
                    () = connection.wait_closed() => {}
                    () = self.coherence.wait_for_prefix_after(subscribed) => {}
                }
            };
            let _ = timeout(self.heartbeat, pause).await;
            match self.subscribe(connection, subscribed, MAX_SILENCE).await {
                Ok(count) => subscribed = count,
                Err(_) => return was_live,
            }
        }
    }
}

/// Applies a push message. The connection's task calls it in the order of arrival.
fn apply(coherence: &Coherence, id: u64, push: &PushInfo) {
    match (&push.kind, push.data.as_slice()) {
        (PushKind::Invalidate, [Value::Array(keys)]) => {
            for key in keys {
                match key {
                    Value::BulkString(key) => coherence.key_changed(KeyHash::of_bytes(key)),
                    _ => coherence.all_changed(),
                }
            }
        }
        // FLUSHALL and FLUSHDB name no keys.
        (PushKind::Invalidate, _) => coherence.all_changed(),
        (PushKind::Disconnection, _) => coherence.lost(id),
        _ => {}
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn push(kind: PushKind, data: Vec<Value>) -> PushInfo {
        PushInfo { kind, data }
    }

    #[tokio::test(start_paused = true)]
    async fn a_push_invalidates_its_keys_and_a_flush_all_of_them() {
        let coherence = Coherence::new();
        coherence.set_command_server(Some("a".to_owned()));
        let id = coherence.connecting();
        coherence.set_tracking_server(id, Some("a".to_owned()));
        coherence.confirm(id, 0, Moment::now());
        let keys = ["spec:MARI", "spec:LET", "spec:IRIS"].map(KeyHash::of);
        let stamps = keys.map(|key| coherence.stamp(key));
        let current = |i: usize| coherence.is_current(stamps[i], keys[i], Moment::now());
        let named = ["spec:MARI", "spec:LET"].map(|key| Value::BulkString(key.into()));
        let message = push(PushKind::Invalidate, vec![Value::Array(named.to_vec())]);
        apply(&coherence, id, &message);
        assert_eq!([0, 1, 2].map(current), [false, false, true]);
        apply(
            &coherence,
            id,
            &push(PushKind::Invalidate, vec![Value::Nil]),
        );
        assert!(!current(2));
        apply(&coherence, id, &push(PushKind::Disconnection, vec![]));
        assert!(!coherence.is_live(Moment::now()));
    }
}
