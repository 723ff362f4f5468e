//! The write fence: raised by a transaction, checked at its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use crate::cache::Shared;
use crate::event::Event;
use crate::protocol::marker::FenceToken;

/// A fence on a key, for a transaction to [raise](Self::raise) while it holds the row lock.
///
/// From then until the end of the write no replica fills the key, so none can fill it with a
/// value that it read before the commit. Raised *before* the lock is held, the fence could be
/// removed by the end of another write, before this one commits.
pub struct WriteFence {
    pub(super) key: Arc<str>,
    pub(super) shared: Arc<Shared>,
    pub(super) token: FenceToken,
    pub(super) state: Arc<FenceState>,
}

/// The state of a fence, shared with the end of the write.
pub(super) struct FenceState(AtomicU8);

const NOT_SENT: u8 = 0;
const SENT: u8 = 1;
const CONFIRMED: u8 = 2;

impl FenceState {
    pub(super) fn new() -> Self {
        Self(AtomicU8::new(NOT_SENT))
    }

    pub(super) fn is_sent(&self) -> bool {
        self.0.load(Ordering::Acquire) != NOT_SENT
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.0.load(Ordering::Acquire) == CONFIRMED
    }
}

impl WriteFence {
    /// Raises the fence. **Call it after the statement that takes the row lock and before
    /// COMMIT**; do not call it if nothing is going to change.
    ///
    /// Never fails, and takes no longer than the cache's
    /// [`write_timeout`](crate::CacheBuilder::write_timeout). If the
    /// shared level is unavailable, the write continues, and its invalidation is queued. Consumes
    /// the fence, since a retry could replace the fence of a later writer.
    pub async fn raise(self) {
        self.state.0.store(SENT, Ordering::Release);
        let Some(connection) = self.shared.connection() else {
            return;
        };
        let settings = &self.shared.settings;
        let fence = (&self.token, settings.fence);
        let _command = self.shared.command("FENCE");
        match connection
            .raise(&self.key, fence, settings.write_timeout)
            .await
        {
            Ok(()) => self.state.0.store(CONFIRMED, Ordering::Release),
            Err(error) => {
                let key = &*self.key;
                settings.events.emit(Event::FenceUnconfirmed { key });
                tracing::warn!(key, ?error, "write fence not confirmed");
            }
        }
    }
}
