//! Filters, orderings and scopes over random rows, compared with a reference model.

use std::cmp::Ordering;

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Map, Value, json};

use crate::harness::{Database, Replica};
use crate::jobs::{JobsFixture, filtered};

const INSTRUMENTS: [&str; 4] = ["MARI", "mari", "ÜBER", "LOQ"];
const EXPERIMENTS: [Option<i32>; 6] = [
    None,
    Some(0),
    Some(5),
    Some(7),
    Some(i32::MAX),
    Some(i32::MIN),
];
const STATES: [&str; 4] = ["SUCCESSFUL", "UNSUCCESSFUL", "ERROR", "NOT_STARTED"];
/// Chronological, which is also lexicographic.
const TIMESTAMPS: [&str; 6] = [
    "0001-01-01T00:00:00",
    "1999-12-31T23:59:59.999999",
    "2020-01-01T00:00:00",
    "2020-01-01T00:00:00.000001",
    "2024-02-29T12:00:00",
    "9999-12-31T23:59:59.999999",
];
const ORDERS: [&str; 10] = [
    "start",
    "end",
    "state",
    "id",
    "run_start",
    "run_end",
    "outputs",
    "experiment_number",
    "experiment_title",
    "filename",
];

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
struct Job {
    id: i64,
    start: Option<&'static str>,
    end: Option<&'static str>,
    state: usize,
    outputs: Option<String>,
    run: Option<Run>,
}

#[derive(Clone, Debug)]
struct Run {
    filename: String,
    title: String,
    start: &'static str,
    end: &'static str,
    instrument: usize,
    /// An index into `EXPERIMENTS`; one past the end is user 1234.
    owner: usize,
}

impl Run {
    fn experiment(&self) -> Option<i32> {
        EXPERIMENTS.get(self.owner).copied().flatten()
    }

    fn user(&self) -> Option<i32> {
        (self.owner == EXPERIMENTS.len()).then_some(1234)
    }
}

fn timestamp() -> impl Strategy<Value = &'static str> {
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

fn job() -> impl Strategy<Value = Job> {
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

/// A filter's name and value.
type Condition = (&'static str, Value);

fn condition() -> impl Strategy<Value = Condition> {
    let numbers = prop::sample::select(vec![
        json!(0),
        json!(5),
        json!(4.5),
        json!("7"),
        json!(i32::MAX),
        json!(-3e300),
        json!(null),
    ]);
    let number = prop::sample::select(vec![
        json!(0),
        json!(5),
        json!(6.5),
        json!(-0.5),
        json!("7"),
        json!(99_999_999_999_i64),
        json!(-1e300),
    ]);
    let names = prop::sample::subsequence([&INSTRUMENTS[..], &["NOPE"]].concat(), 0..4);
    let states = prop::sample::subsequence(STATES.to_vec(), 0..4);
    let times = prop::sample::select(vec![
        "job_start_before",
        "job_start_after",
        "job_end_before",
        "job_end_after",
        "run_start_before",
        "run_start_after",
        "run_end_before",
        "run_end_after",
    ]);
    prop_oneof![
        names.prop_map(|names| ("instrument_in", json!(names))),
        states.prop_map(|states| ("job_state_in", json!(states))),
        prop::collection::vec(numbers, 0..3)
            .prop_map(|numbers| ("experiment_number_in", json!(numbers))),
        number
            .clone()
            .prop_map(|number| ("experiment_number_before", number)),
        number.prop_map(|number| ("experiment_number_after", number)),
        search_text().prop_map(|text| ("title", json!(text))),
        search_text().prop_map(|text| ("filename", json!(text))),
        (times, timestamp(), any::<bool>()).prop_map(|(key, timestamp, zone)| {
            (
                key,
                json!(format!("{timestamp}{}", if zone { "+05:00" } else { "" })),
            )
        }),
    ]
}

fn search_text() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "", "a", "B", "%", "_", "\\", "ÜN", "ü", "☃", "q'", "zzz", "7",
    ])
    .prop_map(str::to_owned)
}

