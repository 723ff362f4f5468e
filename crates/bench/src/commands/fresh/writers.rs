//! Writers: through the servers, or by SQL as a legacy server or a person does.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use devstack::Api;
use serde_json::{Value, json};
use tokio_postgres::Client;

use super::jobs::{Job, Jobs};
use crate::Outcome;
use crate::commands::client::Connection;
use crate::commands::new_jobs::bearer;

/// One of this many writes adds a job.
const ADDITIONS: u64 = 5;

/// A writer of some of the jobs; the only one of each, so that the order of writes is known.
pub(super) struct Writer {
    jobs: Arc<Jobs>,
    /// The jobs that it writes: every one whose index leaves this remainder.
    part: (usize, usize),
    left: Arc<AtomicU64>,
}

impl Writer {
    pub(super) fn new(jobs: &Arc<Jobs>, part: (usize, usize), left: &Arc<AtomicU64>) -> Self {
        Self {
            jobs: Arc::clone(jobs),
            part,
            left: Arc::clone(left),
        }
    }

    /// The next job to write and the number of the write; `None` at the end.
    fn next(&self) -> Option<(&Job, u64)> {
        let left = &self.left;
        let next = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            left.checked_sub(1)
        });
        let number = next.ok()?;
        let (part, parts) = self.part;
        let mine = self.jobs.0.iter().skip(part).step_by(parts);
        let count = mine.clone().count() as u64;
        let job = mine
            .cycle()
            .nth(usize::try_from(number / parts as u64 % count).ok()?)?;
        Some((job, number))
    }

    /// Writes through both servers, in turn.
    pub(super) async fn through(self, replicas: Vec<std::net::SocketAddr>) -> Outcome<()> {
        let mut connections = Vec::new();
        for address in replicas {
            connections.push(Connection::open(address, &bearer()).await?);
        }
        while let Some((job, number)) = self.next() {
            let server = number as usize % connections.len();
            let connection = &mut connections[server];
            if number % ADDITIONS == 0 {
                let (path, body) = addition(job);
                let response = connection.post(path, &body.to_string()).await?;
                expect(response.status, &[200, 201], path)?;
                job.additions.returned(Some(server));
            } else {
                let body = json!({
                    "status_message": (job.updates.len() + 1).to_string(),
                    "state": if number % 2 == 0 { "ERROR" } else { "SUCCESSFUL" },
                });
                let path = format!("/job/{}", job.id);
                let headers = [("content-type", "application/json")];
                let body = body.to_string();
                let response = connection
                    .send(http::Method::PATCH, &path, &headers, &body)
                    .await?;
                expect(response.status, &[200], &path)?;
                job.updates.returned(Some(server));
            }
        }
        Ok(())
    }

    /// Writes by SQL.
    pub(super) async fn by_sql(self, client: Client) -> Outcome<()> {
        while let Some((job, number)) = self.next() {
            let id = i32::try_from(job.id)?;
            if number % ADDITIONS == 0 {
                let sql = "INSERT INTO jobs (state, inputs, owner_id, job_type, run_id) \
                     SELECT 'ERROR', '{}', owner_id, 'RERUN', run_id FROM jobs WHERE id = $1";
                client.execute(sql, &[&id]).await?;
                job.additions.returned(None);
            } else {
                let message = (job.updates.len() + 1).to_string();
                let sql = "UPDATE jobs SET status_message = $2 WHERE id = $1";
                client.execute(sql, &[&id, &message]).await?;
                job.updates.returned(None);
            }
        }
        Ok(())
    }
}

/// The request that adds a job of this one's run.
fn addition(job: &Job) -> (&'static str, Value) {
    if job.instrument != "TEST" {
        let body = json!({"job_id": job.id, "runner_image": "bench", "script": "print()"});
        return ("/job/rerun", body);
    }
    let body = json!({
        "filename": "fresh/TEST", "rb_number": "1820497", "instrument_name": "TEST", "title": "t",
        "users": "u", "run_start": "2024-01-01T00:00:00", "run_end": "2024-01-01T01:00:00",
        "good_frames": 1, "raw_frames": 2, "additional_values": {}, "runner_image": "bench"
    });
    ("/job/autoreduction", body)
}

fn expect(status: u16, expected: &[u16], path: &str) -> Outcome<()> {
    if expected.contains(&status) {
        return Ok(());
    }
    Err(format!("{path}: {status}").into())
}

/// The addresses of servers.
pub(super) fn addresses(replicas: &[Api]) -> Vec<std::net::SocketAddr> {
    replicas.iter().map(Api::addr).collect()
}
