//! Job creation: the stored rows and published messages of each request.

use std::time::Duration;

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

#[tokio::test]
async fn a_simple_job_is_stored_and_published() {
    let mut fixture = NewJobsFixture::new().await;
    let body = json!({"runner_image": "img", "script": "print('ü')\n"});
    let id = fixture.job("/job/simple", "staff", body).await;
    assert_eq!(
        fixture.consumer.message().await,
        format!(
            r#"{{"runner_image": "img", "script": "print('\u00fc')\n", "job_type": "simple", "experiment_number": null, "user_number": 1234, "job_id": {id}}}"#
        )
    );
    let sql = format!(
        "SELECT job_type, state, inputs, script, sha, runner_image, run_id, instrument_id, \
         user_number, experiment_number FROM jobs JOIN scripts ON scripts.id = script_id \
         JOIN job_owners ON job_owners.id = owner_id WHERE jobs.id = {id}"
    );
    assert_eq!(
        fixture.row(&sql).await,
        json!({"job_type": "SIMPLE", "state": "NOT_STARTED", "inputs": {}, "script": "print('ü')\n",
               "sha": null, "runner_image": "img", "run_id": null, "instrument_id": null,
               "user_number": 1234, "experiment_number": null})
    );
}

#[tokio::test]
async fn a_simple_job_made_with_the_api_key_has_user_number_minus_one() {
    let mut fixture = NewJobsFixture::new().await;
    let body = json!({"runner_image": "img", "script": "s"});
    fixture.job("/job/simple", "apikey", body).await;
    let message: Value = serde_json::from_str(&fixture.consumer.message().await).unwrap();
    assert_eq!(message["user_number"], -1);
}

#[tokio::test]
async fn a_rerun_is_stored_and_published() {
    let mut fixture = NewJobsFixture::new().await;
    let original = fixture
        .row(
            "SELECT jobs.owner_id, jobs.instrument_id, run_id, filename, instrument_name FROM jobs \
              JOIN runs ON runs.id = run_id \
              JOIN instruments ON instruments.id = jobs.instrument_id WHERE jobs.id = 1",
        )
        .await;
    assert!(
        original["filename"]
            .as_str()
            .unwrap()
            .ends_with("/MARI00010000.nxs")
    );
    let body = json!({"job_id": "1", "runner_image": "img", "script": "again"});
    let id = fixture.job("/job/rerun", "user", body).await;
    let instrument = &original["instrument_name"];
    assert_eq!(
        fixture.consumer.message().await,
        format!(
            r#"{{"filename": "MARI00010000", "job_type": "rerun", "instrument": {instrument}, "rb_number": 1820497, "job_id": {id}, "runner_image": "img", "script": "again"}}"#
        )
    );
    let sql = format!(
        "SELECT job_type, state, inputs, owner_id, instrument_id, run_id FROM jobs WHERE id = {id}"
    );
    assert_eq!(
        fixture.row(&sql).await,
        json!({"job_type": "RERUN", "state": "NOT_STARTED", "inputs": {},
               "owner_id": original["owner_id"], "instrument_id": original["instrument_id"],
               "run_id": original["run_id"]})
    );
}

#[tokio::test]
async fn a_resubmit_publishes_the_stored_filename_verbatim() {
    let fixture = NewJobsFixture::new().await;
    let client = fixture.database.client().await;
    let sql = "UPDATE runs SET filename = '/ärchive/only here.nxs' \
               WHERE id = (SELECT run_id FROM jobs WHERE id = 1)";
    client.execute(sql, &[]).await.unwrap();
    let mut watcher = Consumer::of(shared::rabbitmq().await.unwrap(), "watched-files").await;
    assert_eq!(fixture.job("/job/1/resubmit", "user", Value::Null).await, 1);
    // The queue is shared with other tests.
    while watcher.message().await != "/ärchive/only here.nxs" {}
}

#[tokio::test]
async fn a_rejected_request_writes_no_rows() {
    let fixture = NewJobsFixture::new().await;
    let client = fixture.database.client().await;
    let sql = "SELECT jobs.id::int8 FROM jobs JOIN job_owners ON job_owners.id = owner_id \
               WHERE run_id IS NULL AND experiment_number IS NOT NULL LIMIT 1";
    let without_run: i64 = client.query_one(sql, &[]).await.unwrap().get(0);
    let rerun = |id: i64| json!({"job_id": id, "runner_image": "i", "script": "never seen"});
    let before = fixture.rows().await;
    for (path, who, body, status) in [
        ("/job/rerun", "apikey", rerun(without_run), 400),
        ("/job/rerun", "user2", rerun(1), 403),
        ("/job/rerun", "apikey", rerun(i64::MAX), 404),
        (
            "/job/simple",
            "user",
            json!({"runner_image": "i", "script": "s"}),
            403,
        ),
        (
            "/job/simple",
            "staff",
            json!({"runner_image": "i", "script": "a\0b"}),
            422,
        ),
        (
            "/job/autoreduction",
            "staff",
            autoreduction_body("n", json!({})),
            403,
        ),
    ] {
        let response = fixture.post(path, who, body.clone()).await;
        assert_eq!(
            response.status.as_u16(),
            status,
            "{body}: {}",
            response.text()
        );
    }
    assert_eq!(fixture.rows().await, before);
}

