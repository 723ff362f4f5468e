//! The list table: it equals its source after writes by any client, and is used only then.

use std::time::Duration;

use fia_api::store::{Db, list_table};
use http::Method;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tokio_postgres::Client;

use crate::harness::{Database, Replica, config, eventually, request};
use crate::jobs::JobsFixture;

/// Longer than the interval between two checks.
const CHECKED: Duration = Duration::from_secs(15);
/// The connections that write at the same time, and the changes by each.
const WRITERS: u64 = 4;
const CHANGES: usize = 150;

fn db(database: &Database) -> Db {
    Db::new(&config(&[&database.vars()]).database).unwrap()
}

/// Creates the table as `schema --lists --apply` does.
pub(super) async fn apply(database: &Database) {
    list_table::apply(&db(database)).await.unwrap();
}

async fn different(database: &Database) -> i64 {
    list_table::verify(&db(database)).await.unwrap()
}

/// Waits until the replica uses the table.
pub(super) async fn is_used(replica: &Replica) {
    eventually(CHECKED, async || replica.state.db.uses_list_table()).await;
}

async fn is_unused(replica: &Replica) {
    eventually(CHECKED, async || !replica.state.db.uses_list_table()).await;
}

/// A random change of one statement, as clients and people make.
fn change(rng: &mut StdRng) -> String {
    let mut id = |table: &str| {
        let part = rng.random_range(0..1000);
        format!(
            "(SELECT id FROM {table} ORDER BY id OFFSET {part} * (SELECT count(*) FROM {table}) / 1000 LIMIT 1)"
        )
    };
    let (job, run, other_run) = (id("jobs"), id("runs"), id("runs"));
    let (owner, instrument) = (id("job_owners"), id("instruments"));
    let n = rng.random_range(1..1_000_000);
    match rng.random_range(0..12) {
        0..3 => format!(
            "INSERT INTO jobs (state, inputs, owner_id, job_type, run_id) \
             VALUES ('NOT_STARTED', '{{}}', {owner}, 'RERUN', {run})"
        ),
        3 => format!(
            "INSERT INTO jobs (state, inputs, owner_id, job_type) \
             SELECT 'NOT_STARTED', '{{}}', {owner}, 'SIMPLE' FROM generate_series(1, 3)"
        ),
        4..6 => format!(
            "UPDATE jobs SET state = 'SUCCESSFUL', start = now(), \"end\" = now() WHERE id = {job}"
        ),
        6 => format!("UPDATE jobs SET run_id = {run} WHERE id = {job} OR run_id = {other_run}"),
        7 => format!("UPDATE jobs SET run_id = NULL WHERE id = {job}"),
        8 => format!("DELETE FROM jobs WHERE id = {job}"),
        9 => format!(
            "UPDATE runs SET run_start = run_start + interval '{n} s', owner_id = {owner}, \
             instrument_id = {instrument} WHERE id = {run}"
        ),
        10 => format!("UPDATE job_owners SET experiment_number = {n} WHERE id = {owner}"),
        _ => format!(
            "INSERT INTO runs (filename, title, users, run_start, run_end, instrument_id, owner_id, \
             good_frames, raw_frames) VALUES ('f{n}', 't', '', now(), now(), {instrument}, {owner}, 1, 1)"
        ),
    }
}

/// Makes random changes, some of them in transactions that are then undone.
async fn write(client: Client, seed: u64) -> usize {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut made = 0;
    for _ in 0..CHANGES {
        let end = ["COMMIT", "COMMIT", "ROLLBACK"][rng.random_range(0..3)];
        let statements = (0..rng.random_range(1..4)).map(|_| change(&mut rng));
        let sql = statements.collect::<Vec<_>>().join(";");
        let done = client.batch_execute(&format!("BEGIN;{sql};{end}")).await;
        // A deadlock, or a number of another owner: the transaction is undone.
        if done.is_err() {
            client.batch_execute("ROLLBACK").await.unwrap();
        } else if end == "COMMIT" {
            made += 1;
        }
    }
    made
}

