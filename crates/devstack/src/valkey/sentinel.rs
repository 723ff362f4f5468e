//! A service with failover: a primary, its replicas, and three sentinels.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::Valkey;
use crate::ports::{Port, retry_on_clash};
use crate::process::{Launch, Server, blocking};
use crate::programs::{ServerUser, find_program};
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{Error, Result, probe};

const SENTINELS: usize = 3;
/// Sentinels find each other through the primary, to which they publish every 2 s.
const START_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);

/// A primary and two replicas, which three sentinels watch as service `main`. The sentinels
/// promote a replica after the primary has been unavailable for 500 ms. Replicas accept writes,
/// so that tests can give them other data than the primary has.
#[derive(Debug)]
pub struct SentinelService {
    servers: [Valkey; 3],
    sentinels: Vec<Sentinel>,
}

/// A sentinel.
#[derive(Debug)]
pub struct Sentinel {
    _running: Running,
    port: Port,
}

impl SentinelService {
    /// Starts the servers and waits until the sentinels know each other.
    ///
    /// # Errors
    /// As [`Valkey::start`].
    pub async fn start() -> Result<Self> {
        Self::start_with(Duration::from_millis(500)).await
    }

    /// As [`start`](Self::start), but the sentinels promote no replica for a minute.
    ///
    /// # Errors
    /// As [`Valkey::start`].
    pub async fn start_idle() -> Result<Self> {
        Self::start_with(Duration::from_secs(60)).await
    }

    async fn start_with(down_after: Duration) -> Result<Self> {
        let primary = Valkey::start().await?;
        let origin = format!("127.0.0.1 {}", primary.port());
        let settings = [("replicaof", origin.as_str()), ("replica-read-only", "no")];
        let (one, other) = (Valkey::start_with(&settings), Valkey::start_with(&settings));
        let servers = [primary, one.await?, other.await?];
        let addr = servers[0].addr();
        wait_until("replicas are in sync", move || {
            probe::valkey_replicas(addr, 2)
        })
        .await?;
        let mut sentinels = Vec::new();
        for _ in 0..SENTINELS {
            sentinels.push(
                blocking(move || retry_on_clash(|| Sentinel::launch(addr, down_after))).await?,
            );
        }
        let addrs: Vec<SocketAddr> = sentinels
            .iter()
            .map(|sentinel| sentinel.port.addr())
            .collect();
        let knows_all = move || addrs.iter().all(|addr| probe::sentinels(*addr, SENTINELS));
        wait_until("sentinels know each other", knows_all).await?;
        Ok(Self { servers, sentinels })
    }

    /// The three servers; the first one is the primary at the start.
    pub fn servers(&self) -> &[Valkey; 3] {
        &self.servers
    }

    /// `redis+sentinel://127.0.0.1:PORT,…/main/0`
    pub fn url(&self) -> String {
        let addrs: Vec<String> = self
            .sentinels
            .iter()
            .map(|sentinel| sentinel.port.addr().to_string())
            .collect();
        format!("redis+sentinel://{}/main/0", addrs.join(","))
    }
}

impl Sentinel {
    /// Starts a sentinel that watches a server with TLS as service `main`, and has TLS itself.
    ///
    /// # Errors
    /// As [`Valkey::start`]; [`Error::Io`] if the server has no port with TLS.
    pub async fn start_with_tls(server: &Valkey) -> Result<Self> {
        let no_tls = || Error::io("starting a sentinel")(ErrorKind::Unsupported.into());
        let (tls_port, files) = server.tls().ok_or_else(no_tls)?;
        let settings = format!(
            "tls-cert-file {}\ntls-key-file {}\ntls-ca-cert-file {}\ntls-replication yes\n\
             sentinel monitor main 127.0.0.1 {tls_port} 1\n",
            files.certificate.display(),
            files.key.display(),
            files.authority.display(),
        );
        let start = move || {
            let port = |port: &Port| format!("port 0\ntls-port {}\n{settings}", port.number());
            Self::start(port, probe::listens)
        };
        blocking(move || retry_on_clash(start)).await
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    fn launch(primary: SocketAddr, down_after: Duration) -> Result<Self> {
        let settings = |port: &Port| {
            format!(
                "port {}\nsentinel monitor main 127.0.0.1 {} 2\n\
                 sentinel down-after-milliseconds main {}\nsentinel failover-timeout main 3000\n\
                 sentinel parallel-syncs main 2\n",
                port.number(),
                primary.port(),
                down_after.as_millis(),
            )
        };
        Self::start(settings, probe::valkey)
    }

    fn start(
        settings: impl FnOnce(&Port) -> String,
        is_ready: fn(SocketAddr) -> bool,
    ) -> Result<Self> {
        let user = ServerUser::find();
        let scratch = Scratch::new("sentinel", user.as_ref())?;
        let port = Port::lease()?;
        let dir = scratch.run();
        let config = format!("bind 127.0.0.1\ndir {}\n{}", dir.display(), settings(&port));
        // Sentinels keep their state in it.
        let config = scratch.write("sentinel.conf", &config, user.as_ref())?;
        let launch = Launch {
            program: find_program("valkey-server", &[])?,
            args: vec![config.into(), "--sentinel".into()],
            env: Vec::new(),
            user,
            stop: Signal::SIGTERM,
            quit: Signal::SIGKILL,
            limit: START_LIMIT,
        };
        let addr = port.addr();
        let ready = Box::new(move || is_ready(addr));
        let server = Server::start("sentinel", scratch, launch, ready)?;
        Ok(Self {
            _running: Running::new(server),
            port,
        })
    }
}

/// Waits until a condition holds; an error after 20 s.
pub(super) async fn wait_until(
    what: &'static str,
    is_so: impl Fn() -> bool + Send + 'static,
) -> Result<()> {
    blocking(move || {
        let deadline = Instant::now() + START_LIMIT;
        while !is_so() {
            if Instant::now() > deadline {
                return Err(Error::Io {
                    doing: format!("waiting until {what}"),
                    source: ErrorKind::TimedOut.into(),
                });
            }
            thread::sleep(POLL);
        }
        Ok(())
    })
    .await
}
