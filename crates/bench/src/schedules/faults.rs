//! Random faults of each link to Valkey, of Valkey itself, and of the connections to the database.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::Run;
use super::valkey::Commands;
use crate::checker::{Fault, FaultTarget, History};
use devstack::{Direction, FaultProxy, Mode, Result, Valkey};

/// The seconds between two faults of one target: mostly long enough to recover, sometimes not.
const FAULT_INTERVAL: std::ops::Range<f64> = 0.2..6.0;
const DATABASE_FAULT_INTERVAL: std::ops::Range<f64> = 1.0..9.0;
/// The seconds that a lasting fault takes: some exceed the 1 s of silence after which the local
/// cache is bypassed.
const FAULT_TIME: std::ops::Range<f64> = 0.03..2.5;
const DATABASE_FAULT_TIME: std::ops::Range<f64> = 0.05..1.2;

use Direction::{ToClient, ToServer};
const BOTH: &[Direction] = &[ToServer, ToClient];

/// A fault of a link.
#[derive(Clone, Copy)]
enum LinkFault {
    Hold(&'static [Direction]),
    Swallow(&'static [Direction]),
    HalfClose(Direction),
    Cut(Direction),
    Refuse,
    Reset,
    /// By a random number of milliseconds in this range, below or above the command timeout.
    Delay(u64, u64),
}

/// The name of a link fault, and whether invalidations may be lost meanwhile.
const LINK_FAULTS: [(&str, bool, LinkFault); 13] = [
    ("link held", true, LinkFault::Hold(BOTH)),
    ("link held to Valkey", true, LinkFault::Hold(&[ToServer])),
    ("link held from Valkey", true, LinkFault::Hold(&[ToClient])),
    ("link drops packets", true, LinkFault::Swallow(BOTH)),
    (
        "link drops packets to Valkey",
        true,
        LinkFault::Swallow(&[ToServer]),
    ),
    (
        "link drops packets from Valkey",
        true,
        LinkFault::Swallow(&[ToClient]),
    ),
    (
        "link half closed to Valkey",
        true,
        LinkFault::HalfClose(ToServer),
    ),
    (
        "link half closed from Valkey",
        true,
        LinkFault::HalfClose(ToClient),
    ),
    ("link cut within a command", true, LinkFault::Cut(ToServer)),
    ("link cut within a reply", true, LinkFault::Cut(ToClient)),
    ("link refused", true, LinkFault::Refuse),
    ("link reset", true, LinkFault::Reset),
    ("link slow", true, LinkFault::Delay(30, 150)),
];
const SLOW_LINK: (&str, bool, LinkFault) = (
    "link delayed by up to 15 ms",
    false,
    LinkFault::Delay(1, 15),
);

/// Injects faults into the link of a replica during the busy phase.
pub(super) async fn of_link(
    run: Arc<Run>,
    replica: usize,
    proxy: Arc<FaultProxy>,
) -> Result<History> {
    let mut rng = run.rng(3000 + replica as u64);
    let mut history = History::default();
    loop {
        pause(&mut rng, FAULT_INTERVAL).await;
        if !run.is_busy() {
            return Ok(history);
        }
        // Delays widen race windows, so they are frequent.
        let (kind, loses_invalidations, fault) = if rng.random_bool(0.5) {
            SLOW_LINK
        } else {
            LINK_FAULTS[rng.random_range(0..LINK_FAULTS.len())]
        };
        let from = run.now();
        break_link(&proxy, fault, &mut rng).await?;
        history.faults.push(Fault {
            kind,
            span: run.since(from),
            target: if loses_invalidations {
                FaultTarget::Link(replica)
            } else {
                FaultTarget::Nothing
            },
        });
    }
}

async fn break_link(proxy: &FaultProxy, fault: LinkFault, rng: &mut StdRng) -> Result<()> {
    match fault {
        LinkFault::Hold(directions) => set(proxy, directions, Mode::Hold),
        LinkFault::Swallow(directions) => {
            set(proxy, directions, Mode::BlackHole);
            pause(rng, FAULT_TIME).await;
            // A stream with missing bytes must not continue.
            proxy.refuse(true).await?;
            proxy.reset_all();
            return proxy.heal().await;
        }
        LinkFault::HalfClose(direction) => {
            proxy.half_close(direction);
            return Ok(());
        }
        LinkFault::Cut(direction) => proxy.cut_after(direction, Some(rng.random_range(0..2000))),
        LinkFault::Refuse => {
            proxy.refuse(true).await?;
            proxy.reset_all();
        }
        LinkFault::Reset => {
            proxy.reset_all();
            return Ok(());
        }
        LinkFault::Delay(least, most) => {
            let delay = Duration::from_millis(rng.random_range(least..most));
            proxy.set_both(Mode::Delay(delay));
        }
    }
    pause(rng, FAULT_TIME).await;
    proxy.heal().await
}

fn set(proxy: &FaultProxy, directions: &[Direction], mode: Mode) {
    for direction in directions {
        proxy.set(*direction, mode);
    }
}

/// Injects faults into Valkey during the busy phase.
pub(super) async fn of_valkey(run: &Run, valkey: &Valkey) -> Result<History> {
    let mut rng = run.rng(4000);
    let mut commands = Commands::new(valkey.addr())?;
    let mut history = History::default();
    loop {
        pause(&mut rng, FAULT_INTERVAL).await;
        if !run.is_busy() {
            return Ok(history);
        }
        let from = run.now();
        let (kind, target) = match rng.random_range(0..7) {
            0 | 1 => {
                valkey.pause()?;
                pause(&mut rng, FAULT_TIME).await;
                valkey.resume()?;
                ("Valkey frozen", FaultTarget::Valkey)
            }
            2 => {
                valkey.kill();
                pause(&mut rng, FAULT_TIME).await;
                valkey.restart().await?;
                ("Valkey killed, restarted empty", FaultTarget::Valkey)
            }
            3 | 4 => {
                send(&mut commands, &["FLUSHALL"]).await;
                ("FLUSHALL", FaultTarget::Nothing)
            }
            5 => {
                send(&mut commands, &["SCRIPT", "FLUSH"]).await;
                ("SCRIPT FLUSH", FaultTarget::Nothing)
            }
            _ => {
                send(&mut commands, &["CLIENT", "KILL", "TYPE", "normal"]).await;
                ("CLIENT KILL", FaultTarget::Valkey)
            }
        };
        let span = run.since(from);
        history.faults.push(Fault { kind, span, target });
    }
}

async fn send(commands: &mut Commands, words: &[&str]) {
    // The connection may have ended with the server or by the command before: reconnect once. The
    // run needs no particular fault to succeed, so a second error is ignored.
    if commands.run(words).await.is_err() {
        let _ = commands.run(words).await;
    }
}

/// Injects faults into the connections to the database during the busy phase.
pub(super) async fn of_database(run: Arc<Run>, proxy: Arc<FaultProxy>) -> Result<History> {
    let mut rng = run.rng(5000);
    let mut history = History::default();
    loop {
        pause(&mut rng, DATABASE_FAULT_INTERVAL).await;
        if !run.is_busy() {
            return Ok(history);
        }
        let from = run.now();
        let (kind, target) = match rng.random_range(0..4) {
            0 => {
                proxy.refuse(true).await?;
                proxy.reset_all();
                ("PostgreSQL connections refused", FaultTarget::Database)
            }
            1 => {
                proxy.set_both(Mode::Hold);
                ("PostgreSQL packets held", FaultTarget::Database)
            }
            _ => {
                let delay = Duration::from_millis(rng.random_range(1..40));
                proxy.set_both(Mode::Delay(delay));
                ("PostgreSQL delayed by up to 40 ms", FaultTarget::Nothing)
            }
        };
        pause(&mut rng, DATABASE_FAULT_TIME).await;
        proxy.heal().await?;
        let span = run.since(from);
        history.faults.push(Fault { kind, span, target });
    }
}

async fn pause(rng: &mut StdRng, seconds: std::ops::Range<f64>) {
    sleep(Duration::from_secs_f64(rng.random_range(seconds))).await;
}
