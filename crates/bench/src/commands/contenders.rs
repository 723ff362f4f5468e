//! What is measured on the cached routes: this server in several states, what it cannot beat, and
//! what others use instead.

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
use super::{resident_mib, start, times_to_live};
use crate::Outcome;

/// How long nothing expires while one measures.
const LONG: u64 = 24 * 3600;
/// How long an answer may take to be where it is measured.
const WARM: Duration = Duration::from_secs(3);

/// What is measured, in the order of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// axum with one handler and a constant body.
    Constant,
    /// The same behind what surrounds this server's routes.
    Edge,
    Memory,
    /// As `Memory`, with a line in the log for each request.
    Logged,
    Valkey,
    Miss,
    Nginx,
    Varnish,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
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

    /// The header that says where an answer comes from, and what it must say.
    fn proof(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Constant | Self::Edge => None,
            Self::Memory | Self::Logged => Some(("cache-status", "detail=local")),
            Self::Valkey => Some(("cache-status", "detail=shared")),
            Self::Miss => Some(("cache-status", "fwd=")),
            Self::Nginx | Self::Varnish => Some(("x-cache", "HIT")),
        }
    }
}

/// Something that answers a route. Dropped, it ends.
pub(super) struct Contender {
    pub(super) kind: Kind,
    address: SocketAddr,
    process: Process,
}

enum Process {
    Child(Child),
    Server(Box<dyn Deref<Target = Running>>),
}

impl Process {
    /// Those that are there now: nginx has one that ends after a minute.
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
            address,
            process: Process::Server(Box::new(server)),
        }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Resident memory of all its processes: what they share counts for each.
    pub(super) fn mib(&self) -> Outcome<f64> {
        self.process
            .pids()
            .iter()
            .map(|pid| resident_mib(Some(*pid)))
            .sum()
    }

    /// Asks until the answer comes from where it should.
    pub(super) async fn warm(&self, path: &str, body: &[u8]) -> Outcome {
        let begun = Instant::now();
        loop {
            match self.check(path, body).await {
                Err(_) if begun.elapsed() < WARM => sleep(Duration::from_millis(20)).await,
                checked => return checked,
            }
        }
    }

    /// Whether one answer comes from where it should and is the right one: misses must not be
    /// measured for hits.
    pub(super) async fn check(&self, path: &str, body: &[u8]) -> Outcome {
        let answer = get(self.address, path).await?;
        let name = self.kind.name();
        let Some((header, wanted)) = self.kind.proof() else {
            return match answer.body.len() == body.len() {
                true => Ok(()),
                false => Err(format!("{name}: a body of {} bytes", answer.body.len()).into()),
            };
        };
        let said = answer.header(header);
        if !said.is_some_and(|said| said.contains(wanted)) {
            return Err(format!("{name}: {path} has {header} {said:?}, not {wanted}").into());
        }
        if answer.body != body {
            return Err(format!("{name}: {path} has another body").into());
        }
        Ok(())
    }
}

/// What stays for all routes.
pub(super) async fn lasting(server: &Path, stack: &Stack) -> Outcome<Vec<Contender>> {
    let shared_only = ("CACHE_LOCAL", "off".to_owned());
    let long = times_to_live(LONG);
    let mut logged = long.clone();
    logged.push(("LOG_LEVEL", "info".to_owned()));
    let mut valkey = long.clone();
    valkey.push(shared_only.clone());
    let mut uncached = times_to_live(0);
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
    }
    // The last does what an origin that caches nothing does.
    let origin = contenders.last().ok_or("no origin")?.address;
    let nginx = Nginx::start(origin).await?;
    contenders.push(Contender::new(Kind::Nginx, nginx.addr(), nginx));
    let varnish = Varnish::start(origin).await?;
    contenders.push(Contender::new(Kind::Varnish, varnish.addr(), varnish));
    Ok(contenders)
}

/// The constants of a size.
pub(super) async fn constants(edge: &Path, stack: &Stack, bytes: usize) -> Outcome<Vec<Contender>> {
    let api = start(edge, stack, &[("CONSTANT_BYTES", bytes.to_string())])
        .await
        .map_err(|error| {
            format!("{error} (cargo build --release --package fia-api --example constant)")
        })?;
    let edge = Contender::new(Kind::Edge, api.addr(), api);
    Ok(vec![bare(bytes).await?, edge])
}

/// The bare handler in a process of its own.
async fn bare(bytes: usize) -> Outcome<Contender> {
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let (port, bytes) = (address.port().to_string(), bytes.to_string());
    let child: Child = Command::new(std::env::current_exe()?)
        .args(["bare", "--port", &port, "--bytes", &bytes])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    client::reachable(address).await?;
    Ok(Contender {
        kind: Kind::Constant,
        address,
        process: Process::Child(child),
    })
}

/// The answer that all of them must give.
pub(super) async fn get(address: SocketAddr, path: &str) -> Outcome<Response> {
    client::get(address, path, &format!("Bearer {}", tokens::API_KEY)).await
}

/// Where the first of a kind listens.
pub(super) fn address(contenders: &[Contender], kind: Kind) -> Outcome<SocketAddr> {
    let found = contenders.iter().find(|contender| contender.kind == kind);
    Ok(found.ok_or("it was not started")?.address)
}