fn matches(job: &Job, run: &Run, (key, value): &Condition) -> bool {
    let number = |value: &Value| match value {
        Value::String(text) => text.parse().unwrap(),
        other => other.as_f64().unwrap_or(f64::NAN),
    };
    let experiment = run.experiment().map(f64::from);
    let items = || value.as_array().unwrap().iter();
    let holds = |text: &str| {
        text.to_lowercase()
            .contains(&value.as_str().unwrap().to_lowercase())
    };
    match *key {
        "instrument_in" => items().any(|name| name == INSTRUMENTS[run.instrument]),
        "job_state_in" => items().any(|state| state == STATES[job.state]),
        "experiment_number_in" => experiment.is_some_and(|ours| items().any(|n| number(n) == ours)),
        "experiment_number_before" => experiment.is_some_and(|ours| ours <= number(value)),
        "experiment_number_after" => experiment.is_some_and(|ours| ours >= number(value)),
        "title" => holds(&run.title),
        "filename" => holds(&run.filename),
        key => {
            let (field, side) = key.rsplit_once('_').unwrap();
            let ours = match field {
                "job_start" => job.start,
                "job_end" => job.end,
                "run_start" => Some(run.start),
                _ => Some(run.end),
            };
            let given = value.as_str().unwrap().trim_end_matches("+05:00");
            ours.is_some_and(|ours| {
                if side == "before" {
                    ours < given
                } else {
                    ours > given
                }
            })
        }
    }
}

/// Compares two jobs by an ordering. Nulls sort last, unlike in `Option`'s own order.
fn compare(a: &Job, b: &Job, order: &str) -> Ordering {
    fn last<T: Ord>(a: Option<T>, b: Option<T>) -> Ordering {
        match (a, b) {
            (None, None) => Ordering::Equal,
            (None, _) => Ordering::Greater,
            (_, None) => Ordering::Less,
            (a, b) => a.cmp(&b),
        }
    }
    let (of_a, of_b) = (a.run.as_ref().unwrap(), b.run.as_ref().unwrap());
    let by_key = match order {
        "start" => last(a.start, b.start),
        "end" => last(a.end, b.end),
        "state" => a.state.cmp(&b.state),
        "outputs" => last(a.outputs.as_ref(), b.outputs.as_ref()),
        "run_start" => of_a.start.cmp(of_b.start),
        "run_end" => of_a.end.cmp(of_b.end),
        "experiment_number" => last(of_a.experiment(), of_b.experiment()),
        "experiment_title" => of_a.title.cmp(&of_b.title),
        "filename" => of_a.filename.cmp(&of_b.filename),
        _ => Ordering::Equal,
    };
    by_key.then(a.id.cmp(&b.id))
}

#[derive(Clone, Debug)]
struct Query {
    instrument: Option<usize>,
    as_user: bool,
    conditions: Vec<Condition>,
    order: &'static str,
    ascending: bool,
    limit: usize,
    offset: usize,
}

fn query() -> impl Strategy<Value = Query> {
    let conditions = prop::collection::vec(condition(), 0..3);
    let order = prop::sample::select(&ORDERS[..]);
    // Paths are upper-cased, so `mari` cannot be requested.
    let instrument = prop::option::weighted(0.3, prop::sample::select(vec![0_usize, 2, 3]));
    (
        instrument,
        any::<bool>(),
        conditions,
        order,
        any::<bool>(),
        0..40_usize,
        0..30_usize,
    )
        .prop_map(
            |(instrument, as_user, conditions, order, ascending, limit, offset)| Query {
                instrument,
                as_user,
                conditions,
                order,
                ascending,
                limit,
                offset,
            },
        )
}

/// The experiments of user 1234.
const THEIRS: [i64; 3] = [5, 7, 1 << 40];

