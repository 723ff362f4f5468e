//! The job watcher, which reports the end of each job and repeats a report every 5 s until it is
//! accepted with 200.

use std::sync::Arc;
use std::time::Duration;

use http::Method;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;

use super::{Run, count};

/// The duration of a reduction.
const REDUCTION: Duration = Duration::from_secs(1);
/// Delay before a report is repeated.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// The timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The size of a large report in bytes, above what a person may send.
const LARGE: usize = 5 * 1024 * 1024;

/// The report of a job.
pub(super) struct Update {
    pub(super) job: i64,
    pub(super) state: &'static str,
    pub(super) is_accepted: bool,
}

/// Reports the end of each job.
pub(super) async fn watch(run: Arc<Run>, mut jobs: UnboundedReceiver<i64>) {
    while let Some(job) = jobs.recv().await {
        tokio::spawn(report(Arc::clone(&run), job));
    }
}

async fn report(run: Arc<Run>, job: i64) {
    sleep(REDUCTION).await;
    let (state, body) = body(job);
    let index = {
        let updates = &mut run.ledger.lock().updates;
        updates.push(Update {
            job,
            state,
            is_accepted: false,
        });
        updates.len() - 1
    };
    let path = format!("/job/{job}");
    loop {
        let response = run.send(Method::PATCH, &path, &body, TIMEOUT).await;
        if response.is_some_and(|response| response.status == 200) {
            run.ledger.lock().updates[index].is_accepted = true;
            return;
        }
        count(&run.counts.update_retries);
        sleep(RETRY_DELAY).await;
    }
}

/// The reports that reductions lead to: with and without times, with what a script printed.
fn body(job: i64) -> (&'static str, String) {
    match job % 20 {
        0 => {
            let stacktrace = "x".repeat(LARGE);
            let body = format!(r#"{{"state":"ERROR","stacktrace":"{stacktrace}"}}"#);
            ("ERROR", body)
        }
        1..5 => (
            "UNSUCCESSFUL",
            r#"{"state":"UNSUCCESSFUL","start":"None","end":"None","status_message":"a\u0000b\udce9"}"#
                .to_owned(),
        ),
        _ => (
            "SUCCESSFUL",
            r#"{"state":"SUCCESSFUL","start":"2024-01-01 10:00:00+00:00","end":"2024-01-01 10:05:00+00:00","outputs":"['a.nxs']"}"#
                .to_owned(),
        ),
    }
}
