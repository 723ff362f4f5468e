//! The jobs that are written, one of each of some instruments, and what each list must show.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_postgres::Client;

use crate::Outcome;
use crate::commands::list_targets::encoded;

/// The instruments with the most jobs, and one whose jobs can be created by autoreduction.
const INSTRUMENTS: &str = "
INSERT INTO instruments (instrument_name, live_data_support)
VALUES ('TEST', false) ON CONFLICT DO NOTHING;
CREATE TEMPORARY TABLE chosen AS
SELECT instruments.id, instrument_name FROM instruments LEFT JOIN runs ON runs.instrument_id = instruments.id
GROUP BY instruments.id ORDER BY instrument_name = 'TEST' DESC, count(runs.id) DESC, instruments.id LIMIT 20";
/// Adds a job of each, with a run; their ids are above all others.
const ADD: &str = "
INSERT INTO runs (filename, instrument_id, title, users, run_start, run_end, good_frames, raw_frames, owner_id)
SELECT 'fresh/' || instrument_name, id, '', '', now(), now(), 0, 0, (SELECT min(id) FROM job_owners)
FROM chosen WHERE NOT EXISTS (SELECT FROM runs WHERE filename = 'fresh/' || instrument_name);
DELETE FROM jobs WHERE id >= 900000000;
INSERT INTO jobs (id, state, status_message, inputs, owner_id, instrument_id, job_type, run_id)
SELECT 900000000 + chosen.id, 'NOT_STARTED', '0', '{}', owner_id, instrument_id, 'AUTOREDUCTION', runs.id
FROM runs JOIN chosen ON chosen.id = runs.instrument_id WHERE filename = 'fresh/' || instrument_name";
const COUNT: &str = "SELECT instrument_name, 900000000 + chosen.id, count(jobs.id) FROM chosen \
     JOIN runs ON runs.instrument_id = chosen.id JOIN jobs ON jobs.run_id = runs.id \
     GROUP BY chosen.id, instrument_name ORDER BY instrument_name = 'TEST' DESC, chosen.id";

/// The jobs, one of each instrument.
pub(super) struct Jobs(pub(super) Vec<Job>);

/// A job, whose status message counts its updates, and its instrument, whose count of jobs counts
/// its new ones.
pub(super) struct Job {
    pub(super) id: i64,
    pub(super) instrument: String,
    /// The number of the instrument's jobs before.
    before: i64,
    pub(super) updates: Log,
    pub(super) additions: Log,
}

/// The writes of one kind in order: when each returned, and through which server.
#[derive(Default)]
pub(super) struct Log(Mutex<Vec<(Instant, Option<usize>)>>);

/// What an answer lacks.
pub(super) enum Lack {
    Nothing,
    /// A write that had returned on the same server.
    OwnWrite,
    /// A write by another that had returned for this long.
    OtherWrite(Duration),
}

impl Log {
    /// Records that the next write has returned.
    pub(super) fn returned(&self, server: Option<usize>) {
        self.0.lock().push((Instant::now(), server));
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Compares the number of writes that an answer shows with those that had returned when its
    /// request was sent to a server.
    fn check(&self, shown: usize, (server, sent): (usize, Instant)) -> Lack {
        let log = self.0.lock();
        let missing = log.iter().skip(shown);
        let mut missing = missing.take_while(|(returned, _)| *returned < sent);
        let Some((first, by)) = missing.next() else {
            return Lack::Nothing;
        };
        if *by == Some(server) || missing.any(|(_, by)| *by == Some(server)) {
            return Lack::OwnWrite;
        }
        Lack::OtherWrite(sent - *first)
    }
}

impl Jobs {
    pub(super) async fn prepare(client: &Client) -> Outcome<Self> {
        client.batch_execute("DROP TABLE IF EXISTS chosen").await?;
        client.batch_execute(INSTRUMENTS).await?;
        client.batch_execute(ADD).await?;
        let rows = client.query(COUNT, &[]).await?;
        let job = |row: &tokio_postgres::Row| Job {
            instrument: row.get(0),
            id: row.get::<_, i32>(1).into(),
            before: row.get(2),
            updates: Log::default(),
            additions: Log::default(),
        };
        Ok(Self(rows.iter().map(job).collect()))
    }

    /// The number of different lists and counts of each job.
    pub(super) const LISTS: usize = 5;

    /// A list or count that shows a job or its instrument's number of jobs.
    pub(super) fn path(&self, job: usize, list: usize) -> String {
        let instrument = &self.0[job].instrument;
        let of_instrument = json!({"instrument_in": [instrument]}).to_string();
        let filters = encoded(&of_instrument);
        let order = "order_by=id&order_direction=desc";
        match list {
            0 => format!("/instrument/{instrument}/jobs?limit=5&{order}"),
            1 => format!("/instrument/{instrument}/jobs?limit=9&include_run=true&{order}"),
            2 => format!("/jobs?limit={}&{order}", 25 + job % 2),
            3 => format!("/instrument/{instrument}/jobs/count"),
            _ => format!("/jobs/count?filters={filters}"),
        }
    }

    /// Checks an answer to a request that was sent to a server at some time.
    pub(super) fn check(
        &self,
        (job, list): (usize, usize),
        body: &[u8],
        request: (usize, Instant),
    ) -> Outcome<Lack> {
        let job = &self.0[job];
        let body: Value = serde_json::from_slice(body)?;
        if let Some(count) = body["count"].as_i64() {
            let shown = usize::try_from(count - job.before)?;
            return Ok(job.additions.check(shown, request));
        }
        let jobs = body.as_array().ok_or("no list")?;
        let shown = jobs.iter().find(|listed| listed["id"] == job.id);
        let message = shown.and_then(|job| job["status_message"].as_str());
        let shown = message.ok_or_else(|| format!("list {list} lacks its job: {body}"))?;
        Ok(job.updates.check(shown.parse()?, request))
    }
}
