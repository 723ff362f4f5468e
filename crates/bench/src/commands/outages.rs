//! New jobs while RabbitMQ and the server are killed at random moments.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use devstack::{Api, RabbitMq, Stack};
use futures_util::StreamExt as _;
use lapin::options::{BasicAckOptions, BasicConsumeOptions};
use lapin::types::FieldTable;
use lapin::{Connection as BrokerConnection, ConnectionProperties};
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::client::Connection;
use super::new_jobs::{DATABASE, all_announced, apply_schema, bearer, job, script};
use super::start;
use crate::Outcome;

const CLIENTS: usize = 8;
const QUEUE: &str = "scheduled-jobs";
/// The mean time between two kills of the server; RabbitMQ's are as many times longer as it is
/// killed less often.
const BETWEEN_KILLS: Duration = Duration::from_secs(3);
/// RabbitMQ 3.10 forgets the name of a queue's log when it is killed this soon after making it.
const SETTLE: Duration = Duration::from_secs(3);
/// How long the queue is silent before it counts as empty.
const SILENCE: Duration = Duration::from_secs(2);

pub(super) async fn run(server: &Path, jobs: usize, broker: usize, kills: usize) -> Outcome {
    let stack = Stack::builder().postgres().rabbitmq().start().await?;
    apply_schema(server, &stack).await?;
    let api = start(server, &stack, &[("EGRESS_QUEUE_NAME", QUEUE.to_owned())]).await?;
    let rabbitmq = stack.rabbitmq().ok_or("no RabbitMQ")?;
    // One job beforehand, so that the queue is there, as in any deployment.
    let asked = Arc::new(Asked::default());
    create(&api, &stack, &asked, 0, 1, Duration::ZERO).await?;
    sleep(SETTLE).await;
    let span = BETWEEN_KILLS * u32::try_from(kills)?;
    let (created, killed, killed_broker) = tokio::join!(
        create(&api, &stack, &asked, 1, jobs, span),
        kill_server(&api, kills, span),
        kill_broker(rabbitmq, broker, span),
    );
    created?;
    killed?;
    killed_broker?;
    all_announced(&stack).await?;
    let delivered = deliveries(rabbitmq).await?;
    report(&stack, jobs, &asked, &delivered, [broker, kills]).await
}

#[derive(Default)]
struct Asked {
    /// Requests without an answer, or with another than 200.
    failed: AtomicUsize,
    /// Those of them whose job was made all the same.
    made: AtomicUsize,
}

/// Makes the jobs of these numbers, spread over a span of time, each until it is there.
async fn create(
    api: &Api,
    stack: &Stack,
    asked: &Arc<Asked>,
    first: usize,
    end: usize,
    span: Duration,
) -> Outcome {
    let next = Arc::new(AtomicUsize::new(first));
    let share = u32::try_from((end - first).div_ceil(CLIENTS).max(1))?;
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let postgres = stack.postgres().ok_or("no PostgreSQL")?;
        let mut client = Client {
            address: api.addr(),
            database: postgres.connect(DATABASE).await?,
            connection: None,
            asked: Arc::clone(asked),
        };
        let next = Arc::clone(&next);
        clients.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= end {
                    return Ok::<_, String>(());
                }
                client
                    .create(number)
                    .await
                    .map_err(|error| error.to_string())?;
                sleep((span / share).mul_f64(2.0 * rand::random::<f64>())).await;
            }
        });
    }
    while let Some(client) = clients.join_next().await {
        client??;
    }
    Ok(())
}

struct Client {
    address: std::net::SocketAddr,
    database: tokio_postgres::Client,
    connection: Option<Connection>,
    asked: Arc<Asked>,
}

