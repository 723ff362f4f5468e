//! Early refresh: a value in use is loaded anew shortly before its time to live ends, so that
//! nobody has to wait for it then.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;

use crate::class::Inner;
use crate::commands::Lasting;
use crate::flight::Loader;
use crate::marker::Stored;
use crate::session::Trouble;

/// Loads the value and stores it, if by then nothing has happened to the key: no write, and no
/// other replica's refresh.
pub(crate) async fn run<V, E>(class: Arc<Inner<V, E>>, name: String, load: Loader<V, E>)
where
    V: Clone + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    class.counters.refreshes.one();
    match stored(&class, &name, load).await {
        Ok(true) => {}
        Ok(false) => class.counters.refreshes_refused.one(),
        Err(trouble) => {
            tracing::debug!(name, ?trouble, "not refreshed");
            class.counters.refreshes_refused.one();
        }
    }
}

async fn stored<V, E>(
    class: &Inner<V, E>,
    name: &str,
    load: Loader<V, E>,
) -> Result<bool, Trouble> {
    let key = class.key(name);
    let shared = &class.shared;
    let limit = shared.settings.read_timeout;
    let session = shared.session().ok_or(Trouble::Down)?;
    let epoch = class.epoch(name);
    if shared.debts.owes(&key) {
        return Ok(false);
    }
    let held = session.get_with_end(&key, limit).await?;
    let Lasting {
        stored: Stored::Payload(old),
        until,
    } = held
    else {
        return Ok(false);
    };
    let loading = AssertUnwindSafe(async move { load().await }).catch_unwind();
    class.counters.loads.one();
    let Ok(Ok(value)) = loading.await else {
        class.counters.load_failures.one();
        return Ok(false);
    };
    // As for a fill: a write of this replica whose fence got lost is not seen in the key.
    if class.epoch(name) != epoch || shared.debts.owes(&key) {
        return Ok(false);
    }
    let new = (class.spec.encode)(&value);
    let ttl = class.spec.ttl;
    session.refresh(&key, (until, &old), &new, ttl, limit).await
}
