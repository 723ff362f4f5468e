//! The comparison of the simulated Valkey with a real one: the same random commands, the same
//! replies and pushes.
//!
//! Three clients send batches of commands: one with RESP2, and two with RESP3 that track
//! prefixes. After each batch the replies to its client, and the pushes to each, are compared.
//! Times are compared with a tolerance.

mod cluster;
mod commands;
mod real;

use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use rand::SeedableRng as _;
use rand::rngs::StdRng;

use crate::compare::commands::{Arg, Batch, Commands, Expiries};
use crate::compare::real::{Client, Server};
use crate::valkey::resp::take_reply;
use crate::valkey::{Mode, Session, Valkey};

/// The clients, and the prefixes that they track.
const CLIENTS: [&[&str]; 3] = [&[], &["v:"], &["v:", "g:"]];
/// A batch that took longer, because this process was suspended, is not compared.
const TOO_LONG: Duration = Duration::from_millis(300);
/// The greatest difference of two times, in milliseconds.
const TOLERANCE: i64 = 400;

/// Compares the replies and pushes of so many commands.
pub(crate) fn run(count: u64, seed: u64) -> ExitCode {
    let both = || {
        let (mut alone, cluster) = (compare(count, seed)?, cluster::compare(count, seed)?);
        println!("of these {} on a node of a cluster", cluster.commands);
        alone.add(cluster);
        Ok::<_, std::io::Error>(alone)
    };
    match both() {
        Ok(Report {
            commands,
            pushes,
            skipped,
            differences,
        }) => {
            println!(
                "{commands} commands, {pushes} pushes, {} differences ({skipped} batches skipped)",
                differences.len()
            );
            differences.iter().for_each(|text| println!("{text}\n"));
            match differences.is_empty() {
                true => ExitCode::SUCCESS,
                false => ExitCode::FAILURE,
            }
        }
        Err(error) => {
            eprintln!("cannot compare with a real Valkey: {error}");
            ExitCode::from(69)
        }
    }
}

/// What a comparison found.
#[derive(Default)]
pub(crate) struct Report {
    pub(crate) commands: u64,
    pub(crate) pushes: u64,
    pub(crate) skipped: u64,
    pub(crate) differences: Vec<String>,
}

impl Report {
    fn add(&mut self, other: Self) {
        self.commands += other.commands;
        self.pushes += other.pushes;
        self.skipped += other.skipped;
        self.differences.extend(other.differences);
    }
}

fn connect_all(server: &Server) -> std::io::Result<Vec<Client>> {
    CLIENTS
        .iter()
        .map(|prefixes| server.connect(prefixes))
        .collect()
}

/// Compares, and stops after a few differences.
pub(crate) fn compare(count: u64, seed: u64) -> std::io::Result<Report> {
    let server = Server::start(false)?;
    let mut real = connect_all(&server)?;
    let mut simulated = Simulated::new();
    let mut commands = Commands::new(StdRng::seed_from_u64(seed));
    let mut report = Report::default();
    while report.commands < count && report.differences.len() < 5 {
        if simulated.valkey.store.is_near_expiry(now()) {
            std::thread::sleep(Duration::from_millis(100));
        }
        let batch = commands.next();
        report.commands += batch.commands.len() as u64;
        let (began, now) = (Instant::now(), now());
        let expected = execute_real(&mut real, &batch)?;
        if began.elapsed() > TOO_LONG {
            report.skipped += 1;
            begin_again(&mut real)?;
            simulated.begin_again();
            continue;
        }
        let found = simulated.execute(&batch, now);
        report.pushes += found.push_count();
        if !is_same(&expected, &found) {
            let difference = format!("{batch:?}\nreal:      {expected:?}\nsimulated: {found:?}");
            report.differences.push(difference);
        }
        if batch.pause_millis > 0 {
            std::thread::sleep(Duration::from_millis(batch.pause_millis));
        }
    }
    Ok(report)
}

/// Removes what the server has, and the pushes that it sent.
fn begin_again(clients: &mut [Client]) -> std::io::Result<()> {
    let (flush, forget) = (["FLUSHALL"], ["SCRIPT", "FLUSH"]);
    clients[0].call_all(&[real::command(&flush), real::command(&forget)].concat(), 2)?;
    for client in clients {
        client.call_all(&real::command(&["UNWATCH"]), 1)?;
        client.pushes.clear();
    }
    Ok(())
}

