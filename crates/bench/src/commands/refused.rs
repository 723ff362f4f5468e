//! One message above RabbitMQ's limit among many: it is parked, and the others arrive once.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use devstack::{RabbitMq, Stack};
use tokio::time::sleep;

use super::client::Connection;
use super::deliveries::{QUEUE, deliveries};
use super::new_jobs::{DATABASE, apply_schema, bearer, job};
use super::start;
use crate::Outcome;

/// RabbitMQ's limit of a message's size, in bytes, far above that of the other jobs.
const LIMIT: usize = 65_536;
/// The limit until the message is parked; its attempts take about 15 s.
const PARKED_LIMIT: Duration = Duration::from_secs(60);

/// Creates so many jobs, one of them with a message above RabbitMQ's limit.
pub(super) async fn run(server: &Path, jobs: usize) -> Outcome {
    let stack = Stack::builder().postgres().rabbitmq().start().await?;
    apply_schema(server, &stack).await?;
    let rabbitmq = stack.rabbitmq().ok_or("no RabbitMQ")?;
    let limit = format!("application:set_env(rabbit, max_message_size, {LIMIT}).");
    rabbitmq.ctl(&["-q", "eval", &limit]).await?;
    let api = start(server, &stack, &[("EGRESS_QUEUE_NAME", QUEUE.to_owned())]).await?;
    let begun = Instant::now();
    let large = create(&mut Connection::open(api.addr(), &bearer()).await?, jobs).await?;
    let parked_after = wait_for_parked(&stack, begun).await?;
    let listed = outbox(server, &stack, &["list"])?;
    let line = listed.lines().find(|line| line.contains("parked"));
    let line = line.ok_or("the parked message is not listed")?.to_owned();
    let id = line.split_whitespace().next().ok_or("no id")?;
    outbox(server, &stack, &["drop", id])?;
    let left = outbox(server, &stack, &["list"])?.lines().count() - 1;
    report(rabbitmq, jobs, &large, &line, parked_after, left).await
}

/// Creates the jobs, the large one in the middle. Returns the id of its job.
async fn create(connection: &mut Connection, jobs: usize) -> Outcome<String> {
    let mut large = String::new();
    for number in 0..jobs {
        let is_large = number == jobs / 2;
        let body = if is_large {
            let script = "x".repeat(2 * LIMIT);
            format!(r#"{{"runner_image": "bench", "script": "{script}"}}"#)
        } else {
            job(number)
        };
        let response = connection.post("/job/simple", &body).await?;
        if response.status != 200 {
            return Err(format!("job {number}: status {}", response.status).into());
        }
        if is_large {
            large = String::from_utf8(response.body)?;
        }
    }
    Ok(large)
}

/// Waits until nothing but parked messages is left, and returns how long that took.
async fn wait_for_parked(stack: &Stack, begun: Instant) -> Outcome<Duration> {
    let postgres = stack.postgres().ok_or("no PostgreSQL")?;
    let database = postgres.connect(DATABASE).await?;
    let sql = "SELECT count(*) FILTER (WHERE parked_at IS NULL) FROM fia_api_outbox";
    let deadline = Instant::now() + PARKED_LIMIT;
    while database.query_one(sql, &[]).await?.get::<_, i64>(0) > 0 {
        if Instant::now() > deadline {
            return Err("messages are neither published nor parked".into());
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(begun.elapsed())
}

/// Runs `fia-api outbox …` and returns its output.
fn outbox(server: &Path, stack: &Stack, arguments: &[&str]) -> Outcome<String> {
    let mut command = Command::new(server);
    let output = command
        .arg("outbox")
        .args(arguments)
        .envs(stack.env())
        .output()?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout)?)
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned().into())
    }
}

async fn report(
    rabbitmq: &RabbitMq,
    jobs: usize,
    large: &str,
    line: &str,
    parked_after: Duration,
    left: usize,
) -> Outcome {
    let delivered = deliveries(rabbitmq).await?;
    let once = delivered.values().filter(|times| **times == 1).count();
    let large_delivered = delivered.contains_key(&large.parse()?);
    println!("RabbitMQ refuses messages above {LIMIT} bytes\n\n| | |\n|---|---|");
    println!("| jobs created | {jobs} |");
    println!("| delivered once | {once} |");
    println!("| delivered more than once | {} |", delivered.len() - once);
    println!("| large message delivered | {large_delivered} |");
    println!("| parked after | {:.1} s |", parked_after.as_secs_f64());
    println!("| listed as | `{}` |", line.trim());
    println!("| left in the outbox after `drop` | {left} |\n");
    if once == jobs - 1 && delivered.len() == once && !large_delivered && left == 0 {
        Ok(())
    } else {
        Err("a refused message affected others, or was not parked".into())
    }
}
