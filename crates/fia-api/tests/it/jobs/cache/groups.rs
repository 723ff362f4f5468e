//! Lists and counts after writes of jobs: fresh on every replica, without a wait for the TTL.

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Replica, Response, config, eventually, request};
use crate::jobs::cache::{KEYS, SharedCacheFixture};
use crate::jobs::filtered;
use fia_api::store::{Db, Triggers};

/// Far below the TTL, 15 s.
const SOON: Duration = Duration::from_secs(5);
/// Without a local cache, so that no push has to be awaited.
const SHARED_ONLY: &[(&str, &str)] = &[("CACHE_LOCAL", "off")];

async fn send(replica: &Replica, method: Method, path: &str, body: Value) -> Response {
    replica
        .send(request(method, path, "apikey", Some(&body)))
        .await
}

async fn patch(replica: &Replica, id: i64, body: Value) {
    let response = send(replica, Method::PATCH, &format!("/job/{id}"), body).await;
    assert_eq!(response.status, StatusCode::OK, "{}", response.text());
}

/// The lists and counts in which a change of a job of MARI shows.
fn of_mari() -> [String; 6] {
    let failed = json!({"job_state_in": ["ERROR"]});
    [
        "/jobs?limit=500&order_by=id".to_owned(),
        "/instrument/MARI/jobs?limit=500&order_by=id".to_owned(),
        filtered("/jobs?limit=500", &failed),
        filtered("/instrument/mari/jobs?limit=500", &failed),
        filtered("/jobs/count", &failed),
        filtered("/instrument/MARI/jobs/count", &failed),
    ]
}

async fn bodies(replica: &Replica) -> Vec<Value> {
    let mut bodies = Vec::new();
    for path in of_mari() {
        bodies.push(replica.get(&path, "apikey").await.json());
    }
    bodies
}

