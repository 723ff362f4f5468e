//! PostgreSQL unavailable for longer than the TTL: entries past it are served, marked stale, up to
//! their maximum age.

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use devstack::{Postgres, Stack};
use tokio::time::sleep;

use super::load::{Load, Sample, Source, slowest_ms};
use super::routes::ROUTES;
use super::{start, ttl_settings, verdict};
use crate::Outcome;

const CLIENTS: usize = 12;
/// The pause of each client after each response.
const PAUSE: Duration = Duration::from_millis(20);
/// The TTL of all namespaces.
const TTL: Duration = Duration::from_secs(2);
/// The maximum time from PostgreSQL's reply to the cache fill.
const SLACK: Duration = Duration::from_millis(250);
/// The time within which every read must be fresh again.
const FRESH: Duration = Duration::from_secs(1);
/// How long the load continues once PostgreSQL is available again.
const AFTER: Duration = Duration::from_secs(4);

/// The kind of outage.
#[derive(Clone, Copy)]
enum Outage {
    Frozen,
    Stopped,
}

/// An outage and the limit of staleness during it, in seconds.
#[derive(Clone, Copy)]
struct Case {
    outage: Outage,
    seconds: u64,
    max_stale: u64,
}

pub(super) async fn run(server: &Path, seconds: u64, max_stale: u64) -> Outcome {
    println!(
        "\n{CLIENTS} clients over {} cached reads, TTL {} s; PostgreSQL unavailable for {seconds} s\n",
        ROUTES.len(),
        TTL.as_secs()
    );
    println!(
        "| PostgreSQL | may be stale s | responses | fresh | stale | stale unmarked | too old | oldest Age s | 503 | others | slowest ms | fresh again ms |"
    );
    println!("|---|---|---|---|---|---|---|---|---|---|---|---|");
    let mut results = Vec::new();
    // With the second limit, the maximum age passes during the outage.
    for max_stale in [max_stale, seconds / 4] {
        for outage in [Outage::Frozen, Outage::Stopped] {
            let case = Case {
                outage,
                seconds,
                max_stale,
            };
            results.push(case.run(server).await?);
        }
    }
    let all = |holds: fn(&Guarantees) -> bool| results.iter().all(holds);
    println!();
    verdict(&[
        (
            "a read within the maximum age returns 200",
            all(|g| g.available),
        ),
        (
            "entries past the TTL are marked stale, with Age",
            all(|g| g.marked),
        ),
        (
            "past the maximum age a read returns 503",
            all(|g| g.bounded),
        ),
        (
            "reads are fresh within 1 s of the end of the outage",
            all(|g| g.fresh),
        ),
    ])
}

/// Which guarantees held.
struct Guarantees {
    available: bool,
    marked: bool,
    bounded: bool,
    fresh: bool,
}

impl Case {
    async fn run(self, server: &Path) -> Outcome<Guarantees> {
        let stack = Stack::builder().postgres().valkey().start().await?;
        let postgres = stack.postgres().ok_or("no PostgreSQL")?;
        let mut settings = ttl_settings(TTL.as_secs());
        settings.push(("CACHE_MAX_STALE_SECONDS", self.max_stale.to_string()));
        let api = start(server, &stack, &settings).await?;
        let load = Load::start(api.addr(), &ROUTES, CLIENTS, PAUSE).await?;
        sleep(2 * TTL).await;
        self.outage.begin(postgres).await?;
        let start = Instant::now();
        sleep(Duration::from_secs(self.seconds)).await;
        let end = Instant::now();
        self.outage.end(postgres).await?;
        let back = Instant::now();
        sleep(AFTER).await;
        let samples = load.end().await?;
        let during = samples.iter().filter(|s| (start..end).contains(&s.sent));
        let during: Vec<&Sample> = during.collect();
        Ok(self.report(start..end, &during, fresh_again(&samples, back)))
    }

    fn report(
        self,
        outage: Range<Instant>,
        during: &[&Sample],
        again: Option<Duration>,
    ) -> Guarantees {
        let count = |wanted: &dyn Fn(&Sample) -> bool| {
            during.iter().filter(|sample| wanted(sample)).count()
        };
        let stale = |s: &Sample| s.status == 200 && s.source == Source::Stale;
        let fresh = |s: &Sample| s.status == 200 && s.source != Source::Stale;
        let expired = outage.start + TTL + SLACK;
        let limit = TTL.as_secs() + self.max_stale;
        let ended = outage.start + Duration::from_secs(limit);
        // A request that is in flight at the end of the outage is served from PostgreSQL.
        let wrong = |s: &Sample| fresh(s) && s.sent > expired && s.sent + s.took < outage.end;
        let unmarked = count(&|s| wrong(s) || (stale(s) && s.age.is_none()));
        let too_old = count(&|s| {
            stale(s) && (s.sent > ended + SLACK || s.age.is_some_and(|age| age > limit))
        });
        let refused = count(&|s| s.status == 503);
        let others = count(&|s| !matches!(s.status, 200 | 503));
        // Entries may have been loaded up to one TTL before the outage.
        let permitted = ended.checked_sub(TTL).unwrap_or(ended);
        let early = count(&|s| s.status != 200 && s.sent + s.took < permitted);
        println!(
            "| {} for {} s | {} | {} | {} | {} | {unmarked} | {too_old} | {} | {refused} | {others} | {:.0} | {} |",
            self.outage.name(),
            self.seconds,
            self.max_stale,
            during.len(),
            count(&fresh),
            count(&stale),
            during.iter().filter_map(|s| s.age).max().unwrap_or(0),
            slowest_ms(during.iter().copied()),
            again.map_or("never".to_owned(), |again| again.as_millis().to_string()),
        );
        Guarantees {
            available: early == 0 && others == 0,
            marked: unmarked == 0,
            bounded: too_old == 0,
            fresh: again.is_some_and(|again| again <= FRESH),
        }
    }
}

impl Outage {
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

/// The time from the end of the outage until every route had a fresh response.
fn fresh_again(samples: &[Sample], back: Instant) -> Option<Duration> {
    let first = |path| {
        let fresh = |s: &&Sample| {
            s.path == path && s.sent >= back && s.status == 200 && s.source != Source::Stale
        };
        let first = samples.iter().filter(fresh).map(|s| s.sent + s.took).min();
        first.map(|at| at - back)
    };
    let all: Option<Vec<Duration>> = (0..ROUTES.len()).map(first).collect();
    all?.into_iter().max()
}
