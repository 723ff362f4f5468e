//! The fetches of one key.

use crate::read::fetch::Fetch;
use crate::read::fetch::look_up::Lookup;

/// Fetches until the slot has no waiters.
pub(crate) async fn serve<V, E>(mut fetch: Fetch<V, E>)
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    while !fetch.flight.end_if_empty() {
        let wait = fetch.namespace.shared.settings.lease_wait;
        let grant = match fetch.look_up(wait).await {
            Lookup::Hit(value, age) => {
                fetch.deliver_hit(value, age);
                continue;
            }
            Lookup::Miss(grant) => grant,
            Lookup::Busy => None,
        };
        match (fetch.begin_load(), grant) {
            (Some((load, begin)), grant) => {
                let result = fetch.namespace.run(load).await;
                // Boxed: most fetches are hits, and hold no room for it.
                Box::pin(fetch.finish_load(grant, begin, result)).await;
            }
            (None, Some(grant)) => fetch.release(grant).await,
            (None, None) => {}
        }
    }
}