impl Query {
    /// The conditions as a JSON object: the last of a name wins.
    fn filters(&self) -> Value {
        let fields: Map<String, Value> = self
            .conditions
            .iter()
            .map(|(key, value)| ((*key).to_owned(), value.clone()))
            .collect();
        Value::Object(fields)
    }

    fn selects(&self, job: &Job) -> bool {
        let Some(run) = &job.run else { return false };
        let last = |key: &str| {
            self.conditions
                .iter()
                .rfind(|(other, _)| *other == key)
                .unwrap()
        };
        self.instrument
            .is_none_or(|instrument| run.instrument == instrument)
            && self
                .conditions
                .iter()
                .all(|(key, _)| matches(job, run, last(key)))
    }

    fn is_visible(&self, job: &Job) -> bool {
        let run = job.run.as_ref().unwrap();
        let theirs = run
            .experiment()
            .is_some_and(|n| THEIRS.contains(&i64::from(n)));
        !self.as_user || theirs || (self.instrument.is_some() && run.user() == Some(1234))
    }

    fn expected(&self, jobs: &[Job]) -> (Vec<i64>, usize) {
        let mut found: Vec<&Job> = jobs.iter().filter(|job| self.selects(job)).collect();
        let count = found.len();
        found.retain(|job| self.is_visible(job));
        found.sort_by(|a, b| compare(a, b, self.order));
        if !self.ascending {
            found.reverse();
        }
        let limit = if self.limit == 0 {
            usize::MAX
        } else {
            self.limit
        };
        let page = found.into_iter().skip(self.offset).take(limit);
        (page.map(|job| job.id).collect(), count)
    }

    async fn actual(&self, replica: &Replica) -> (Vec<i64>, usize) {
        let base = self.instrument.map_or_else(String::new, |i| {
            format!("/instrument/{}", INSTRUMENTS[i].replace('Ü', "%C3%9C"))
        });
        let list = format!(
            "{base}/jobs?order_by={}&order_direction={}&limit={}&offset={}&as_user={}",
            self.order,
            if self.ascending { "asc" } else { "desc" },
            self.limit,
            self.offset,
            self.as_user,
        );
        let response = replica
            .get(&filtered(&list, &self.filters()), "staff")
            .await;
        assert_eq!(response.status, 200, "{self:?}: {}", response.text());
        let ids = response
            .json()
            .as_array()
            .unwrap()
            .iter()
            .map(|job| job["id"].as_i64().unwrap())
            .collect();
        let count = replica
            .get(
                &filtered(&format!("{base}/jobs/count"), &self.filters()),
                "none",
            )
            .await;
        (
            ids,
            usize::try_from(count.json()["count"].as_u64().unwrap()).unwrap(),
        )
    }
}

async fn store(database: &Database, jobs: &mut [Job]) {
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

#[tokio::test]
async fn lists_and_counts_match_the_reference_model() {
    let fixture = JobsFixture::new().await;
    fixture.upstreams.set_experiments(1234, &THEIRS);
    let replica = fixture.replica();
    let mut random = TestRunner::deterministic();
    let mut draw_jobs = || {
        prop::collection::vec(job(), 60)
            .new_tree(&mut random)
            .unwrap()
            .current()
    };
    let mut sets = [draw_jobs(), draw_jobs()];
    for (i, jobs) in sets.iter_mut().enumerate() {
        store(&fixture.database, jobs).await;
        if i == 1 {
            let db = fia_api::store::Db::new(
                &crate::harness::config(&[&fixture.database.vars()]).database,
            )
            .unwrap();
            fia_api::store::indexes::apply(&db).await.unwrap();
        }
        for _ in 0..250 {
            let query = query().new_tree(&mut random).unwrap().current();
            assert_eq!(
                query.actual(&replica).await,
                query.expected(jobs),
                "{query:?}"
            );
        }
    }
}
