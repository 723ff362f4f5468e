//! A value in use is loaded anew before its time to live ends.

use super::*;
use std::sync::Arc;
use tiercache::Namespace;
use tokio::sync::Semaphore;

/// A short life, so that its last part comes soon.
const SHORT: Duration = Duration::from_secs(2);

async fn short() -> (Stage, Namespace<u64, DbError>) {
    let stage = Stage::with(keeping).await;
    let mut spec = kept(SHORT);
    spec.prefix = "test:short:";
    spec.local.as_mut().unwrap().same = None;
    let rows = stage.cache.namespace(spec).unwrap();
    (stage, rows)
}

fn short_stats(stage: &Stage) -> tiercache::NamespaceStats {
    stage.cache.stats().namespaces.swap_remove(1)
}

// Over a second: it waits for the last part of a life of two.
#[tokio::test]
async fn a_value_in_use_is_loaded_before_its_end() {
    let (stage, rows) = short().await;
    let get = || rows.get_or_load(NAME, stage.database.loader());
    assert_eq!(get().await, loaded(0));
    until("it was refreshed twice", async || {
        assert_ne!(get().await, loaded(0), "somebody had to wait");
        short_stats(&stage).refreshes == 2
    })
    .await;
    until("both are stored", async || stage.database.loads() == 3).await;
    assert_eq!(short_stats(&stage).refreshes_refused, 0);
}

/// Refresh reads the old value, a write passes, and the refresh must not store it.
#[tokio::test]
async fn a_write_during_the_refresh_wins() {
    let (stage, rows) = short().await;
    rows.get_or_load(NAME, stage.database.loader())
        .await
        .unwrap();
    let (tell, mut entered) = tokio::sync::mpsc::unbounded_channel();
    let open = Arc::new(Semaphore::new(0));
    until("a refresh has begun", async || {
        let (database, tell, open) = (stage.database.clone(), tell.clone(), open.clone());
        let load = async move || {
            let old = database.select();
            tell.send(()).unwrap();
            let _ = open.acquire().await;
            Ok(old)
        };
        assert_eq!(rows.get_or_load(NAME, load).await.unwrap().value, 0);
        entered.try_recv().is_ok()
    })
    .await;
    let version = put(&rows, &stage.database).await;
    open.add_permits(1);
    until("it is refused", async || {
        short_stats(&stage).refreshes_refused == 1
    })
    .await;
    let answer = rows.get_or_load(NAME, stage.database.loader()).await;
    assert_eq!(answer.unwrap().value, version);
}
