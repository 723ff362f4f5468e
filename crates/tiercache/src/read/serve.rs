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
        match fetch.look_up().await {
            Lookup::Hit(value, age) => fetch.deliver_hit(value, age),
            Lookup::Miss(grant) => match (fetch.begin_load(), grant) {
                (Some((load, begin)), grant) => {
                    let result = fetch.namespace.run(load).await;
                    fetch.finish_load(grant, begin, result).await;
                }
                (None, Some(grant)) => fetch.release(grant).await,
                (None, None) => {}
            },
        }
    }
}
