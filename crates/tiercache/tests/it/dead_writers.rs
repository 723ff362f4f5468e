//! Writers that die between their fence and their invalidation. Nothing but the fence protects the
//! other processes: each of these tests fails if it is not raised.

use std::sync::Arc;
use std::time::Duration;

use devstack::{Direction, Mode};
use tiercache::{Cache, Source};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::support::{
    Database, Fixture, Gate, KEY, NAME, Replica, Response, Rows, WriteFence, Writer, cache, decode,
    enqueue, expire_fence, loaded, local_hit, local_settings, long_timeouts, payload, shared_hit,
    wait_until,
};

/// Two processes that read, and one that writes.
struct Processes {
    fixture: Fixture,
    other: Replica,
    writer: Writer,
    written: Rows,
}

impl Processes {
    async fn start() -> Self {
        let fixture = Fixture::with(local_settings).await;
        let other = fixture.replica(local_settings).await;
        let url = fixture.valkey.url();
        let (writer, (_, written)) =
            Writer::start(async move { cache(long_timeouts(url)).await }).await;
        Self {
            fixture,
            other,
            writer,
            written,
        }
    }

    fn database(&self) -> &Database {
        &self.fixture.database
    }

    fn readers(&self) -> [&Rows; 2] {
        [&self.fixture.rows, &self.other.rows]
    }

    async fn fence(&mut self) {
        let (cache, key) = (self.written.cache(), self.written.key(NAME));
        self.writer.fence(cache, key, &self.fixture.database).await;
    }

    /// The writer dies; the readers remain.
    async fn die(self) -> Readers {
        self.writer.die().await;
        Readers {
            fixture: self.fixture,
            other: self.other,
        }
    }

    async fn commit_and_die(mut self) -> Readers {
        self.writer.commit().await;
        self.die().await
    }

    /// Waits until both readers have the value in memory.
    async fn warm(&self) {
        for rows in self.readers() {
            wait_for_local_hit(rows, self.database()).await;
        }
    }
}

/// The processes that remain.
struct Readers {
    fixture: Fixture,
    other: Replica,
}

impl Readers {
    fn rows(&self) -> [&Rows; 2] {
        [&self.fixture.rows, &self.other.rows]
    }

    /// Waits until the push of the fence has ended the values in memory, after a second at most.
    async fn wait_for_push(&self) {
        let committed = Instant::now();
        for (i, rows) in self.rows().into_iter().enumerate() {
            wait_until(
                format!("the push of {KEY}'s fence at reader {i}"),
                async || {
                    let load = self.fixture.database.loader();
                    let read = rows.get_or_load(NAME, load).await.unwrap();
                    let is_in_time = committed.elapsed() <= Duration::from_millis(1100);
                    assert!(
                        read.value == 1 || read.source == Source::Local && is_in_time,
                        "{read:?}"
                    );
                    read.value == 1
                },
            )
            .await;
        }
    }

    /// Asserts that every read loads the newest version as long as the fence stands, and that it is
    /// stored afterwards.
    async fn assert_current(&self) {
        let database = &self.fixture.database;
        let newest = database.version();
        for rows in self.rows().into_iter().cycle().take(4) {
            let read = rows.get_or_load(NAME, database.loader()).await;
            assert_eq!(read, loaded(newest), "the fence stands");
        }
        expire_fence(&self.fixture.raw, KEY).await;
        for rows in self.rows() {
            wait_for_local_hit(rows, database).await;
        }
        assert_eq!(self.fixture.raw.get(KEY).await.unwrap(), payload(newest));
    }
}

/// Waits for a local hit. No value before may be an older one.
async fn wait_for_local_hit(rows: &Rows, database: &Database) {
    let newest = database.version();
    wait_until("a local hit", async || {
        let read = rows.get_or_load(NAME, database.loader()).await;
        assert_eq!(read.clone().unwrap().value, newest);
        read == local_hit(newest)
    })
    .await;
}

/// A read whose loader has read the row.
async fn load(rows: &Rows, database: &Database) -> (Gate, JoinHandle<Response>) {
    let database = database.clone();
    let (mut gate, load) = Gate::after(move || Ok(database.select()));
    let read = enqueue(rows, load);
    gate.entered().await;
    (gate, read)
}

#[limited::test]
async fn a_load_from_before_the_fence_is_not_stored_after_it() {
    let mut processes = Processes::start().await;
    let (gate, read) = load(&processes.fixture.rows, processes.database()).await;
    processes.fence().await;
    let readers = processes.commit_and_die().await;
    gate.open();
    assert_eq!(read.await.unwrap(), loaded(0), "it began before the write");
    readers.assert_current().await;
}

#[limited::test]
async fn a_load_from_before_the_fence_is_not_stored_after_its_expiry() {
    let mut processes = Processes::start().await;
    let (gate, read) = load(&processes.fixture.rows, processes.database()).await;
    processes.fence().await;
    let readers = processes.commit_and_die().await;
    expire_fence(&readers.fixture.raw, KEY).await;
    gate.open();
    assert_eq!(read.await.unwrap(), loaded(0), "it began before the write");
    for rows in readers.rows() {
        wait_for_local_hit(rows, &readers.fixture.database).await;
    }
}