#[tokio::test]
async fn a_rejected_autoreduction_writes_no_rows() {
    let fixture = NewJobsFixture::new().await;
    let before = fixture.rows().await;
    for (changes, status) in [
        (json!({"instrument_name": "../MARI"}), 400),
        (json!({"instrument_name": "NOSUCH"}), 404),
        (json!({"instrument_name": "MARI"}), 422),
        (json!({"rb_number": "1.5"}), 422),
        (json!({"rb_number": "9999999999"}), 422),
        (json!({"run_start": "nope"}), 422),
        (json!({"run_end": "0044-03-15 BC"}), 422),
        (json!({"raw_frames": 2_147_483_648_i64}), 422),
        (json!({"good_frames": 1.5}), 422),
        (json!({"additional_values": []}), 422),
        (json!({"additional_values": {"a": "\0"}}), 422),
        (json!({"title": null}), 422),
    ] {
        let body = autoreduction_body("n", changes.clone());
        let response = fixture.post("/job/autoreduction", "apikey", body).await;
        assert_eq!(
            response.status.as_u16(),
            status,
            "{changes}: {}",
            response.text()
        );
    }
    assert_eq!(fixture.rows().await, before);
}

#[tokio::test]
async fn allowed_runner_images_restrict_users_only() {
    let fixture =
        NewJobsFixture::with(&[("ALLOWED_RUNNER_IMAGES", "ghcr.io/fiaisis/mantid@, test:")]).await;
    for (who, image, status) in [
        ("user", "ghcr.io/fiaisis/mantid@sha256:1", 200),
        ("user", "test:1", 200),
        ("user", "evil/ghcr.io/fiaisis/mantid@", 422),
        ("staff", "anything", 200),
        ("apikey", "anything", 200),
    ] {
        let body = json!({"job_id": 1, "runner_image": image, "script": "s"});
        let response = fixture.post("/job/rerun", who, body).await;
        assert_eq!(response.status.as_u16(), status, "{who} {image}");
    }
}

#[tokio::test]
async fn an_autoreduction_inserts_missing_rows_and_reuses_existing_ones() {
    let fixture = NewJobsFixture::new().await;
    let file = autoreduction_body(
        "/new/SANS2D1.nxs",
        json!({
            "instrument_name": "sans2d", "rb_number": " 77_7 ",
            "additional_values": {"scatter_number": 1, "f": 1e2}
        }),
    );
    for _ in 0..2 {
        let response = fixture
            .post("/job/autoreduction", "apikey", file.clone())
            .await;
        assert_eq!(response.status, StatusCode::CREATED, "{}", response.text());
        let script = response.json()["script"].as_str().unwrap().to_owned();
        assert!(script.contains("sample_scatter = 1\n"), "{script}");
        let sql = format!(
            "SELECT inputs, instrument_name, live_data_support, experiment_number, filename, \
             run_start, sha, script FROM jobs JOIN scripts ON scripts.id = script_id \
             JOIN runs ON runs.id = run_id JOIN job_owners ON job_owners.id = runs.owner_id \
             JOIN instruments ON instruments.id = runs.instrument_id \
             AND instruments.id = jobs.instrument_id WHERE jobs.id = {}",
            response.json()["job_id"]
        );
        assert_eq!(
            fixture.row(&sql).await,
            json!({"inputs": {"f": 100.0, "scatter_number": 1}, "instrument_name": "sans2d",
                   "live_data_support": false, "experiment_number": 777,
                   "filename": "/new/SANS2D1.nxs", "run_start": "2024-01-01T00:00:00",
                   "sha": "0123456789abcdef0123456789abcdef01234567", "script": script})
        );
    }
    let count = "SELECT (SELECT count(*) FROM runs WHERE filename = '/new/SANS2D1.nxs') runs, \
                 (SELECT count(*) FROM job_owners WHERE experiment_number = 777) owners";
    assert_eq!(fixture.row(count).await, json!({"runs": 1, "owners": 1}));
}

