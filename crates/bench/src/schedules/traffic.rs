//! HTTP clients that read and write through the replicas.

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

/// The maximum pause between two requests.
const READER_PAUSE: Duration = Duration::from_millis(20);
const WRITER_PAUSE: Duration = Duration::from_millis(1200);
/// The maximum pause within a burst of writes to one key: a reader that loaded the first version
/// may store it during the second write.
const BURST_PAUSE: Duration = Duration::from_millis(20);
/// The probability that another write of the same key follows.
const BURST: f64 = 0.8;

/// A client of one replica.
pub(super) struct ReplicaClient {
    run: Arc<Run>,
    rng: StdRng,
    replica: usize,
    client: Client,
    history: History,
}

impl ReplicaClient {
    pub(super) fn new(run: &Arc<Run>, task: u64, replica: usize, address: SocketAddr) -> Self {
        Self {
            run: Arc::clone(run),
            rng: run.rng(task),
            replica,
            client: Client::new(address),
            history: History::default(),
        }
    }

    /// Reads until the run has ended.
    pub(super) async fn read(mut self) -> Result<History> {
        let run = Arc::clone(&self.run);
        while !run.is_ended() {
            let (index, key) = if self.rng.random() {
                run.keys.hot(run.now(), &mut self.rng)
            } else {
                run.keys.any(&mut self.rng)
            };
            let from = run.now();
            let response = self.client.get(&key.path()).await;
            let span = run.since(from);
            let outcome = match response {
                Ok(response) => match (key.version(&response.body), response.source) {
                    (Some(version), Some(source)) => Outcome::Value(version, source),
                    _ => Outcome::Failed(format!("{:?}", String::from_utf8_lossy(&response.body))),
                },
                Err(why) => Outcome::Failed(why),
            };
            self.history.reads.push(Read {
                key: index,
                replica: self.replica,
                span,
                outcome,
            });
            sleep(READER_PAUSE.mul_f64(self.rng.random())).await;
        }
        Ok(self.history)
    }

    /// Writes while the run is busy.
    pub(super) async fn write(mut self) -> Result<History> {
        let run = Arc::clone(&self.run);
        let (mut index, mut key) = run.keys.hot(run.now(), &mut self.rng);
        while run.is_busy() {
            let version = key.next_version();
            let from = run.now();
            let body = key.body(version);
            let response = self.client.write(&key.write_to(), &body).await;
            self.history.writes.push(Write {
                key: index,
                version,
                by: Writer::Replica(self.replica),
                span: run.since(from),
                outcome: response.map(drop),
                invalidated: true,
            });
            if self.rng.random_bool(BURST) {
                sleep(BURST_PAUSE.mul_f64(self.rng.random())).await;
            } else {
                sleep(WRITER_PAUSE.mul_f64(self.rng.random())).await;
                (index, key) = run.keys.hot(run.now(), &mut self.rng);
            }
        }
        Ok(self.history)
    }
}
