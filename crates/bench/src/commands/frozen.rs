//! Valkey frozen under load: nobody waits for it, nobody trusts the memory for long, nobody reads
//! what was overwritten.

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
/// The first is written meanwhile.
const PATHS: [&str; 3] = [
    "/live-data/MARI/script",
    "/instrument/LET/specification",
    "/instrument/TOSCA/latest-run",
];
/// Between two writes.
const WRITES: Duration = Duration::from_millis(50);
/// How long each part takes.
const BEFORE: Duration = Duration::from_secs(3);
const FROZEN: Duration = Duration::from_secs(10);
const AFTER: Duration = Duration::from_secs(3);
/// For how long a server may trust its memory without a word from Valkey, and what a write may
/// take to get there.
const TRUST: Duration = Duration::from_secs(1);
/// When it must do so again.
const AGAIN: Duration = Duration::from_secs(2);

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
    let seen = Seen {
        samples: load.end().await?,
        writes: writer.end().await?,
    };
    println!(
        "{CLIENTS} clients without a pause over {} cached reads, and a writer of one of them\n",
        PATHS.len()
    );
    println!(
        "| Valkey | answers | not 200 | from memory | from Valkey | slowest ms | behind a write, ms | writes | not 200 | slowest ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|");
    seen.row("answers", begun, frozen);
    seen.row("frozen", frozen, resumed);
    seen.row("resumed", resumed, resumed + AFTER);
    seen.judge(frozen, resumed)
}

/// A write that was answered.
struct Write {
    asked: Instant,
    answered: Instant,
    status: u16,
    number: u64,
}

/// Writes the numbers from 1 on, one after the other.
struct Writer {
    writing: JoinHandle<Vec<Write>>,
    ended: Arc<AtomicBool>,
}

impl Writer {
    /// The first has been written when this returns.
    async fn start(address: SocketAddr) -> Outcome<Self> {
        let bearer = format!("Bearer {}", tokens::API_KEY);
        let mut connection = Connection::open(address, &bearer).await?;
        let first = write(&mut connection, 1).await;
        if first.status != 200 {
            return Err(format!("a write was answered {}", first.status).into());
        }
        let ended = Arc::new(AtomicBool::new(false));
        let enough = Arc::clone(&ended);
        let writing = tokio::spawn(async move {
            let mut writes = vec![first];
            while !enough.load(Ordering::Relaxed) {
                sleep(WRITES).await;
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
    let asked = Instant::now();
    let json = format!(r#"{{"value": "{number}"}}"#);
    let answer = connection.put(PATHS[0], &json).await;
    Write {
        asked,
        answered: Instant::now(),
        status: answer.map_or(0, |answer| answer.status),
        number,
    }
}

struct Seen {
    samples: Vec<Sample>,
    writes: Vec<Write>,
}

impl Seen {
    fn between(&self, from: Instant, to: Instant) -> impl Iterator<Item = &Sample> {
        let within = move |sample: &&Sample| (from..to).contains(&sample.asked);
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
                .filter(|write| (from..to).contains(&write.asked))
        };
        let slowest_write = writes().map(|write| write.answered - write.asked).max();
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

    /// For how long the next value had been written, and that been answered, when this one was
    /// asked for.
    fn behind(&self, sample: &Sample) -> Duration {
        let number = sample.number.filter(|_| sample.path == 0);
        let next = number.and_then(|number| self.writes.get(usize::try_from(number).ok()?));
        let next = next.filter(|write| write.status == 200);
        next.map_or(Duration::ZERO, |next| {
            debug_assert_eq!(Some(next.number), number.map(|number| number + 1));
            sample.asked.saturating_duration_since(next.answered)
        })
    }

    fn judge(&self, frozen: Instant, resumed: Instant) -> Outcome {
        let local = |sample: &&Sample| sample.source == Source::Local;
        let trusted = self.between(frozen, resumed).filter(local).last();
        let trusted = trusted.map_or(Duration::ZERO, |sample| sample.asked - frozen);
        let late = self.between(frozen + TRUST, resumed).filter(local).count();
        let end = resumed + AFTER;
        let again = self.between(resumed, end).find(local);
        let again = again.map(|sample| sample.asked + sample.took - resumed);
        let failed = self.samples.iter().filter(|sample| sample.status != 200);
        let failed = failed.count() + self.writes.iter().filter(|w| w.status != 200).count();
        let behind = self.samples.iter().map(|sample| self.behind(sample)).max();
        let behind = behind.unwrap_or_default();
        println!(
            "\nlast asked for and answered from memory {} ms after SIGSTOP; {late} more than {} ms after it",
            ms(trusted).round(),
            TRUST.as_millis()
        );
        match again {
            Some(again) => println!("from memory again {:.0} ms after SIGCONT", ms(again)),
            None => println!("never again from memory after SIGCONT"),
        }
        verdict(&[
            ("every answer is 200", failed == 0),
            ("none from memory later than 1 s after SIGSTOP", late == 0),
            (
                "from memory again within 2 s of SIGCONT",
                again.is_some_and(|again| again <= AGAIN),
            ),
            (
                "no read is behind a write by more than 1 s",
                behind <= TRUST,
            ),
        ])
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
