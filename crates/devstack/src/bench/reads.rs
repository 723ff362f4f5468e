//! Cached reads at the rate of the framework itself.

use std::path::Path;
use std::process::Stdio;

use devstack::{Api, Stack, tokens};
use tokio::process::{Child, Command};

use super::{resident_mib, start, wrk};
use crate::Outcome;

/// The cached reads.
const READS: [&str; 5] = [
    "/live-data/instruments",
    "/live-data/MARI/script",
    "/instrument/MARI/specification",
    "/instrument/MARI/latest-run",
    "/jobs?limit=10&include_run=true",
];

pub(super) async fn run(server: &Path, seconds: u32) -> Outcome {
    let stack = Stack::builder().postgres().valkey().start().await?;
    // Nothing expires meanwhile: the misses have a row of their own elsewhere.
    let long = [
        "LIVE_DATA_INSTRUMENTS_CACHE_TTL_SECONDS",
        "LIVE_DATA_SCRIPT_CACHE_TTL_SECONDS",
        "INSTRUMENT_SPEC_CACHE_TTL_SECONDS",
        "INSTRUMENT_LATEST_RUN_CACHE_TTL_SECONDS",
        "JOB_LIST_CACHE_TTL_SECONDS",
    ];
    let settings = long.map(|name| (name, "3600".to_owned()));
    let api = start(server, &stack, &settings).await?;
    println!("wrk -t1 -c32 -d{seconds}s, LOG_LEVEL=warn, median of three turns\n");
    println!("| route | bytes | bare/s | ours/s | ratio | bare p99 ms | ours p99 ms |");
    println!("|---|---|---|---|---|---|---|");
    for path in READS {
        row(&api, path, seconds).await?;
    }
    println!(
        "\nmemory of the server afterwards: {:.1} MiB",
        resident_mib(api.server().pid())?
    );
    api.stop().await?;
    Ok(())
}

async fn row(api: &Api, path: &str, seconds: u32) -> Outcome {
    let key = ("Authorization", format!("Bearer {}", tokens::API_KEY));
    let bytes = super::client::get(api.addr(), path, &key.1).await?.len();
    let bare = Bare::start(bytes).await?;
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let headers = std::slice::from_ref(&key);
        theirs.push(wrk::run(&bare.url(path), seconds, headers).await?);
        ours.push(wrk::run(&format!("{}{path}", api.url()), seconds, headers).await?);
    }
    let (theirs, ours) = (wrk::median(theirs), wrk::median(ours));
    println!(
        "| {path} | {bytes} | {:.0} | {:.0} | {:.2} | {:.2} | {:.2} |",
        theirs.rate,
        ours.rate,
        ours.rate / theirs.rate,
        theirs.p99_ms,
        ours.p99_ms
    );
    Ok(())
}

/// The bare handler in a process of its own. Dropped, it is killed.
struct Bare {
    _child: Child,
    port: u16,
}

impl Bare {
    async fn start(bytes: usize) -> Outcome<Self> {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0))?
            .local_addr()?
            .port();
        let child = Command::new(std::env::current_exe()?)
            .args([
                "bench",
                "bare",
                "--port",
                &port.to_string(),
                "--bytes",
                &bytes.to_string(),
            ])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let bare = Self {
            _child: child,
            port,
        };
        super::client::reachable(([127, 0, 0, 1], port).into()).await?;
        Ok(bare)
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }
}