/// Takes some seconds: hundreds of transactions on four connections and by a replica, while the
/// table is created and filled.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_changes_by_anyone_leave_no_difference() {
    let fixture = JobsFixture::new().await;
    devstack::add_jobs(fixture.database.server, &fixture.database.name, 300)
        .await
        .unwrap();
    let seed = rand::random::<u32>();
    let mut writers = Vec::new();
    for n in 0..WRITERS {
        let client = fixture.database.client().await;
        writers.push(tokio::spawn(write(client, u64::from(seed) + n)));
    }
    let replica = fixture.replica();
    let mut rng = StdRng::seed_from_u64(u64::from(seed));
    let by_the_server = async {
        for _ in 0..CHANGES {
            let job = rng.random_range(1..300);
            let body = json!({"state": "ERROR", "end": "2024-01-01T00:00:00"});
            let path = format!("/job/{job}");
            let changed = replica
                .send(request(Method::PATCH, &path, "apikey", Some(&body)))
                .await;
            // Others delete jobs, and may hold a job's lock too long.
            assert!([200, 404, 503].contains(&changed.status.as_u16()));
        }
    };
    let database = &fixture.database;
    let ((), ()) = tokio::join!(by_the_server, apply(database));
    for writer in writers {
        assert!(writer.await.unwrap() > CHANGES / 10, "seed {seed}");
    }
    assert_eq!(different(database).await, 0, "seed {seed}");
    is_used(&fixture.replica()).await;
    // Otherwise nothing was compared.
    let client = database.client().await;
    let rows = client.query_one("SELECT count(*) FROM fia_api_job_list", &[]);
    assert!(rows.await.unwrap().get::<_, i64>(0) > 100, "seed {seed}");
    client.batch_execute("TRUNCATE runs CASCADE").await.unwrap();
    assert_eq!(different(database).await, 0);
}

#[tokio::test]
async fn a_difference_ends_the_use_until_it_is_repaired() {
    let fixture = JobsFixture::new().await;
    let client = fixture.database.client().await;
    apply(&fixture.database).await;
    let sql = "UPDATE fia_api_job_list SET run_end = run_end + interval '1 s' WHERE id IN (2, 4)";
    client.batch_execute(sql).await.unwrap();
    assert_eq!(different(&fixture.database).await, 2);
    let replica = fixture.replica();
    // A sample of so few rows misses these at one time in four.
    let state = "SELECT is_complete FROM fia_api_job_list_state";
    let is_complete = async || {
        client
            .query_one(state, &[])
            .await
            .unwrap()
            .get::<_, bool>(0)
    };
    eventually(CHECKED * 3, async || !is_complete().await).await;
    is_unused(&replica).await;
    apply(&fixture.database).await;
    assert_eq!(different(&fixture.database).await, 0);
    is_used(&replica).await;
}

#[tokio::test]
async fn without_the_table_or_a_trigger_lists_come_from_their_source() {
    let fixture = JobsFixture::new().await;
    let client = fixture.database.client().await;
    apply(&fixture.database).await;
    let replica = fixture.replica();
    is_used(&replica).await;
    let paths = [
        "/jobs?limit=5",
        "/jobs",
        "/jobs/count",
        "/instrument/mari/jobs?limit=5",
    ];
    let mut before = Vec::new();
    for path in paths {
        before.push(replica.get(path, "staff").await.text().to_owned());
    }
    client
        .batch_execute("DROP TABLE fia_api_job_list, fia_api_job_list_state CASCADE")
        .await
        .unwrap();
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(replica.get(path, "staff").await.text(), before, "{path}");
    }
    assert!(!replica.state.db.uses_list_table());
    client
        .batch_execute("DROP FUNCTION fia_api_job_list_jobs, fia_api_job_list_runs, fia_api_job_list_owners CASCADE")
        .await
        .unwrap();
    apply(&fixture.database).await;
    is_used(&replica).await;
    let disable = "ALTER TABLE jobs DISABLE TRIGGER fia_api_job_list_update";
    client.batch_execute(disable).await.unwrap();
    is_unused(&replica).await;
    // Changes may have been missed, so enabling it is not enough.
    let enable = "ALTER TABLE jobs ENABLE TRIGGER fia_api_job_list_update";
    client.batch_execute(enable).await.unwrap();
    is_unused(&fixture.replica()).await;
    assert_eq!(different(&fixture.database).await, 0);
    apply(&fixture.database).await;
    is_used(&replica).await;
}

/// A change of a run with an older snapshot does not see the jobs that were added since.
#[tokio::test]
async fn a_change_with_an_older_snapshot_makes_the_table_incomplete() {
    let fixture = JobsFixture::new().await;
    apply(&fixture.database).await;
    let (older, client) = tokio::join!(fixture.database.client(), fixture.database.client());
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM runs";
    older.batch_execute(begin).await.unwrap();
    let insert = "INSERT INTO jobs (state, inputs, owner_id, job_type, run_id) \
         SELECT 'ERROR', '{}', owner_id, 'RERUN', id FROM runs ORDER BY id LIMIT 1";
    client.batch_execute(insert).await.unwrap();
    let change = "UPDATE runs SET run_start = now() WHERE id = (SELECT min(id) FROM runs); COMMIT";
    older.batch_execute(change).await.unwrap();
    assert_eq!(different(&fixture.database).await, 1);
    let state = client.query_one("SELECT is_complete FROM fia_api_job_list_state", &[]);
    assert!(!state.await.unwrap().get::<_, bool>(0));
    apply(&fixture.database).await;
    assert_eq!(different(&fixture.database).await, 0);
}
