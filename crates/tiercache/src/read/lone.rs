//! Reads of the shared level by their callers, without a fetch.
//!
//! Most fetches find a payload, and most have a single waiter. The caller of such a read sends the
//! GET itself: no task is started, and nobody waits for it, so nobody is delayed if its future is
//! dropped or not polled. When some reads of a key run this way, the next one starts a fetch, which
//! coalesces all later ones (see [`crate::read::in_flight`]), and so does a lone read that finds no
//! value. While fetches of a key have many waiters, none of its reads runs alone.

use crate::local::entry::KeyRef;
use crate::local::group::Group;
use crate::namespace::Inner;
use crate::read::fetch::Known;
use crate::read::get_shared::SharedRead;
use crate::read::in_flight::LoneRead;
use crate::read::outcome::{CachedValue, Source};

/// A lone read that has begun.
pub(super) struct Alone<'a> {
    key: &'a str,
    entry_key: KeyRef<'a>,
    _right: LoneRead<'a>,
}

impl<V, E> Inner<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Begins a lone read of a key if it is in the shared level, few others read it, and none with a
    /// fetch.
    pub(super) fn begin_alone<'a>(&'a self, key: &'a str) -> Option<Alone<'a>> {
        if !self.uses_shared_level() {
            return None;
        }
        let entry_key = self.entry_key(self.name(key));
        Some(Alone {
            key,
            entry_key,
            _right: self.in_flight.begin_alone(entry_key)?,
        })
    }

    /// Reads a key of the shared level. The error is what is known for a fetch.
    pub(super) async fn read_alone(
        &self,
        Alone {
            key,
            entry_key,
            _right,
        }: Alone<'_>,
        group: Option<&Group>,
    ) -> Result<CachedValue<V>, Known> {
        let Some(connection) = self.shared.connection(key) else {
            return Err(Known::Nothing);
        };
        // In this order, as in a fetch.
        let snapshot = self.snapshot(entry_key.hash, group);
        if self.is_pending(key, group) {
            return Err(Known::Nothing);
        }
        self.counters.fetches.one();
        let target = (entry_key, key, group);
        match self.get_shared(&connection, target, snapshot).await {
            Ok(SharedRead::Hit(value, age)) => {
                self.counters.hits.one();
                Ok(CachedValue::new(value, Source::Shared, age))
            }
            Ok(SharedRead::Miss { rejected }) => Err(Known::Absent { rejected }),
            Ok(SharedRead::Fenced) => Err(Known::Fenced),
            Err(_) => Err(Known::Unavailable),
        }
    }
}
