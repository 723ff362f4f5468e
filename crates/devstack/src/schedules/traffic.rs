//! Readers and writers of the replicas.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::sleep;

use super::Run;
use super::client::Client;
use crate::Result;
use crate::oracle::{History, Outcome, Read, Write, Writer};

/// Between two requests, at most.
const READER_REST: Duration = Duration::from_millis(20);
const WRITER_REST: Duration = Duration::from_millis(1200);
/// Between two writes of one key in a row, at most: what a reader has loaded after the first, it
/// may be storing during the second.
const BURST_REST: Duration = Duration::from_millis(20);
/// How often another write of the key follows.
const BURST: f64 = 0.8;

/// Reads from a replica until the run has ended.
pub(super) async fn read(
    run: Arc<Run>,
    task: u64,
    replica: usize,
    address: SocketAddr,
) -> Result<History> {
    let mut chance = run.chance(task);
    let mut client = Client::new(address);
    let mut history = History::default();
    while !run.is_ended() {
        let (key, about) = if chance.random() {
            run.keys.in_turn(run.now(), &mut chance)
        } else {
            run.keys.any(&mut chance)
        };
        let from = run.now();
        let answer = client.get(&about.path()).await;
        let span = run.since(from);
        let outcome = match answer {
            Ok(answer) => match (about.version(&answer.body), answer.source) {
                (Some(version), Some(source)) => Outcome::Value(version, source),
                _ => Outcome::Failed(format!("{:?}", String::from_utf8_lossy(&answer.body))),
            },
            Err(why) => Outcome::Failed(why),
        };
        history.reads.push(Read {
            key,
            replica,
            span,
            outcome,
        });
        sleep(READER_REST.mul_f64(chance.random())).await;
    }
    Ok(history)
}

/// Writes through a replica while the run is busy.
pub(super) async fn write(
    run: Arc<Run>,
    task: u64,
    replica: usize,
    address: SocketAddr,
) -> Result<History> {
    let mut chance = run.chance(task);
    let mut client = Client::new(address);
    let mut history = History::default();
    let (mut key, mut about) = run.keys.in_turn(run.now(), &mut chance);
    while run.is_busy() {
        let version = about.next_version();
        let from = run.now();
        let answer = client.put(&about.path(), &about.put(version)).await;
        history.writes.push(Write {
            key,
            version,
            by: Writer::Replica(replica),
            span: run.since(from),
            outcome: answer.map(drop),
            cleared: true,
        });
        if chance.random_bool(BURST) {
            sleep(BURST_REST.mul_f64(chance.random())).await;
        } else {
            sleep(WRITER_REST.mul_f64(chance.random())).await;
            (key, about) = run.keys.in_turn(run.now(), &mut chance);
        }
    }
    Ok(history)
}
