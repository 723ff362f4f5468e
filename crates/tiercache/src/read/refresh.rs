//! Early refresh: reloads a value in use shortly before its TTL expires, so that no request has
//! to wait for the load.

use std::sync::Arc;

use crate::connection::{CommandError, Connection};
use crate::local::group::Group;
use crate::namespace::Inner;
use crate::protocol::marker::Stored;
use crate::protocol::read::Expiry;
use crate::read::in_flight::Loader;

/// Loads the value and stores it unless the key has changed meanwhile, by a write or by another
/// replica's refresh.
pub(crate) async fn run<V, E>(
    namespace: Arc<Inner<V, E>>,
    name: String,
    group: Option<Group>,
    load: Loader<V, E>,
) where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    let lacks = |connection: Arc<Connection>| connection.lacks();
    let connection = namespace.shared.connection(&namespace.key(&name));
    let lacks = connection.map(lacks).unwrap_or_default();
    if lacks.scripts || lacks.expiry_times {
        return;
    }
    namespace.counters.refreshes.one();
    let is_stored = match refresh(&namespace, &name, group.as_ref(), load).await {
        Ok(is_stored) => is_stored,
        Err(error) => {
            tracing::debug!(name, ?error, "early refresh failed");
            false
        }
    };
    if !is_stored {
        namespace.counters.refreshes_refused.one();
    }
}

async fn refresh<V, E>(
    namespace: &Inner<V, E>,
    name: &str,
    group: Option<&Group>,
    load: Loader<V, E>,
) -> Result<bool, CommandError>
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    let key = namespace.key(name);
    let shared = &namespace.shared;
    let connection = shared.connection(&key).ok_or(CommandError::CircuitOpen)?;
    let hash = namespace.hash(name);
    let snapshot = namespace.snapshot(hash, group);
    if namespace.is_pending(&key, group) {
        return Ok(false);
    }
    let found = namespace
        .read(&connection, &key, Expiry::Time, group)
        .await?;
    let state = found.group;
    let (Stored::Payload(old), Some(expiry)) = (found.stored, found.expiry) else {
        return Ok(false);
    };
    // Otherwise it belongs to a write, or to the next read.
    if state.current(&old).is_none() {
        return Ok(false);
    }
    let Ok(value) = namespace.run(load).await else {
        return Ok(false);
    };
    // As before a fill: the key does not show a write of this replica whose fence was lost.
    if namespace.is_written_since(hash, &snapshot) || namespace.is_pending(&key, group) {
        return Ok(false);
    }
    let Some((new, ttl)) = namespace.to_store(name, &value) else {
        return Ok(false);
    };
    let limit = shared.settings.read_timeout;
    connection
        .refresh(&key, (expiry, &old), &state.tagged(new), ttl, limit)
        .await
}
