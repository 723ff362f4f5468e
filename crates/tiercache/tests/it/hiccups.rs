//! A server that does not respond for a moment is not lost.

use std::time::Duration;

use futures_util::future::{join, join_all};
use tiercache::{Cache, Source};

use crate::support::{Database, Fixture, wait_until};

const READ_TIMEOUT: Duration = Duration::from_millis(200);

/// Any number of reads time out in the same hiccup, which counts once.
#[limited::test]
async fn a_hiccup_that_many_reads_wait_for_does_not_open_the_circuit_breaker() {
    let fixture = Fixture::with(|url| Cache::builder(url).read_timeout(READ_TIMEOUT)).await;
    let database = Database::default();
    let names: Vec<String> = (0..16).map(|i| format!("N{i}")).collect();
    let read = async |name: &String| {
        let read = fixture.rows.get_or_load(name, database.loader()).await;
        read.unwrap().source
    };
    wait_until("hits", async || {
        let sources = join_all(names.iter().map(read)).await;
        sources.iter().all(|source| *source == Source::Shared)
    })
    .await;
    let sleep: &[&[u8]] = &[b"DEBUG", b"SLEEP", b"0.3"];
    wait_until("reads that time out", async || {
        let hiccup = fixture.raw.run::<()>(sleep);
        let ((), sources) = join(hiccup, join_all(names.iter().map(read))).await;
        sources.contains(&Source::Loaded)
    })
    .await;
    assert_eq!(fixture.cache.stats().breaker_openings, 0);
    wait_until("hits again", async || {
        let sources = join_all(names.iter().map(read)).await;
        sources.iter().all(|source| *source == Source::Shared)
    })
    .await;
    assert_eq!(fixture.cache.stats().breaker_openings, 0);
}
