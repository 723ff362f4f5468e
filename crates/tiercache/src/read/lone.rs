//! Reads of the shared level by their callers, without a fetch.
//!
//! Most fetches find a payload, and most have a single waiter. The caller of such a read sends the
//! GET itself: no task is started, and nobody waits for it, so nobody is delayed if its future is
//! dropped or not polled. When some reads of a key run this way, the next one starts a fetch, which
//! coalesces all later ones (see [`crate::read::in_flight`]), and so does a lone read that finds no
//! value. While fetches of a key have many waiters, none of its reads runs alone.

use crate::local::group::Group;
use crate::namespace::Inner;
use crate::read::fetch::Known;
use crate::read::get_shared::SharedRead;
use crate::read::outcome::{CachedValue, Source};

impl<V, E> Inner<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Reads a key of the shared level if few others do, and none with a fetch. The error is what is
    /// known for a fetch.
    pub(super) async fn read_alone(
        &self,
        key: &str,
        group: Option<&Group>,
    ) -> Result<CachedValue<V>, Known> {
        if !self.uses_shared_level() {
            return Err(Known::Nothing);
        }
        let entry_key = self.entry_key(self.name(key));
        let alone = self.in_flight.begin_alone(entry_key);
        let (Some(_alone), Some(connection)) = (alone, self.shared.connection(key)) else {
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
