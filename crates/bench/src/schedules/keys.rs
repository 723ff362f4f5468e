//! The keys of a schedule: their paths, Valkey keys, payloads and columns.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::Method;
use rand::RngExt as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

const INSTRUMENTS: [&str; 3] = ["MARI", "LET", "TOSCA"];
/// How long the keys of one instrument stay hot before those of the next one do. In between,
/// entries live long enough to be refreshed early and to expire.
const HOT_TIME: Duration = Duration::from_secs(5);
/// The longest TTL of a key.
pub(super) const LONGEST_TTL: Duration = Duration::from_secs(3);

/// What a key caches of an instrument.
#[derive(Clone, Copy, Debug)]
pub(super) enum Field {
    Specification,
    Script,
    LatestRun,
    /// The list of its jobs, of which one is changed.
    Jobs,
}

const FIELDS: [Field; 4] = [
    Field::Specification,
    Field::Script,
    Field::LatestRun,
    Field::Jobs,
];
/// The id of the job of the first instrument that is changed; above all others.
pub(super) const FIRST_JOB: usize = 900_001;

impl Field {
    /// The column of instruments or jobs; also the prefix of the key's name in the commit log.
    pub(super) fn column(self) -> &'static str {
        match self {
            Self::Specification => "specification",
            Self::Script => "live_data_script",
            Self::LatestRun => "latest_run",
            Self::Jobs => "status_message",
        }
    }

    fn ttl(self) -> Duration {
        Duration::from_secs(match self {
            Self::Specification => LONGEST_TTL.as_secs(),
            Self::Script | Self::LatestRun | Self::Jobs => 2,
        })
    }
}

/// The replica settings for the TTLs of the keys.
pub(super) fn ttl_settings() -> impl Iterator<Item = (String, String)> {
    FIELDS.iter().map(|field| {
        let name = match field {
            Field::Specification => "INSTRUMENT_SPEC_CACHE_TTL_SECONDS",
            Field::Script => "LIVE_DATA_SCRIPT_CACHE_TTL_SECONDS",
            Field::LatestRun => "INSTRUMENT_LATEST_RUN_CACHE_TTL_SECONDS",
            Field::Jobs => "JOB_LIST_CACHE_TTL_SECONDS",
        };
        (name.to_owned(), field.ttl().as_secs().to_string())
    })
}

/// A key.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) instrument: &'static str,
    pub(super) field: Field,
    /// The next version to write.
    next: AtomicU64,
}

impl Key {
    /// Returns a new version, unique for the key.
    pub(super) fn next_version(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn name(&self) -> String {
        format!("{}/{}", self.field.column(), self.instrument)
    }

    pub(super) fn ttl(&self) -> Duration {
        self.field.ttl()
    }

    /// The job that writes change.
    pub(super) fn job(&self) -> usize {
        let mut instruments = INSTRUMENTS.iter();
        FIRST_JOB
            + instruments
                .position(|name| *name == self.instrument)
                .unwrap_or_default()
    }

    /// The method and path of a write on a replica.
    pub(super) fn write_to(&self) -> (Method, String) {
        match self.field {
            Field::Jobs => (Method::PATCH, format!("/job/{}", self.job())),
            Field::Specification | Field::Script | Field::LatestRun => (Method::PUT, self.path()),
        }
    }

    /// The path of a read on a replica.
    pub(super) fn path(&self) -> String {
        let instrument = self.instrument;
        match self.field {
            Field::Specification => format!("/instrument/{instrument}/specification"),
            Field::Script => format!("/live-data/{instrument}/script"),
            Field::LatestRun => format!("/instrument/{instrument}/latest-run"),
            Field::Jobs => {
                format!("/instrument/{instrument}/jobs?limit=1&order_by=id&order_direction=desc")
            }
        }
    }

    /// The key in Valkey; `None` where the legacy client does not know it.
    pub(super) fn valkey_key(&self) -> Option<String> {
        let instrument = self.instrument;
        match self.field {
            Field::Specification => Some(format!("fia_api:instrument:spec:{instrument}")),
            Field::Script => Some(format!("fia_api:live_data:script:{instrument}")),
            Field::LatestRun => Some(format!("fia_api:instrument:latest_run:{instrument}")),
            Field::Jobs => None,
        }
    }

    /// The body of a write.
    pub(super) fn body(&self, version: u64) -> String {
        match self.field {
            Field::Specification => json!({ "version": version }),
            Field::Script => json!({"value": version.to_string()}),
            Field::LatestRun => json!({"latest_run": version.to_string()}),
            Field::Jobs => json!({"status_message": version.to_string()}),
        }
        .to_string()
    }

    /// The version in the response body of a GET.
    pub(super) fn version(&self, body: &[u8]) -> Option<u64> {
        let body: Value = serde_json::from_slice(body).ok()?;
        match self.field {
            Field::Specification => body.get("version")?.as_u64(),
            Field::Script => body.as_str()?.parse().ok(),
            Field::LatestRun => body.get("latest_run")?.as_str()?.parse().ok(),
            Field::Jobs => body.get(0)?.get("status_message")?.as_str()?.parse().ok(),
        }
    }

    /// The payload in Valkey, as the legacy client writes it.
    pub(super) fn payload(&self, version: &str) -> String {
        match self.field {
            Field::Specification => format!(r#"{{"specification": {{"version": {version}}}}}"#),
            Field::Script => format!(r#"{{"script": "{version}"}}"#),
            Field::LatestRun => format!(r#"{{"latest_run": "{version}"}}"#),
            Field::Jobs => format!(r#"[{{"status_message": "{version}"}}]"#),
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

    /// A key chosen uniformly.
    pub(super) fn any(&self, rng: &mut StdRng) -> (usize, &Key) {
        self.at(rng.random_range(0..self.0.len()))
    }

    /// A key of the instrument that is hot at this time; rarely any other.
    pub(super) fn hot(&self, now: Duration, rng: &mut StdRng) -> (usize, &Key) {
        if rng.random_bool(0.05) {
            return self.any(rng);
        }
        let round = now.as_millis() / HOT_TIME.as_millis();
        let instrument = usize::try_from(round).unwrap_or(0) % INSTRUMENTS.len();
        self.at(instrument * FIELDS.len() + rng.random_range(0..FIELDS.len()))
    }

    fn at(&self, index: usize) -> (usize, &Key) {
        (index, &self.0[index])
    }
}
