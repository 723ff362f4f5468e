//! Lists and counts of jobs beside writes: how old they are, how often they are hits, and what the
//! writes cost.

mod bulk_update;
mod hits;
mod jobs;
mod patches;
mod readers;
mod writers;

use std::path::Path;

use devstack::{Api, Stack, add_jobs};

use super::new_jobs::{DATABASE, apply_schema};
use super::{start, verdict};
use crate::Outcome;
use jobs::Jobs;

/// The jobs in the database before.
const JOBS: u32 = 20_000;

/// What is measured.
#[derive(clap::Args)]
pub(super) struct Options {
    /// Number of writes, through two servers and then by SQL with the change feed.
    #[arg(long, default_value_t = 10_000)]
    writes: u64,
    /// Seconds of reads beside one write a second.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Number of jobs that one statement changes, with and without the triggers of the change feed.
    #[arg(long, default_value_t = 1_000_000)]
    bulk: u32,
}

pub(super) async fn run(server: &Path, options: Options) -> Outcome {
    let fixture = Fixture::start(server).await?;
    let mut guarantees = Vec::new();
    guarantees.extend(readers::run(&fixture, options.writes).await?);
    guarantees.extend(hits::run(&fixture, options.seconds).await?);
    guarantees.extend(patches::run(&fixture).await?);
    if options.bulk > 0 {
        guarantees.push(bulk_update::run(server, options.bulk).await?);
    }
    verdict(&guarantees)
}

/// A database of some jobs, and servers on it.
struct Fixture<'a> {
    server: &'a Path,
    stack: Stack,
}

impl<'a> Fixture<'a> {
    async fn start(server: &'a Path) -> Outcome<Self> {
        let stack = Stack::builder().postgres().valkey().upstreams();
        let stack = stack.start().await?;
        let fixture = Self { server, stack };
        add_jobs(fixture.postgres()?, DATABASE, JOBS).await?;
        apply_schema(server, &fixture.stack).await?;
        let feed = ["schema", "--change-feed", "--apply"];
        Api::run_command(server, &feed, &fixture.stack.env()).await?;
        Ok(fixture)
    }

    fn postgres(&self) -> Outcome<&devstack::Postgres> {
        Ok(self.stack.postgres().ok_or("no PostgreSQL")?)
    }

    async fn database(&self) -> Outcome<tokio_postgres::Client> {
        Ok(self.postgres()?.connect(DATABASE).await?)
    }

    /// The setting of a server that follows the change feed.
    fn feed(&self) -> Outcome<(&'static str, String)> {
        Ok(("DB_LISTEN_URL", self.postgres()?.url(DATABASE)))
    }

    async fn replica(&self, settings: &[(&str, String)]) -> Outcome<Api> {
        start(self.server, &self.stack, settings).await
    }

    async fn jobs(&self) -> Outcome<Jobs> {
        Jobs::prepare(&self.database().await?).await
    }
}
