//! Run detection, which acknowledges a run once it has the instrument's specification, and the job
//! creator, which requests the reductions of acknowledged runs.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tokio::sync::mpsc::UnboundedSender;
use tokio::time::sleep;

use super::{Run as Shared, count};

/// Interval of new runs.
const RUNS_EVERY: Duration = Duration::from_millis(500);
/// The timeout of run detection.
const SPECIFICATION_TIMEOUT: Duration = Duration::from_secs(1);
/// Delay of the redelivery of a message that was not acknowledged.
const REDELIVERY: Duration = Duration::from_secs(1);
/// The timeout of the job creator.
const CREATE_TIMEOUT: Duration = Duration::from_secs(30);
/// Attempts of the job creator, after which it drops a run.
const CREATE_ATTEMPTS: usize = 4;

/// The fate of a run.
#[derive(Default)]
pub(super) struct Run {
    pub(super) filename: String,
    pub(super) acknowledged: Option<Instant>,
    pub(super) requests: usize,
    pub(super) is_created: bool,
    pub(super) is_dropped: bool,
}

/// Detects runs in the order of a queue; sends the ids of new jobs.
pub(super) async fn run_detection(run: Arc<Shared>, jobs: UnboundedSender<i64>) {
    let mut queue: VecDeque<(Instant, usize)> = VecDeque::new();
    let mut next_run = Instant::now();
    loop {
        let now = Instant::now();
        if run.is_busy() && now >= next_run {
            next_run += RUNS_EVERY;
            queue.push_back((now, add(&run)));
        }
        match queue.front() {
            Some((due, _)) if *due <= now => {}
            _ => {
                sleep(Duration::from_millis(10)).await;
                continue;
            }
        }
        let Some((_, number)) = queue.pop_front() else {
            continue;
        };
        if has_specification(&run).await {
            run.ledger.lock().runs[number].acknowledged = Some(Instant::now());
            tokio::spawn(create(Arc::clone(&run), number, jobs.clone()));
        } else {
            count(&run.counts.specification_failures);
            queue.push_back((Instant::now() + REDELIVERY, number));
        }
    }
}

fn add(run: &Shared) -> usize {
    let runs = &mut run.ledger.lock().runs;
    let filename = format!("/archive/callers/RUN{}.nxs", runs.len());
    runs.push(Run {
        filename,
        ..Run::default()
    });
    runs.len() - 1
}

/// Any 2xx with an object is taken as the rules for the run.
async fn has_specification(run: &Shared) -> bool {
    let path = "/instrument/MARI/specification";
    let response = run.send(Method::GET, path, "", SPECIFICATION_TIMEOUT).await;
    response.is_some_and(|response| {
        let body: Result<Value, _> = serde_json::from_slice(&response.body);
        (200..300).contains(&response.status) && body.is_ok_and(|body| body.is_object())
    })
}

/// Requests the reduction of a run, and starts it once it has exactly 201, a script and an id.
async fn create(run: Arc<Shared>, number: usize, jobs: UnboundedSender<i64>) {
    let filename = run.ledger.lock().runs[number].filename.clone();
    let body = json!({
        "filename": filename, "rb_number": "1820497", "instrument_name": "TEST",
        "title": "callers", "users": "nobody", "run_start": "2024-01-01 10:00:00",
        "run_end": "2024-01-01 11:00:00", "good_frames": 1, "raw_frames": 2,
        "additional_values": {}, "runner_image": "callers",
    });
    let body = body.to_string();
    for _ in 0..CREATE_ATTEMPTS {
        run.ledger.lock().runs[number].requests += 1;
        let path = "/job/autoreduction";
        let response = run.send(Method::POST, path, &body, CREATE_TIMEOUT).await;
        let created = response.filter(|response| response.status == 201);
        let created: Option<Value> =
            created.and_then(|response| serde_json::from_slice(&response.body).ok());
        if let Some(id) = created.and_then(|created| {
            created["script"].as_str()?;
            created["job_id"].as_i64()
        }) {
            run.ledger.lock().runs[number].is_created = true;
            // The receiver lives as long as the callers.
            let _ = jobs.send(id);
            return;
        }
    }
    run.ledger.lock().runs[number].is_dropped = true;
}
