//! Random requests, and the reference semantics of filters, orderings and scopes.

use std::cmp::Ordering;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::harness::Replica;
use crate::jobs::filtered;
use crate::jobs::model::rows::{Job, Run, timestamp};
use crate::jobs::model::{INSTRUMENTS, STATES};

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
pub(super) struct Query {
    instrument: Option<usize>,
    as_user: bool,
    conditions: Vec<Condition>,
    order: &'static str,
    ascending: bool,
    limit: usize,
    offset: usize,
}

pub(super) fn query() -> impl Strategy<Value = Query> {
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
pub(super) const THEIRS: [i64; 3] = [5, 7, 1 << 40];

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

    pub(super) fn expected(&self, jobs: &[Job]) -> (Vec<i64>, usize) {
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

    pub(super) async fn actual(&self, replica: &Replica) -> (Vec<i64>, usize) {
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
