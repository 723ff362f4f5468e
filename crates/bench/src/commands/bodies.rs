//! Bodies of strangers: 100 large ones at once, of the shapes that cost most to parse, and 1,000 that
//! never end. The memory of the server, the time until a refusal, and everybody else's requests.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use devstack::{Api, Stack, tokens};
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::client::Connection;
use super::probe::{ProbeReport, Probes};
use super::{milliseconds, resident_mib, start, verdict};
use crate::Outcome;

/// The size of a body: the default of `MAX_BODY_BYTES`.
const SIZE: usize = 4 * 1024 * 1024;
/// The bodies that are sent at once.
const AT_ONCE: usize = 100;
/// The memory of a small container, in MiB.
const MAX_MIB: f64 = 256.0;
/// The most memory that a request may add, in MiB.
const MAX_MIB_EACH: f64 = 8.0;
/// The longest time from the last byte of a body to the refusal.
const MAX_REFUSAL: Duration = Duration::from_millis(50);
/// The 99th percentile of cached reads meanwhile.
const MAX_READ: Duration = Duration::from_millis(20);
/// The bodies that never end, and the legitimate requests meanwhile.
const HALF_SENT: usize = 1000;
/// The pause between two cached reads.
const READ_PAUSE: Duration = Duration::from_millis(2);
/// The bodies of a shape are sent again until there were so many reads meanwhile: fewer have no 99th
/// percentile.
const READS: usize = 1000;
/// The most times that they are sent.
const MAX_ROUNDS: usize = 200;
/// The pause between two times, in which nothing is measured.
const BETWEEN: Duration = Duration::from_millis(50);
/// The reads before the first body: those that are not cached yet, and the first of a connection.
const WARM_UP: usize = 20;
/// The buffer for what a sender has written and the server's machine has not received, in bytes.
const SEND_BUFFER: u32 = 64 * 1024;
/// Time limit of a refusal.
const LIMIT: Duration = Duration::from_secs(60);

pub(super) async fn run(server: &Path) -> Outcome {
    let stack = Stack::builder().postgres().valkey().start().await?;
    let api = start(server, &stack, &[]).await?;
    println!("{AT_ONCE} anonymous bodies of {} MiB at once\n", SIZE >> 20);
    println!(
        "| body | refused | slowest refusal ms | MiB before | {} cached reads | p99 ms | slowest ms |",
        ProbeReport::HEAD
    );
    println!("|---|---|---|---|{}---|---|---|", ProbeReport::RULE);
    let mut large = Vec::new();
    for (name, body) in shapes() {
        large.push(Large::run(&api, name, &body).await?);
    }
    let refused = half_sent(&api).await?;
    println!(
        "\n{HALF_SENT} half-sent bodies: {refused} of {HALF_SENT} legitimate requests refused\n"
    );
    let all = |holds: fn(&Large) -> bool| large.iter().all(holds);
    verdict(&[
        (
            "every body was refused with 401",
            all(|run| run.all_refused),
        ),
        (
            "the server fits into 256 MiB",
            all(|run| run.max <= MAX_MIB),
        ),
        (
            "a request adds at most 8 MiB",
            all(|run| run.max - run.before <= MAX_MIB_EACH * AT_ONCE as f64),
        ),
        (
            "a refusal takes at most 50 ms from the last byte",
            all(|run| run.refusal <= MAX_REFUSAL),
        ),
        (
            "the 99th percentile of cached reads is at most 20 ms",
            all(|run| run.read <= MAX_READ),
        ),
        (
            "half-sent bodies refuse no legitimate request",
            refused == 0,
        ),
    ])
}

/// Bodies that are expensive to parse, by their beginning.
fn shapes() -> Vec<(&'static str, String)> {
    let repeated = |part: &str| {
        format!(
            "[{part}{}]",
            format!(",{part}").repeat(SIZE / (part.len() + 1) - 2)
        )
    };
    let nested = format!("{}{}", "[".repeat(100), "]".repeat(100));
    vec![
        ("`[[0],…]`", repeated("[0]")),
        ("`[{\"\":0},…]`", repeated("{\"\":0}")),
        ("nested 100 deep", repeated(&nested)),
        ("one string", format!("\"{}\"", "\\n".repeat(SIZE / 2 - 1))),
    ]
}

/// The result of large bodies of one shape.
struct Large {
    all_refused: bool,
    refusal: Duration,
    before: f64,
    max: f64,
    read: Duration,
}