/// What the clients got for a batch.
#[derive(Debug, Default)]
struct Received {
    replies: Vec<Bytes>,
    pushes: Vec<Vec<Bytes>>,
}

impl Received {
    fn push_count(&self) -> u64 {
        self.pushes.iter().map(|pushes| pushes.len() as u64).sum()
    }
}

fn execute_real(clients: &mut [Client], batch: &Batch) -> std::io::Result<Received> {
    let client = &mut clients[batch.client];
    let bytes = batch.bytes(&client.expiries);
    let replies = client.call_all(&bytes, batch.commands.len())?;
    learn_expiries(&mut client.expiries, batch, &replies);
    let mut pushes = Vec::new();
    for client in clients.iter_mut() {
        client.call_all(b"*1\r\n$4\r\nPING\r\n", 1)?;
        pushes.push(std::mem::take(&mut client.pushes));
    }
    Ok(Received { replies, pushes })
}

struct Simulated {
    valkey: Valkey,
    sessions: Vec<Session>,
    expiries: [Expiries; CLIENTS.len()],
}

impl Simulated {
    fn new() -> Self {
        let mut this = Self {
            valkey: Valkey::new(1),
            sessions: Vec::new(),
            expiries: Default::default(),
        };
        for prefixes in CLIENTS {
            let mut session = Session::default();
            for command in real::greeting(prefixes) {
                this.valkey.receive(&mut session, &command, 0);
            }
            session.out.clear();
            this.sessions.push(session);
        }
        this
    }

    /// Removes what the server has, but not its place in a cluster.
    fn begin_again(&mut self) {
        let mode = std::mem::replace(&mut self.valkey.mode, Mode::Alone);
        *self = Self::new();
        self.valkey.mode = mode;
    }

    fn execute(&mut self, batch: &Batch, now: u64) -> Received {
        let session = &mut self.sessions[batch.client];
        let bytes = batch.bytes(&self.expiries[batch.client]);
        self.valkey.receive(session, &bytes, now);
        let replies = all(&mut session.out);
        learn_expiries(&mut self.expiries[batch.client], batch, &replies);
        let changes = self.valkey.take_changes();
        let pushes = self.sessions.iter_mut().map(|session| {
            changes.push_to(session);
            all(&mut session.out)
        });
        Received {
            replies,
            pushes: pushes.collect(),
        }
    }
}

fn all(out: &mut BytesMut) -> Vec<Bytes> {
    std::iter::from_fn(|| take_reply(out)).collect()
}

/// Keeps the replies to PEXPIRETIME, which a REFRESH names.
fn learn_expiries(expiries: &mut Expiries, batch: &Batch, replies: &[Bytes]) {
    for (command, reply) in batch.commands.iter().zip(replies) {
        if let [Arg::Bytes(name), Arg::Bytes(key)] = command.as_slice()
            && name == "PEXPIRETIME"
            && let Some(expiry) = integer(reply)
        {
            expiries.insert(key.clone(), expiry);
        }
    }
}

fn is_same(expected: &Received, found: &Received) -> bool {
    let is_near = |(one, other): (&Bytes, &Bytes)| {
        one == other
            || matches!(
                (times(one), times(other)),
                (Some(one), Some(other)) if one.0 == other.0 && (one.1 - other.1).abs() < TOLERANCE
            )
    };
    expected.replies.len() == found.replies.len()
        && expected.replies.iter().zip(&found.replies).all(is_near)
        && expected.pushes == found.pushes
}

/// A reply that ends in a time: what stands before, and the time.
fn times(reply: &Bytes) -> Option<(&[u8], i64)> {
    let colon = reply.iter().rposition(|byte| *byte == b':')?;
    let time = integer(&reply.slice(colon..))?;
    (time > 0).then_some((&reply[..colon], time))
}

fn integer(reply: &Bytes) -> Option<i64> {
    let text = std::str::from_utf8(reply).ok()?;
    text.strip_prefix(':')?.trim_end().parse().ok()
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_simulated_valkey_replies_and_pushes_as_a_real_one() {
        let report = super::compare(20_000, 1).unwrap();
        assert_eq!(report.differences, Vec::<String>::new());
        assert!(report.pushes > 1_000);
    }
}
