//! Simple jobs, reruns and resubmissions.

use std::time::Duration;

use devstack::shared;
use http::StatusCode;
use serde_json::{Value, json};

use crate::consumer::Consumer;
use crate::harness::{Replica, eventually, vars};
use crate::new_jobs::{NewJobsFixture, autoreduction_body, post};

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
async fn without_the_outbox_publish_is_confirmed_before_commit() {
    let mut fixture = NewJobsFixture::with(&[]).await;
    let body = json!({"runner_image": "i", "script": "new"});
    let id = fixture.job("/job/simple", "staff", body.clone()).await;
    let message: Value = serde_json::from_str(&fixture.consumer.message().await).unwrap();
    assert_eq!(message["job_id"], id);
    let unreachable = Replica::new(&[&fixture.settings, &vars(&[("QUEUE_PORT", "1")])]);
    let before = fixture.rows().await;
    let start = std::time::Instant::now();
    let other = json!({"runner_image": "i", "script": "other"});
    let response = post(&unreachable, "/job/simple", "staff", other).await;
    assert_eq!(response.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!(fixture.rows().await, before);
    // Validation precedes the broker connection.
    let response = post(&unreachable, "/job/simple", "staff", json!({})).await;
    assert_eq!(response.status, StatusCode::UNPROCESSABLE_ENTITY);
    // The outbox is used once its table exists; no restart is needed.
    fixture.database.add_outbox().await;
    eventually(Duration::from_secs(10), async || {
        post(&unreachable, "/job/simple", "staff", body.clone())
            .await
            .status
            == StatusCode::OK
    })
    .await;
}