impl Large {
    async fn run(api: &Api, name: &str, body: &str) -> Outcome<Self> {
        let before = resident_mib(api.server().pid())?;
        let probes = Probes::start(api).await?;
        let (stop, stopped) = oneshot::channel();
        // On a runtime of its own: the senders of this program must not delay it.
        let (address, meanwhile) = (api.addr(), Arc::new(Meanwhile::default()));
        let (warm, is_warm) = oneshot::channel();
        let measured = Arc::clone(&meanwhile);
        let reads = tokio::task::spawn_blocking(move || {
            let runtime = runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| error.to_string())?;
            runtime.block_on(cached_reads(address, warm, &measured, stopped))
        });
        // An error ends the reads, and is returned by them.
        let _ = is_warm.await;
        let (mut sent, mut refused, mut refusal) = (0, 0, Duration::ZERO);
        while meanwhile.reads.load(Ordering::Relaxed) < READS && sent < MAX_ROUNDS * AT_ONCE {
            meanwhile.is_sending.store(true, Ordering::Relaxed);
            let round = join_all((0..AT_ONCE).map(|_| refuse(api.addr(), body))).await;
            meanwhile.is_sending.store(false, Ordering::Relaxed);
            sleep(BETWEEN).await;
            sent += AT_ONCE;
            for outcome in round {
                let (status, took) = outcome.unwrap_or((0, LIMIT));
                refused += usize::from(status == 401);
                refusal = refusal.max(took);
            }
        }
        drop(stop);
        let mut reads = reads.await??;
        reads.sort();
        let probes = probes.end().await?;
        let read = reads.get(reads.len() * 99 / 100).copied().unwrap_or(LIMIT);
        let slowest = reads.last().copied().unwrap_or(LIMIT);
        println!(
            "| {name} | {refused} of {sent} | {:.1} | {before:.1} | {} {} | {:.1} | {:.1} |",
            milliseconds(refusal),
            probes.row(),
            reads.len(),
            milliseconds(read),
            milliseconds(slowest),
        );
        Ok(Self {
            all_refused: refused == sent,
            refusal,
            before,
            max: probes.max_mib(),
            read,
        })
    }
}

/// What the senders of bodies and the reader tell each other.
#[derive(Default)]
struct Meanwhile {
    /// Whether bodies are on their way.
    is_sending: AtomicBool,
    /// The reads meanwhile.
    reads: AtomicUsize,
}

/// Reads a cached route until stopped; returns the duration of each read while bodies were on their
/// way, after the first ones.
async fn cached_reads(
    address: SocketAddr,
    warm: oneshot::Sender<()>,
    meanwhile: &Meanwhile,
    mut stopped: oneshot::Receiver<()>,
) -> Result<Vec<Duration>, String> {
    let bearer = format!("Bearer {}", tokens::API_KEY);
    let opened = Connection::open(address, &bearer).await;
    let mut connection = opened.map_err(|error| error.to_string())?;
    for _ in 0..WARM_UP {
        cached_read(&mut connection).await?;
    }
    // It fails only if nobody waits any more.
    let _ = warm.send(());
    let mut durations = Vec::new();
    while stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
        let is_sending = || meanwhile.is_sending.load(Ordering::Relaxed);
        let was_sending = is_sending();
        let duration = cached_read(&mut connection).await?;
        if was_sending || is_sending() {
            durations.push(duration);
            meanwhile.reads.store(durations.len(), Ordering::Relaxed);
        }
        sleep(READ_PAUSE).await;
    }
    Ok(durations)
}

async fn cached_read(connection: &mut Connection) -> Result<Duration, String> {
    let begun = Instant::now();
    let response = connection.get("/instrument/MARI/specification").await;
    let took = begun.elapsed();
    match response.map_err(|error| error.to_string())?.status {
        200 => Ok(took),
        status => Err(format!("a cached read returned {status}")),
    }
}

/// Sends a body without a token. Returns the status, and the time from the last byte to it.
async fn refuse(address: SocketAddr, body: &str) -> std::io::Result<(u16, Duration)> {
    let socket = TcpSocket::new_v4()?;
    // What is written has then nearly arrived: otherwise the operating system takes all of a body.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    let mut stream = socket.connect(address).await?;
    let head = head("", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let sent = Instant::now();
    let status = timeout(LIMIT, status(&mut stream)).await??;
    Ok((status, sent.elapsed()))
}

/// The head of a request to write a script.
fn head(more: &str, length: usize) -> String {
    format!(
        "PUT /live-data/mari/script HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         {more}content-length: {length}\r\n\r\n"
    )
}

async fn status(stream: &mut TcpStream) -> std::io::Result<u16> {
    // "HTTP/1.1 401"
    let mut line = [0; 12];
    stream.read_exact(&mut line).await?;
    let status = std::str::from_utf8(&line[9..])
        .ok()
        .and_then(|code| code.parse().ok());
    Ok(status.unwrap_or_default())
}

/// Holds bodies that never end, and sends legitimate requests meanwhile, each over a connection of
/// its own. Returns how many of these were refused.
async fn half_sent(api: &Api) -> Outcome<usize> {
    let mut held = Vec::with_capacity(HALF_SENT);
    for _ in 0..HALF_SENT {
        let mut stream = TcpStream::connect(api.addr()).await?;
        let begun = format!("{}{{\"value\":", head("", 100));
        stream.write_all(begun.as_bytes()).await?;
        held.push(stream);
    }
    let bearer = format!("Bearer {}", tokens::API_KEY);
    let mut refused = 0;
    for n in 0..HALF_SENT {
        let mut connection = Connection::open(api.addr(), &bearer).await?;
        let (response, expected) = if n % 2 == 0 {
            (connection.get("/instrument/MARI/specification").await?, 200)
        } else {
            // Received as a whole, and invalid.
            (connection.put("/live-data/mari/script", "{}").await?, 422)
        };
        refused += usize::from(response.status != expected);
    }
    drop(held);
    Ok(refused)
}
