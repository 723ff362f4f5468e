//! Many viewers of live logs.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use devstack::{Stack, Valkey, tokens};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::start;
use super::watch::{Seen, Watch};
use crate::Outcome;

/// How long after the last message its viewers may take.
const SLACK: Duration = Duration::from_secs(10);

/// What is measured.
pub(super) struct Load {
    pub(super) viewers: usize,
    pub(super) logs: usize,
    /// Messages a second of each log.
    pub(super) rate: u32,
    pub(super) seconds: u32,
}

pub(super) async fn run(server: &Path, load: &Load) -> Outcome {
    let stack = Stack::builder().postgres().valkey().start().await?;
    let valkey = stack.valkey().ok_or("no Valkey")?;
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
    let watch = Watch::start(&api).await?;
    let before = Readers::of(valkey).await?;
    let mut most_reading = before.reading;
    let writing = write(valkey, clock, load);
    tokio::pin!(writing);
    loop {
        tokio::select! {
            written = &mut writing => break written?,
            () = sleep(Duration::from_millis(100)) => {
                most_reading = most_reading.max(Readers::of(valkey).await?.reading);
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
    timeout(SLACK, received)
        .await
        .map_err(|_| "messages are missing")??;
    let after = Readers::of(valkey).await?;
    let seen = watch.end().await?;
    report(load, &mut waits, &seen);
    println!(
        "\nXREAD: {} calls, one after another on each of {most_reading} connections at most; \
         connections of the server to Valkey: {}",
        after.calls - before.calls,
        after.connections
    );
    api.stop().await?;
    Ok(())
}

fn report(load: &Load, waits: &mut [u32], seen: &Seen) {
    waits.sort_unstable();
    let ms = |share: usize| f64::from(waits[(waits.len() - 1) * share / 1000]) / 1e3;
    println!(
        "| viewers | logs | messages/s | received | p50 ms | p99 ms | slowest ms | {}",
        Seen::HEAD
    );
    println!("|---|---|---|---|---|---|---|{}", Seen::RULE);
    println!(
        "| {} | {} | {} | {} | {:.1} | {:.1} | {:.1} | {}",
        load.viewers,
        load.logs,
        load.rate as usize * load.logs,
        waits.len(),
        ms(500),
        ms(990),
        ms(1000),
        seen.row()
    );
}

async fn open(address: SocketAddr, log: usize) -> Outcome<BufReader<TcpStream>> {
    let mut stream = BufReader::with_capacity(4096, TcpStream::connect(address).await?);
    let request = format!(
        "GET /live-data/L{log}/logs HTTP/1.1\r\nhost: bench\r\naccept: text/event-stream\r\n\
         authorization: Bearer {}\r\n\r\n",
        tokens::API_KEY
    );
    stream.write_all(request.as_bytes()).await?;
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    if !line.starts_with("HTTP/1.1 200") {
        return Err(format!("a viewer was answered {line}").into());
    }
    Ok(stream)
}

/// Reads all messages, each once and in order; returns what each took, in microseconds.
async fn view(
    mut stream: BufReader<TcpStream>,
    clock: Instant,
    messages: u32,
) -> Outcome<Vec<u32>> {
    let mut waits = Vec::with_capacity(messages as usize);
    let mut line = String::new();
    while waits.len() < messages as usize {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err("a stream ended".into());
        }
        let Some(data) = line.strip_prefix("data: {\"msg\": \"") else {
            if line.starts_with("data: {\"error\"") {
                return Err(line.into());
            }
            continue;
        };
        let text = data.split('"').next().unwrap_or_default();
        let (number, sent) = text.split_once(':').ok_or("another message")?;
        if number.parse::<usize>()? != waits.len() {
            return Err(format!("message {number} instead of {}", waits.len()).into());
        }
        let now = u64::try_from(clock.elapsed().as_micros())?;
        waits.push(u32::try_from(now.saturating_sub(sent.parse()?))?);
    }
    Ok(waits)
}

/// Writes the messages of all logs at their rate, with the time in each.
async fn write(valkey: &Valkey, clock: Instant, load: &Load) -> Outcome {
    let mut stream = TcpStream::connect(valkey.addr()).await?;
    stream.set_nodelay(true)?;
    let mut ticks = interval(Duration::from_secs(1) / load.rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut replies = vec![0; 64 * 1024];
    for number in 0..load.rate * load.seconds {
        ticks.tick().await;
        let now = clock.elapsed().as_micros();
        for log in 0..load.logs {
            let add = format!(
                "XADD L{log}_live_data_processor_logs MAXLEN 2000 * msg {number}:{now} level INFO\r\n"
            );
            stream.write_all(add.as_bytes()).await?;
        }
        // What has been answered so far: not to fill the buffers.
        let _ = stream.try_read(&mut replies);
    }
    Ok(())
}

/// What Valkey says of those who read streams there.
struct Readers {
    calls: u64,
    /// The connections that read streams, waiting or not: with much to read none ever waits.
    reading: usize,
    connections: usize,
}

impl Readers {
    async fn of(valkey: &Valkey) -> Outcome<Self> {
        let stats = ask(valkey, "INFO commandstats").await?;
        let clients = ask(valkey, "CLIENT LIST").await?;
        let calls = stats
            .lines()
            .find_map(|line| line.strip_prefix("cmdstat_xread:calls="));
        let calls = calls.and_then(|line| line.split(',').next()?.parse().ok());
        let reading = |line: &&str| line.contains(" cmd=xread ");
        // This one and the writer's are not the server's.
        let others = clients
            .lines()
            .filter(|line| line.starts_with("id="))
            .count();
        Ok(Self {
            calls: calls.unwrap_or(0),
            reading: clients.lines().filter(reading).count(),
            connections: others.saturating_sub(1),
        })
    }
}

/// Sends one command and returns its reply, a text.
async fn ask(valkey: &Valkey, command: &str) -> Outcome<String> {
    let mut stream = BufReader::new(TcpStream::connect(valkey.addr()).await?);
    stream
        .write_all(format!("{command}\r\n").as_bytes())
        .await?;
    let mut size = String::new();
    stream.read_line(&mut size).await?;
    let size = size.trim().strip_prefix('$').ok_or("another reply")?;
    let mut text = vec![0; size.parse()?];
    stream.read_exact(&mut text).await?;
    Ok(String::from_utf8(text)?)
}
