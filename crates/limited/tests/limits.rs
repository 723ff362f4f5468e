//! Tests with limits that are reached.
#![expect(clippy::expect_used, reason = "a failed test reports the location")]

use std::future::pending;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::time::Duration;

use limited::{Test, waiting, within};

/// The message of the panic of a test.
fn failure(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("it succeeded");
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(panic) => (*panic.downcast::<&str>().expect("a text")).to_owned(),
    }
}

#[test]
fn a_test_succeeds_or_fails_with_its_own_message() {
    Test::new("good").run(|| async { tokio::task::yield_now().await });
    Test::new("good").run_blocking(|| {});
    let bad = || Test::new("bad").run(|| async { panic!("on purpose") });
    assert_eq!(failure(bad), "on purpose");
    assert_eq!(failure(|| Test::new("bad").run_blocking(bad)), "on purpose");
}

#[limited::test(worker_threads = 1, seconds = 9)]
async fn the_attribute_sets_the_kind_of_the_runtime() {
    let runtime = tokio::runtime::Handle::current();
    let kind = runtime.runtime_flavor();
    assert_eq!(kind, tokio::runtime::RuntimeFlavor::MultiThread);
}

#[limited::test(start_paused = true)]
async fn the_attribute_pauses_time() {
    tokio::time::sleep(Duration::from_secs(1_000_000)).await;
}

#[test]
fn a_wait_fails_at_its_limit_with_its_name_and_its_place() {
    let wait = || async { within(Duration::from_millis(1), "the push", pending()).await };
    let message = failure(|| Test::new("waiting").run(wait));
    assert!(
        message.contains(" for the push (crates/limited/tests/limits.rs:"),
        "{message}"
    );
}

/// Takes two seconds: the least limit, twice.
#[test]
fn a_test_fails_at_its_limit_with_the_names_of_its_waits() {
    let begin = || async {
        tokio::spawn(waiting("a task", pending::<()>()));
        tokio::task::yield_now().await;
        waiting("a reply", async {}).await;
        waiting("the push", pending::<()>()).await;
    };
    let tests = [Test::new("hanging"), Test::new("hanging").worker_threads(1)];
    for test in tests {
        let message = failure(|| test.seconds(1).run(begin));
        for name in ["a task (", "the push ("] {
            assert!(message.contains(name), "{message}");
        }
        assert!(message.starts_with("not ended within 1s; "), "{message}");
        assert!(message.contains("ended: a reply ("), "{message}");
    }
}

/// Takes two seconds: the least limit, and the time in which the thread could have ended.
#[test]
fn a_test_that_blocks_its_thread_fails_at_its_limit() {
    let (_open, closed) = mpsc::channel::<()>();
    let block = move || closed.iter().for_each(|()| {});
    let message = failure(|| Test::new("blocking").seconds(1).run_blocking(block));
    assert_eq!(
        message,
        "not ended within 1s; it waits for: nothing with a name; the last wait that ended: none"
    );
}
