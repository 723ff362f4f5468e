//! The session that holds this replica's claims, opened when the first message is claimed.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use crate::store::Db;
use crate::store::outbox::ClaimSession;

/// The time without claims after which the session is closed: it occupies a connection of the
/// database, behind a pooler, too.
const LINGER: Duration = Duration::from_secs(1);

/// A shared session, or none where the database accepted no further connection: then claims end
/// only when they expire.
#[derive(Clone)]
pub(super) struct Session(Option<Arc<ClaimSession>>);

impl Session {
    pub(super) fn id(&self) -> Option<i64> {
        self.0.as_ref().map(|session| session.id())
    }

    /// Returns false if the claims need another session.
    pub(super) fn is_alive(&self) -> bool {
        self.0.as_ref().is_some_and(|session| session.is_alive())
    }

    /// Waits until the session is lost.
    pub(super) async fn lost(&self) {
        if let Some(session) = &self.0 {
            session.lost().await;
        }
    }
}

/// The current session.
#[derive(Default)]
pub(super) struct Claims(Mutex<Current>);

#[derive(Default)]
struct Current {
    session: Option<Arc<ClaimSession>>,
    used: Option<Instant>,
    /// The sessions so far that batches may use.
    opened: Vec<Weak<ClaimSession>>,
    /// The last attempt to open a session failed.
    is_failing: bool,
}

impl Claims {
    /// Returns the session, and opens one if there is none or it was lost.
    pub(super) async fn session(&self, db: &Db) -> Session {
        let mut current = self.0.lock().await;
        current.used = Some(Instant::now());
        if let Some(session) = &current.session
            && session.is_alive()
        {
            return Session(Some(Arc::clone(session)));
        }
        match ClaimSession::open(db).await {
            Ok(session) => {
                current.is_failing = false;
                let session = Arc::new(session);
                current.opened.retain(|opened| opened.strong_count() > 0);
                current.opened.push(Arc::downgrade(&session));
                current.session = Some(Arc::clone(&session));
                Session(Some(session))
            }
            Err(error) => {
                if !current.is_failing {
                    tracing::warn!(%error, "no session for message claims: if this replica is killed, its messages wait until their claims expire");
                }
                current.is_failing = true;
                current.session = None;
                Session(None)
            }
        }
    }

    /// The ids of the sessions that batches in flight use.
    pub(super) async fn own(&self) -> Vec<i64> {
        let current = self.0.lock().await;
        let opened = current.opened.iter().filter_map(Weak::upgrade);
        opened.map(|session| session.id()).collect()
    }

    /// Closes a session that was not used for a while. Batches in flight keep theirs open.
    pub(super) async fn close_idle(&self) {
        let mut current = self.0.lock().await;
        if current.used.is_some_and(|used| used.elapsed() >= LINGER) {
            current.session = None;
            current.used = None;
        }
    }
}
