//! Early refresh: a value in use is reloaded before its TTL expires.

use super::*;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A short TTL, so that the refresh window starts soon.
const SHORT: Duration = Duration::from_secs(2);

async fn short() -> (Fixture, Rows) {
    let fixture = Fixture::with(local_settings).await;
    let short = with_prefix(&fixture.cache, "test:short:", SHORT);
    let rows = Rows::build(short);
    (fixture, rows)
}

fn short_stats(fixture: &Fixture) -> tiercache::NamespaceStats {
    fixture.cache.stats().namespaces.swap_remove(1)
}

// Takes over a second: it waits for the refresh window of a TTL of 2 s.
#[limited::test]
async fn a_value_in_use_is_refreshed_before_it_expires() {
    let (fixture, rows) = short().await;
    let get = || rows.get_or_load(NAME, fixture.database.loader());
    assert_eq!(get().await, loaded(0));
    wait_until("two refreshes", async || {
        assert_ne!(get().await, loaded(0), "a request waited for a load");
        short_stats(&fixture).refreshes == 2
    })
    .await;
    wait_until("both refreshes to be stored", async || {
        fixture.database.loads() == 3
    })
    .await;
    assert_eq!(short_stats(&fixture).refreshes_refused, 0);
}

/// The refresh reads the old value before a write, so it must not store it. Takes over a second, as above.
#[limited::test]
async fn a_refresh_that_read_before_a_write_is_refused() {
    let (fixture, rows) = short().await;
    rows.get_or_load(NAME, fixture.database.loader())
        .await
        .unwrap();
    let (signal, mut entered) = tokio::sync::mpsc::unbounded_channel();
    let open = Arc::new(Semaphore::new(0));
    wait_until("a refresh to begin", async || {
        let (database, signal, open) = (fixture.database.clone(), signal.clone(), open.clone());
        let load = async move || {
            let old = database.select();
            signal.send(()).unwrap();
            let _ = open.acquire().await;
            Ok(old)
        };
        assert_eq!(rows.get_or_load(NAME, load).await.unwrap().value, 0);
        entered.try_recv().is_ok()
    })
    .await;
    let version = put(&rows, &fixture.database).await;
    open.add_permits(1);
    wait_until("the refresh to be refused", async || {
        short_stats(&fixture).refreshes_refused == 1
    })
    .await;
    let response = rows.get_or_load(NAME, fixture.database.loader()).await;
    assert_eq!(response.unwrap().value, version);
}
