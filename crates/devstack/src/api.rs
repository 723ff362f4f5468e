//! The API server as a separate process, for the demo and for tests of signals and exit statuses.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Deref;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::ports::{Port, retry_on_clash};
use crate::process::{Launch, Server, blocking};
use crate::programs::run;
use crate::running::Running;
use crate::scratch::Scratch;
use crate::{Error, Result, probe};

const START_LIMIT: Duration = Duration::from_secs(30);

/// Poll interval while waiting for the process to exit.
const EXIT_POLL: Duration = Duration::from_millis(20);

/// A running API server. Dropping it kills it.
#[derive(Debug)]
pub struct Api {
    running: Running,
    addr: SocketAddr,
    _port: Option<Port>,
}

impl Api {
    /// Runs `program serve` on a free port and waits until `/healthz` responds with 200.
    ///
    /// `env` holds the settings, usually those of [`Stack::env`](crate::Stack::env). Of several values
    /// for one name the last applies; `FIA_API_BIND` is overridden.
    ///
    /// # Errors
    /// [`Error`], with the end of the server's log if it started.
    pub async fn start(program: &Path, env: Vec<(String, String)>) -> Result<Self> {
        let program = program.to_owned();
        blocking(move || {
            retry_on_clash(|| {
                let port = Port::lease()?;
                let running = launch(&program, &env, port.addr())?;
                Ok(Self {
                    running,
                    addr: port.addr(),
                    _port: Some(port),
                })
            })
        })
        .await
    }

    /// Variant of [`start`](Self::start) for a given port of 127.0.0.1.
    ///
    /// # Errors
    /// [`Error::PortInUse`] if the port is taken; otherwise as for [`start`](Self::start).
    pub async fn start_on(port: u16, program: &Path, env: Vec<(String, String)>) -> Result<Self> {
        let program = program.to_owned();
        blocking(move || {
            Self::check_port(port)?;
            let addr = (Ipv4Addr::LOCALHOST, port).into();
            Ok(Self {
                running: launch(&program, &env, addr)?,
                addr,
                _port: None,
            })
        })
        .await
    }

    /// Checks that [`start_on`](Self::start_on) could bind this port now.
    ///
    /// # Errors
    /// [`Error::PortInUse`].
    pub fn check_port(port: u16) -> Result<()> {
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => Ok(()),
            Err(source) => Err(Error::PortInUse { port, source }),
        }
    }

    /// Runs a command of the API program, for example `schema --apply`, to completion. `env` is
    /// added to this process's environment.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be executed, [`Error::Command`] with its output when it fails.
    pub async fn run_command(
        program: &Path,
        arguments: &[&str],
        env: &[(String, String)],
    ) -> Result<()> {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .envs(env.iter().map(|(name, value)| (name, value)));
        blocking(move || run(&mut command).map(drop)).await
    }

    /// The server's address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Waits until the server has exited and returns its exit status.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn exited(&self) -> Result<ExitStatus> {
        loop {
            if let Some(status) = self.server().wait(Duration::ZERO)? {
                return Ok(status);
            }
            tokio::time::sleep(EXIT_POLL).await;
        }
    }
}

impl Deref for Api {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

fn launch(program: &Path, env: &[(String, String)], addr: SocketAddr) -> Result<Running> {
    let program = program
        .canonicalize()
        .map_err(Error::io(format!("finding {}", program.display())))?;
    let mut env = env.to_vec();
    env.push(("FIA_API_BIND".to_owned(), addr.to_string()));
    let launch = Launch {
        program,
        args: vec!["serve".into()],
        env,
        user: None,
        stop: Signal::SIGTERM,
        quit: Signal::SIGKILL,
        limit: START_LIMIT,
    };
    let ready = Box::new(move || probe::http(addr, "/healthz"));
    Ok(Running::new(Server::start(
        "fia-api",
        Scratch::new("fia-api", None)?,
        launch,
        ready,
    )?))
}
