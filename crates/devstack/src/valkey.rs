//! A private Valkey: in memory only.

use std::net::SocketAddr;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::ports::{Port, retry_on_clash};
use crate::process::{Launch, Server, blocking};
use crate::programs::{ServerUser, find};
use crate::scratch::Scratch;
use crate::{Result, probe};

const START_LIMIT: Duration = Duration::from_secs(10);

/// Settings of every server. `DEBUG` is there for tests (`DEBUG SLEEP`).
const SETTINGS: [(&str, &str); 5] = [
    ("bind", "127.0.0.1"),
    ("save", ""),
    ("appendonly", "no"),
    ("daemonize", "no"),
    ("enable-debug-command", "yes"),
];

/// A private Valkey. Dropping it ends it. No method depends on the runtime that started it.
#[derive(Debug)]
pub struct Valkey {
    server: Arc<Server>,
    port: Port,
}

impl Valkey {
    /// Starts a server and waits until it answers a `PING`.
    ///
    /// # Errors
    /// [`Error`](crate::Error), with the end of the server's log where there is one.
    pub async fn start() -> Result<Self> {
        blocking(Self::start_blocking).await
    }

    /// As [`start`](Self::start), with settings of `valkey.conf` (`[("maxmemory", "1mb")]`).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn start_with(settings: &[(&str, &str)]) -> Result<Self> {
        let settings: Vec<_> = settings
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        blocking(move || retry_on_clash(|| Self::launch(&settings))).await
    }

    /// As [`start`](Self::start), but blocks the thread.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_blocking() -> Result<Self> {
        retry_on_clash(|| Self::launch(&[]))
    }

    fn launch(settings: &[(String, String)]) -> Result<Self> {
        let user = ServerUser::find();
        let scratch = Scratch::new("valkey", user.as_ref())?;
        let port = Port::lease()?;
        let mut args = vec![
            "--port".into(),
            port.number().to_string().into(),
            "--dir".into(),
            scratch.run().into(),
        ];
        let own = SETTINGS.iter().map(|(name, value)| (*name, *value));
        for (name, value) in own.chain(
            settings
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        ) {
            args.extend([format!("--{name}").into(), value.into()]);
        }
        let launch = Launch {
            program: find("valkey-server", &[])?,
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
            server: Arc::new(server),
            port,
        })
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// `redis://127.0.0.1:PORT/0`
    pub fn url(&self) -> String {
        format!("redis://{}/0", self.addr())
    }

    /// Ends it in an orderly way and waits for that; the data are gone.
    ///
    /// # Errors
    /// [`Error::NotRunning`](crate::Error::NotRunning).
    pub async fn stop(&self) -> Result<ExitStatus> {
        let server = Arc::clone(&self.server);
        blocking(move || server.stop()).await
    }

    /// Kills it at once (SIGKILL).
    pub fn kill(&self) {
        self.server.kill();
    }

    /// Starts it again (after killing it when it runs), on the same port, empty.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub async fn restart(&self) -> Result<()> {
        let server = Arc::clone(&self.server);
        blocking(move || server.restart()).await
    }

    /// Freezes it (SIGSTOP): it accepts connections and never answers.
    ///
    /// # Errors
    /// [`Error::NotRunning`](crate::Error::NotRunning).
    pub fn pause(&self) -> Result<()> {
        self.server.pause()
    }

    /// Lets it go on after [`pause`](Self::pause).
    ///
    /// # Errors
    /// [`Error::NotRunning`](crate::Error::NotRunning).
    pub fn resume(&self) -> Result<()> {
        self.server.resume()
    }

    /// The process: its log, its directory, its id.
    pub fn server(&self) -> &Server {
        &self.server
    }
}
