//! Two replicas of the server with a Valkey Cluster of three primaries: the rate of hits in Valkey,
//! relative to that with one server; and slots that move while they are read and written.

mod moves;
mod rates;

use std::path::Path;

use devstack::{Api, Stack, Valkey, ValkeyCluster};

use super::{start, ttl_settings, verdict};
use crate::Outcome;

/// A TTL in seconds beyond the end of the measurement.
const LONG_TTL: u64 = 24 * 3_600;
/// The least rate of hits in a cluster, relative to that with one server.
const RATE: f64 = 0.9;

/// How long is measured.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Duration of a round of each in seconds.
    #[arg(long, default_value_t = 1)]
    seconds: u32,
    /// Rounds of each.
    #[arg(long, default_value_t = 21, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    rounds: usize,
}

pub(super) async fn run(server: &Path, options: &Options) -> Outcome {
    let Options { seconds, rounds } = *options;
    let stack = Stack::builder().postgres().start().await?;
    let (one, cluster) = tokio::try_join!(Valkey::start(), ValkeyCluster::start())?;
    let instruments = instruments(&stack).await?;
    let ratio = {
        let one = pair(server, &stack, one.url()).await?;
        let of_cluster = pair(server, &stack, cluster.url()).await?;
        rates::run(&one, &of_cluster, &instruments, (seconds, rounds)).await?
    };
    println!();
    let moved = moves::run(server, &stack, &cluster, &instruments).await?;
    let is_met = if ratio >= RATE { "met" } else { "NOT met" };
    println!("target of the ratio: at least {RATE}: {is_met}");
    verdict(&[
        ("three slots have moved", moved.slots == 3),
        ("nothing fails while slots move", moved.failed == 0),
        ("nothing is stale while slots move", moved.stale == 0),
        (
            "hits in Valkey after the last move",
            moved.hits_at_the_end > 0,
        ),
    ])
}

/// Two servers without memory.
async fn pair(server: &Path, stack: &Stack, url: String) -> Outcome<[Api; 2]> {
    let mut settings = ttl_settings(LONG_TTL);
    settings.push(("CACHE_LOCAL", "off".to_owned()));
    settings.push(("VALKEY_URL", url));
    let starting = || start(server, stack, &settings);
    Ok([starting().await?, starting().await?])
}

async fn instruments(stack: &Stack) -> Outcome<Vec<String>> {
    let postgres = stack.postgres().ok_or("no PostgreSQL")?;
    let database = postgres.connect("fia").await?;
    let sql = "SELECT instrument_name FROM instruments ORDER BY 1";
    let rows = database.query(sql, &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}
