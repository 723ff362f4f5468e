//! Writers of a group that die between their fence and their invalidation: as for keys, nothing but the
//! fence protects the other processes.

use super::*;
use crate::support::{Writer, expire_fence, local_settings, wait_until};

/// Two processes that read entries of the group `red`, and one that writes it.
struct Processes {
    fixture: Fixture,
    readers: [Lists; 2],
    writer: Writer,
    written: Lists,
}

impl Processes {
    async fn start() -> Self {
        let fixture = Fixture::new().await;
        let url = fixture.valkey.url();
        let reader = || Lists::connect(local_settings(url.clone()));
        let readers = [reader().await, reader().await];
        let url = fixture.valkey.url();
        let lists = async move { Lists::connect(long_timeouts(url)).await };
        let (writer, written) = Writer::start(lists).await;
        Self {
            fixture,
            readers,
            writer,
            written,
        }
    }

    async fn fence(&mut self) {
        let (cache, key) = (self.written.cache.clone(), self.written.groups.key("red"));
        let database = &self.fixture.database;
        self.writer.fence(cache, key, database).await;
    }

    /// The writer commits and dies; the readers remain.
    async fn commit_and_die(mut self) -> (Fixture, [Lists; 2]) {
        self.writer.commit().await;
        self.writer.die().await;
        (self.fixture, self.readers)
    }

    /// A read whose loader has read the row.
    async fn load(&self, name: &'static str) -> (Gate, tokio::task::JoinHandle<Response>) {
        let database = self.fixture.database.clone();
        let (mut gate, load) = Gate::after(move || Ok(database.select()));
        let lists = self.readers[0].clone();
        let read = tokio::spawn(async move { lists.try_get(name, load).await });
        gate.entered().await;
        (gate, read)
    }
}

/// Asserts that every read loads the newest version as long as the fence stands.
async fn assert_loads(fixture: &Fixture, readers: &[Lists]) {
    let newest = fixture.database.version();
    for lists in readers {
        for name in ["red:1", "red:2", "red:1"] {
            let read = lists.get(name, &fixture.database).await;
            assert_eq!(read, loaded(newest), "the fence stands");
        }
    }
}

/// Waits until entries are in memory. No value before may be an older one.
async fn wait_for_local_hits(fixture: &Fixture, readers: &[Lists]) {
    let newest = fixture.database.version();
    for lists in readers {
        for name in ["red:1", "red:2"] {
            wait_until(format!("a local hit of {name}"), async || {
                let read = lists.get(name, &fixture.database).await;
                assert_eq!(read.value, newest);
                read == local(newest)
            })
            .await;
        }
    }
}

#[limited::test]
async fn a_load_from_before_the_fence_is_stored_and_never_a_hit() {
    let mut processes = Processes::start().await;
    let (gate, read) = processes.load("red:1").await;
    processes.fence().await;
    let (fixture, readers) = processes.commit_and_die().await;
    gate.open();
    assert_eq!(read.await.unwrap(), Ok(loaded(0)), "it began before");
    assert_loads(&fixture, &readers).await;
    expire_fence(&fixture.raw, RED).await;
    wait_for_local_hits(&fixture, &readers).await;
}

/// It read the row after the fence, and before COMMIT.
#[limited::test]
async fn a_load_behind_the_fence_is_not_stored_after_its_expiry() {
    let mut processes = Processes::start().await;
    processes.fence().await;
    let (gate, read) = processes.load("red:1").await;
    let (fixture, readers) = processes.commit_and_die().await;
    expire_fence(&fixture.raw, RED).await;
    gate.open();
    assert_eq!(read.await.unwrap(), Ok(loaded(0)), "it began before COMMIT");
    wait_for_local_hits(&fixture, &readers).await;
}

#[limited::test]
async fn entries_in_memory_end_with_the_push_of_the_fence() {
    let mut processes = Processes::start().await;
    wait_for_local_hits(&processes.fixture, &processes.readers).await;
    processes.fence().await;
    let (fixture, readers) = processes.commit_and_die().await;
    for (i, lists) in readers.iter().enumerate() {
        wait_until(
            format!("the push of {RED}'s fence at reader {i}"),
            async || lists.get("red:1", &fixture.database).await.value == 1,
        )
        .await;
    }
    assert_loads(&fixture, &readers).await;
    expire_fence(&fixture.raw, RED).await;
    wait_for_local_hits(&fixture, &readers).await;
}
