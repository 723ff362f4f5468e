//! Connections that lookups share.
//!
//! A lookup on a direct session is one request, and the server responds to requests in their order.
//! So a lookup may join the connection of others that are running: both ends of the connection then
//! do several of them each time they wake up, which costs less than a connection for each.
//!
//! Few connections are shared, so that most of the pool remains for transactions and for statements
//! that take longer than a lookup.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool::managed::Object;
use parking_lot::Mutex;

use crate::store::manager::Pooled;
use crate::store::session::{Session, SessionKind};

/// The most lookups on a connection at a time. What exceeds it waits for a connection of the pool.
const MAX_USERS: usize = 16;
/// Nobody joins a connection without a response for this time: its lookup waits for a lock or a
/// disk, and the others would wait with it.
const STALLED: Duration = Duration::from_millis(50);

/// The connections of the pool that lookups share now.
#[derive(Default)]
pub(super) struct SharedConnections {
    entries: Mutex<Vec<Entry>>,
    max: usize,
}

struct Entry {
    connection: Arc<Pooled>,
    users: usize,
    /// When the last lookup ended here, or the first one began.
    progressed: Instant,
    /// Nobody joins any more: a response is missing, or the connection leads to a server that is
    /// no longer the primary.
    is_retired: bool,
}

/// The use of a shared connection by one lookup.
pub(super) struct SharedUse {
    shared: Arc<SharedConnections>,
    connection: Option<Arc<Pooled>>,
    has_ended: bool,
}

impl SharedConnections {
    /// For a pool of this size: at most one connection for each processor, and a quarter of the pool.
    pub(super) fn of_pool(size: usize) -> Arc<Self> {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Self {
            entries: Mutex::default(),
            max: processors.min(size / 4),
        })
    }

    /// Joins the connection with the fewest users. `None` if another connection may be shared, or
    /// if all have their most users or respond slowly.
    pub(super) fn join(self: &Arc<Self>) -> Option<SharedUse> {
        let mut entries = self.entries.lock();
        if entries.len() < self.max {
            return None;
        }
        let free = entries.iter_mut().filter(|entry| entry.is_free());
        let entry = free.min_by_key(|entry| entry.users)?;
        entry.users += 1;
        Some(self.user_of(&entry.connection))
    }

    /// Shares a connection, or returns it if it cannot be shared or enough are.
    pub(super) fn share(self: &Arc<Self>, connection: Pooled) -> Result<SharedUse, Pooled> {
        let mut entries = self.entries.lock();
        if connection.kind() != SessionKind::Direct || entries.len() >= self.max {
            return Err(connection);
        }
        let connection = Arc::new(connection);
        let user = self.user_of(&connection);
        entries.push(Entry {
            connection,
            users: 1,
            progressed: Instant::now(),
            is_retired: false,
        });
        Ok(user)
    }

    /// Lets nobody join a connection that is shared now. Its last user closes it.
    pub(super) fn retire(&self) {
        for entry in self.entries.lock().iter_mut() {
            entry.is_retired = true;
        }
    }

    fn user_of(self: &Arc<Self>, connection: &Arc<Pooled>) -> SharedUse {
        SharedUse {
            shared: Arc::clone(self),
            connection: Some(Arc::clone(connection)),
            has_ended: false,
        }
    }

    /// Ends the use of a connection. Its last user returns it to the pool, or closes it.
    fn leave(&self, connection: Arc<Pooled>, has_ended: bool) {
        let mut entries = self.entries.lock();
        let found = entries
            .iter()
            .position(|entry| Arc::ptr_eq(&entry.connection, &connection));
        let Some(at) = found else { return };
        drop(connection);
        let entry = &mut entries[at];
        entry.users -= 1;
        entry.is_retired |= !has_ended;
        entry.progressed = Instant::now();
        if entry.users > 0 {
            return;
        }
        let entry = entries.swap_remove(at);
        drop(entries);
        if entry.is_retired
            && let Some(connection) = Arc::into_inner(entry.connection)
        {
            drop(Object::take(connection));
        }
    }
}

impl Entry {
    fn is_free(&self) -> bool {
        !self.is_retired && self.users < MAX_USERS && self.progressed.elapsed() < STALLED
    }
}

impl SharedUse {
    #[expect(
        clippy::expect_used,
        reason = "only `end` and `drop` take it, and both end its life"
    )]
    pub(super) fn session(&self) -> &Session {
        self.connection.as_ref().expect("a use that has not ended")
    }

    /// Ends the use after its response. Dropped instead, nobody joins the connection any more.
    pub(super) fn end(mut self) {
        self.has_ended = true;
    }
}

impl Drop for SharedUse {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            self.shared.leave(connection, self.has_ended);
        }
    }
}
