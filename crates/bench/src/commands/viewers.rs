//! Concurrent viewers of live logs.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use devstack::http::{BodyStream, Connection};
use devstack::{Stack, tokens};
use http::Method;
use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::probe::{ProbeReport, Probes};
use super::start;
use crate::Outcome;

/// The time in which viewers must receive the last message.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);

/// The load.
#[derive(clap::Args)]
pub(super) struct Load {
    /// Number of viewers.
    #[arg(long, default_value_t = 1000)]
    viewers: usize,
    /// Number of logs, shared evenly by the viewers.
    #[arg(long, default_value_t = 1)]
    logs: usize,
    /// Messages per second in each log.
    #[arg(long, default_value_t = 50)]
    rate: u32,
    /// Duration in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
}

pub(super) async fn run(server: &Path, load: &Load) -> Outcome {
    let stack = Stack::builder().postgres().valkey().start().await?;
    let valkey = redis::Client::open(stack.valkey().ok_or("no Valkey")?.url())?;
    let mut valkey = valkey.get_multiplexed_async_connection().await?;
    let api = start(server, &stack, &[]).await?;
    let messages = load.rate * load.seconds;
    let clock = Instant::now();
    let mut viewers = JoinSet::new();
    for i in 0..load.viewers {
        let (address, log) = (api.addr(), i % load.logs);
        let stream = open(address, log).await?;
        viewers.spawn(async move {
            view(stream, clock, messages)
                .await
                .map_err(|error| error.to_string())
        });
    }
    sleep(Duration::from_secs(1)).await;
    let probes = Probes::start(&api).await?;
    let before = Readers::of(&mut valkey).await?;
    let mut max_reading = before.reading;
    let writing = write(valkey.clone(), clock, load);
    tokio::pin!(writing);
    loop {
        tokio::select! {
            written = &mut writing => break written?,
            () = sleep(Duration::from_millis(100)) => {
                max_reading = max_reading.max(Readers::of(&mut valkey).await?.reading);
            }
        }
    }
    let mut waits: Vec<u32> = Vec::new();
    let received = async {
        while let Some(viewer) = viewers.join_next().await {
            waits.extend(viewer??);
        }
        Ok::<_, Box<dyn std::error::Error>>(())
    };
    timeout(DELIVERY_TIMEOUT, received)
        .await
        .map_err(|_| "messages are missing")??;
    let after = Readers::of(&mut valkey).await?;
    let probed = probes.end().await?;
    report(load, &mut waits, &probed);
    println!(
        "\nXREAD: {} calls, sequential on each of at most {max_reading} connections; \
         the server has {} connections to Valkey",
        after.calls - before.calls,
        after.connections
    );
    api.stop().await?;
    Ok(())
}

fn report(load: &Load, waits: &mut [u32], probed: &ProbeReport) {
    waits.sort_unstable();
    let ms = |share: usize| f64::from(waits[(waits.len() - 1) * share / 1000]) / 1e3;
    println!(
        "| viewers | logs | messages/s | received | p50 ms | p99 ms | slowest ms | {}",
        ProbeReport::HEAD
    );
    println!("|---|---|---|---|---|---|---|{}", ProbeReport::RULE);
    println!(
        "| {} | {} | {} | {} | {:.1} | {:.1} | {:.1} | {}",
        load.viewers,
        load.logs,
        load.rate as usize * load.logs,
        waits.len(),
        ms(500),
        ms(990),
        ms(1000),
        probed.row()
    );
}

async fn open(address: SocketAddr, log: usize) -> Outcome<BodyStream> {
    let connection = Connection::open(address, &format!("Bearer {}", tokens::API_KEY)).await?;
    let path = format!("/live-data/L{log}/logs");
    let headers = [("accept", "text/event-stream")];
    let stream = connection.stream(Method::GET, &path, &headers, "").await?;
    match stream.status {
        200 => Ok(stream),
        status => Err(format!("{path}: status {status}").into()),
    }
}

/// Reads all messages, each once and in order; returns the latency of each, in microseconds.
async fn view(mut stream: BodyStream, clock: Instant, messages: u32) -> Outcome<Vec<u32>> {
    let mut waits = Vec::with_capacity(messages as usize);
    let mut unread = Vec::new();
    while waits.len() < messages as usize {
        let chunk = stream.chunk().await?.ok_or("a stream ended")?;
        unread.extend_from_slice(&chunk);
        let Some(end) = unread.iter().rposition(|byte| *byte == b'\n') else {
            continue;
        };
        let lines = unread.drain(..=end).collect::<Vec<u8>>();
        for line in String::from_utf8(lines)?.lines() {
            if line.starts_with("data: {\"error\"") {
                return Err(line.into());
            }
            if let Some(data) = line.strip_prefix("data: {\"msg\": \"") {
                waits.push(latency(data, clock, waits.len())?);
            }
        }
    }
    Ok(waits)
}

/// Microseconds since the message was written; an error if it is not number `expected` of its log.
fn latency(data: &str, clock: Instant, expected: usize) -> Outcome<u32> {
    let text = data.split('"').next().unwrap_or_default();
    let (number, sent) = text.split_once(':').ok_or("unexpected message")?;
    if number.parse::<usize>()? != expected {
        return Err(format!("message {number} instead of {expected}").into());
    }
    let now = u64::try_from(clock.elapsed().as_micros())?;
    Ok(u32::try_from(now.saturating_sub(sent.parse()?))?)
}

/// Writes the messages of all logs at their rate, with a timestamp in each.
async fn write(mut valkey: MultiplexedConnection, clock: Instant, load: &Load) -> Outcome {
    let mut ticks = interval(Duration::from_secs(1) / load.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for number in 0..load.rate * load.seconds {
        ticks.tick().await;
        let message = format!("{number}:{}", clock.elapsed().as_micros());
        let mut pipeline = redis::pipe();
        for log in 0..load.logs {
            pipeline
                .cmd("XADD")
                .arg(format!("L{log}_live_data_processor_logs"))
                .arg(&["MAXLEN", "2000", "*", "msg", &message, "level", "INFO"])
                .ignore();
        }
        pipeline.exec_async(&mut valkey).await?;
    }
    Ok(())
}

/// The connections to Valkey that read streams.
struct Readers {
    /// `XREAD` calls since Valkey started.
    calls: u64,
    /// Connections whose latest command is `XREAD`, blocked or not.
    reading: usize,
    /// All connections of the server that is measured.
    connections: usize,
}

impl Readers {
    async fn of(valkey: &mut MultiplexedConnection) -> Outcome<Self> {
        let (stats, clients): (String, String) = redis::pipe()
            .cmd("INFO")
            .arg("commandstats")
            .cmd("CLIENT")
            .arg("LIST")
            .query_async(valkey)
            .await?;
        let calls = stats
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_xread:calls="));
        let calls = calls.and_then(|line| line.split(',').next()?.parse().ok());
        let reading = |line: &&str| line.contains(" cmd=xread ");
        let all = clients.lines().filter(|line| line.starts_with("id="));
        Ok(Self {
            calls: calls.unwrap_or(0),
            reading: clients.lines().filter(reading).count(),
            // One is the benchmark's own.
            connections: all.count().saturating_sub(1),
        })
    }
}
