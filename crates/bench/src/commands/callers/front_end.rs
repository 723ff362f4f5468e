//! The front end: pages of a user's jobs, with a refreshed token after a 403, and simple jobs.

use std::sync::Arc;
use std::time::Duration;

use devstack::tokens;
use http::Method;
use serde_json::json;
use tokio::time::sleep;

use super::{Run, count};

const PAGES_EVERY: Duration = Duration::from_secs(2);
const SUBMIT_EVERY: Duration = Duration::from_secs(3);
const TIMEOUT: Duration = Duration::from_secs(20);

/// Opens pages. After a 403 the front end refreshes its token, which stays valid here, and tries
/// again: a second 403 would go on forever.
pub(super) async fn browse(run: Arc<Run>) {
    let token = tokens::authorization("user").unwrap_or_default();
    let path = "/jobs?limit=10&include_run=true&as_user=true";
    loop {
        sleep(PAGES_EVERY).await;
        count(&run.counts.pages);
        let mut status = 0;
        for is_refreshed in [false, true] {
            let response = run.send_as(&token, Method::GET, path, "", TIMEOUT).await;
            status = response.map_or(0, |response| response.status);
            if status != 403 {
                break;
            }
            if is_refreshed {
                count(&run.counts.refresh_loops);
            }
        }
        if status != 200 {
            count(&run.counts.page_failures);
        }
    }
}

/// Submits simple jobs; a refused one is not repeated.
pub(super) async fn submit(run: Arc<Run>) {
    let token = tokens::authorization("staff").unwrap_or_default();
    for number in 0.. {
        sleep(SUBMIT_EVERY).await;
        if !run.is_busy() {
            return;
        }
        let script = format!("callers({number})");
        let body = json!({"runner_image": "callers", "script": script}).to_string();
        let path = "/job/simple";
        let response = run
            .send_as(&token, Method::POST, path, &body, TIMEOUT)
            .await;
        let accepted = response.filter(|response| response.status == 200);
        match accepted.and_then(|accepted| serde_json::from_slice(&accepted.body).ok()) {
            Some(id) => run.ledger.lock().submitted.push(id),
            None => count(&run.counts.submit_failures),
        }
    }
}
