//! New jobs while RabbitMQ and two servers are killed at random times, and one message that
//! RabbitMQ refuses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use devstack::{Api, RabbitMq, Stack};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::Connection;
use super::deliveries::{QUEUE, deliveries};
use super::new_jobs::{DATABASE, all_announced, apply_schema, bearer, job, script};
use super::waits::{BrokerUp, Waits};
use super::{refused, start};
use crate::Outcome;

const CLIENTS: usize = 8;
/// The mean time between two kills of the server. Those of RabbitMQ are spread over the same span.
const BETWEEN_KILLS: Duration = Duration::from_secs(2);
/// RabbitMQ 3.10 may lose a queue that it created less than this long before it is killed.
const SETTLE: Duration = Duration::from_secs(3);
/// The longest permitted wait of a message after a kill.
const WAIT_TARGET: Duration = Duration::from_secs(3);

pub(super) async fn run(server: &Path, jobs: usize, broker: usize, kills: usize) -> Outcome {
    refused::run(server, jobs).await?;
    let stack = Stack::builder().postgres().rabbitmq().start().await?;
    apply_schema(server, &stack).await?;
    let settings = [("EGRESS_QUEUE_NAME", QUEUE.to_owned())];
    let apis = [
        start(server, &stack, &settings).await?,
        start(server, &stack, &settings).await?,
    ];
    let rabbitmq = stack.rabbitmq().ok_or("no RabbitMQ")?;
    // The first job declares the queue, which exists in any deployment.
    let requests = Arc::new(Requests::default());
    create(&apis, &stack, &requests, 0..1, Duration::ZERO).await?;
    sleep(SETTLE).await;
    let span = BETWEEN_KILLS * u32::try_from(kills)?;
    let broker_up = BrokerUp::new();
    let (end, ended) = oneshot::channel();
    let faults = async {
        let (created, killed, killed_broker) = tokio::join!(
            create(&apis, &stack, &requests, 1..jobs, span),
            kill_servers(&apis, kills, span),
            kill_broker(rabbitmq, &broker_up, broker, span),
        );
        created.and(killed).and(killed_broker)?;
        all_announced(&stack).await?;
        drop(end);
        Ok(())
    };
    let observe = Waits::observe(&stack, broker_up.clone(), ended);
    let (faults, waits): (Outcome, _) = tokio::join!(faults, observe);
    faults?;
    let delivered = deliveries(rabbitmq).await?;
    report(&stack, jobs, &requests, &delivered, [broker, kills]).await?;
    report_waits(&waits?)
}

#[derive(Default)]
struct Requests {
    /// Requests without a response, or with a status other than 200.
    failed: AtomicUsize,
    /// Those of them whose job was created anyway.
    made: AtomicUsize,
}

/// Creates the jobs of these numbers, spread over a time span, each until it exists.
async fn create(
    apis: &[Api; 2],
    stack: &Stack,
    requests: &Arc<Requests>,
    numbers: Range<usize>,
    span: Duration,
) -> Outcome {
    let end = numbers.end;
    let next = Arc::new(AtomicUsize::new(numbers.start));
    let share = u32::try_from(numbers.len().div_ceil(CLIENTS).max(1))?;
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let postgres = stack.postgres().ok_or("no PostgreSQL")?;
        let mut client = Client {
            addresses: apis.each_ref().map(Api::addr),
            current: client % apis.len(),
            database: postgres.connect(DATABASE).await?,
            connection: None,
            requests: Arc::clone(requests),
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
    /// The servers.
    addresses: [SocketAddr; 2],
    /// The server in use; a failure changes it.
    current: usize,
    database: tokio_postgres::Client,
    connection: Option<Connection>,
    requests: Arc<Requests>,
}

impl Client {
    /// Requests a job until it exists. After a lost response, looks it up in the database.
    async fn create(&mut self, number: usize) -> Outcome {
        loop {
            if self.post(number).await.is_ok_and(|status| status == 200) {
                return Ok(());
            }
            self.connection = None;
            self.current = (self.current + 1) % self.addresses.len();
            self.requests.failed.fetch_add(1, Ordering::Relaxed);
            // Lets the database finish what the killed server had sent.
            sleep(Duration::from_millis(200)).await;
            let sql = "SELECT count(*) FROM jobs JOIN scripts ON scripts.id = script_id \
                       WHERE script = $1";
            let row = self.database.query_one(sql, &[&script(number)]).await?;
            if row.get::<_, i64>(0) > 0 {
                self.requests.made.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
        }
    }

    async fn post(&mut self, number: usize) -> Outcome<u16> {
        let address = self.addresses[self.current];
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(Connection::open(address, &bearer()).await?),
        };
        Ok(connection.post("/job/simple", &job(number)).await?.status)
    }
}

/// Kills the servers in turn.
async fn kill_servers(apis: &[Api; 2], kills: usize, span: Duration) -> Outcome {
    for api in apis.iter().cycle().take(kills) {
        pause(span, kills).await?;
        api.server().kill();
        api.restart().await?;
    }
    Ok(())
}

async fn kill_broker(rabbitmq: &RabbitMq, up: &BrokerUp, kills: usize, span: Duration) -> Outcome {
    for _ in 0..kills {
        pause(span, kills).await?;
        up.set(false).await;
        rabbitmq.kill();
        rabbitmq.restart().await?;
        up.set(true).await;
    }
    Ok(())
}

/// Sleeps for a random time, so that `count` pauses and restarts last about as long as the span.
async fn pause(span: Duration, count: usize) -> Outcome {
    let mean = span / u32::try_from(count)?;
    sleep(mean.mul_f64(1.6 * rand::random::<f64>())).await;
    Ok(())
}

async fn report(
    stack: &Stack,
    jobs: usize,
    requests: &Requests,
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
        ("jobs requested", jobs),
        (
            "requests that failed and were retried or looked up",
            requests.failed.load(Ordering::Relaxed),
        ),
        (
            "jobs made although the response was lost",
            requests.made.load(Ordering::Relaxed),
        ),
        ("rows", rows.len()),
        ("distinct jobs announced", delivered.len()),
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

fn report_waits(waits: &Waits) -> Outcome {
    let [longest, after_restart] = waits.longest().map(|wait| wait.as_secs_f64());
    println!("| longest wait of a message with RabbitMQ up | {longest:.2} s |");
    println!("| the same, since RabbitMQ was restarted | {after_restart:.2} s |");
    match waits.above(WAIT_TARGET) {
        0 => Ok(()),
        n => Err(format!("{n} messages waited longer than {WAIT_TARGET:?}").into()),
    }
}
