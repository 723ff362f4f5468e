//! The file watcher, which publishes new files of an instrument: it reads the latest run at its
//! start, publishes each newer file, and stores it as the latest run. When that fails it ends, and
//! is started again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Run, count};

const PATH: &str = "/instrument/LET/latest-run";
/// Interval of new files.
const FILES_EVERY: Duration = Duration::from_secs(2);
/// The timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(1);
const ATTEMPTS: usize = 5;
/// Delay between two attempts.
const RETRY_DELAY: Duration = Duration::from_secs(5);
/// Time until the program is started again.
const RESTART_DELAY: Duration = Duration::from_secs(2);

/// The program has ended.
struct Ended;

#[derive(Default)]
struct Published {
    /// How often, by file.
    times: HashMap<u64, u64>,
    /// The files whose `PUT` was accepted.
    stored: HashSet<u64>,
}

/// Runs the program, and starts it again when it ends.
pub(super) async fn watch(run: Arc<Run>) {
    let begun = Instant::now();
    let mut published = Published::default();
    loop {
        if program(&run, begun, &mut published).await.is_err() {
            count(&run.counts.file_watcher_restarts);
            sleep(RESTART_DELAY).await;
        }
    }
}

async fn program(run: &Run, begun: Instant, published: &mut Published) -> Result<(), Ended> {
    let mut latest = latest_run(run).await?;
    loop {
        let now = Instant::now().min(run.end);
        let newest = now.duration_since(begun).as_secs() / FILES_EVERY.as_secs();
        while latest < newest {
            latest += 1;
            publish(run, latest, published);
            let body = json!({"latest_run": format!("LET{latest}")}).to_string();
            attempt(run, Method::PUT, &body).await?;
            published.stored.insert(latest);
        }
        sleep(FILES_EVERY).await;
    }
}

fn publish(run: &Run, file: u64, published: &mut Published) {
    let times = published.times.entry(file).or_default();
    *times += 1;
    count(&run.counts.files_published);
    if published.stored.contains(&file) {
        count(&run.counts.files_published_again_by_stale_reads);
    } else if *times > 1 {
        count(&run.counts.files_published_again);
    }
}

/// The number of the latest run; 0 before the first `PUT`.
async fn latest_run(run: &Run) -> Result<u64, Ended> {
    let body = attempt(run, Method::GET, "").await?;
    let name = body["latest_run"].as_str().unwrap_or_default();
    let number = name
        .strip_prefix("LET")
        .and_then(|number| number.parse().ok());
    Ok(number.unwrap_or(0))
}

async fn attempt(run: &Run, method: Method, body: &str) -> Result<Value, Ended> {
    for number in 1..=ATTEMPTS {
        let response = run.send(method.clone(), PATH, body, TIMEOUT).await;
        let response = response.filter(|response| response.status == 200);
        if let Some(body) = response.and_then(|found| serde_json::from_slice(&found.body).ok()) {
            return Ok(body);
        }
        if number < ATTEMPTS {
            sleep(RETRY_DELAY).await;
        }
    }
    Err(Ended)
}