impl Client {
    /// Asks for a job until it is there. After a lost answer the database tells whether it is.
    async fn create(&mut self, number: usize) -> Outcome {
        loop {
            if self.ask(number).await.is_ok_and(|status| status == 200) {
                return Ok(());
            }
            self.connection = None;
            self.asked.failed.fetch_add(1, Ordering::Relaxed);
            // What a killed server had sent to the database takes its course.
            sleep(Duration::from_millis(200)).await;
            let sql = "SELECT count(*) FROM jobs JOIN scripts ON scripts.id = script_id \
                       WHERE script = $1";
            let row = self.database.query_one(sql, &[&script(number)]).await?;
            if row.get::<_, i64>(0) > 0 {
                self.asked.made.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
        }
    }

    async fn ask(&mut self, number: usize) -> Outcome<u16> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(self.address, &bearer()).await?),
        };
        Ok(connection.post("/job/simple", &job(number)).await?.status)
    }
}

async fn kill_server(api: &Api, kills: usize, span: Duration) -> Outcome {
    for _ in 0..kills {
        pause(span, kills).await?;
        api.server().kill();
        api.restart().await?;
    }
    Ok(())
}

async fn kill_broker(rabbitmq: &RabbitMq, kills: usize, span: Duration) -> Outcome {
    for _ in 0..kills {
        pause(span, kills).await?;
        rabbitmq.kill();
        rabbitmq.restart().await?;
    }
    Ok(())
}

/// A random while: so many of them and what they are between last about as long as the span.
async fn pause(span: Duration, count: usize) -> Outcome {
    let mean = span / u32::try_from(count)?;
    sleep(mean.mul_f64(1.6 * rand::random::<f64>())).await;
    Ok(())
}

/// How often each job was announced.
async fn deliveries(rabbitmq: &RabbitMq) -> Outcome<BTreeMap<i32, usize>> {
    let properties = ConnectionProperties::default();
    let connection = BrokerConnection::connect(&rabbitmq.url(), properties).await?;
    let channel = connection.create_channel().await?;
    let options = BasicConsumeOptions::default();
    let table = FieldTable::default();
    let mut messages = channel
        .basic_consume(QUEUE.into(), "".into(), options, table)
        .await?;
    let mut delivered = BTreeMap::new();
    while let Ok(Some(message)) = timeout(SILENCE, messages.next()).await {
        let message = message?;
        message.ack(BasicAckOptions::default()).await?;
        let body: Value = serde_json::from_slice(&message.data)?;
        let id = body["job_id"].as_i64().ok_or("a message without a job")?;
        *delivered.entry(i32::try_from(id)?).or_default() += 1;
    }
    Ok(delivered)
}

async fn report(
    stack: &Stack,
    jobs: usize,
    asked: &Asked,
    delivered: &BTreeMap<i32, usize>,
    [broker, kills]: [usize; 2],
) -> Outcome {
    let postgres = stack.postgres().ok_or("no PostgreSQL")?;
    let database = postgres.connect(DATABASE).await?;
    let sql = "SELECT id FROM jobs WHERE runner_image = 'bench'";
    let rows = database.query(sql, &[]).await?;
    let rows: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
    let silent = rows.iter().filter(|id| !delivered.contains_key(id)).count();
    let orphans = delivered.keys().filter(|id| !rows.contains(id)).count();
    let twice = delivered.values().map(|times| times - 1).sum::<usize>();
    println!("| | |\n|---|---|");
    for (what, count) in [
        ("kills of RabbitMQ", broker),
        ("kills of the server", kills),
        ("jobs asked for", jobs),
        (
            "requests that failed and were repeated or looked up",
            asked.failed.load(Ordering::Relaxed),
        ),
        (
            "jobs made although their answer was lost",
            asked.made.load(Ordering::Relaxed),
        ),
        ("rows", rows.len()),
        ("different jobs announced", delivered.len()),
        ("rows without a message", silent),
        ("messages without a row", orphans),
        ("messages beyond the first of a job", twice),
    ] {
        println!("| {what} | {count} |");
    }
    if rows.len() == jobs && silent == 0 && orphans == 0 {
        Ok(())
    } else {
        Err("jobs or messages were lost".into())
    }
}
