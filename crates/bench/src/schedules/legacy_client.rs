//! A legacy client on the same keys: on a cache miss it stores what it read from the database,
//! regardless of writes meanwhile; after the commit of a write it invalidates the key.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use redis::Value;
use tokio::time::sleep;
use tokio_postgres::Client;

use super::database::failed;
use super::keys::{FIRST_JOB, Field, Key};
use super::valkey::Commands;
use super::{DATABASE, Run};
use crate::checker::{Fill, History, Write, Writer};
use devstack::{Postgres, Result, Valkey};

/// The maximum pause between two reads.
const READER_PAUSE: Duration = Duration::from_millis(60);
/// The maximum pause between two writes.
const WRITER_PAUSE: Duration = Duration::from_millis(1000);
/// The maximum random delay between the steps of a read or write.
const JITTER: Duration = Duration::from_millis(60);
/// The TTL in seconds of injected stale fills: longer than every permitted lag.
const INJECTED_TTL: u64 = 30;

/// One legacy client.
pub(super) struct LegacyClient {
    run: Arc<Run>,
    rng: StdRng,
    database: Client,
    valkey: Commands,
    /// The first version that was stored under each key.
    stored: HashMap<usize, String>,
    history: History,
}

impl LegacyClient {
    pub(super) async fn new(
        run: &Arc<Run>,
        task: u64,
        postgres: &Postgres,
        valkey: &Valkey,
    ) -> Result<Self> {
        Ok(Self {
            run: Arc::clone(run),
            rng: run.rng(task),
            database: postgres.connect(DATABASE).await?,
            valkey: Commands::new(valkey.addr())?,
            stored: HashMap::new(),
            history: History::default(),
        })
    }

    /// Reads during the busy phase: GET, on a miss SELECT and SETEX.
    pub(super) async fn read(mut self) -> Result<History> {
        let run = Arc::clone(&self.run);
        while run.is_busy() {
            let (index, key) = run.keys.any(&mut self.rng);
            if let Some(at) = key.valkey_key()
                && !self.finds(&at).await
            {
                self.fill(index, key, at).await?;
            }
            sleep(READER_PAUSE.mul_f64(self.rng.random())).await;
        }
        Ok(self.history)
    }

    /// Whether there is a cache entry other than `null`.
    async fn finds(&mut self, at: &str) -> bool {
        let found = self.valkey.run(&["GET", at]).await;
        matches!(found, Ok(Value::BulkString(bytes)) if !bytes.starts_with(b"null"))
    }

    async fn fill(&mut self, index: usize, key: &Key, at: String) -> Result<()> {
        let from = self.run.now();
        let sql = match key.field {
            Field::Specification => "specification->>'version'",
            Field::Script | Field::LatestRun | Field::Jobs => key.field.column(),
        };
        let sql = format!("SELECT {sql} FROM instruments WHERE instrument_name = $1");
        let row = self.database.query_one(&sql, &[&key.instrument]).await;
        let version: String = row.map_err(failed("reading as the legacy client"))?.get(0);
        self.jitter().await;
        let payload = key.payload(&version);
        if self.run.plan.inject_stale_fill
            && let Some(old) = self.stored.get(&index)
        {
            let (old, ttl) = (key.payload(old), INJECTED_TTL.to_string());
            // Other fills inject enough if this one fails.
            let _ = self.valkey.run(&["SETEX", &at, &ttl, &old]).await;
            return Ok(());
        }
        let ttl = key.ttl().as_secs().to_string();
        // Recorded even without a reply, as it may have been executed.
        let _ = self.valkey.run(&["SETEX", &at, &ttl, &payload]).await;
        self.history.fills.push(Fill {
            key: index,
            version: version.parse().unwrap_or(u64::MAX),
            span: self.run.since(from),
        });
        self.stored.entry(index).or_insert(version);
        Ok(())
    }

    /// Writes during the busy phase: UPDATE, COMMIT, then `SETEX key 1 null`.
    pub(super) async fn write(mut self) -> Result<History> {
        let run = Arc::clone(&self.run);
        while run.is_busy() {
            let (index, key) = run.keys.hot(run.now(), &mut self.rng);
            let version = key.next_version();
            let from = run.now();
            self.commit(key, version).await?;
            self.jitter().await;
            let invalidated = match key.valkey_key() {
                Some(at) => {
                    let reply = self.valkey.run(&["SETEX", &at, "1", "null"]).await;
                    matches!(reply, Ok(Value::Okay))
                }
                None => false,
            };
            self.history.writes.push(Write {
                key: index,
                version,
                by: Writer::LegacyClient,
                span: run.since(from),
                outcome: Ok(()),
                invalidated,
            });
            sleep(WRITER_PAUSE.mul_f64(self.rng.random())).await;
        }
        Ok(self.history)
    }

    async fn commit(&mut self, key: &Key, version: u64) -> Result<()> {
        let value = match key.field {
            Field::Specification => "jsonb_build_object('version', $1::text::bigint)",
            Field::Script | Field::LatestRun | Field::Jobs => "$1::text",
        };
        let column = key.field.column();
        let sql = match key.field {
            Field::Jobs => format!(
                "UPDATE jobs SET {column} = {value} FROM instruments \
                 WHERE jobs.instrument_id = instruments.id AND instrument_name = $2 AND jobs.id >= {FIRST_JOB}"
            ),
            _ => format!("UPDATE instruments SET {column} = {value} WHERE instrument_name = $2"),
        };
        let begun = self.database.batch_execute("BEGIN").await;
        begun.map_err(failed("beginning as the legacy client"))?;
        let version = version.to_string();
        let changed = self
            .database
            .execute(&sql, &[&version, &key.instrument])
            .await;
        changed.map_err(failed("writing as the legacy client"))?;
        self.jitter().await;
        let ended = self.database.batch_execute("COMMIT").await;
        ended.map_err(failed("committing as the legacy client"))
    }

    /// Sleeps for a random time, in half of the cases.
    async fn jitter(&mut self) {
        if self.rng.random() {
            sleep(JITTER.mul_f64(self.rng.random())).await;
        }
    }
}
