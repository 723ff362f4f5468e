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
use redis::{AsyncConnectionConfig, PushInfo, cmd};

use crate::clock::Moment;
use crate::connection::backoff::Backoff;
use crate::connection::breaker::CircuitBreaker;
use crate::connection::canary::Canary;
use crate::connection::lacks::is_unavailable;
use crate::connection::pushes::Receiver;
use crate::connection::{CommandError, Connection};
use crate::event::{Event, Events};
use crate::local::coherence::{Coherence, Confirmation, MAX_SILENCE, NodeId};
use crate::seams::mutant;
use crate::seams::{Instant, sleep, timeout};
use crate::server::Server;
use crate::settings::Settings;
use crate::write::pending::PendingInvalidations;

/// The pause before another attempt on a server that cannot track, or does not permit it.
const RETRY_UNABLE: Duration = Duration::from_secs(10);

/// The task that keeps client tracking established.
pub(crate) struct Tracker {
    server: Server,
    node: NodeId,
    /// Has the connection for commands.
    breaker: Arc<CircuitBreaker>,
    coherence: Arc<Coherence>,
    pending: Arc<PendingInvalidations>,
    connect_timeout: Duration,
    write_timeout: Duration,
    heartbeat: Duration,
    events: Events,
}

impl Tracker {
    /// The tracker of a node whose connection for commands is in the circuit breaker.
    pub(crate) fn new(
        (server, node): (Server, NodeId),
        breaker: &Arc<CircuitBreaker>,
        coherence: &Arc<Coherence>,
        pending: &Arc<PendingInvalidations>,
        settings: &Settings,
    ) -> Self {
        Self {
            server,
            node,
            breaker: Arc::clone(breaker),
            coherence: Arc::clone(coherence),
            pending: Arc::clone(pending),
            connect_timeout: settings.connect_timeout,
            write_timeout: settings.write_timeout,
            heartbeat: settings.heartbeat,
            events: settings.events.clone(),
        }
    }

    /// Connects, sends heartbeats, and reconnects. Never returns.
    pub(crate) async fn run(self) {
        // BCAST without a prefix would track every key of the server.
        self.coherence.wait_for_prefix_after(0).await;
        let mut backoff = Backoff::new();
        let mut is_logged = false;
        loop {
            let id = self.coherence.connecting(self.node);
            let mut pause = None;
            match timeout(self.connect_timeout, self.connect(id)).await {
                Ok(Ok(tracking)) => {
                    if self.keep_alive(tracking, id, &mut is_logged).await {
                        self.events.emit(Event::TrackingDown);
                        (backoff, is_logged) = (Backoff::new(), true);
                        tracing::warn!(
                            "client tracking lost: local cache bypassed until it reconnects"
                        );
                    }
                }
                Ok(Err(error)) => {
                    let is_unable =
                        matches!(&error, CommandError::Server(error) if is_unavailable(error));
                    pause = is_unable.then_some(RETRY_UNABLE);
                    if !is_logged {
                        is_logged = true;
                        tracing::warn!(
                            %error,
                            "client tracking unavailable: local cache bypassed; retrying"
                        );
                    }
                }
                Err(_) => {}
            }
            mutant!(TrackingNotReestablished => return);
            self.coherence.lost(self.node, id);
            sleep(pause.unwrap_or_else(|| backoff.next())).await;
        }
    }

    async fn connect(&self, id: u64) -> Result<Tracking, CommandError> {
        let receiver = Receiver {
            coherence: Arc::clone(&self.coherence),
            node: self.node,
            id,
            canary: Arc::default(),
        };
        let canary = Arc::clone(&receiver.canary);
        let config = AsyncConnectionConfig::new().set_push_sender(move |push: PushInfo| {
            receiver.apply(&push);
            Ok::<(), SendError>(())
        });
        // On RESP2 the server accepts the subscription but sends no invalidations.
        let connect = async |config| self.server.open_resp3(&config).await;
        let connection = Connection::open("client tracking", config, connect).await?;
        let limit = self.connect_timeout;
        let subscribed = self.subscribe(&connection, 0, limit).await?;
        let server = connection.server(limit).await?;
        self.coherence.set_tracking_server(self.node, id, server);
        // In a cluster the connections for commands do it.
        if self.node == NodeId::ONLY {
            let flushed = self
                .pending
                .flush(&connection, |_| true, self.write_timeout);
            flushed.await?;
        }
        Ok(Tracking {
            connection,
            subscribed,
            canary,
        })
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
                mutant!(OtherPrefixTracked => tracking.arg("PREFIX").arg("other:"); continue);
                tracking.arg("PREFIX").arg(prefix);
            }
            connection.call(&tracking, Instant::now() + limit).await?;
        }
        Ok(subscribed + prefixes.len())
    }

    /// Sends heartbeats and subscribes to added prefixes. Returns when the connection has failed
    /// or was silent for [`MAX_SILENCE`]; `true` if tracking was live before.
    async fn keep_alive(&self, mut tracking: Tracking, id: u64, is_logged: &mut bool) -> bool {
        let mut was_live = false;
        let connection = &tracking.connection;
        loop {
            let sent = Moment::now();
            if connection.ping(MAX_SILENCE).await.is_err() {
                return was_live;
            }
            match self
                .coherence
                .confirm(self.node, id, tracking.subscribed, sent)
            {
                Confirmation::Live if !was_live => {
                    was_live = true;
                    self.events.emit(Event::TrackingUp);
                    tracing::info!("client tracking established: local cache in use");
                }
                Confirmation::Live | Confirmation::Waiting | Confirmation::PrefixMissing => {}
                Confirmation::Unidentified => match self.prove(&tracking, id).await {
                    Some(true) => continue,
                    Some(false) => {
                        if !std::mem::replace(is_logged, true) {
                            tracing::warn!(
                                "INFO is refused, and changes are not pushed: commands may reach another server than \
                                 client tracking; local cache bypassed; retrying"
                            );
                        }
                        return was_live;
                    }
                    None => {}
                },
                Confirmation::Rejected => return was_live,
            }
            let pause = async {
                tokio::select! {
                    () = connection.wait_closed() => {}
                    () = self.coherence.wait_for_prefix_after(tracking.subscribed) => {}
                }
            };
            let _ = timeout(self.heartbeat, pause).await;
            match self
                .subscribe(connection, tracking.subscribed, MAX_SILENCE)
                .await
            {
                Ok(count) => tracking.subscribed = count,
                Err(_) => return was_live,
            }
        }
    }

    /// Tries to prove that changes on the command connection are pushed on the tracking connection.
    /// `None` without a command connection, or if it fails.
    async fn prove(&self, tracking: &Tracking, id: u64) -> Option<bool> {
        // In this order: a later connection has a higher number.
        let number = self.coherence.command_connection(self.node);
        let commands = self.breaker.connection()?;
        let prefix = self.coherence.prefixes_after(0).into_iter().next()?;
        let limit = self.connect_timeout;
        let pushed = tracking.canary.is_pushed(&prefix, &commands, limit);
        let is_pushed = pushed.await.ok()?;
        if is_pushed {
            self.coherence.proved(self.node, id, number);
        }
        Some(is_pushed)
    }
}

/// An established tracking connection.
struct Tracking {
    connection: Connection,
    /// The number of prefixes that it has subscribed to.
    subscribed: usize,
    canary: Arc<Canary>,
}
