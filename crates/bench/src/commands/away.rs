//! PostgreSQL away for longer than anything is kept: what is marked stale is served, up to its
//! maximum age.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use devstack::{Postgres, Stack};
use tokio::time::sleep;

use super::load::{Load, Sample, Source, slowest_ms};
use super::routes::ROUTES;
use super::{start, times_to_live, verdict};
use crate::Outcome;

const CLIENTS: usize = 12;
/// Of each client, after each answer.
const PAUSE: Duration = Duration::from_millis(20);
/// How long everything is kept.
const TTL: Duration = Duration::from_secs(2);
/// What lies between an answer of PostgreSQL and its place in the cache, at most.
const SLACK: Duration = Duration::from_millis(250);
/// When every read must be fresh again.
const FRESH: Duration = Duration::from_secs(1);
/// How long the load goes on once PostgreSQL is back.
const AFTER: Duration = Duration::from_secs(4);

/// In which way PostgreSQL is away.
#[derive(Clone, Copy)]
enum Away {
    Frozen,
    Stopped,
}

/// How long it is away, and how long what is beyond its time to live may serve.
#[derive(Clone, Copy)]
struct Case {
    away: Away,
    seconds: u64,
    max_stale: u64,
}

pub(super) async fn run(server: &Path, seconds: u64, max_stale: u64) -> Outcome {
    println!(
        "\n{CLIENTS} clients over {} cached reads, a time to live of {} s; PostgreSQL away for {seconds} s\n",
        ROUTES.len(),
        TTL.as_secs()
    );
    println!(
        "| PostgreSQL | may be stale s | answers | fresh | stale | stale unmarked | too old | oldest Age s | 503 | others | slowest ms | fresh again ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut kept = Vec::new();
    // The maximum age passes in the second half.
    for max_stale in [max_stale, seconds / 4] {
        for away in [Away::Frozen, Away::Stopped] {
            let case = Case {
                away,
                seconds,
                max_stale,
            };
            kept.push(case.run(server).await?);
        }
    }
    let all = |holds: fn(&Kept) -> bool| kept.iter().all(holds);
    println!();
    verdict(&[
        (
            "every read that may be stale is answered 200",
            all(|k| k.answered),
        ),
        (
            "what is beyond its time to live is marked, with Age",
            all(|k| k.marked),
        ),
        (
            "nothing beyond its maximum age, but 503",
            all(|k| k.bounded),
        ),
        (
            "fresh within 1 s of the return of PostgreSQL",
            all(|k| k.fresh),
        ),
    ])
}

/// What was kept of the promises.
struct Kept {
    answered: bool,
    marked: bool,
    bounded: bool,
    fresh: bool,
}

impl Case {
    async fn run(self, server: &Path) -> Outcome<Kept> {
        let stack = Stack::builder().postgres().valkey().start().await?;
        let postgres = stack.postgres().ok_or("no PostgreSQL")?;
        let mut settings = times_to_live(TTL.as_secs());
        settings.push(("CACHE_MAX_STALE_SECONDS", self.max_stale.to_string()));
        let api = start(server, &stack, &settings).await?;
        let load = Load::start(api.addr(), &ROUTES, CLIENTS, PAUSE).await?;
        sleep(2 * TTL).await;
        self.away.begin(postgres).await?;
        let gone = Instant::now();
        sleep(Duration::from_secs(self.seconds)).await;
        let end = Instant::now();
        self.away.end(postgres).await?;
        let back = Instant::now();
        sleep(AFTER).await;
        let samples = load.end().await?;
        let during = samples.iter().filter(|s| (gone..end).contains(&s.asked));
        let during: Vec<&Sample> = during.collect();
        Ok(self.report(gone..end, &during, fresh_again(&samples, back)))
    }

    fn report(self, away: Range<Instant>, during: &[&Sample], again: Option<Duration>) -> Kept {
        let count = |wanted: &dyn Fn(&Sample) -> bool| {
            during.iter().filter(|sample| wanted(sample)).count()
        };
        let stale = |s: &Sample| s.status == 200 && s.source == Source::Stale;
        let fresh = |s: &Sample| s.status == 200 && s.source != Source::Stale;
        let expired = away.start + TTL + SLACK;
        let limit = TTL.as_secs() + self.max_stale;
        let ended = away.start + Duration::from_secs(limit);
        // Whoever still waits when PostgreSQL is back gets its answer.
        let kept = |s: &Sample| fresh(s) && s.asked > expired && s.asked + s.took < away.end;
        let unmarked = count(&|s| kept(s) || (stale(s) && s.age.is_none()));
        let too_old = count(&|s| {
            stale(s) && (s.asked > ended + SLACK || s.age.is_some_and(|age| age > limit))
        });
        let refused = count(&|s| s.status == 503);
        let others = count(&|s| !matches!(s.status, 200 | 503));
        // Of what had been loaded shortly before, the maximum age passes that much earlier.
        let may_be = ended.checked_sub(TTL).unwrap_or(ended);
        let early = count(&|s| s.status != 200 && s.asked + s.took < may_be);
        println!(
            "| {} for {} s | {} | {} | {} | {} | {unmarked} | {too_old} | {} | {refused} | {others} | {:.0} | {} |",
            self.away.name(),
            self.seconds,
            self.max_stale,
            during.len(),
            count(&fresh),
            count(&stale),
            during.iter().filter_map(|s| s.age).max().unwrap_or(0),
            slowest_ms(during.iter().copied()),
            again.map_or("never".to_owned(), |again| again.as_millis().to_string()),
        );
        Kept {
            answered: early == 0 && others == 0,
            marked: unmarked == 0,
            bounded: too_old == 0,
            fresh: again.is_some_and(|again| again <= FRESH),
        }
    }
}

impl Away {
    fn name(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Stopped => "stopped",
        }
    }

    async fn begin(self, postgres: &Postgres) -> Outcome {
        match self {
            Self::Frozen => postgres.pause()?,
            Self::Stopped => {
                postgres.stop().await?;
            }
        }
        Ok(())
    }

    async fn end(self, postgres: &Postgres) -> Outcome {
        match self {
            Self::Frozen => postgres.resume()?,
            Self::Stopped => postgres.restart().await?,
        }
        Ok(())
    }
}

/// How long after the return the last of the routes had its first fresh answer.
fn fresh_again(samples: &[Sample], back: Instant) -> Option<Duration> {
    let first = |path| {
        let fresh = |s: &&Sample| {
            s.path == path && s.asked >= back && s.status == 200 && s.source != Source::Stale
        };
        let first = samples.iter().filter(fresh).map(|s| s.asked + s.took).min();
        first.map(|at| at - back)
    };
    let all: Option<Vec<Duration>> = (0..ROUTES.len()).map(first).collect();
    all?.into_iter().max()
}
