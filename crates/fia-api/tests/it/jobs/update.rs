//! `PATCH /job/{job_id}`.

use axum::body::Body;
use http::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Replica, Response, request};
use crate::jobs::JobsFixture;

async fn patch(replica: &Replica, id: &str, body: &Value) -> Response {
    let path = format!("/job/{id}");
    replica
        .send(request(Method::PATCH, &path, "apikey", Some(body)))
        .await
}

#[tokio::test]
async fn absent_values_leave_the_columns_unchanged() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    let known = json!({"start": "2024-01-01 10:00:00+00:00", "end": "2024-01-01T11:00:00.5Z"});
    let first = patch(&replica, "4", &known).await.json();
    assert_eq!(first["start"], "2024-01-01T10:00:00");
    assert_eq!(first["end"], "2024-01-01T11:00:00.500000");
    for absent in ["None", "", " ", "\u{0}"] {
        let body = json!({"start": absent, "end": absent, "state": null});
        let response = patch(&replica, "4", &body).await;
        assert_eq!(
            response.status,
            StatusCode::OK,
            "{absent:?}: {}",
            response.text()
        );
        assert_eq!(response.json(), first, "{absent:?}");
    }
}

#[tokio::test]
async fn unrepresentable_timestamps_are_422_and_change_nothing() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    let before = replica.get("/job/4", "apikey").await.json();
    for timestamp in [
        "abc",
        "2024-02-30",
        "0001-01-01 BC",
        "10000-01-01",
        "294277-01-01",
        "99999999999999999999",
        "None!",
    ] {
        let body = json!({"start": timestamp, "state": "ERROR"});
        let response = patch(&replica, "4", &body).await;
        assert_eq!(response.status, 422, "{timestamp}: {}", response.text());
        assert_eq!(response.json()["status_code"], 10422);
    }
    let both = patch(&replica, "4", &json!({"start": "x", "end": "y"}))
        .await
        .json();
    assert!(
        both["message"]
            .as_str()
            .unwrap()
            .starts_with("2 validation errors: ")
    );
    assert_eq!(replica.get("/job/4", "apikey").await.json(), before);
}

#[tokio::test]
async fn infinite_timestamps_are_clamped_to_the_representable_range() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    let body = json!({"start": "-infinity", "end": "infinity"});
    let job = patch(&replica, "4", &body).await.json();
    assert_eq!(job["start"], "0001-01-01T00:00:00");
    assert_eq!(job["end"], "9999-12-31T23:59:59.999999");
}

/// Includes rows that the legacy server fails to read.
#[tokio::test]
async fn a_row_with_out_of_range_timestamps_is_still_listed() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    let client = fixture.database.client().await;
    let poison = "UPDATE jobs SET start = '0044-03-15 BC', \"end\" = '12024-01-01' WHERE id = 4";
    client.execute(poison, &[]).await.unwrap();
    let job = replica.get("/job/4", "apikey").await.json();
    assert_eq!(job["start"], "0001-01-01T00:00:00");
    assert_eq!(job["end"], "9999-12-31T23:59:59.999999");
    assert_eq!(
        replica
            .get("/jobs", "apikey")
            .await
            .json()
            .as_array()
            .unwrap()
            .len(),
        117
    );
}

#[tokio::test]
async fn nul_characters_are_stripped() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    let body = json!({"status_message": "a\u{0}b", "outputs": "\u{0}", "stacktrace": ""});
    let response = patch(&replica, "4", &body).await;
    assert_eq!(response.status, StatusCode::OK, "{}", response.text());
    let job = response.json();
    assert_eq!(job["status_message"], "ab");
    assert_eq!(job["outputs"], "");
    assert_eq!(job["stacktrace"], "");
}

#[tokio::test]
async fn invalid_bodies_are_422_and_unknown_jobs_404() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    for body in [
        json!([]),
        json!(1),
        json!({"state": "successful"}),
        json!({"state": 1}),
        json!({"start": 1}),
        json!({"outputs": ["a"]}),
    ] {
        assert_eq!(patch(&replica, "4", &body).await.status, 422, "{body}");
    }
    for id in ["0", "-1", "121", "2147483648", "99999999999999999999999"] {
        let response = patch(&replica, id, &json!({"state": "ERROR"})).await;
        assert_eq!(response.status, 404, "{id}");
        assert_eq!(response.text(), r#"{"message":"Resource not found"}"#);
    }
    assert_eq!(patch(&replica, "x", &json!({})).await.status, 422);
}