/// A job of MARI that has not failed.
async fn job_of_mari(fixture: &SharedCacheFixture) -> i64 {
    let client = fixture.jobs.database.client().await;
    let sql = "SELECT min(jobs.id)::bigint FROM jobs JOIN runs ON runs.id = run_id \
               JOIN instruments ON instruments.id = runs.instrument_id \
               WHERE instrument_name = 'MARI' AND state <> 'ERROR'";
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// Reads until every entry is a hit.
async fn warm(replica: &Replica, paths: &[String]) {
    for path in paths {
        replica.get(path, "apikey").await;
        assert!(is_hit(&replica.get(path, "apikey").await), "{path}");
    }
}

fn is_hit(response: &Response) -> bool {
    response.header("cache-status").contains("hit")
}

#[tokio::test]
async fn a_patch_shows_at_once_in_every_list_and_count_of_its_instrument() {
    let fixture = SharedCacheFixture::new().await;
    let one = fixture.replica_with(SHARED_ONLY).await;
    let other = fixture.replica_with(SHARED_ONLY).await;
    let id = job_of_mari(&fixture).await;
    let of_let = ["/instrument/LET/jobs?limit=9".to_owned()];
    warm(&other, &of_let).await;
    for state in ["ERROR", "SUCCESSFUL", "ERROR"] {
        warm(&one, &of_mari()).await;
        let before = bodies(&other).await;
        patch(&one, id, json!({"state": state})).await;
        let after = bodies(&other).await;
        for ((path, before), after) in of_mari().iter().zip(&before).zip(&after) {
            assert_ne!(before, after, "{path}");
        }
        assert_eq!(bodies(&one).await, after);
    }
    let response = other.get(&of_let[0], "apikey").await;
    assert!(
        is_hit(&response),
        "another instrument's list is not affected"
    );
}

#[tokio::test]
async fn a_local_hit_is_never_older_than_a_patch_on_its_replica() {
    let fixture = SharedCacheFixture::new().await;
    let (one, other) = (fixture.replica().await, fixture.replica().await);
    for replica in [&one, &other] {
        replica.state.cached.wait_for_tracking().await;
    }
    let id = job_of_mari(&fixture).await;
    let path = "/instrument/MARI/jobs?limit=500&order_by=id";
    let message = async |replica: &Replica| {
        let jobs = replica.get(path, "apikey").await.json();
        let jobs = jobs.as_array().unwrap().clone();
        let job = jobs.into_iter().find(|job| job["id"] == id).unwrap();
        job["status_message"].clone()
    };
    for round in 0..30 {
        for replica in [&one, &other] {
            eventually(SOON, async || {
                message(replica).await;
                let response = replica.get(path, "apikey").await;
                response.header("cache-status").ends_with("detail=local")
            })
            .await;
        }
        let text = round.to_string();
        patch(&one, id, json!({"status_message": text})).await;
        assert_eq!(message(&one).await, text);
        eventually(SOON, async || message(&other).await == text).await;
    }
}

#[tokio::test]
async fn new_jobs_show_at_once() {
    let fixture = SharedCacheFixture::new().await;
    fixture.jobs.database.add_outbox().await;
    let one = fixture.replica_with(SHARED_ONLY).await;
    let other = fixture.replica_with(SHARED_ONLY).await;
    let counts = async |replica: &Replica, instrument: &str| {
        let mut counts = Vec::new();
        for path in [
            "/jobs/count".to_owned(),
            format!("/instrument/{instrument}/jobs/count"),
        ] {
            let count = replica.get(&path, "apikey").await.json()["count"].clone();
            counts.push(count.as_i64().unwrap());
        }
        counts
    };
    let plus_one = |counts: Vec<i64>| -> Vec<i64> { counts.iter().map(|n| n + 1).collect() };

    let id = job_of_mari(&fixture).await;
    let before = counts(&other, "MARI").await;
    assert_eq!(counts(&one, "MARI").await, before);
    let rerun = json!({"job_id": id, "runner_image": "img", "script": "print()"});
    let response = send(&one, Method::POST, "/job/rerun", rerun).await;
    assert_eq!(response.status, StatusCode::OK, "{}", response.text());
    assert_eq!(counts(&other, "MARI").await, plus_one(before));

    let before = counts(&other, "TEST").await;
    let reduction = json!({
        "filename": "/new.nxs", "rb_number": "1820497", "instrument_name": "TEST", "title": "t",
        "users": "u", "run_start": "2024-01-01T00:00:00", "run_end": "2024-01-01T01:00:00",
        "good_frames": 1, "raw_frames": 2, "additional_values": {}, "runner_image": "img"
    });
    let response = send(&one, Method::POST, "/job/autoreduction", reduction).await;
    assert_eq!(response.status, StatusCode::CREATED, "{}", response.text());
    assert_eq!(counts(&other, "TEST").await, plus_one(before));

    // No list shows a job without a run, so none is invalidated.
    let before = counts(&other, "MARI").await;
    let simple = json!({"runner_image": "img", "script": "print()"});
    let response = send(&one, Method::POST, "/job/simple", simple).await;
    assert_eq!(response.status, StatusCode::OK, "{}", response.text());
    assert!(is_hit(&other.get("/jobs/count", "apikey").await));
    assert_eq!(counts(&other, "MARI").await, before);
}

#[tokio::test]
async fn entries_of_a_legacy_server_are_replaced() {
    let mut fixture = SharedCacheFixture::new().await;
    let replica = fixture.replica().await;
    let (path, key) = KEYS[3];
    let () = redis::AsyncCommands::set_ex(&mut fixture.redis, key, r#"{"count": 5}"#, 15)
        .await
        .unwrap();
    assert_eq!(replica.get(path, "none").await.text(), r#"{"count":117}"#);
    assert!(is_hit(&replica.get(path, "none").await));
}

#[tokio::test]
async fn without_groups_a_patch_shows_when_the_ttl_expires() {
    let fixture = SharedCacheFixture::new().await;
    let off = [("CACHE_LOCAL", "off"), ("JOB_GROUPS", "off")];
    let replica = fixture.replica_with(&off).await;
    let id = job_of_mari(&fixture).await;
    warm(&replica, &of_mari()).await;
    let before = bodies(&replica).await;
    patch(&replica, id, json!({"state": "ERROR"})).await;
    assert_eq!(bodies(&replica).await, before);
}

#[tokio::test]
async fn changes_of_jobs_by_other_clients_show_soon() {
    let fixture = SharedCacheFixture::new().await;
    let database = &fixture.jobs.database;
    let db = Db::new(&config(&[&database.vars()]).database).unwrap();
    Triggers::ChangeFeed.install(&db).await.unwrap();
    let url = database.server.url(&database.name);
    let replica = fixture
        .replica_with(&[
            ("DB_LISTEN_URL", &url),
            ("JOB_LIST_CACHE_TTL_SECONDS", "600"),
        ])
        .await;
    let connected = async || {
        replica
            .state
            .cached
            .change_feed()
            .is_some_and(|feed| feed.up)
    };
    eventually(SOON, connected).await;
    let client = database.client().await;
    let id = job_of_mari(&fixture).await;
    let path = "/instrument/MARI/jobs?limit=500&include_run=true";
    let list = async || replica.get(path, "apikey").await.text();
    for change in [
        format!("UPDATE jobs SET status_message = 'by hand' WHERE id = {id}"),
        format!(
            "UPDATE runs SET title = 'by hand' WHERE id = (SELECT run_id FROM jobs WHERE id = {id})"
        ),
        "UPDATE job_owners SET experiment_number = experiment_number + 7000000".to_owned(),
        "UPDATE scripts SET script = 'by hand'".to_owned(),
        "UPDATE instruments SET instrument_name = 'mari' WHERE instrument_name = 'MARI'; \
         UPDATE instruments SET instrument_name = 'MARI' WHERE instrument_name = 'mari'; \
         DELETE FROM jobs WHERE id = (SELECT max(jobs.id) FROM jobs JOIN runs ON runs.id = run_id \
         JOIN instruments ON instruments.id = runs.instrument_id WHERE instrument_name = 'MARI')"
            .to_owned(),
        format!(
            "INSERT INTO jobs (state, inputs, owner_id, job_type, run_id) \
             SELECT 'ERROR', '{{}}', owner_id, 'RERUN', run_id FROM jobs WHERE id = {id}"
        ),
        "TRUNCATE jobs".to_owned(),
    ] {
        eventually(SOON, async || {
            list().await;
            replica
                .get(path, "apikey")
                .await
                .header("cache-status")
                .ends_with("detail=local")
        })
        .await;
        let before = list().await;
        client.batch_execute(&change).await.unwrap();
        eventually(SOON, async || list().await != before).await;
    }
    assert_eq!(list().await, "[]");
}

/// A transaction notifies once for each instrument, however many of its jobs it changes.
#[tokio::test]
async fn a_change_of_many_jobs_sends_one_notification_for_each_instrument() {
    let fixture = SharedCacheFixture::new().await;
    let database = &fixture.jobs.database;
    let db = Db::new(&config(&[&database.vars()]).database).unwrap();
    Triggers::ChangeFeed.install(&db).await.unwrap();
    let url = database.server.url(&database.name);
    let replica = fixture.replica_with(&[("DB_LISTEN_URL", &url)]).await;
    let feed = || replica.state.cached.change_feed().unwrap();
    eventually(SOON, async || feed().up).await;
    let client = database.client().await;
    client
        .batch_execute(
            "UPDATE jobs SET status_message = 'x' FROM runs, instruments \
             WHERE runs.id = run_id AND instruments.id = runs.instrument_id \
             AND instrument_name IN ('MARI', 'LET'); NOTIFY fia_api_jobs, 'END'",
        )
        .await
        .unwrap();
    eventually(SOON, async || feed().notifications == 3).await;
}
