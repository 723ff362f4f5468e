//! A connection of the pool, in use by one caller or shared by lookups.

use deadpool::managed::Object;

use crate::store::load::Usage;
use crate::store::manager::Pooled;
use crate::store::session::Session;
use crate::store::shared::SharedUse;

/// A connection. It is closed when dropped without [`release`](Self::release): a response
/// may be in flight on it, or a transaction open.
pub(super) struct Connection {
    held: Option<Held>,
    usage: Option<Usage>,
}

enum Held {
    Own(Pooled),
    Shared(SharedUse),
}

impl Connection {
    pub(super) fn new(object: Pooled, usage: Option<Usage>) -> Self {
        Self {
            held: Some(Held::Own(object)),
            usage,
        }
    }

    pub(super) fn shared(shared: SharedUse, usage: Option<Usage>) -> Self {
        Self {
            held: Some(Held::Shared(shared)),
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
        match self.held.as_ref().expect("a connection in use") {
            Held::Own(object) => object,
            Held::Shared(shared) => shared.session(),
        }
    }

    pub(super) fn client(&self) -> &tokio_postgres::Client {
        self.session().client()
    }

    /// Returns the connection to the pool; it must be idle and outside a transaction. Of a shared
    /// one, all responses to this caller must have arrived.
    pub(super) fn release(mut self) {
        if let Some(Held::Shared(shared)) = self.held.take() {
            shared.end();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(Held::Own(object)) = self.held.take() {
            drop(Object::take(object));
        }
    }
}
