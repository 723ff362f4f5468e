//! Thousands of connections that are held open by strangers, with a limit of 1,024 open files:
//! everybody else is served.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use devstack::{Api, Stack};
use futures_util::StreamExt as _;
use futures_util::stream;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::client::Connection;
use super::new_jobs::bearer;
use super::{milliseconds, resident_mib, start, verdict};
use crate::Outcome;

/// The connections of strangers.
const SOCKETS: usize = 5000;
/// The limit of open files of the server, soft and hard.
const OPEN_FILES: u32 = 1024;
/// The requests of others meanwhile, each over a new connection.
const REQUESTS: usize = 500;
const REQUEST_INTERVAL: Duration = Duration::from_millis(10);
/// The interval of the bytes of those who send slowly.
const DRIP: Duration = Duration::from_secs(1);
/// The time limit of a request.
const LIMIT: Duration = Duration::from_secs(20);
/// The 99th percentile of `/healthz`.
const MAX_HEALTHZ: Duration = Duration::from_millis(50);
/// The memory of a small container, in MiB.
const MAX_MIB: f64 = 256.0;

/// What strangers do with their connections.
#[derive(Clone, Copy)]
struct Kind {
    name: &'static str,
    /// What they send at once.
    first: &'static str,
    /// What they send each second.
    drip: &'static str,
}

const KINDS: [Kind; 5] = [
    Kind {
        name: "silent",
        first: "",
        drip: "",
    },
    Kind {
        name: "idle after a response",
        first: "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n",
        drip: "",
    },
    Kind {
        name: "dripping heads",
        first: "GET /healthz HTTP/1.1\r\nhost: x\r\nx-slow: ",
        drip: "x",
    },
    Kind {
        name: "dripping bodies",
        first: "PUT /live-data/mari/script HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
                content-length: 1000\r\n\r\n{",
        drip: " ",
    },
    Kind {
        name: "readers that never read",
        first: "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\n\r\n",
        drip: "",
    },
];

pub(super) async fn run(server: &Path) -> Outcome {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let stack = Stack::builder().postgres().valkey().start().await?;
    println!("{SOCKETS} connections of strangers; the server may open {OPEN_FILES} files\n");
    println!(
        "| connections | requests of others | not served | /healthz p99 ms | slowest ms | cached read p99 ms | slowest ms | MiB |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let limited = limited(server)?;
    let mut held = Vec::new();
    for kind in KINDS {
        let api = start(limited.path(), &stack, &[]).await?;
        held.push(hold(&api, kind).await?);
    }
    let all = |holds: fn(&Held) -> bool| held.iter().all(holds);
    verdict(&[
        (
            "every request of others was served",
            all(|run| run.failed == 0),
        ),
        (
            "the 99th percentile of /healthz is at most 50 ms",
            all(|run| run.healthz <= MAX_HEALTHZ),
        ),
        (
            "the server fits into 256 MiB",
            all(|run| run.mib <= MAX_MIB),
        ),
    ])
}

/// A script that starts the server with the limit of open files. Deleted when dropped.
fn limited(server: &Path) -> Outcome<Script> {
    let server = std::fs::canonicalize(server)?;
    let path = std::env::temp_dir().join(format!("fia-bench-sockets-{}", std::process::id()));
    let script = format!(
        "#!/bin/sh\nulimit -n {OPEN_FILES}\nexec '{}' \"$@\"\n",
        server.display()
    );
    std::fs::write(&path, script)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700))?;
    Ok(Script(path))
}

struct Script(std::path::PathBuf);

impl Script {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // A file of the temporary folder is not worth an error.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The result of one kind.
struct Held {
    failed: usize,
    healthz: Duration,
    mib: f64,
}

/// Holds the connections, and sends the requests of others meanwhile.
async fn hold(api: &Api, kind: Kind) -> Outcome<Held> {
    let address = api.addr();
    let strangers = tokio::spawn(async move {
        let opening = stream::iter(0..SOCKETS).map(|_| open(address, kind.first));
        let mut open: Vec<TcpStream> = opening
            .buffer_unordered(100)
            .filter_map(async |stream| stream)
            .collect()
            .await;
        let mut drips = interval(DRIP);
        loop {
            drips.tick().await;
            for stream in &mut open {
                // Closed connections are not opened again.
                let _ = stream.try_write(kind.drip.as_bytes());
            }
        }
    });
    let requests = requests(address).await;
    strangers.abort();
    let mib = resident_mib(api.server().pid())?;
    let p99 = |waits: &[Duration]| waits[waits.len() * 99 / 100];
    let [healthz, reads] = &requests.waits;
    println!(
        "| {} | {REQUESTS} | {} | {:.1} | {:.1} | {:.1} | {:.1} | {mib:.1} |",
        kind.name,
        requests.failed,
        milliseconds(p99(healthz)),
        milliseconds(healthz[healthz.len() - 1]),
        milliseconds(p99(reads)),
        milliseconds(reads[reads.len() - 1]),
    );
    Ok(Held {
        failed: requests.failed,
        healthz: p99(healthz),
        mib,
    })
}

async fn open(address: SocketAddr, first: &str) -> Option<TcpStream> {
    let opening = async {
        let mut stream = TcpStream::connect(address).await.ok()?;
        stream.write_all(first.as_bytes()).await.ok()?;
        Some(stream)
    };
    timeout(LIMIT, opening).await.ok()?
}

/// The requests of others.
#[derive(Default)]
struct Requests {
    failed: usize,
    /// Of `/healthz` and of a cached read, in ascending order.
    waits: [Vec<Duration>; 2],
}

async fn requests(address: SocketAddr) -> Requests {
    let bearer = bearer();
    let mut requests = Requests::default();
    let mut ticks = interval(REQUEST_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 0..REQUESTS {
        ticks.tick().await;
        let path = ["/healthz", "/instrument/MARI/specification"][number % 2];
        let begun = Instant::now();
        let exchange = async {
            let mut connection = Connection::open(address, &bearer).await?;
            connection.get(path).await
        };
        let served = match timeout(LIMIT, exchange).await {
            Ok(Ok(response)) => response.status == 200,
            _ => false,
        };
        requests.failed += usize::from(!served);
        requests.waits[number % 2].push(begun.elapsed());
    }
    requests.waits.iter_mut().for_each(|waits| waits.sort());
    requests
}
