//! Readers and writers of the replicas.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::Run;
use super::client::Client;
use crate::checker::{History, Outcome, Read, Write, Writer};
use devstack::Result;

/// Between two requests, at most.
const READER_REST: Duration = Duration::from_millis(20);
const WRITER_REST: Duration = Duration::from_millis(1200);
/// Between two writes of one key in a row, at most: what a reader has loaded after the first, it
/// may be storing during the second.
const BURST_REST: Duration = Duration::from_millis(20);
/// How often another write of the key follows.
const BURST: f64 = 0.8;

/// One client of a replica.
pub(super) struct Caller {
    run: Arc<Run>,
    chance: StdRng,
    replica: usize,
    client: Client,
    history: History,
}

impl Caller {
    pub(super) fn new(run: &Arc<Run>, task: u64, replica: usize, address: SocketAddr) -> Self {
        Self {
            run: Arc::clone(run),
            chance: run.chance(task),
            replica,
            client: Client::new(address),
            history: History::default(),
        }
    }

    /// Reads until the run has ended.
    pub(super) async fn read(mut self) -> Result<History> {
        let run = Arc::clone(&self.run);
        while !run.is_ended() {
            let (key, about) = if self.chance.random() {
                run.keys.in_turn(run.now(), &mut self.chance)
            } else {
                run.keys.any(&mut self.chance)
            };
            let from = run.now();
            let answer = self.client.get(&about.path()).await;
            let span = run.since(from);
            let outcome = match answer {
                Ok(answer) => match (about.version(&answer.body), answer.source) {
                    (Some(version), Some(source)) => Outcome::Value(version, source),
                    _ => Outcome::Failed(format!("{:?}", String::from_utf8_lossy(&answer.body))),
                },
                Err(why) => Outcome::Failed(why),
            };
            self.history.reads.push(Read {
                key,
                replica: self.replica,
                span,
                outcome,
            });
            sleep(READER_REST.mul_f64(self.chance.random())).await;
        }
        Ok(self.history)
    }

    /// Writes while the run is busy.
    pub(super) async fn write(mut self) -> Result<History> {
        let run = Arc::clone(&self.run);
        let (mut key, mut about) = run.keys.in_turn(run.now(), &mut self.chance);
        while run.is_busy() {
            let version = about.next_version();
            let from = run.now();
            let put = about.put(version);
            let answer = self.client.put(&about.path(), &put).await;
            self.history.writes.push(Write {
                key,
                version,
                by: Writer::Replica(self.replica),
                span: run.since(from),
                outcome: answer.map(drop),
                cleared: true,
            });
            if self.chance.random_bool(BURST) {
                sleep(BURST_REST.mul_f64(self.chance.random())).await;
            } else {
                sleep(WRITER_REST.mul_f64(self.chance.random())).await;
                (key, about) = run.keys.in_turn(run.now(), &mut self.chance);
            }
        }
        Ok(self.history)
    }
}
