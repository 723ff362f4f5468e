//! Valkey frozen under load: requests do not wait for it, the local cache is bypassed after a
//! limit, and reads do not return overwritten values.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use devstack::{Stack, tokens};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::client::Connection;
use super::load::{Load, Sample, Source, slowest_ms};
use super::{start, verdict};
use crate::Outcome;

const CLIENTS: usize = 32;
/// The cached reads; the first one is also written.
const PATHS: [&str; 3] = [
    "/live-data/MARI/script",
    "/instrument/LET/specification",
    "/instrument/TOSCA/latest-run",
];
/// The pause between two writes.
const WRITE_PAUSE: Duration = Duration::from_millis(50);
/// The duration of each phase.
const BEFORE: Duration = Duration::from_secs(3);
const FROZEN: Duration = Duration::from_secs(10);
const AFTER: Duration = Duration::from_secs(3);
/// The maximum silence of Valkey after which local entries are used, and the maximum lag of a read
/// behind a write.
const MAX_SILENCE: Duration = Duration::from_secs(1);
/// The time within which local hits must resume.
const RECOVERY: Duration = Duration::from_secs(2);

pub(super) async fn run(server: &Path) -> Outcome {
    let stack = Stack::builder().postgres().valkey().start().await?;
    let valkey = stack.valkey().ok_or("no Valkey")?;
    let api = start(server, &stack, &[]).await?;
    let writer = Writer::start(api.addr()).await?;
    let load = Load::start(api.addr(), &PATHS, CLIENTS, Duration::ZERO).await?;
    let begun = Instant::now();
    sleep(BEFORE).await;
    valkey.pause()?;
    let frozen = Instant::now();
    sleep(FROZEN).await;
    let resumed = Instant::now();
    valkey.resume()?;
    sleep(AFTER).await;
    let samples = Samples {
        samples: load.end().await?,
        writes: writer.end().await?,
    };
    println!(
        "{CLIENTS} clients in a closed loop over {} cached reads, and a writer of one of them\n",
        PATHS.len()
    );
    println!(
        "| Valkey | responses | not 200 | from memory | from Valkey | slowest ms | behind a write, ms | writes | not 200 | slowest ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    samples.row("running", begun, frozen);
    samples.row("frozen", frozen, resumed);
    samples.row("resumed", resumed, resumed + AFTER);
    samples.check(frozen, resumed)
}

/// A write and its response.
struct Write {
    sent: Instant,
    received: Instant,
    status: u16,
    number: u64,
}

/// A task that writes the numbers from 1 on, sequentially.
struct Writer {
    writing: JoinHandle<Vec<Write>>,
    ended: Arc<AtomicBool>,
}

impl Writer {
    /// Returns after the first write.
    async fn start(address: SocketAddr) -> Outcome<Self> {
        let bearer = format!("Bearer {}", tokens::API_KEY);
        let mut connection = Connection::open(address, &bearer).await?;
        let first = write(&mut connection, 1).await;
        if first.status != 200 {
            return Err(format!("a write returned {}", first.status).into());
        }
        let ended = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&ended);
        let writing = tokio::spawn(async move {
            let mut writes = vec![first];
            while !stop.load(Ordering::Relaxed) {
                sleep(WRITE_PAUSE).await;
                let number = writes.len() as u64 + 1;
                writes.push(write(&mut connection, number).await);
            }
            writes
        });
        Ok(Self { writing, ended })
    }

    async fn end(self) -> Outcome<Vec<Write>> {
        self.ended.store(true, Ordering::Relaxed);
        Ok(self.writing.await?)
    }
}

async fn write(connection: &mut Connection, number: u64) -> Write {
    let sent = Instant::now();
    let json = format!(r#"{{"value": "{number}"}}"#);
    let response = connection.put(PATHS[0], &json).await;
    Write {
        sent,
        received: Instant::now(),
        status: response.map_or(0, |response| response.status),
        number,
    }
}

struct Samples {
    samples: Vec<Sample>,
    writes: Vec<Write>,
}

impl Samples {
    fn between(&self, from: Instant, to: Instant) -> impl Iterator<Item = &Sample> {
        let within = move |sample: &&Sample| (from..to).contains(&sample.sent);
        self.samples.iter().filter(within)
    }

    fn row(&self, phase: &str, from: Instant, to: Instant) {
        let count = |wanted: &dyn Fn(&Sample) -> bool| {
            self.between(from, to)
                .filter(|sample| wanted(sample))
                .count()
        };
        let behind = self.between(from, to).map(|sample| self.behind(sample));
        let writes = || {
            self.writes
                .iter()
                .filter(|write| (from..to).contains(&write.sent))
        };
        let slowest_write = writes().map(|write| write.received - write.sent).max();
        println!(
            "| {phase} | {} | {} | {} | {} | {:.1} | {:.1} | {} | {} | {:.1} |",
            count(&|_| true),
            count(&|sample| sample.status != 200),
            count(&|sample| sample.source == Source::Local),
            count(&|sample| sample.source == Source::Shared),
            slowest_ms(self.between(from, to)),
            ms(behind.max().unwrap_or_default()),
            writes().count(),
            writes().filter(|write| write.status != 200).count(),
            ms(slowest_write.unwrap_or_default()),
        );
    }

    /// The time from the response to the next write until the request that still returned this
    /// value.
    fn behind(&self, sample: &Sample) -> Duration {
        let number = sample.number.filter(|_| sample.path == 0);
        let next = number.and_then(|number| self.writes.get(usize::try_from(number).ok()?));
        let next = next.filter(|write| write.status == 200);
        next.map_or(Duration::ZERO, |next| {
            debug_assert_eq!(Some(next.number), number.map(|number| number + 1));
            sample.sent.saturating_duration_since(next.received)
        })
    }

    fn check(&self, frozen: Instant, resumed: Instant) -> Outcome {
        let local = |sample: &&Sample| sample.source == Source::Local;
        let last = self.between(frozen, resumed).filter(local).last();
        let last = last.map_or(Duration::ZERO, |sample| sample.sent - frozen);
        let late = self
            .between(frozen + MAX_SILENCE, resumed)
            .filter(local)
            .count();
        let end = resumed + AFTER;
        let again = self.between(resumed, end).find(local);
        let again = again.map(|sample| sample.sent + sample.took - resumed);
        let failed = self.samples.iter().filter(|sample| sample.status != 200);
        let failed = failed.count() + self.writes.iter().filter(|w| w.status != 200).count();
        let behind = self.samples.iter().map(|sample| self.behind(sample)).max();
        let behind = behind.unwrap_or_default();
        println!(
            "\nlast local hit {} ms after SIGSTOP; {late} local hits more than {} ms after it",
            ms(last).round(),
            MAX_SILENCE.as_millis()
        );
        match again {
            Some(again) => println!("first local hit {:.0} ms after SIGCONT", ms(again)),
            None => println!("no local hit after SIGCONT"),
        }
        verdict(&[
            ("every response is 200", failed == 0),
            ("no local hit later than 1 s after SIGSTOP", late == 0),
            (
                "local hits within 2 s of SIGCONT",
                again.is_some_and(|again| again <= RECOVERY),
            ),
            (
                "no read lags behind a write by more than 1 s",
                behind <= MAX_SILENCE,
            ),
        ])
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
