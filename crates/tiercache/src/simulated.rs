//! The simulated surroundings of a cache. Built only with `--cfg tiercache_simulation`.
//!
//! One thread runs one simulated world at a time. Its state is in thread-local variables, which
//! [`begin`] resets.

mod clock;
pub(crate) mod timers;

use std::any::type_name;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;
use rand::distr::uniform::{SampleRange, SampleUniform};
use rand::distr::{Distribution, StandardUniform};
use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinHandle};

pub use crate::livelock::livelock;
use crate::livelock::{self, Run};
pub use crate::mutants::Mutant;
use crate::simulated::clock::Clock;

/// Hashes the same in every run.
pub(crate) type RandomState = BuildHasherDefault<DefaultHasher>;

/// A connection of the simulated network.
pub trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Opens a connection to a host and port.
pub type Connector = dyn Fn(&str, u16) -> BoxFuture<'static, io::Result<Box<dyn Stream>>>;

thread_local! {
    static RANDOM: RefCell<SmallRng> = RefCell::new(SmallRng::seed_from_u64(0));
    static CONNECTOR: RefCell<Option<Box<Connector>>> = const { RefCell::new(None) };
    static PROCESS: RefCell<Option<Process>> = const { RefCell::new(None) };
    static MUTANT: Cell<Option<Mutant>> = const { Cell::new(None) };
}

/// Begins a world on this thread, within its runtime. `mutant` is the defect of the code.
pub fn begin(seed: u64, mutant: Option<Mutant>, connector: Box<Connector>) {
    RANDOM.set(SmallRng::seed_from_u64(seed));
    CONNECTOR.set(Some(connector));
    PROCESS.set(None);
    clock::begin();
    MUTANT.set(mutant);
    livelock::reset();
}

/// Ends the world of this thread, and drops what it holds.
pub fn end() {
    CONNECTOR.set(None);
    PROCESS.set(None);
}

impl Mutant {
    #[inline]
    pub(crate) fn is_active(self) -> bool {
        MUTANT.get() == Some(self)
    }
}

pub(crate) fn random<T>() -> T
where
    StandardUniform: Distribution<T>,
{
    RANDOM.with_borrow_mut(|random| random.random())
}

pub(crate) fn random_range<T: SampleUniform>(range: impl SampleRange<T>) -> T {
    RANDOM.with_borrow_mut(|random| random.random_range(range))
}

/// Opens a connection of the simulated network.
pub(crate) fn connect(host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Stream>>> {
    CONNECTOR.with_borrow(|connector| match connector {
        Some(connector) => connector(host, port),
        None => Box::pin(async { Err(io::ErrorKind::NetworkUnreachable.into()) }),
    })
}

/// A process: tasks that are paused, and killed, together. Cheap to clone.
#[derive(Clone)]
pub struct Process(Arc<Shared>);

struct Shared {
    id: usize,
    /// The chance, of 256, that a task that could run is delayed behind the other ones.
    delayed: u8,
    tasks: Mutex<Tasks>,
}

#[derive(Default)]
struct Tasks {
    is_paused: bool,
    is_dead: bool,
    waiting: Vec<Waker>,
    handles: Vec<AbortHandle>,
    clock: Clock,
}

impl Process {
    /// A process without tasks. `drift` is the difference of its clock's rate from the world's, in
    /// parts per million.
    #[must_use]
    pub fn new(id: usize, delayed: u8, drift: i64) -> Self {
        let mut tasks = Tasks::default();
        tasks.clock.drift = drift;
        let tasks = Mutex::new(tasks);
        Self(Arc::new(Shared { id, delayed, tasks }))
    }

    /// The process whose task is running.
    #[must_use]
    pub fn current() -> Option<Self> {
        PROCESS.with_borrow(Clone::clone)
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> usize {
        self.0.id
    }

    fn tasks<T>(&self, act: impl FnOnce(&mut Tasks) -> T) -> T {
        act(&mut self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on no task runs. With `stops_clock` the clock stands still, too, as that of a suspended
    /// virtual machine does.
    pub fn pause(&self, stops_clock: bool) {
        self.tasks(|tasks| {
            tasks.is_paused = true;
            if stops_clock {
                tasks.clock.stop();
            }
        });
    }

    /// Ends a pause.
    pub fn resume(&self) {
        let waiting = self.tasks(|tasks| {
            tasks.is_paused = false;
            tasks.clock.start();
            std::mem::take(&mut tasks.waiting)
        });
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Ends all tasks where they are, as a crash of the process does.
    pub fn kill(&self) {
        let handles = self.tasks(|tasks| {
            (tasks.is_dead, tasks.is_paused) = (true, false);
            std::mem::take(&mut tasks.handles)
        });
        handles.iter().for_each(AbortHandle::abort);
    }

    /// Spawns a task of the process.
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.spawn_on(&Handle::current(), task)
    }

    fn spawn_on<F>(&self, runtime: &Handle, task: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        let (process, mut task) = (self.clone(), Box::pin(task));
        let mut was_delayed = false;
        let running = poll_fn(move |cx| match livelock::begin_poll(type_name::<F>()) {
            Run::Poll => process.poll(task.as_mut(), &mut was_delayed, cx),
            Run::Never => Poll::Pending,
        });
        let handle = runtime.spawn(running);
        self.tasks(|tasks| {
            if tasks.is_dead {
                return handle.abort();
            }
            if tasks.handles.len() == tasks.handles.capacity() {
                tasks.handles.retain(|handle| !handle.is_finished());
            }
            tasks.handles.push(handle.abort_handle());
        });
        handle
    }

    fn poll<F: Future>(
        &self,
        task: Pin<&mut F>,
        was_delayed: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<F::Output> {
        let is_paused = self.tasks(|tasks| {
            if tasks.is_paused {
                tasks.waiting.push(cx.waker().clone());
            }
            tasks.is_paused
        });
        if is_paused {
            return Poll::Pending;
        }
        if self.0.delayed > 0 && !*was_delayed && random::<u8>() < self.0.delayed {
            *was_delayed = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        *was_delayed = false;
        let before = PROCESS.replace(Some(self.clone()));
        let polled = task.poll(cx);
        PROCESS.set(before);
        polled
    }
}

pub(crate) fn spawn<F>(task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    spawn_on(&Handle::current(), task)
}

pub(crate) fn spawn_on<F>(runtime: &Handle, task: F) -> JoinHandle<F::Output>
where
    F: Future<Output: Send> + Send + 'static,
{
    match Process::current() {
        Some(process) => process.spawn_on(runtime, task),
        None => runtime.spawn(task),
    }
}
