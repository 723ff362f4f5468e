//! The reads and writes of a schedule, and their check.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tiercache::{Cache, CacheBuilder, Source, codec};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use crate::support::{
    Database, Rows, TTL, cache, decode, payload, put_named, wait_for_shared_level,
    wait_for_tracking,
};

/// Most rows are not written during a failover: their stale values would stay.
const ROWS: usize = 200;
/// Rows whose values are read in parts, and how much fewer of their reads and writes there are.
const LARGE_ROWS: usize = 4;
const FEWER: u32 = 50;
const READERS: u64 = 3;
const WRITERS: u64 = 2;
/// The longest time until a write is visible in the memory of the other process, with a margin for a
/// busy machine.
const PUSH: Duration = Duration::from_millis(1_200);
/// The longest pause of a reader and of a writer, in milliseconds.
const PAUSES: [u64; 2] = [4, 200];

/// Two processes that read and write the same rows.
pub(super) struct Traffic {
    tasks: JoinSet<()>,
    shared: Arc<Shared>,
}

/// The namespaces of small and of large values are in this order.
type Process = (Cache, [Rows; 2]);

struct Shared {
    processes: [Process; 2],
    rows: Vec<Row>,
    is_over: AtomicBool,
    /// The failovers: their begin, and the end of what is permitted after.
    failovers: Mutex<Vec<(Instant, Option<Instant>)>>,
    violations: Mutex<Vec<String>>,
    /// Reads from memory, from Valkey, and loaded.
    sources: [AtomicU64; 3],
}

struct Row {
    name: String,
    is_large: bool,
    database: Database,
    /// The writes of each process that have returned, with the time.
    returned: [Mutex<VecDeque<(Instant, u64)>>; 2],
}

/// What the reads of a schedule were.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) violations: Vec<String>,
    /// Reads from memory, from Valkey, and loaded.
    pub(super) sources: [u64; 3],
}

impl Traffic {
    pub(super) async fn start(settings: impl Fn() -> CacheBuilder, seed: u64) -> Self {
        let row = |i| Row {
            name: format!("S{i}"),
            is_large: i >= ROWS,
            database: Database::default(),
            returned: Default::default(),
        };
        let shared = Arc::new(Shared {
            processes: [process(settings()).await, process(settings()).await],
            rows: (0..ROWS + LARGE_ROWS).map(row).collect(),
            is_over: AtomicBool::new(false),
            failovers: Mutex::default(),
            violations: Mutex::default(),
            sources: Default::default(),
        });
        let mut tasks = JoinSet::new();
        for process in 0..2 {
            for task in 0..READERS + WRITERS {
                let rng = StdRng::seed_from_u64(seed * 100 + 10 * process as u64 + task);
                let shared = Arc::clone(&shared);
                match task < READERS {
                    true => tasks.spawn(shared.read(process, rng)),
                    false => tasks.spawn(shared.write(process, rng)),
                };
            }
        }
        Self { tasks, shared }
    }

    /// The keys in Valkey.
    pub(super) fn keys(&self) -> Vec<String> {
        self.shared.rows.iter().map(Row::key).collect()
    }

    /// The begin of a failover.
    pub(super) fn failover_begins(&self) {
        let mut failovers = self.shared.failovers.lock().unwrap();
        failovers.push((Instant::now(), None));
    }

    /// The promotion; until `within` from now a write of the other process may be undone.
    pub(super) fn promoted(&self, within: Duration) {
        let mut failovers = self.shared.failovers.lock().unwrap();
        failovers.last_mut().unwrap().1 = Some(Instant::now() + within);
    }

    /// Waits until each process has used both levels since the last failover.
    pub(super) async fn wait_until_recovered(&self) {
        for (cache, _) in &self.shared.processes {
            wait_for_shared_level(cache, true).await;
            wait_for_tracking(cache).await;
        }
    }

    pub(super) async fn end(mut self) -> Checked {
        self.shared.is_over.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        let violations = std::mem::take(&mut *self.shared.violations.lock().unwrap());
        let count = |source: &AtomicU64| source.load(Ordering::Relaxed);
        Checked {
            violations,
            sources: self.shared.sources.each_ref().map(count),
        }
    }
}

impl Checked {
    /// Panics without a violation: that of a mutant.
    #[track_caller]
    pub(super) fn assert_violated(&self) {
        self.print();
        assert!(!self.violations.is_empty());
    }

    fn print(&self) {
        println!(
            "{} violations; reads from memory, Valkey, database: {:?}",
            self.violations.len(),
            self.sources
        );
    }

