//! The protocol kit of `protocol/`: what any implementation must do, as data. Run by this crate,
//! by plain cache-aside, which must lose the races that the data says, and by a second
//! implementation in Python.

mod fenced;
mod plain;
mod python;
mod vectors;

use std::collections::HashMap;
use std::path::PathBuf;

use devstack::Valkey;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::support::{Database, Raw};
use fenced::Fenced;
use plain::Plain;

/// A forced interleaving. See `protocol/README.md` for the steps.
#[derive(Clone, Debug, Deserialize)]
struct Race {
    id: String,
    report: Option<String>,
    needs: Vec<String>,
    steps: Vec<String>,
    plain: Result,
    fenced: Result,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Result {
    /// A read of some actor returns an older version than the database has.
    Stale,
    /// No read does.
    Current,
}

impl Race {
    fn needs(&self, part: &str) -> bool {
        self.needs.iter().any(|needed| needed == part)
    }

    /// Each step: its actor, and what it does.
    fn steps(&self) -> impl Iterator<Item = (&str, &str)> {
        let steps = self.steps.iter();
        steps.map(|step| step.split_once(' ').expect("a step is an actor and a verb"))
    }

    fn actors(&self) -> Vec<&str> {
        let mut actors: Vec<&str> = self.steps().map(|(actor, _)| actor).collect();
        actors.sort_unstable();
        actors.dedup();
        actors
    }

    /// Whether this actor's write stores its value.
    fn publishes(&self, actor: &str) -> bool {
        self.takes(actor, &["publish", "put"])
    }

    /// Whether this actor changes the row.
    fn changes(&self, actor: &str) -> bool {
        self.takes(actor, &["commit", "write", "put", "change"])
    }

    fn takes(&self, actor: &str, verbs: &[&str]) -> bool {
        self.steps()
            .any(|(by, verb)| by == actor && verbs.contains(&verb))
    }
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("protocol")
}

fn read<T: DeserializeOwned>(file: &str) -> T {
    let text = std::fs::read_to_string(directory().join(file)).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn races() -> Vec<Race> {
    #[derive(Deserialize)]
    struct Races {
        races: Vec<Race>,
    }
    read::<Races>("races.json").races
}

/// Runs a race of each with an empty Valkey, and compares the results with the expected ones.
async fn assert_results(run: impl AsyncFn(&Race, &Valkey, Database) -> Vec<u64>, plain: bool) {
    let valkey = Valkey::start().await.unwrap();
    let raw = Raw::connect(&valkey).await;
    let mut results = HashMap::new();
    for race in races() {
        raw.run::<()>(&[b"FLUSHALL"]).await;
        let database = Database::default();
        let read = run(&race, &valkey, database.clone()).await;
        let is_stale = read.iter().any(|version| *version != database.version());
        let result = if is_stale {
            Result::Stale
        } else {
            Result::Current
        };
        let expected = if plain { race.plain } else { race.fenced };
        if result != expected {
            results.insert(race.id, (result, read));
        }
    }
    assert!(
        results.is_empty(),
        "other results than expected: {results:?}"
    );
}

#[limited::test]
fn every_public_report_has_a_race_of_at_most_six_steps() {
    let races = races();
    for report in [
        "OpenMetadata/pull/28902",
        "nearcore/pull/14987",
        "newchat/issues/250",
        "newchat/issues/251",
        "newchat/pull/188",
        "spiceai/issues/12838",
        "lettuce/issues/3481",
        "FusionCache/issues/535",
        "FusionCache/issues/628",
    ] {
        let of_report = |race: &&Race| {
            race.report
                .as_ref()
                .is_some_and(|url| url.ends_with(report))
        };
        let race = races.iter().find(of_report).expect(report);
        assert!(race.steps.len() <= 6, "{report}");
        assert_eq!((race.plain, race.fenced), (Result::Stale, Result::Current));
    }
}

#[limited::test]
async fn plain_cache_aside_loses_the_races() {
    let run = async |race: &Race, valkey: &Valkey, database: Database| {
        Plain::new(race, valkey, database).await.run(race).await
    };
    assert_results(run, true).await;
}

#[limited::test]
async fn this_crate_loses_none() {
    let run = async |race: &Race, valkey: &Valkey, database: Database| {
        Fenced::new(race, valkey, database).await.run(race).await
    };
    assert_results(run, false).await;
}
