//! A private Prometheus that scrapes given addresses.

use std::fmt::Write as _;
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

const START_LIMIT: Duration = Duration::from_secs(30);

/// A private Prometheus server. Dropping it stops it.
#[derive(Debug)]
pub struct Prometheus {
    running: Running,
    port: Port,
}

impl Prometheus {
    /// Starts a server that scrapes `/metrics` of the targets every quarter of a second, and
    /// evaluates rules (a file in the format of Prometheus) as often.
    ///
    /// # Errors
    /// [`Error`](crate::Error), with the end of the server's log if it started.
    pub async fn start(targets: &[SocketAddr], rules: &str) -> Result<Self> {
        let (targets, rules) = (targets.to_vec(), rules.to_owned());
        blocking(move || retry_on_clash(|| Self::launch(&targets, &rules))).await
    }

    fn launch(targets: &[SocketAddr], rules: &str) -> Result<Self> {
        let user = ServerUser::find();
        let scratch = Scratch::new("prometheus", user.as_ref())?;
        let port = Port::lease()?;
        scratch.write("prometheus.yml", &configuration(targets), user.as_ref())?;
        scratch.write("rules.yml", rules, user.as_ref())?;
        let launch = Launch {
            program: find_program("prometheus", &[])?,
            args: vec![
                "--config.file=prometheus.yml".into(),
                "--storage.tsdb.path=data".into(),
                format!("--web.listen-address={}", port.addr()).into(),
                "--log.level=warn".into(),
            ],
            env: Vec::new(),
            user,
            stop: Signal::SIGTERM,
            quit: Signal::SIGKILL,
            limit: START_LIMIT,
        };
        let addr = port.addr();
        let ready = Box::new(move || probe::http(addr, "/-/ready"));
        let server = Server::start("prometheus", scratch, launch, ready)?;
        Ok(Self {
            running: Running::new(server),
            port,
        })
    }

    /// The server's address.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// `http://127.0.0.1:PORT`
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }
}

impl Deref for Prometheus {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

fn configuration(targets: &[SocketAddr]) -> String {
    let mut text = String::from(
        "global: {scrape_interval: 250ms, scrape_timeout: 250ms, evaluation_interval: 250ms}\n\
         rule_files: [rules.yml]\n\
         scrape_configs:\n  - job_name: fia-api\n    static_configs:\n      - targets:\n",
    );
    for target in targets {
        // Writing to a string does not fail.
        let _ = writeln!(text, "          - {target}");
    }
    text
}