    /// Panics on a violation, and unless both levels were used.
    #[track_caller]
    pub(super) fn assert_holds(&self) {
        self.print();
        let first: Vec<_> = self.violations.iter().take(5).collect();
        assert!(
            first.is_empty(),
            "{} violations: {first:#?}",
            self.violations.len()
        );
        assert!(
            self.sources.iter().all(|count| *count > 50),
            "{:?}",
            self.sources
        );
    }
}

impl Shared {
    async fn read(self: Arc<Self>, process: usize, mut rng: StdRng) {
        while !self.is_over.load(Ordering::Relaxed) {
            let row = self.choose(&mut rng);
            let began = Instant::now();
            let own = row.newest(process, began);
            let other = row.newest(1 - process, began - PUSH);
            let rows = &self.processes[process].1[usize::from(row.is_large)];
            let read = rows.get_or_load(&row.name, row.database.loader()).await;
            let read = read.expect("a read failed");
            let required = match self.is_failing_over(began) {
                true => own,
                false => own.max(other),
            };
            let source = match read.source {
                Source::Local => 0,
                Source::Shared => 1,
                _ => 2,
            };
            self.sources[source].fetch_add(1, Ordering::Relaxed);
            if read.value < required {
                let (name, failovers) = (&row.name, self.failovers.lock().unwrap());
                let last = failovers
                    .last()
                    .map(|(at, _)| began.saturating_duration_since(*at));
                let text = format!(
                    "{name} of process {process}: {read:?}, not {required} (own {own}), {last:?} after a failover began"
                );
                self.violations.lock().unwrap().push(text);
            }
            pause(&mut rng, PAUSES[0]).await;
        }
    }

    async fn write(self: Arc<Self>, process: usize, mut rng: StdRng) {
        while !self.is_over.load(Ordering::Relaxed) {
            let row = self.choose(&mut rng);
            let rows = &self.processes[process].1[usize::from(row.is_large)];
            let version = put_named(rows, &row.name, &row.database).await;
            row.record(process, version);
            pause(&mut rng, PAUSES[1]).await;
        }
    }

    fn choose(&self, rng: &mut StdRng) -> &Row {
        let indices = match rng.random_ratio(1, FEWER) {
            true => ROWS..ROWS + LARGE_ROWS,
            false => 0..ROWS,
        };
        &self.rows[rng.random_range(indices)]
    }

    fn is_failing_over(&self, at: Instant) -> bool {
        let failovers = self.failovers.lock().unwrap();
        // A read that began just before one may be answered in it.
        let begins = |begin: &Instant| *begin <= at + PUSH;
        let mut failovers = failovers.iter().rev();
        failovers.any(|(begin, end)| begins(begin) && end.is_none_or(|end| at < end))
    }
}

impl Row {
    fn key(&self) -> String {
        let prefix = if self.is_large { LARGE } else { "test:row:" };
        format!("{prefix}{}", self.name)
    }

    /// Records a write that has returned.
    fn record(&self, process: usize, version: u64) {
        let mut returned = self.returned[process].lock().unwrap();
        returned.push_back((Instant::now(), version));
        // One from before the oldest time that is asked for must remain.
        while returned
            .get(1)
            .is_some_and(|(at, _)| at.elapsed() > 2 * PUSH)
        {
            returned.pop_front();
        }
    }

    /// The newest version that a process had written before a time.
    fn newest(&self, process: usize, before: Instant) -> u64 {
        let returned = self.returned[process].lock().unwrap();
        let written = returned.iter().filter(|(at, _)| *at <= before);
        written.map(|(_, version)| *version).max().unwrap_or(0)
    }
}

/// The prefix of rows with large values.
const LARGE: &str = "test:large:";

/// A process, with a namespace of values whose payloads have two parts.
async fn process(settings: CacheBuilder) -> Process {
    let (cache, rows) = cache(settings).await;
    let spaces = vec![b' '; 3 << 19];
    let encode = move |version: &u64| [&payload(*version)[..], &spaces].concat().into();
    let large = cache.namespace(LARGE, codec(encode, decode)).name("large");
    let large = Rows::build(large.ttl(TTL).weight(|_| 8));
    (cache, [rows, large])
}

/// Traffic has pauses: it must not take the whole machine from the servers.
async fn pause(rng: &mut StdRng, most: u64) {
    sleep(Duration::from_millis(rng.random_range(0..=most))).await;
}
