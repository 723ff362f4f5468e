//! The rate of new jobs with the broker available.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use devstack::{Api, Stack, tokens};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::Connection;
use super::start;
use crate::Outcome;

/// The stack's database.
pub(super) const DATABASE: &str = "fia";
const CLIENTS: usize = 16;

pub(super) async fn run(server: &Path, jobs: usize) -> Outcome {
    let stack = Stack::builder().postgres().rabbitmq().start().await?;
    apply_schema(server, &stack).await?;
    let api = start(server, &stack, &[]).await?;
    println!("{CLIENTS} clients in a closed loop, a different script for each job\n");
    let next = Arc::new(AtomicUsize::new(0));
    let mut clients = JoinSet::new();
    let begun = Instant::now();
    for _ in 0..CLIENTS {
        let mut connection = Connection::open(api.addr(), &bearer()).await?;
        let next = Arc::clone(&next);
        clients.spawn(async move {
            let mut waits = Vec::new();
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                if i >= jobs {
                    return Ok::<_, String>(waits);
                }
                let sent = Instant::now();
                let response = connection.post("/job/simple", &job(i)).await;
                waits.push(sent.elapsed());
                match response.map_err(|error| error.to_string())?.status {
                    200 => {}
                    status => return Err(format!("a new job returned {status}")),
                }
            }
        });
    }
    let mut waits = Vec::new();
    while let Some(client) = clients.join_next().await {
        waits.extend(client??);
    }
    let took = begun.elapsed();
    all_announced(&stack).await?;
    let announced = begun.elapsed();
    waits.sort();
    let per_second = |took: Duration| waits.len() as f64 / took.as_secs_f64();
    let wait = |share: f64| waits[(waits.len() as f64 * share) as usize].as_secs_f64() * 1e3;
    println!("| jobs | jobs/s | p50 ms | p99 ms | jobs/s until all are announced |");
    println!("|---|---|---|---|---|");
    println!(
        "| {jobs} | {:.0} | {:.1} | {:.1} | {:.0} |",
        per_second(took),
        wait(0.50),
        wait(0.99),
        per_second(announced)
    );
    Ok(())
}

/// Adds the outbox to the schema of the sample data.
pub(super) async fn apply_schema(server: &Path, stack: &Stack) -> Outcome {
    Ok(Api::run_command(server, &["schema", "--apply"], &stack.env()).await?)
}

/// The request body of a job with a unique script.
pub(super) fn job(number: usize) -> String {
    format!(
        r#"{{"runner_image": "bench", "script": "{}"}}"#,
        script(number)
    )
}

pub(super) fn script(number: usize) -> String {
    format!("bench({number})")
}

pub(super) fn bearer() -> String {
    format!("Bearer {}", tokens::API_KEY)
}

/// Waits until the outbox is empty.
pub(super) async fn all_announced(stack: &Stack) -> Outcome {
    let postgres = stack.postgres().ok_or("no PostgreSQL")?;
    let client = postgres.connect(DATABASE).await?;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let row = client
            .query_one("SELECT count(*) FROM fia_api_outbox", &[])
            .await?;
        match row.get::<_, i64>(0) {
            0 => return Ok(()),
            left if Instant::now() > deadline => {
                return Err(
                    format!("{left} messages are still in the outbox after a minute").into(),
                );
            }
            _ => sleep(Duration::from_millis(20)).await,
        }
    }
}