/// It read the row after the fence, and before COMMIT.
#[limited::test]
async fn a_load_behind_the_fence_is_not_stored_after_its_expiry() {
    let mut processes = Processes::start().await;
    processes.fence().await;
    let (gate, read) = load(&processes.fixture.rows, processes.database()).await;
    let readers = processes.commit_and_die().await;
    expire_fence(&readers.fixture.raw, KEY).await;
    gate.open();
    assert_eq!(read.await.unwrap(), loaded(0), "it began before COMMIT");
    for rows in readers.rows() {
        wait_for_local_hit(rows, &readers.fixture.database).await;
    }
}

#[limited::test]
async fn a_read_after_commit_does_not_join_a_load_from_before_the_fence() {
    let mut processes = Processes::start().await;
    let (gate, before) = load(&processes.fixture.rows, processes.database()).await;
    processes.fence().await;
    let readers = processes.commit_and_die().await;
    let after = enqueue(&readers.fixture.rows, readers.fixture.database.loader());
    gate.open();
    assert_eq!(before.await.unwrap(), loaded(0));
    assert_eq!(after.await.unwrap(), loaded(1));
    readers.assert_current().await;
}

/// The fence is pushed as every change is; without the push memory is bypassed after a second.
#[limited::test]
async fn values_in_memory_end_with_the_push_of_the_fence() {
    let mut processes = Processes::start().await;
    processes.warm().await;
    processes.fence().await;
    let readers = processes.commit_and_die().await;
    readers.wait_for_push().await;
    readers.assert_current().await;
}

/// The reply of its GET arrives after the writer's death.
#[limited::test]
async fn a_value_that_was_read_before_the_fence_ends_with_its_push() {
    let mut processes = Processes::start().await;
    processes.warm().await;
    let raw = processes.fixture.raw.clone();
    raw.set(KEY, payload(0)).await;
    let (rows, proxy) = (&processes.other.rows, &processes.other.proxy);
    wait_until("the push of the value", async || {
        rows.get_local(NAME).is_none()
    })
    .await;
    let reads = raw.calls("get").await;
    proxy.set(Direction::ToClient, Mode::Hold);
    let read = enqueue(rows, processes.database().loader());
    wait_until("the GET", async || raw.calls("get").await > reads).await;
    processes.fence().await;
    let readers = processes.commit_and_die().await;
    readers.other.proxy.set(Direction::ToClient, Mode::Pass);
    read.await.unwrap().unwrap();
    readers.wait_for_push().await;
    readers.assert_current().await;
}

#[limited::test]
async fn a_writer_that_dies_before_commit_leaves_the_value_of_the_origin() {
    let mut processes = Processes::start().await;
    processes.fence().await;
    let readers = processes.die().await;
    readers.assert_current().await;
}

/// A program without leases reads a fence as a miss, and may fill: it has read the row after COMMIT.
#[limited::test]
async fn a_legacy_reader_does_not_use_the_older_value() {
    let mut processes = Processes::start().await;
    processes.warm().await;
    processes.fence().await;
    let readers = processes.commit_and_die().await;
    let (raw, database) = (&readers.fixture.raw, &readers.fixture.database);
    let found = raw.get(KEY).await.unwrap();
    let version = decode(&found.into()).unwrap_or_else(|| database.select());
    assert_eq!(version, 1, "read by the legacy reader");
    raw.set(KEY, payload(version)).await;
    for rows in readers.rows() {
        wait_until("the push of the fill", async || {
            rows.get_or_load(NAME, database.loader()).await == local_hit(1)
        })
        .await;
    }
}

/// It is alive, and repeats its invalidation when it reaches Valkey again.
#[limited::test]
async fn a_writer_that_is_cut_off_after_its_fence_leaves_nothing_stale() {
    let fixture = Fixture::new().await;
    let writer = Arc::new(fixture.replica(Cache::builder).await);
    fixture.get().await.unwrap();
    let (at, database) = (Arc::clone(&writer), fixture.database.clone());
    let transaction = async move |fence: WriteFence| {
        fence.raise().await;
        at.proxy.set_both(Mode::BlackHole);
        Ok::<_, ()>(database.commit())
    };
    let write = writer.rows.write(NAME, Vec::new(), transaction);
    assert_eq!(write.await, Ok(1));
    for _ in 0..3 {
        assert_eq!(fixture.get().await, loaded(1), "the fence stands");
    }
    writer.proxy.heal().await.unwrap();
    wait_until("the queued invalidation", async || {
        writer.cache.stats().pending_invalidations == 0
    })
    .await;
    assert_eq!(fixture.get().await, loaded(1));
    assert_eq!(fixture.get().await, shared_hit(1));
}
