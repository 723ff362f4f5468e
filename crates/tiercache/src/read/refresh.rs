//! Early refresh: reloads a value in use shortly before its TTL expires, so that no request has
//! to wait for the load.

use std::sync::Arc;

use crate::connection::CommandError;
use crate::namespace::Inner;
use crate::protocol::commands::WithExpiry;
use crate::protocol::marker::Stored;
use crate::read::in_flight::Loader;

/// Loads the value and stores it unless the key has changed meanwhile, by a write or by another
/// replica's refresh.
pub(crate) async fn run<V, E>(namespace: Arc<Inner<V, E>>, name: String, load: Loader<V, E>)
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    namespace.counters.refreshes.one();
    let is_stored = match refresh(&namespace, &name, load).await {
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

async fn refresh<V: 'static, E>(
    namespace: &Inner<V, E>,
    name: &str,
    load: Loader<V, E>,
) -> Result<bool, CommandError> {
    let key = namespace.key(name);
    let shared = &namespace.shared;
    let limit = shared.settings.read_timeout;
    let connection = shared.connection().ok_or(CommandError::CircuitOpen)?;
    let version = namespace.write_version(name);
    if namespace.is_pending(&key) {
        return Ok(false);
    }
    let WithExpiry {
        stored: Stored::Payload(old),
        expiry,
    } = connection.get_with_expiry(&key, limit).await?
    else {
        return Ok(false);
    };
    let Ok(value) = namespace.run(load).await else {
        return Ok(false);
    };
    // As before a fill: the key does not show a write of this replica whose fence was lost.
    if namespace.write_version(name) != version || namespace.is_pending(&key) {
        return Ok(false);
    }
    let Some((new, ttl)) = namespace.to_store(name, &value) else {
        return Ok(false);
    };
    connection
        .refresh(&key, (expiry, &old), &new, ttl, limit)
        .await
}
