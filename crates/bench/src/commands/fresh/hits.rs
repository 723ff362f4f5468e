//! The rate of hits beside one write a second, and the load of PostgreSQL.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use devstack::Api;
use rand::RngExt as _;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Fixture;
use super::jobs::Jobs;
use crate::Outcome;
use crate::commands::client::Connection;
use crate::commands::new_jobs::bearer;

const READERS: usize = 200;
/// The longest pause of a reader between two reads.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads by scope: of an instrument, and of all.
#[derive(Default, Clone, Copy)]
struct Hits {
    reads: [u64; 2],
    hits: [u64; 2],
}

impl Hits {
    fn percent(self, scope: usize) -> f64 {
        100.0 * self.hits[scope] as f64 / self.reads[scope].max(1) as f64
    }
}

pub(super) async fn run(fixture: &Fixture<'_>, seconds: u64) -> Outcome<Vec<(&'static str, bool)>> {
    println!("\n1 write/s over 20 instruments, {READERS} readers on two servers, {seconds} s\n");
    println!(
        "| JOB_GROUPS | reads/s | hits of an instrument's lists and counts % | of all instruments' % | transactions/s of PostgreSQL |"
    );
    println!("|---|---|---|---|---|");
    let mut with_groups = Hits::default();
    for groups in ["off", "on"] {
        let settings = [fixture.feed()?, ("JOB_GROUPS", groups.to_owned())];
        let replicas = [
            fixture.replica(&settings).await?,
            fixture.replica(&settings).await?,
        ];
        let before = transactions(fixture).await?;
        let hits = measure(fixture, &replicas, Duration::from_secs(seconds)).await?;
        let after = transactions(fixture).await?;
        println!(
            "| {groups} | {:.0} | {:.1} | {:.1} | {:.0} |",
            (hits.reads[0] + hits.reads[1]) as f64 / seconds as f64,
            hits.percent(0),
            hits.percent(1),
            (after - before) as f64 / seconds as f64,
        );
        with_groups = hits;
    }
    Ok(vec![
        (
            "at least 90 % of an instrument's lists and counts are hits",
            with_groups.percent(0) >= 90.0,
        ),
        (
            "at least 80 % of those of all instruments are hits",
            with_groups.percent(1) >= 80.0,
        ),
    ])
}

async fn transactions(fixture: &Fixture<'_>) -> Outcome<i64> {
    let client = fixture.database().await?;
    let sql = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
    Ok(client.query_one(sql, &[]).await?.get(0))
}

async fn measure(fixture: &Fixture<'_>, replicas: &[Api], time: Duration) -> Outcome<Hits> {
    let jobs = Arc::new(fixture.jobs().await?);
    let end = Instant::now() + time;
    let mut readers = JoinSet::new();
    for i in 0..READERS {
        let address = replicas[i % replicas.len()].addr();
        let reading = read(address, Arc::clone(&jobs), end);
        readers.spawn(async move { reading.await.map_err(|error| error.to_string()) });
    }
    let mut writer = Connection::open(replicas[0].addr(), &bearer()).await?;
    let mut next = 0;
    while Instant::now() < end {
        let job = &jobs.0[next % jobs.0.len()];
        next += 1;
        let body = format!("{{\"status_message\": \"{next}\"}}");
        let path = format!("/job/{}", job.id);
        let headers = [("content-type", "application/json")];
        writer
            .send(http::Method::PATCH, &path, &headers, &body)
            .await?;
        sleep(Duration::from_secs(1)).await;
    }
    let mut all = Hits::default();
    while let Some(reader) = readers.join_next().await {
        let hits = reader??;
        for scope in 0..2 {
            all.reads[scope] += hits.reads[scope];
            all.hits[scope] += hits.hits[scope];
        }
    }
    Ok(all)
}

async fn read(address: SocketAddr, jobs: Arc<Jobs>, end: Instant) -> Outcome<Hits> {
    let mut connection = Connection::open(address, &bearer()).await?;
    let mut hits = Hits::default();
    while Instant::now() < end {
        let job = rand::rng().random_range(0..jobs.0.len());
        let list = rand::rng().random_range(0..Jobs::LISTS);
        let path = jobs.path(job, list);
        let response = connection.get(&path).await?;
        let scope = usize::from(path.starts_with("/jobs"));
        let is_hit = response
            .header("cache-status")
            .is_some_and(|status| status.contains("hit"));
        hits.reads[scope] += 1;
        hits.hits[scope] += u64::from(is_hit);
        let pause = PAUSE.mul_f64(rand::rng().random());
        sleep(pause).await;
    }
    Ok(hits)
}
