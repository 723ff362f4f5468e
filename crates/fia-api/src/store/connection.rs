//! A connection of the pool, in use.

use deadpool::managed::Object;

use crate::store::load::Usage;
use crate::store::manager::Pooled;
use crate::store::session::Session;

/// A connection. It is closed when dropped without [`release`](Self::release): a response
/// may be in flight on it, or a transaction open.
pub(super) struct Connection {
    object: Option<Pooled>,
    usage: Option<Usage>,
}

impl Connection {
    pub(super) fn new(object: Pooled, usage: Option<Usage>) -> Self {
        Self {
            object: Some(object),
            usage,
        }
    }

    /// Marks its use as a stream, whose duration depends on its reader.
    pub(super) fn mark_as_stream(&mut self) {
        if let Some(usage) = &mut self.usage {
            usage.mark_as_stream();
        }
    }

    #[expect(
        clippy::expect_used,
        reason = "only `release` and `drop` take it, and both end its life"
    )]
    pub(super) fn session(&self) -> &Session {
        self.object
            .as_ref()
            .expect("a connection that was not released")
    }

    pub(super) fn client(&self) -> &tokio_postgres::Client {
        self.session().client()
    }

    /// Returns the connection to the pool; it must be idle and outside a transaction.
    pub(super) fn release(mut self) {
        self.object.take();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(object) = self.object.take() {
            drop(Object::take(object));
        }
    }
}