/// Covers field order, nulls, six-digit fractions, `jsonb` numbers and removed token lines.
#[tokio::test]
async fn a_job_serialises_byte_for_byte() {
    let fixture = JobsFixture::new().await;
    let client = fixture.database.client().await;
    client
        .batch_execute(
            "UPDATE scripts SET script = E'a\\r\\nk = \\'ghp_x\\'\\nb\\u2028network.github.api_token\\n\\nc\\n'
             WHERE id = (SELECT script_id FROM jobs WHERE id = 1);
             UPDATE jobs SET start = '2020-02-03 04:05:06.1', \"end\" = NULL, state = 'ERROR',
               inputs = '{\"b\": 1e2, \"a\": 2.50, \"é\": [12345678901234567890123, null, \"x: 1.50\"]}',
               status_message = 'ü \"☃\"', outputs = NULL, stacktrace = E'\\u0001', runner_image = NULL
             WHERE id = 1;
             UPDATE runs SET filename = 'f', title = 't', users = 'u', run_start = '2020-01-01',
               run_end = '2020-01-01 00:00:00.000001', good_frames = 1, raw_frames = -2147483648
             WHERE id = (SELECT run_id FROM jobs WHERE id = 1)",
        )
        .await
        .unwrap();
    let body = fixture.replica().get("/job/1", "apikey").await.text();
    assert_eq!(
        body,
        "{\"id\":1,\"start\":\"2020-02-03T04:05:06.100000\",\"end\":null,\"state\":\"ERROR\",\
         \"status_message\":\"ü \\\"☃\\\"\",\
         \"inputs\":{\"a\":2.5,\"b\":100,\"é\":[12345678901234567890123,null,\"x: 1.50\"]},\
         \"outputs\":null,\"stacktrace\":\"\\u0001\",\"script\":{\"value\":\"a\\nb\\n\\nc\"},\
         \"runner_image\":null,\"type\":\"JobType.RERUN\",\"run\":{\"filename\":\"f\",\
         \"experiment_number\":1820497,\"title\":\"t\",\"users\":\"u\",\
         \"run_start\":\"2020-01-01T00:00:00\",\"run_end\":\"2020-01-01T00:00:00.000001\",\
         \"good_frames\":1,\"raw_frames\":-2147483648,\"instrument_name\":\"MARI\"}}"
    );
}

/// As Python sends what it read from a file in another encoding.
#[tokio::test]
async fn lone_surrogates_are_replaced() {
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    let mut request = request(Method::PATCH, "/job/4", "apikey", Some(&json!({})));
    *request.body_mut() = r#"{"stacktrace":"\ud83d\ude00 \udce9","x":"\ud800"}"#.into();
    let response = replica.send(request).await;
    assert_eq!(response.status, StatusCode::OK, "{}", response.text());
    assert_eq!(response.json()["stacktrace"], "😀 \u{fffd}");
}

/// 64 MiB, as sent, from the job watcher; `MAX_BODY_BYTES` from anybody else. It takes 3 s, as the
/// text is copied, compressed and compared in several places.
#[tokio::test]
async fn only_programs_with_the_api_key_may_send_large_updates() {
    const LIMIT: usize = 64 * 1024 * 1024;
    let fixture = JobsFixture::new().await;
    let replica = fixture.replica();
    let response = replica.send(large_update(LIMIT, "apikey")).await;
    assert_eq!(response.status, StatusCode::OK, "{}", response.text());
    let length = response.json()["stacktrace"].as_str().unwrap().len();
    assert_eq!(length, LIMIT - large_update_frame());
    let stored = stored_length(&fixture).await;
    assert_eq!(stored, i64::try_from(length).unwrap());

    for (length, who) in [
        (LIMIT + 1, "apikey"),
        (4 * 1024 * 1024 + 1, "staff"),
        (4 * 1024 * 1024 + 1, "none"),
    ] {
        let response = replica.send(large_update(length, who)).await;
        assert_eq!(response.status, 413, "{length} {who}: {}", response.text());
    }
    assert_eq!(stored_length(&fixture).await, stored);
}

/// A job watcher repeats an update for ever whose statement always takes too long. The test takes
/// 9 s, as the statements wait for 3.2 s, longer than a small one may take.
#[tokio::test]
async fn the_statement_of_a_large_update_may_take_longer() {
    let fixture = JobsFixture::new().await;
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
         'BEGIN PERFORM pg_sleep(3.2); RETURN NEW; END';
         CREATE TRIGGER slow BEFORE UPDATE ON jobs FOR EACH ROW EXECUTE FUNCTION slow()";
    let client = fixture.database.client().await;
    client.batch_execute(slow).await.unwrap();
    let replica = fixture.replica();
    for (length, status) in [(24 * 1024 * 1024, 200), (1024, 503)] {
        let response = replica.send(large_update(length, "apikey")).await;
        assert_eq!(response.status, status, "{length}: {}", response.text());
    }
    let expected = 24 * 1024 * 1024 - large_update_frame();
    assert_eq!(
        stored_length(&fixture).await,
        i64::try_from(expected).unwrap()
    );
}

/// An update of job 4 whose body has this length.
fn large_update(length: usize, who: &str) -> Request<Body> {
    let text = "x".repeat(length - large_update_frame());
    let body = json!({"state": "ERROR", "stacktrace": text});
    request(Method::PATCH, "/job/4", who, Some(&body))
}

/// The length of the body of an update with an empty text.
fn large_update_frame() -> usize {
    json!({"state": "ERROR", "stacktrace": ""})
        .to_string()
        .len()
}

/// The length of the text that job 4 has in the database.
async fn stored_length(fixture: &JobsFixture) -> i64 {
    let client = fixture.database.client().await;
    let length = "SELECT length(stacktrace)::bigint FROM jobs WHERE id = 4";
    client.query_one(length, &[]).await.unwrap().get(0)
}