#[tokio::test]
async fn duplicate_run_and_script_rows_are_tolerated() {
    let fixture = NewJobsFixture::new().await;
    let client = fixture.database.client().await;
    client
        .batch_execute(
            "INSERT INTO runs (filename, instrument_id, title, users, run_start, run_end, \
               good_frames, raw_frames, owner_id) \
             SELECT 'twice.nxs', instruments.id, '', '', now(), now(), 0, 0, 1 \
             FROM instruments, generate_series(1, 2) WHERE instrument_name = 'TEST'; \
             INSERT INTO scripts (script, script_hash) \
             SELECT 'twice', encode(sha512('twice'), 'hex') FROM generate_series(1, 2)",
        )
        .await
        .unwrap();
    let response = fixture
        .post(
            "/job/autoreduction",
            "apikey",
            autoreduction_body("twice.nxs", json!({})),
        )
        .await;
    assert_eq!(response.status, StatusCode::CREATED, "{}", response.text());
    fixture
        .job(
            "/job/simple",
            "staff",
            json!({"runner_image": "i", "script": "twice"}),
        )
        .await;
}

#[tokio::test]
async fn fifty_concurrent_autoreductions_of_one_file_insert_one_run() {
    let fixture = NewJobsFixture::new().await;
    let replicas = [
        Replica::new(&[&fixture.settings]),
        Replica::new(&[&fixture.settings]),
    ];
    let file = autoreduction_body(
        "/new/one.nxs",
        json!({"rb_number": "888", "instrument_name": "test"}),
    );
    let requests = (0..50).map(|i| {
        post(
            &replicas[i % 2],
            "/job/autoreduction",
            "apikey",
            file.clone(),
        )
    });
    let responses = futures_util::future::join_all(requests).await;
    for response in &responses {
        assert_eq!(response.status, StatusCode::CREATED, "{}", response.text());
    }
    let count = "SELECT (SELECT count(*) FROM runs WHERE filename = '/new/one.nxs') runs, \
                 (SELECT count(*) FROM instruments WHERE instrument_name = 'test') instruments, \
                 (SELECT count(*) FROM job_owners WHERE experiment_number = 888) owners, \
                 (SELECT count(DISTINCT script_id) FROM jobs WHERE id > 120) scripts, \
                 (SELECT count(*) FROM jobs WHERE id > 120) jobs";
    assert_eq!(
        fixture.row(count).await,
        json!({"runs": 1, "instruments": 1, "owners": 1, "scripts": 1, "jobs": 50})
    );
}

#[tokio::test]
async fn concurrent_autoreductions_with_different_instruments_use_the_first() {
    let fixture = NewJobsFixture::new().await;
    let of = |instrument: &str| {
        autoreduction_body(
            "/new/two.nxs",
            json!({"instrument_name": instrument, "additional_values": {"cycle_string": "c", "input_runs": []}}),
        )
    };
    let requests = (0..20).map(|i| {
        let instrument = ["TEST", "TOSCA"][i % 2];
        post(
            &fixture.replica,
            "/job/autoreduction",
            "apikey",
            of(instrument),
        )
    });
    for response in futures_util::future::join_all(requests).await {
        assert_eq!(response.status, StatusCode::CREATED, "{}", response.text());
    }
    let count = "SELECT count(DISTINCT instrument_id) instruments, count(DISTINCT script_id) \
                 scripts, count(*) jobs FROM jobs WHERE id > 120";
    assert_eq!(
        fixture.row(count).await,
        json!({"instruments": 1, "scripts": 1, "jobs": 20})
    );
}

#[tokio::test]
async fn without_the_outbox_publish_is_confirmed_before_commit() {
    let mut fixture = NewJobsFixture::with(&[]).await;
    let body = json!({"runner_image": "i", "script": "new"});
    let id = fixture.job("/job/simple", "staff", body.clone()).await;
    let message: Value = serde_json::from_str(&fixture.consumer.message().await).unwrap();
    assert_eq!(message["job_id"], id);
    let away = Replica::new(&[&fixture.settings, &vars(&[("QUEUE_PORT", "1")])]);
    let before = fixture.rows().await;
    let start = std::time::Instant::now();
    let other = json!({"runner_image": "i", "script": "other"});
    let response = post(&away, "/job/simple", "staff", other).await;
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!(fixture.rows().await, before);
    // Validation precedes the broker connection.
    let response = post(&away, "/job/simple", "staff", json!({})).await;
    assert_eq!(response.status, StatusCode::UNPROCESSABLE_ENTITY);
    // The outbox is used once its table exists; no restart is needed.
    fixture.database.add_outbox().await;
    crate::harness::eventually(Duration::from_secs(10), async || {
        post(&away, "/job/simple", "staff", body.clone())
            .await
            .status
            == StatusCode::OK
    })
    .await;
}
