//! The older program on the same keys: what it found missing it reads from the database and
//! stores, whatever has happened meanwhile; what it writes it clears after the commit.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::sleep;
use tokio_postgres::Client;

use super::database::failed;
use super::keys::{Field, Key};
use super::valkey::Commands;
use super::{DATABASE, Run};
use crate::checker::{Fill, History, Write, Writer};
use devstack::{Postgres, Result, Valkey};

const READER_REST: Duration = Duration::from_millis(60);
const WRITER_REST: Duration = Duration::from_millis(1000);
/// How long it may take, at random, from the database's answer to the next step.
const SLOWNESS: Duration = Duration::from_millis(60);
/// What the oracle does not hear of lives longer than anything else.
const SPOILED_TTL: u64 = 30;

/// One process of the older program.
pub(super) struct Peer {
    run: Arc<Run>,
    chance: StdRng,
    database: Client,
    valkey: Commands,
    /// What was stored last under each key.
    stored: HashMap<usize, String>,
    history: History,
}

impl Peer {
    pub(super) async fn new(
        run: &Arc<Run>,
        task: u64,
        postgres: &Postgres,
        valkey: &Valkey,
    ) -> Result<Self> {
        Ok(Self {
            run: Arc::clone(run),
            chance: run.chance(task),
            database: postgres.connect(DATABASE).await?,
            valkey: Commands::new(valkey.addr()),
            stored: HashMap::new(),
            history: History::default(),
        })
    }

    /// GET; on a miss SELECT and SETEX.
    pub(super) async fn read(mut self) -> Result<History> {
        let run = Arc::clone(&self.run);
        while run.is_busy() {
            let (index, key) = run.keys.any(&mut self.chance);
            if !self.finds(key).await {
                self.fill(index, key).await?;
            }
            sleep(READER_REST.mul_f64(self.chance.random())).await;
        }
        Ok(self.history)
    }

    /// Whether there is an entry: JSON that is not `null`.
    async fn finds(&mut self, key: &Key) -> bool {
        let found = self.valkey.run(&["GET", &key.cached_at()]).await;
        let found = found.ok().flatten();
        found.is_some_and(|bytes| !bytes.starts_with(b"null"))
    }

    async fn fill(&mut self, index: usize, key: &Key) -> Result<()> {
        let from = self.run.now();
        let sql = match key.field {
            Field::Specification => "specification->>'version'",
            Field::Script | Field::LatestRun => key.field.column(),
        };
        let sql = format!("SELECT {sql} FROM instruments WHERE instrument_name = $1");
        let row = self.database.query_one(&sql, &[&key.instrument]).await;
        let version: String = row.map_err(failed("reading as the peer"))?.get(0);
        self.dawdle().await;
        let (at, payload) = (key.cached_at(), key.payload(&version));
        if self.run.plan.spoiled
            && let Some(old) = self.stored.get(&index)
        {
            let (old, ttl) = (key.payload(old), SPOILED_TTL.to_string());
            // A failure is as good as no spoiling.
            let _ = self.valkey.run(&["SETEX", &at, &ttl, &old]).await;
            return Ok(());
        }
        let ttl = key.ttl().as_secs().to_string();
        // Without an answer it may have been executed all the same.
        let _ = self.valkey.run(&["SETEX", &at, &ttl, &payload]).await;
        self.history.fills.push(Fill {
            key: index,
            version: version.parse().unwrap_or(u64::MAX),
            span: self.run.since(from),
        });
        self.stored.entry(index).or_insert(version);
        Ok(())
    }

    /// UPDATE, COMMIT, then `SETEX key 1 null`.
    pub(super) async fn write(mut self) -> Result<History> {
        let run = Arc::clone(&self.run);
        while run.is_busy() {
            let (index, key) = run.keys.in_turn(run.now(), &mut self.chance);
            let version = key.next_version();
            let from = run.now();
            self.commit(key, version).await?;
            self.dawdle().await;
            let cleared = self
                .valkey
                .run(&["SETEX", &key.cached_at(), "1", "null"])
                .await;
            self.history.writes.push(Write {
                key: index,
                version,
                by: Writer::Peer,
                span: run.since(from),
                outcome: Ok(()),
                cleared: matches!(cleared, Ok(Some(_))),
            });
            sleep(WRITER_REST.mul_f64(self.chance.random())).await;
        }
        Ok(self.history)
    }

    async fn commit(&mut self, key: &Key, version: u64) -> Result<()> {
        let value = match key.field {
            Field::Specification => "jsonb_build_object('version', $1::text::bigint)",
            Field::Script | Field::LatestRun => "$1::text",
        };
        let column = key.field.column();
        let sql = format!("UPDATE instruments SET {column} = {value} WHERE instrument_name = $2");
        let begun = self.database.batch_execute("BEGIN").await;
        begun.map_err(failed("beginning as the peer"))?;
        let version = version.to_string();
        let changed = self
            .database
            .execute(&sql, &[&version, &key.instrument])
            .await;
        changed.map_err(failed("writing as the peer"))?;
        self.dawdle().await;
        let ended = self.database.batch_execute("COMMIT").await;
        ended.map_err(failed("committing as the peer"))
    }

    /// Half of the times it is quick.
    async fn dawdle(&mut self) {
        if self.chance.random() {
            sleep(SLOWNESS.mul_f64(self.chance.random())).await;
        }
    }
}
