//! The keys that a schedule reads and writes, as every party names them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

const INSTRUMENTS: [&str; 3] = ["MARI", "LET", "TOSCA"];
/// How long the keys of one instrument are written often, before the next one's are: in the
/// time between, entries live long enough to be refreshed early and to expire.
const TURN: Duration = Duration::from_secs(5);
/// The longest time to live of a key.
pub(super) const LONGEST_TTL: Duration = Duration::from_secs(3);

/// What of an instrument a key is about.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    Specification,
    Script,
    LatestRun,
}

const FIELDS: [Field; 3] = [Field::Specification, Field::Script, Field::LatestRun];

impl Field {
    /// The column; the database's notes of what was committed name it, too.
    pub(super) fn column(self) -> &'static str {
        match self {
            Self::Specification => "specification",
            Self::Script => "live_data_script",
            Self::LatestRun => "latest_run",
        }
    }

    fn ttl(self) -> Duration {
        Duration::from_secs(match self {
            Self::Specification => LONGEST_TTL.as_secs(),
            Self::Script | Self::LatestRun => 2,
        })
    }
}

/// The replicas' settings that give the keys their times to live.
pub(super) fn times_to_live() -> impl Iterator<Item = (String, String)> {
    FIELDS.iter().map(|field| {
        let name = match field {
            Field::Specification => "INSTRUMENT_SPEC_CACHE_TTL_SECONDS",
            Field::Script => "LIVE_DATA_SCRIPT_CACHE_TTL_SECONDS",
            Field::LatestRun => "INSTRUMENT_LATEST_RUN_CACHE_TTL_SECONDS",
        };
        (name.to_owned(), field.ttl().as_secs().to_string())
    })
}

/// One key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) instrument: &'static str,
    pub(super) field: Field,
    /// The next version to be written.
    next: AtomicU64,
}

impl Key {
    /// A version that nobody else writes.
    pub(super) fn next_version(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.field.column(), self.instrument)
    }

    pub(super) fn ttl(&self) -> Duration {
        self.field.ttl()
    }

    /// Where replicas have it.
    pub(super) fn path(&self) -> String {
        let instrument = self.instrument;
        match self.field {
            Field::Specification => format!("/instrument/{instrument}/specification"),
            Field::Script => format!("/live-data/{instrument}/script"),
            Field::LatestRun => format!("/instrument/{instrument}/latest-run"),
        }
    }

    /// Where Valkey has it.
    pub(super) fn cached_at(&self) -> String {
        let instrument = self.instrument;
        match self.field {
            Field::Specification => format!("fia_api:instrument:spec:{instrument}"),
            Field::Script => format!("fia_api:live_data:script:{instrument}"),
            Field::LatestRun => format!("fia_api:instrument:latest_run:{instrument}"),
        }
    }

    /// The body of a PUT.
    pub(super) fn put(&self, version: u64) -> String {
        match self.field {
            Field::Specification => json!({ "version": version }),
            Field::Script => json!({"value": version.to_string()}),
            Field::LatestRun => json!({"latest_run": version.to_string()}),
        }
        .to_string()
    }

    /// The version in the body of an answer to a GET.
    pub(super) fn version(&self, body: &[u8]) -> Option<u64> {
        let body: Value = serde_json::from_slice(body).ok()?;
        match self.field {
            Field::Specification => body.get("version")?.as_u64(),
            Field::Script => body.as_str()?.parse().ok(),
            Field::LatestRun => body.get("latest_run")?.as_str()?.parse().ok(),
        }
    }

    /// The entry in Valkey, in the bytes of the older program.
    pub(super) fn payload(&self, version: &str) -> String {
        match self.field {
            Field::Specification => format!(r#"{{"specification": {{"version": {version}}}}}"#),
            Field::Script => format!(r#"{{"script": "{version}"}}"#),
            Field::LatestRun => format!(r#"{{"latest_run": "{version}"}}"#),
        }
    }
}

/// All keys.
#[derive(Debug)]
pub(super) struct Keys(Vec<Key>);

impl Keys {
    pub(super) fn new() -> Self {
        let keys = INSTRUMENTS.iter().flat_map(|instrument| {
            FIELDS.map(|field| Key {
                instrument,
                field,
                next: AtomicU64::new(1),
            })
        });
        Self(keys.collect())
    }

    pub(super) fn all(&self) -> &[Key] {
        &self.0
    }

    /// Any of them, to be read.
    pub(super) fn any(&self, chance: &mut StdRng) -> (usize, &Key) {
        self.at(chance.random_range(0..self.0.len()))
    }

    /// One to be written: mostly of the instrument whose turn it is.
    pub(super) fn in_turn(&self, now: Duration, chance: &mut StdRng) -> (usize, &Key) {
        if chance.random_bool(0.05) {
            return self.any(chance);
        }
        let turn = now.as_millis() / TURN.as_millis();
        let instrument = usize::try_from(turn).unwrap_or(0) % INSTRUMENTS.len();
        self.at(instrument * FIELDS.len() + chance.random_range(0..FIELDS.len()))
    }

    fn at(&self, index: usize) -> (usize, &Key) {
        (index, &self.0[index])
    }
}
