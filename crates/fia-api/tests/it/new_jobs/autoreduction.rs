//! `POST /job/autoreduction`.

use http::StatusCode;
use serde_json::json;

use crate::harness::Replica;
use crate::new_jobs::{NewJobsFixture, autoreduction_body, post};

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
