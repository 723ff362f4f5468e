//! The contenders on the cached routes: this server in several configurations, constant handlers as
//! the upper bound, and other caches.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Deref;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use devstack::{Running, Stack, tokens};
use tokio::process::{Child, Command};
use tokio::time::sleep;

use super::client::{self, Response};
use super::nginx::Nginx;
use super::varnish::Varnish;
use super::{cpu_time, resident_mib, start, ttl_settings};
use crate::Outcome;

/// A TTL in seconds beyond the end of the measurement.
const LONG_TTL: u64 = 24 * 3600;
/// The time in which the cache must be warm.
const WARM_TIMEOUT: Duration = Duration::from_secs(3);

/// The kind of a contender, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One read and one write for each request, without parsing.
    Floor,
    /// axum with one handler and a constant body.
    Constant,
    /// The same behind this server's edge.
    Edge,
    /// Local hits.
    Memory,
    /// Local hits, with an access log.
    Logged,
    /// Hits in Valkey, without the local cache.
    Valkey,
    /// Without a cache.
    Miss,
    Nginx,
    Varnish,
}

/// The binary that a contender runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Measured,
    Baseline,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Floor => "floor",
            Self::Constant => "constant handler",
            Self::Edge => "constant behind our edge",
            Self::Memory => "ours, hit in memory",
            Self::Logged => "ours, hit in memory, access lines",
            Self::Valkey => "ours, hit in Valkey",
            Self::Miss => "ours, not cached",
            Self::Nginx => "nginx `proxy_cache`",
            Self::Varnish => "Varnish",
        }
    }

    /// The header that reports the source of a response, and its expected part.
    fn proof(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Floor | Self::Constant | Self::Edge => None,
            Self::Memory | Self::Logged => Some(("cache-status", "detail=local")),
            Self::Valkey => Some(("cache-status", "detail=shared")),
            Self::Miss => Some(("cache-status", "fwd=")),
            Self::Nginx | Self::Varnish => Some(("x-cache", "HIT")),
        }
    }
}

/// A running contender. Dropping it stops it.
pub(super) struct Contender {
    pub(super) kind: Kind,
    pub(super) binary: Binary,
    address: SocketAddr,
    process: Process,
}

enum Process {
    Child(Child),
    Server(Box<dyn Deref<Target = Running>>),
}

impl Process {
    /// The current process ids. One process of nginx ends after a minute.
    fn pids(&self) -> Vec<u32> {
        match self {
            Self::Child(child) => child.id().into_iter().collect(),
            Self::Server(server) => {
                let found = server.server().scratch().processes();
                let pids = found.into_iter().map(|pid| pid.as_raw().unsigned_abs());
                pids.collect()
            }
        }
    }
}

impl Contender {
    fn new(
        kind: Kind,
        address: SocketAddr,
        server: impl Deref<Target = Running> + 'static,
    ) -> Self {
        Self {
            kind,
            binary: Binary::Measured,
            address,
            process: Process::Server(Box::new(server)),
        }
    }

