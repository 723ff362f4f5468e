//! Random outages of each dependency, independent of each other.

use std::time::{Duration, Instant};

use devstack::{FaultProxy, Mode};
use futures_util::future::try_join_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::sleep;

use super::Run;
use super::fixture::Fixture;
use crate::Outcome;

/// The seconds between two outages of a dependency.
const UP: std::ops::Range<f64> = 5.0..45.0;
/// The seconds of an outage. Short and long ones are equally frequent on a logarithmic scale.
const DOWN: (f64, f64) = (1.0, 90.0);

/// An outage that happened.
pub(super) struct Outage {
    pub(super) of: &'static str,
    pub(super) from: Instant,
    pub(super) until: Instant,
}

/// Injects outages until the end of the busy phase, then ends them all.
pub(super) async fn inject(fixture: &Fixture, run: &Run, seed: u64) -> Outcome<Vec<Outage>> {
    let each = fixture.links.iter().enumerate().map(|(i, (name, link))| {
        let rng = StdRng::seed_from_u64(seed.wrapping_mul(31).wrapping_add(i as u64));
        of_link(name, link, run, rng)
    });
    let outages = try_join_all(each).await?;
    Ok(outages.into_iter().flatten().collect())
}

async fn of_link(
    name: &'static str,
    link: &FaultProxy,
    run: &Run,
    mut rng: StdRng,
) -> Outcome<Vec<Outage>> {
    let mut outages = Vec::new();
    loop {
        wait(run, rng.random_range(UP)).await;
        if !run.is_busy() {
            return Ok(outages);
        }
        let (shortest, longest) = DOWN;
        let seconds = shortest * (longest / shortest).powf(rng.random::<f64>());
        let from = Instant::now();
        if rng.random_bool(0.5) {
            link.refuse(true).await?;
            link.reset_all();
        } else {
            link.set_both(Mode::BlackHole);
        }
        wait(run, seconds).await;
        link.heal().await?;
        // What was sent into the hole is lost: those connections are of no use.
        link.reset_all();
        outages.push(Outage {
            of: name,
            from,
            until: Instant::now(),
        });
    }
}

/// Sleeps, at most until the end of the busy phase.
async fn wait(run: &Run, seconds: f64) {
    let left = run.end.saturating_duration_since(Instant::now());
    sleep(Duration::from_secs_f64(seconds).min(left)).await;
}
