//! Random jobs and runs, and their insertion.

use proptest::prelude::*;

use crate::harness::Database;
use crate::jobs::model::{EXPERIMENTS, INSTRUMENTS, STATES, TIMESTAMPS};

fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        "a",
        "A",
        "ab%c",
        "a_b",
        "a\\b",
        "ünïcödé",
        "ÜNÏ",
        "☃",
        "'q'",
        "7",
    ]
    .map(str::to_owned)
    .to_vec();
    // Longer than the text indexes hold.
    texts.push("z".repeat(600));
    texts.push("A".repeat(600));
    texts
}

#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: i64,
    pub(super) start: Option<&'static str>,
    pub(super) end: Option<&'static str>,
    pub(super) state: usize,
    pub(super) outputs: Option<String>,
    pub(super) run: Option<Run>,
}

#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) filename: String,
    pub(super) title: String,
    pub(super) start: &'static str,
    pub(super) end: &'static str,
    pub(super) instrument: usize,
    /// An index into `EXPERIMENTS`; one past the end is user 1234.
    pub(super) owner: usize,
}

impl Run {
    pub(super) fn experiment(&self) -> Option<i32> {
        EXPERIMENTS.get(self.owner).copied().flatten()
    }

    pub(super) fn user(&self) -> Option<i32> {
        (self.owner == EXPERIMENTS.len()).then_some(1234)
    }
}

pub(super) fn timestamp() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&TIMESTAMPS[..])
}

fn text() -> impl Strategy<Value = String> {
    prop::sample::select(texts())
}

fn run() -> impl Strategy<Value = Run> {
    let owner = 0..=EXPERIMENTS.len();
    (
        text(),
        text(),
        timestamp(),
        timestamp(),
        0..INSTRUMENTS.len(),
        owner,
    )
        .prop_map(|(filename, title, start, end, instrument, owner)| Run {
            filename,
            title,
            start,
            end,
            instrument,
            owner,
        })
}

pub(super) fn job() -> impl Strategy<Value = Job> {
    use prop::option::{of, weighted};
    (
        of(timestamp()),
        of(timestamp()),
        0..STATES.len(),
        of(text()),
        weighted(0.9, run()),
    )
        .prop_map(|(start, end, state, outputs, run)| Job {
            id: 0,
            start,
            end,
            state,
            outputs,
            run,
        })
}

pub(super) async fn store(database: &Database, jobs: &mut [Job]) {
    let client = database.client().await;
    client
        .batch_execute(
            "TRUNCATE jobs, runs, job_owners, instruments, scripts RESTART IDENTITY CASCADE",
        )
        .await
        .unwrap();
    for name in INSTRUMENTS {
        let sql = "INSERT INTO instruments (instrument_name, live_data_support) VALUES ($1, false)";
        client.execute(sql, &[&name]).await.unwrap();
    }
    for experiment in EXPERIMENTS {
        let sql = "INSERT INTO job_owners (experiment_number) VALUES ($1)";
        client.execute(sql, &[&experiment]).await.unwrap();
    }
    let sql = "INSERT INTO job_owners (user_number) VALUES (1234)";
    client.execute(sql, &[]).await.unwrap();
    for job in jobs {
        let mut run_id: Option<i32> = None;
        if let Some(run) = &job.run {
            let sql = "INSERT INTO runs (filename, title, users, run_start, run_end, instrument_id, owner_id, good_frames, raw_frames) \
                       VALUES ($1, $2, '', $3::text::timestamp, $4::text::timestamp, $5, $6, 1, 1) RETURNING id";
            let (instrument, owner) = (
                i32::try_from(run.instrument + 1).unwrap(),
                i32::try_from(run.owner + 1).unwrap(),
            );
            let row = client
                .query_one(
                    sql,
                    &[
                        &run.filename,
                        &run.title,
                        &run.start,
                        &run.end,
                        &instrument,
                        &owner,
                    ],
                )
                .await
                .unwrap();
            run_id = Some(row.get(0));
        }
        let sql = "INSERT INTO jobs (start, \"end\", state, inputs, outputs, owner_id, job_type, run_id) \
                   VALUES ($1::text::timestamp, $2::text::timestamp, $3::text::state, '{}', $4, 1, 'RERUN', $5) RETURNING id";
        let row = client
            .query_one(
                sql,
                &[
                    &job.start,
                    &job.end,
                    &STATES[job.state],
                    &job.outputs,
                    &run_id,
                ],
            )
            .await
            .unwrap();
        job.id = i64::from(row.get::<_, i32>(0));
    }
}
