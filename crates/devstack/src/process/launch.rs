//! Start parameters of a server process.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::programs::{ServerUser, command_as};
use crate::{Error, Result};

/// A readiness probe. It is called every few milliseconds during startup and must return quickly.
pub type Ready = Box<dyn Fn() -> bool + Send + Sync>;

/// The start parameters of a server process.
#[derive(Debug)]
pub struct Launch {
    /// The program's file.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its environment. Nothing is inherited; a PATH of the system directories and a UTF-8 locale
    /// are added.
    pub env: Vec<(String, String)>,
    /// The user to run as; none = this process's user.
    pub user: Option<ServerUser>,
    /// The signal for an orderly shutdown.
    pub stop: Signal,
    /// The signal for an immediate shutdown, when the data are no longer needed. For a server with
    /// child processes it should be one that makes the server reap them: orphans go to process 1,
    /// which does not always reap in a container.
    pub quit: Signal,
    /// The start timeout.
    pub limit: Duration,
}

impl Launch {
    /// Starts the process in its own process group and in `dir`, with its output appended to `log`.
    pub(super) fn spawn(&self, dir: &Path, log: &Path) -> Result<Child> {
        let opening = || format!("opening {}", log.display());
        let stdout = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(Error::io(opening()))?;
        let stderr = stdout.try_clone().map_err(Error::io(opening()))?;
        command_as(self.user.as_ref(), &self.program)?
            .args(&self.args)
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(dir)
            .stdout(Stdio::from(stdout))
            .stderr(Stdio::from(stderr))
            .process_group(0)
            .spawn()
            .map_err(Error::io(format!("starting {}", self.program.display())))
    }
}
