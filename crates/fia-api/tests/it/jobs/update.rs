//! `PATCH /job/{job_id}`.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Answer, Replica, request};
use crate::jobs::Bench;

async fn patch(replica: &Replica, id: &str, body: &Value) -> Answer {
    let path = format!("/job/{id}");
    replica
        .send(request(Method::PATCH, &path, "apikey", Some(body)))
        .await
}

#[tokio::test]
async fn what_the_watcher_does_not_know_is_left_as_it_is() {
    let bench = Bench::new().await;
    let replica = bench.replica();
    let known = json!({"start": "2024-01-01 10:00:00+00:00", "end": "2024-01-01T11:00:00.5Z"});
    let first = patch(&replica, "4", &known).await.json();
    assert_eq!(first["start"], "2024-01-01T10:00:00");
    assert_eq!(first["end"], "2024-01-01T11:00:00.500000");
    for absent in ["None", "", " ", "\u{0}"] {
        let body = json!({"start": absent, "end": absent, "state": null});
        let answer = patch(&replica, "4", &body).await;
        assert_eq!(
            answer.status,
            StatusCode::OK,
            "{absent:?}: {}",
            answer.text()
        );
        assert_eq!(answer.json(), first, "{absent:?}");
    }
}

#[tokio::test]
async fn moments_that_cannot_be_read_back_are_refused_and_change_nothing() {
    let bench = Bench::new().await;
    let replica = bench.replica();
    let before = replica.get("/job/4", "apikey").await.json();
    for moment in [
        "abc",
        "2024-02-30",
        "0001-01-01 BC",
        "10000-01-01",
        "294277-01-01",
        "99999999999999999999",
        "None!",
    ] {
        let body = json!({"start": moment, "state": "ERROR"});
        let answer = patch(&replica, "4", &body).await;
        assert_eq!(answer.status, 422, "{moment}: {}", answer.text());
        assert_eq!(answer.json()["status_code"], 10422);
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
async fn infinite_moments_read_as_the_first_and_the_last() {
    let bench = Bench::new().await;
    let replica = bench.replica();
    let body = json!({"start": "-infinity", "end": "infinity"});
    let job = patch(&replica, "4", &body).await.json();
    assert_eq!(job["start"], "0001-01-01T00:00:00");
    assert_eq!(job["end"], "9999-12-31T23:59:59.999999");
}

/// Rows that the older server cannot read are listed all the same.
#[tokio::test]
async fn a_poisoned_row_spoils_no_list() {
    let bench = Bench::new().await;
    let replica = bench.replica();
    let client = bench.database.client().await;
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
async fn nul_is_left_out_and_the_answer_is_200() {
    let bench = Bench::new().await;
    let replica = bench.replica();
    let body = json!({"status_message": "a\u{0}b", "outputs": "\u{0}", "stacktrace": ""});
    let answer = patch(&replica, "4", &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.text());
    let job = answer.json();
    assert_eq!(job["status_message"], "ab");
    assert_eq!(job["outputs"], "");
    assert_eq!(job["stacktrace"], "");
}

#[tokio::test]
async fn wrong_bodies_are_422_and_unknown_jobs_404() {
    let bench = Bench::new().await;
    let replica = bench.replica();
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
        let answer = patch(&replica, id, &json!({"state": "ERROR"})).await;
        assert_eq!(answer.status, 404, "{id}");
        assert_eq!(answer.text(), r#"{"message":"Resource not found"}"#);
    }
    assert_eq!(patch(&replica, "x", &json!({})).await.status, 422);
}

/// Field order, nulls, the six-digit fraction, numbers of `jsonb`, scripts without token lines.
#[tokio::test]
async fn a_job_is_written_to_the_letter() {
    let bench = Bench::new().await;
    let client = bench.database.client().await;
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
    let body = bench.replica().get("/job/1", "apikey").await.text();
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
