//! The detection of simulated tasks that run for ever while no time passes.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::{Poll, Waker};

use tokio::time::Instant;

/// The polls at one time beyond which tasks are taken to run for ever.
const MOST_POLLS: u64 = 10_000_000;
/// The last polls of them, whose tasks are named.
const NAMED: u64 = 10_000;

/// What a task may do.
pub(crate) enum Run {
    Poll,
    Never,
}

/// The polls since time has passed.
#[derive(Default)]
struct Polls {
    now: Option<Instant>,
    count: u64,
    /// The last ones, by the type of the task.
    by_task: BTreeMap<&'static str, u64>,
    waiting: Option<Waker>,
}

impl Polls {
    fn is_over(&self) -> bool {
        self.count >= MOST_POLLS
    }
}

thread_local! {
    static POLLS: RefCell<Polls> = RefCell::default();
}

/// Begins a world on this thread.
pub(crate) fn reset() {
    POLLS.take();
}

/// Counts the poll of a task. In a livelock no task runs any more.
pub(crate) fn begin_poll(task: &'static str) -> Run {
    POLLS.with_borrow_mut(|polls| {
        if polls.is_over() {
            return Run::Never;
        }
        let now = Some(Instant::now());
        if polls.now != now {
            (polls.now, polls.count) = (now, 0);
            polls.by_task.clear();
        }
        polls.count += 1;
        if polls.count + NAMED > MOST_POLLS {
            *polls.by_task.entry(task).or_default() += 1;
        }
        if polls.is_over()
            && let Some(waiting) = polls.waiting.take()
        {
            waiting.wake();
        }
        Run::Poll
    })
}

/// Waits until the tasks of this thread's world run for ever while no time passes. Returns what
/// runs. For one waiting task only.
pub async fn livelock() -> String {
    poll_fn(|cx| {
        POLLS.with_borrow_mut(|polls| {
            if !polls.is_over() {
                polls.waiting = Some(cx.waker().clone());
                return Poll::Pending;
            }
            let ran = polls.by_task.iter();
            let ran: Vec<String> = ran
                .map(|(task, count)| format!("{task} ({count} of the last {NAMED} polls)"))
                .collect();
            Poll::Ready(format!("tasks run for ever: {}", ran.join(", ")))
        })
    })
    .await
}