    /// The name in the table.
    pub(super) fn name(&self) -> String {
        match self.binary {
            Binary::Measured => self.kind.name().to_owned(),
            Binary::Baseline => format!("baseline, {}", self.kind.name()),
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Resident memory of all processes in MiB; shared pages count for each.
    pub(super) fn mib(&self) -> Outcome<f64> {
        self.process
            .pids()
            .iter()
            .map(|pid| resident_mib(Some(*pid)))
            .sum()
    }

    /// The CPU time that all its processes have used, in microseconds.
    pub(super) fn cpu_micros(&self) -> Outcome<f64> {
        let micros = |pid: &u32| Ok(cpu_time(Some(*pid))?.as_secs_f64() * 1e6);
        self.process.pids().iter().map(micros).sum()
    }

    /// Sends requests until the response has the expected source.
    pub(super) async fn warm(&self, path: &str, body: &[u8]) -> Outcome {
        let begun = Instant::now();
        loop {
            match self.check(path, body).await {
                Err(_) if begun.elapsed() < WARM_TIMEOUT => sleep(Duration::from_millis(20)).await,
                checked => return checked,
            }
        }
    }

    /// Verifies the source and the body of one response, so that misses are not measured as hits.
    pub(super) async fn check(&self, path: &str, body: &[u8]) -> Outcome {
        let response = get(self.address, path).await?;
        let name = self.name();
        let Some((header, expected)) = self.kind.proof() else {
            return match response.body.len() == body.len() {
                true => Ok(()),
                false => Err(format!("{name}: a body of {} bytes", response.body.len()).into()),
            };
        };
        let source = response.header(header);
        if !source.is_some_and(|source| source.contains(expected)) {
            return Err(format!("{name}: {path} has {header} {source:?}, not {expected}").into());
        }
        if response.body != body {
            return Err(format!("{name}: {path} has an unexpected body").into());
        }
        Ok(())
    }
}

/// Starts the contenders that serve all routes. Those of the baseline binary follow their
/// counterparts.
pub(super) async fn start_all(
    server: &Path,
    baseline: Option<&Path>,
    stack: &Stack,
) -> Outcome<Vec<Contender>> {
    let shared_only = ("CACHE_LOCAL", "off".to_owned());
    let long = ttl_settings(LONG_TTL);
    let mut logged = long.clone();
    logged.push(("LOG_LEVEL", "info".to_owned()));
    let mut valkey = long.clone();
    valkey.push(shared_only.clone());
    let mut uncached = ttl_settings(0);
    uncached.push(shared_only);
    let mut contenders = Vec::new();
    for (kind, settings) in [
        (Kind::Memory, long),
        (Kind::Logged, logged),
        (Kind::Valkey, valkey),
        (Kind::Miss, uncached),
    ] {
        let api = start(server, stack, &settings).await?;
        contenders.push(Contender::new(kind, api.addr(), api));
        if let Some(baseline) = baseline {
            let api = start(baseline, stack, &settings).await?;
            contenders.push(Contender {
                binary: Binary::Baseline,
                ..Contender::new(kind, api.addr(), api)
            });
        }
    }
    // The uncached server is the origin of the other caches.
    let origin = address(&contenders, Kind::Miss)?;
    let nginx = Nginx::start(origin).await?;
    contenders.push(Contender::new(Kind::Nginx, nginx.addr(), nginx));
    let varnish = Varnish::start(origin).await?;
    contenders.push(Contender::new(Kind::Varnish, varnish.addr(), varnish));
    Ok(contenders)
}

/// Starts the constant handlers of a body size.
pub(super) async fn constants(edge: &Path, stack: &Stack, bytes: usize) -> Outcome<Vec<Contender>> {
    let api = start(edge, stack, &[("CONSTANT_BYTES", bytes.to_string())])
        .await
        .map_err(|error| {
            format!("{error} (cargo build --release --package fia-api --example constant)")
        })?;
    let edge = Contender::new(Kind::Edge, api.addr(), api);
    let floor = constant(Kind::Floor, "floor", bytes).await?;
    let bare = constant(Kind::Constant, "constant", bytes).await?;
    Ok(vec![floor, bare, edge])
}

/// Starts a command of this program as a server.
async fn constant(kind: Kind, command: &str, bytes: usize) -> Outcome<Contender> {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let (port, bytes) = (address.port().to_string(), bytes.to_string());
    let child: Child = Command::new(std::env::current_exe()?)
        .args([command, "--port", &port, "--bytes", &bytes])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    client::reachable(address).await?;
    Ok(Contender {
        kind,
        binary: Binary::Measured,
        address,
        process: Process::Child(child),
    })
}

/// Requests the body that all contenders must return.
pub(super) async fn get(address: SocketAddr, path: &str) -> Outcome<Response> {
    client::get(address, path, &format!("Bearer {}", tokens::API_KEY)).await
}

/// The address of the first contender of a kind.
pub(super) fn address(contenders: &[Contender], kind: Kind) -> Outcome<SocketAddr> {
    let found = contenders.iter().find(|contender| contender.kind == kind);
    Ok(found.ok_or("it was not started")?.address)
}
