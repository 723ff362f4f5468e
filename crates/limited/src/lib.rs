//! Time limits of tests and of their waits.
//!
//! [`waiting`] and [`within`] name what a test waits for, and panic at the limit of the wait. What waits
//! without them ends at the limit of the whole test ([`Test`], [`test`]), which then fails with the names
//! of the waits that it is in.

use std::cell::RefCell;
use std::fmt::{self, Display, Formatter};
use std::panic::Location;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

pub use limited_macros::test;
use parking_lot::Mutex;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// The limit of a wait: many times what it takes on an idle machine.
const WAIT: Duration = Duration::from_secs(20);

/// The limit of a test: several times that of a wait, which names more.
const TEST: Duration = Duration::from_secs(60);

/// The steps in which the limit of a wait is counted: a process that was stopped for minutes has lost
/// only the step in which it was.
const STEPS: u32 = 20;

/// The number of waits of this process that have failed.
static FAILED: AtomicU32 = AtomicU32::new(0);

/// The waits of a test.
#[derive(Clone, Default)]
struct Waits(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// Those that have begun and have not ended.
    begun: Vec<Arc<str>>,
    /// The last one that has ended.
    ended: Option<Arc<str>>,
}

thread_local! {
    /// Those of the test that this thread runs.
    static WAITS: RefCell<Waits> = RefCell::default();
}

/// The limit of a wait. Each wait that has failed halves it, to a sixteenth at most: if all tests wait
/// in vain, they end soon.
#[must_use]
pub fn wait() -> Duration {
    WAIT / (1 << FAILED.load(Ordering::Relaxed).min(4))
}

/// Waits for some work until [the limit of a wait](wait).
///
/// # Panics
/// At the limit, with the name and the caller's location.
#[track_caller]
pub fn waiting<T>(what: impl Display, work: impl Future<Output = T>) -> impl Future<Output = T> {
    within(wait(), what, work)
}

/// Waits for some work, with a limit.
///
/// # Panics
/// At the limit, with the name and the caller's location.
#[track_caller]
pub fn within<T>(
    limit: Duration,
    what: impl Display,
    work: impl Future<Output = T>,
) -> impl Future<Output = T> {
    let name: Arc<str> = format!("{what} ({})", Location::caller()).into();
    async move {
        let waits = WAITS.with_borrow(Waits::clone);
        let entry = Entry::new(waits, name);
        let mut work = pin!(work);
        for _ in 0..STEPS {
            if let Ok(done) = timeout(limit / STEPS, &mut work).await {
                return done;
            }
        }
        let before = FAILED.fetch_add(1, Ordering::Relaxed);
        let name = &entry.name;
        panic!("waited {limit:?} for {name}, after {before} other failed waits");
    }
}

/// An entry of a test's waits. Dropped, it is removed.
struct Entry {
    waits: Waits,
    name: Arc<str>,
}

impl Entry {
    fn new(waits: Waits, name: Arc<str>) -> Self {
        waits.0.lock().begun.push(Arc::clone(&name));
        Self { waits, name }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut state = self.waits.0.lock();
        state.begun.retain(|name| !Arc::ptr_eq(name, &self.name));
        state.ended = Some(Arc::clone(&self.name));
    }
}

impl Display for Waits {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let State { begun, ended } = &*self.0.lock();
        let begun = match begun.is_empty() {
            true => "nothing with a name",
            false => &begun.join(", "),
        };
        let ended = ended.as_deref().unwrap_or("none");
        write!(
            f,
            "it waits for: {begun}; the last wait that ended: {ended}"
        )
    }
}

/// A test with a time limit. The attribute [`test`] makes one of a function.
#[derive(Debug)]
#[must_use]
pub struct Test {
    name: &'static str,
    limit: Duration,
    worker_threads: Option<usize>,
    start_paused: bool,
}

impl Test {
    /// A test of one thread, with the default limit.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            limit: TEST,
            worker_threads: None,
            start_paused: false,
        }
    }

    /// Sets the limit, which is counted in steps of a second, as that of a wait.
    pub fn limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// Sets the limit in seconds.
    pub fn seconds(self, seconds: u64) -> Self {
        self.limit(Duration::from_secs(seconds))
    }

    /// Runs the test's tasks on several threads.
    pub fn worker_threads(self, threads: usize) -> Self {
        Self {
            worker_threads: Some(threads),
            ..self
        }
    }

    /// Starts with paused time (see `tokio::time::pause`), in which the limits of waits are, too.
    pub fn start_paused(self, start_paused: bool) -> Self {
        Self {
            start_paused,
            ..self
        }
    }

    /// Runs the test in a runtime.
    ///
    /// # Panics
    /// If the test does, or at its limit.
    #[track_caller]
    pub fn run<F: Future<Output = ()>>(self, test: impl FnOnce() -> F + Send + 'static) {
        let (stop, stopped) = oneshot::channel::<()>();
        let waits = Waits::default();
        let mut runtime = match self.worker_threads {
            None => Builder::new_current_thread(),
            Some(_) => Builder::new_multi_thread(),
        };
        if let Some(threads) = self.worker_threads {
            runtime.worker_threads(threads);
        }
        if self.start_paused {
            runtime.start_paused(true);
        }
        let of_thread = waits.clone();
        runtime.on_thread_start(move || WAITS.set(of_thread.clone()));
        let work = move || {
            #[expect(clippy::expect_used, reason = "only in tests")]
            let runtime = runtime.enable_all().build().expect("a runtime");
            runtime.block_on(async move {
                tokio::select! {
                    biased;
                    () = pin!(test()) => {}
                    _ = stopped => {}
                }
            });
            // Without a wait for blocking work that does not end.
            runtime.shutdown_background();
        };
        self.watch(&waits, work, || drop(stop));
    }

    /// Runs a test without a runtime.
    ///
    /// # Panics
    /// If the test does, or at its limit. Then its thread continues until the process ends.
    #[track_caller]
    pub fn run_blocking(self, test: impl FnOnce() + Send + 'static) {
        self.watch(&Waits::default(), test, || {});
    }

    /// Runs a test on a thread of its own, and stops it at the limit.
    #[track_caller]
    fn watch(self, waits: &Waits, test: impl FnOnce() + Send + 'static, stop: impl FnOnce()) {
        let (running, ended) = mpsc::channel::<()>();
        let of_thread = waits.clone();
        let thread = thread::Builder::new().name(self.name.to_owned());
        #[expect(clippy::expect_used, reason = "only in tests")]
        let thread = thread
            .spawn(move || {
                WAITS.set(of_thread);
                let _running = running;
                test();
            })
            .expect("a thread");
        let has_ended = |limit: Duration| {
            let second = Duration::from_secs(1);
            (0..limit.as_secs())
                .any(|_| ended.recv_timeout(second) == Err(mpsc::RecvTimeoutError::Disconnected))
        };
        let is_in_time = has_ended(self.limit);
        let state = waits.to_string();
        if !is_in_time {
            stop();
        }
        let is_over = is_in_time || has_ended(Duration::from_secs(1));
        if is_over && let Err(panic) = thread.join() {
            std::panic::resume_unwind(panic);
        }
        assert!(is_in_time, "not ended within {:?}; {state}", self.limit);
    }
}
