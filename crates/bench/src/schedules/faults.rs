//! What is broken, at random: each link to Valkey, Valkey itself, the way to the database.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use tokio::time::sleep;

use super::Run;
use super::valkey::Commands;
use crate::checker::{Fault, History, Hits};
use devstack::{Direction, FaultProxy, Mode, Result, Valkey};

/// How long things are well between two faults of one kind: as long as it takes to recover, and
/// now and then not.
const PEACE: std::ops::Range<f64> = 0.2..6.0;
const DATABASE_PEACE: std::ops::Range<f64> = 1.0..9.0;
/// How long a fault lasts that lasts. Trust in a silent connection ends after 1 s.
const LASTING: std::ops::Range<f64> = 0.03..2.5;
const DATABASE_LASTING: std::ops::Range<f64> = 0.05..1.2;

use Direction::{ToClient, ToServer};
const BOTH: &[Direction] = &[ToServer, ToClient];

/// What happens to a link.
#[derive(Clone, Copy)]
enum Way {
    Hold(&'static [Direction]),
    Swallow(&'static [Direction]),
    HalfClose(Direction),
    Cut(Direction),
    Refuse,
    Reset,
    /// By milliseconds, at random: more than a command's limit, or less.
    Delay(u64, u64),
}

/// With its name, and whether Valkey cannot be told meanwhile.
const WAYS: [(&str, bool, Way); 13] = [
    ("link held", true, Way::Hold(BOTH)),
    ("link held to Valkey", true, Way::Hold(&[ToServer])),
    ("link held from Valkey", true, Way::Hold(&[ToClient])),
    ("link swallows", true, Way::Swallow(BOTH)),
    ("link swallows to Valkey", true, Way::Swallow(&[ToServer])),
    ("link swallows from Valkey", true, Way::Swallow(&[ToClient])),
    ("link half closed to Valkey", true, Way::HalfClose(ToServer)),
    (
        "link half closed from Valkey",
        true,
        Way::HalfClose(ToClient),
    ),
    ("link cut within a command", true, Way::Cut(ToServer)),
    ("link cut within an answer", true, Way::Cut(ToClient)),
    ("link refused", true, Way::Refuse),
    ("link reset", true, Way::Reset),
    ("link slow", true, Way::Delay(30, 150)),
];
const LATE_LINK: (&str, bool, Way) = ("link late by up to 15 ms", false, Way::Delay(1, 15));

/// Breaks the link of a replica while the run is busy.
pub(super) async fn of_link(
    run: Arc<Run>,
    replica: usize,
    proxy: Arc<FaultProxy>,
) -> Result<History> {
    let mut chance = run.chance(3000 + replica as u64);
    let mut history = History::default();
    loop {
        rest(&mut chance, PEACE).await;
        if !run.is_busy() {
            return Ok(history);
        }
        // Lateness widens the gaps in which things can go wrong, so there is much of it.
        let (kind, matters, way) = if chance.random_bool(0.5) {
            LATE_LINK
        } else {
            WAYS[chance.random_range(0..WAYS.len())]
        };
        let from = run.now();
        break_link(&proxy, way, &mut chance).await?;
        history.faults.push(Fault {
            kind,
            span: run.since(from),
            hits: if matters {
                Hits::Link(replica)
            } else {
                Hits::Nothing
            },
        });
    }
}

async fn break_link(proxy: &FaultProxy, way: Way, chance: &mut StdRng) -> Result<()> {
    match way {
        Way::Hold(directions) => set(proxy, directions, Mode::Hold),
        Way::Swallow(directions) => {
            set(proxy, directions, Mode::BlackHole);
            rest(chance, LASTING).await;
            // A stream of which a part is missing must not go on.
            proxy.refuse(true).await?;
            proxy.reset_all();
            return proxy.heal().await;
        }
        Way::HalfClose(direction) => {
            proxy.half_close(direction);
            return Ok(());
        }
        Way::Cut(direction) => proxy.cut_after(direction, Some(chance.random_range(0..2000))),
        Way::Refuse => {
            proxy.refuse(true).await?;
            proxy.reset_all();
        }
        Way::Reset => {
            proxy.reset_all();
            return Ok(());
        }
        Way::Delay(least, most) => {
            let delay = Duration::from_millis(chance.random_range(least..most));
            proxy.set_both(Mode::Delay(delay));
        }
    }
    rest(chance, LASTING).await;
    proxy.heal().await
}

fn set(proxy: &FaultProxy, directions: &[Direction], mode: Mode) {
    for direction in directions {
        proxy.set(*direction, mode);
    }
}

/// Breaks Valkey while the run is busy.
pub(super) async fn of_valkey(run: &Run, valkey: &Valkey) -> Result<History> {
    let mut chance = run.chance(4000);
    let mut commands = Commands::new(valkey.addr());
    let mut history = History::default();
    loop {
        rest(&mut chance, PEACE).await;
        if !run.is_busy() {
            return Ok(history);
        }
        let from = run.now();
        let (kind, hits) = match chance.random_range(0..7) {
            0 | 1 => {
                valkey.pause()?;
                rest(&mut chance, LASTING).await;
                valkey.resume()?;
                ("Valkey frozen", Hits::Valkey)
            }
            2 => {
                valkey.kill();
                rest(&mut chance, LASTING).await;
                valkey.restart().await?;
                ("Valkey killed, restarted empty", Hits::Valkey)
            }
            3 | 4 => {
                tell(&mut commands, &["FLUSHALL"]).await;
                ("FLUSHALL", Hits::Nothing)
            }
            5 => {
                tell(&mut commands, &["SCRIPT", "FLUSH"]).await;
                ("SCRIPT FLUSH", Hits::Nothing)
            }
            _ => {
                tell(&mut commands, &["CLIENT", "KILL", "TYPE", "normal"]).await;
                ("CLIENT KILL", Hits::Valkey)
            }
        };
        let span = run.since(from);
        history.faults.push(Fault { kind, span, hits });
    }
}

async fn tell(commands: &mut Commands, words: &[&str]) {
    // The connection may be one that was ended with the server, or by the command before.
    if commands.run(words).await.is_err() {
        let _ = commands.run(words).await;
    }
}

/// Breaks the way to the database while the run is busy.
pub(super) async fn of_database(run: Arc<Run>, proxy: Arc<FaultProxy>) -> Result<History> {
    let mut chance = run.chance(5000);
    let mut history = History::default();
    loop {
        rest(&mut chance, DATABASE_PEACE).await;
        if !run.is_busy() {
            return Ok(history);
        }
        let from = run.now();
        let (kind, hits) = match chance.random_range(0..4) {
            0 => {
                proxy.refuse(true).await?;
                proxy.reset_all();
                ("PostgreSQL refused", Hits::Database)
            }
            1 => {
                proxy.set_both(Mode::Hold);
                ("PostgreSQL held", Hits::Database)
            }
            _ => {
                let delay = Duration::from_millis(chance.random_range(1..40));
                proxy.set_both(Mode::Delay(delay));
                ("PostgreSQL late by up to 40 ms", Hits::Nothing)
            }
        };
        rest(&mut chance, DATABASE_LASTING).await;
        proxy.heal().await?;
        let span = run.since(from);
        history.faults.push(Fault { kind, span, hits });
    }
}

async fn rest(chance: &mut StdRng, seconds: std::ops::Range<f64>) {
    sleep(Duration::from_secs_f64(chance.random_range(seconds))).await;
}
