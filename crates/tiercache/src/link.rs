//! The way to the shared level: the breaker that guards it and the mender that heals it.
//!
//! ```text
//!            3 time-outs in a row, or any I/O error
//!   closed ─────────────────────────────────────────▶ open
//!   (a session)                                       (no session: nobody asks)
//!      ▲                                                 │ the mender alone:
//!      └── install ◀── settle debts ◀── PING ◀── connect ┘ at once, then with back-off
//! ```
//!
//! A request never waits for a dead server twice in a row and is never the probe of a new
//! connection. The mender always makes a *new* connection: one that is half open would never
//! answer, however healthy the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use redis::{AsyncConnectionConfig, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::back_off::BackOff;
use crate::coherence::{Coherence, ServerId};
use crate::debts::Debts;
use crate::session::{Session, Trouble};

/// Commands waiting for the socket, beyond which callers wait (within their limits).
const QUEUE: usize = 512;
/// A connection that broke sooner than this was no recovery, so the back-off goes on.
const PROVEN_AFTER: Duration = Duration::from_secs(1);

/// What a [`Link`] is told at its start.
pub(crate) struct Limits {
    pub(crate) connect: Duration,
    pub(crate) read: Duration,
    pub(crate) write: Duration,
    pub(crate) heartbeat: Duration,
}

/// The way to the shared level.
pub(crate) struct Link {
    client: Client,
    limits: Limits,
    session: ArcSwapOption<Session>,
    /// Whether there is a session, for those who wait for a change.
    up: watch::Sender<bool>,
    openings: AtomicU64,
}

impl Link {
    pub(crate) fn new(client: Client, limits: Limits) -> Self {
        Self {
            client,
            limits,
            session: ArcSwapOption::empty(),
            up: watch::Sender::new(false),
            openings: AtomicU64::new(0),
        }
    }

    /// The session, while the breaker is closed.
    pub(crate) fn session(&self) -> Option<Arc<Session>> {
        self.session
            .load_full()
            .filter(|session| !session.is_broken())
    }

    /// Waits until the breaker is closed, or open.
    pub(crate) async fn until(&self, up: bool) {
        // An error means that the sender is gone; it is in `self`.
        let _ = self.up.subscribe().wait_for(|now| *now == up).await;
    }

    /// How often the breaker has opened.
    pub(crate) fn openings(&self) -> u64 {
        self.openings.load(Ordering::Relaxed)
    }

    /// Connects, watches, and connects again; never returns.
    pub(crate) async fn mend(&self, debts: &Debts, coherence: &Coherence) {
        let mut back_off = BackOff::new();
        loop {
            let (session, server) = self.connect_at_last(debts, &mut back_off).await;
            let session = Arc::new(session);
            coherence.commands_go_to(server);
            let since = Instant::now();
            self.session.store(Some(Arc::clone(&session)));
            self.up.send_replace(true);
            tracing::info!("the shared cache level is in use");
            self.watch(&session, debts).await;
            self.session.store(None);
            self.up.send_replace(false);
            self.openings.fetch_add(1, Ordering::Relaxed);
            if since.elapsed() >= PROVEN_AFTER {
                back_off = BackOff::new();
            } else {
                sleep(back_off.next()).await;
            }
        }
    }

    /// Tries until it succeeds, however long that takes.
    async fn connect_at_last(&self, debts: &Debts, back_off: &mut BackOff) -> (Session, ServerId) {
        let mut attempts: u64 = 0;
        loop {
            let trouble = match timeout(self.limits.connect, self.connect()).await {
                Ok(Ok((session, server))) => {
                    match debts.settle(&session, self.limits.write).await {
                        Ok(()) => return (session, server),
                        Err(trouble) => trouble,
                    }
                }
                Ok(Err(trouble)) => trouble,
                Err(_) => Trouble::Unanswered,
            };
            if attempts == 0 {
                tracing::warn!(
                    ?trouble,
                    "cannot connect to the shared cache level; trying on"
                );
            }
            attempts += 1;
            sleep(back_off.next()).await;
        }
    }

    /// A new connection to a server that answers.
    async fn connect(&self) -> Result<(Session, ServerId), Trouble> {
        let config = AsyncConnectionConfig::new().set_pipeline_buffer_size(QUEUE);
        let session = Session::open(&self.client, "the shared cache level", config).await?;
        session.ping(self.limits.connect).await?;
        let server = session.server(self.limits.connect).await?;
        Ok((session, server))
    }

    /// Returns when the session has broken. The heartbeat finds that out before a user does,
    /// and settles what came to be owed while the session lasted.
    async fn watch(&self, session: &Session, debts: &Debts) {
        while !session.is_broken() {
            match session.ping(self.limits.read).await {
                Ok(()) => {}
                Err(Trouble::Refused(error)) => {
                    session.give_up(&error.to_string());
                    return;
                }
                Err(_) => continue, // at once: three in a row open the breaker
            }
            if let Err(trouble) = debts.settle(session, self.limits.write).await {
                tracing::warn!(?trouble, "an invalidation is still owed");
            }
            let _ = timeout(self.limits.heartbeat, session.broken()).await;
        }
    }
}
