//! Waits that fail instead of hanging.

use std::panic::Location;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use tokio::time::{sleep, timeout};

/// The longest that a test may take; the longest one, a random schedule, takes a minute.
const TEST_LIMIT: Duration = Duration::from_secs(300);
/// Interval between two evaluations of a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Polls a condition until it holds; panics after `limit` with the caller's location.
#[track_caller]
pub(crate) fn eventually(
    limit: Duration,
    mut holds: impl AsyncFnMut() -> bool,
) -> impl Future<Output = ()> {
    let caller = Location::caller();
    async move {
        let polling = async {
            while !holds().await {
                sleep(POLL_INTERVAL).await;
            }
        };
        let held = timeout(limit, polling).await;
        assert!(
            held.is_ok(),
            "{caller}: the condition did not hold within {limit:?}"
        );
    }
}

/// Waits for `what`; panics after `limit`.
pub(crate) async fn within<T>(what: &str, limit: Duration, future: impl Future<Output = T>) -> T {
    let result = timeout(limit, future).await;
    result.unwrap_or_else(|_| panic!("{what} did not arrive within {limit:?}"))
}

thread_local! {
    static DEADLINE: Option<Sender<()>> = watch_test();
}

/// Ends the process with an error when the test on this thread exceeds `TEST_LIMIT`.
pub(crate) fn limit_test() {
    DEADLINE.with(|_| ());
}

/// Starts the watch, which ends when the thread of the test drops the sender. With
/// `--test-threads=1` all tests share the main thread, so none is watched.
fn watch_test() -> Option<Sender<()>> {
    let name = thread::current().name().unwrap_or("main").to_owned();
    if name == "main" {
        return None;
    }
    let (ended, wait) = channel();
    thread::spawn(move || {
        if wait.recv_timeout(TEST_LIMIT) == Err(RecvTimeoutError::Timeout) {
            eprintln!("test {name} exceeded its limit of {TEST_LIMIT:?}");
            std::process::exit(101);
        }
    });
    Some(ended)
}
