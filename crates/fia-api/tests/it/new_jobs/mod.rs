//! Job creation: the stored rows and published messages of each request.

mod autoreduction;
mod outage;
mod submission;

use devstack::shared;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::consumer::{Consumer, queue_vars};
use crate::harness::{Database, Replica, Response, Vars, request, upstream_vars, vars};

/// A replica with its database, and a consumer of its job queue.
struct NewJobsFixture {
    database: Database,
    replica: Replica,
    consumer: Consumer,
    settings: Vars,
}

impl NewJobsFixture {
    async fn with(settings: &[(&str, &str)]) -> Self {
        let (database, rabbitmq, upstreams) =
            tokio::join!(Database::seeded(), shared::rabbitmq(), shared::upstreams());
        let (rabbitmq, upstreams) = (rabbitmq.unwrap(), upstreams.unwrap());
        let queue = queue_vars(rabbitmq);
        let consumer = Consumer::of_jobs(rabbitmq, &queue).await;
        let mut all = database.vars();
        all.extend(upstream_vars(upstreams));
        all.extend(queue);
        all.extend(vars(settings));
        Self {
            replica: Replica::new(&[&all]),
            database,
            consumer,
            settings: all,
        }
    }

    async fn new() -> Self {
        let fixture = Self::with(&[]).await;
        fixture.database.add_outbox().await;
        fixture
    }

    async fn post(&self, path: &str, who: &str, body: Value) -> Response {
        post(&self.replica, path, who, body).await
    }

    /// Posts a job and returns its id.
    async fn job(&self, path: &str, who: &str, body: Value) -> i64 {
        let response = self.post(path, who, body).await;
        assert_eq!(response.status, StatusCode::OK, "{}", response.text());
        response.json().as_i64().unwrap()
    }

    /// Row counts of every table that job creation writes.
    async fn rows(&self) -> Vec<i64> {
        let sql = "SELECT (SELECT count(*) FROM jobs), (SELECT count(*) FROM scripts), \
                   (SELECT count(*) FROM runs), (SELECT count(*) FROM job_owners), \
                   (SELECT count(*) FROM instruments)";
        let row = self
            .database
            .client()
            .await
            .query_one(sql, &[])
            .await
            .unwrap();
        (0..row.len()).map(|i| row.get(i)).collect()
    }

    /// Returns the query's only row as JSON.
    async fn row(&self, sql: &str) -> Value {
        let client = self.database.client().await;
        let sql = format!("SELECT to_jsonb(row)::text FROM ({sql}) row");
        let row = client.query_one(&sql, &[]).await.unwrap();
        serde_json::from_str(row.get(0)).unwrap()
    }
}

async fn post(replica: &Replica, path: &str, who: &str, body: Value) -> Response {
    replica
        .send(request(Method::POST, path, who, Some(&body)))
        .await
}

fn autoreduction_body(filename: &str, changes: Value) -> Value {
    let mut body = json!({
        "filename": filename, "rb_number": "1820497", "instrument_name": "TEST", "title": "t",
        "users": "u", "run_start": "2024-01-01T00:00:00", "run_end": "2024-01-01T01:00:00",
        "good_frames": 1, "raw_frames": 2, "additional_values": {}, "runner_image": "img"
    });
    let fields = body.as_object_mut().unwrap();
    fields.extend(changes.as_object().unwrap().clone());
    body
}
