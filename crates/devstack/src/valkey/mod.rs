//! Private Valkey servers without persistence: a single one, with TLS, with Sentinel, and a cluster.

mod cluster;
mod sentinel;
mod tls;

use std::net::SocketAddr;
use std::ops::Deref;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::ports::{Port, retry_on_clash};
use crate::process::{Launch, Server, blocking};
use crate::programs::{ServerUser, find_program};
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{Result, probe};

pub use cluster::ValkeyCluster;
pub use sentinel::{Sentinel, SentinelService};
pub use tls::Certificates;

const VALKEY: &str = "valkey-server";
const START_LIMIT: Duration = Duration::from_secs(10);

/// Settings of every server. Replicas do not wait for others before they are in sync. The command `DEBUG` is enabled for tests (`DEBUG SLEEP`).
const SETTINGS: [(&str, &str); 6] = [
    ("bind", "127.0.0.1"),
    ("save", ""),
    ("appendonly", "no"),
    ("daemonize", "no"),
    ("enable-debug-command", "yes"),
    ("repl-diskless-sync-delay", "0"),
];

/// A private Valkey server. Dropping it stops it. It can be used from any runtime.
#[derive(Debug)]
pub struct Valkey {
    running: Running,
    port: Port,
    tls: Option<Tls>,
}

/// The second port of a server, with TLS.
#[derive(Debug)]
struct Tls {
    port: Port,
    certificates: Certificates,
}

impl Valkey {
    /// Starts a server and waits until it responds to `PING`.
    ///
    /// # Errors
    /// [`Error`](crate::Error), with the end of the server's log if it started.
    pub async fn start() -> Result<Self> {
        blocking(Self::start_blocking).await
    }

    /// Starts a server with additional settings of `valkey.conf` (`[("maxmemory", "1mb")]`).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(settings: &[(&str, &str)]) -> Result<Self> {
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        blocking(move || retry_on_clash(|| Self::launch(VALKEY, &settings, false))).await
    }

    /// Starts Redis instead of Valkey.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_redis() -> Result<Self> {
        blocking(|| retry_on_clash(|| Self::launch("redis-server", &[], false))).await
    }

    /// Starts a server that also has a port with TLS, which requires a client certificate.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with_tls() -> Result<Self> {
        blocking(|| retry_on_clash(|| Self::launch(VALKEY, &[], true))).await
    }

    /// Blocking variant of [`start`](Self::start).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_blocking() -> Result<Self> {
        retry_on_clash(|| Self::launch(VALKEY, &[], false))
    }

    fn launch(program: &str, settings: &[(String, String)], with_tls: bool) -> Result<Self> {
        let user = ServerUser::find();
        let scratch = Scratch::new("valkey", user.as_ref())?;
        let port = Port::lease()?;
        let mut args = vec![
            "--port".into(),
            port.number().to_string().into(),
            "--dir".into(),
            scratch.run().into(),
        ];
        let defaults = SETTINGS.iter().map(|(name, value)| (*name, *value));
        for (name, value) in defaults.chain(
            settings
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        ) {
            args.extend([format!("--{name}").into(), value.into()]);
        }
        let tls = with_tls
            .then(|| {
                let certificates = Certificates::create(&scratch, user.as_ref())?;
                let port = Port::lease()?;
                Ok(Tls { port, certificates })
            })
            .transpose()?;
        if let Some(Tls { port, certificates }) = &tls {
            args.extend(["--tls-port".into(), port.number().to_string().into()]);
            let files = [
                ("--tls-ca-cert-file", &certificates.authority),
                ("--tls-cert-file", &certificates.certificate),
                ("--tls-key-file", &certificates.key),
            ];
            args.extend(
                files
                    .map(|(name, file)| [name.into(), file.into()])
                    .concat(),
            );
        }
        let launch = Launch {
            program: find_program(program, &[])?,
            args,
            env: Vec::new(),
            user,
            stop: Signal::SIGTERM,
            quit: Signal::SIGKILL,
            limit: START_LIMIT,
        };
        let addr = port.addr();
        let server = Server::start(
            "valkey",
            scratch,
            launch,
            Box::new(move || probe::valkey(addr)),
        )?;
        Ok(Self {
            running: Running::new(server),
            port,
            tls,
        })
    }

    /// The server's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The server's address.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The port with TLS and its certificates, if there is one.
    pub fn tls(&self) -> Option<(u16, &Certificates)> {
        let tls = self.tls.as_ref()?;
        Some((tls.port.number(), &tls.certificates))
    }

    /// `redis://127.0.0.1:PORT/0`
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.addr())
    }
}

impl Deref for Valkey {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}
