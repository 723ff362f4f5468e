//! A server process: start with a readiness probe, pause, kill, restart. It never outlives this
//! process.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use parking_lot::Mutex;

use crate::scratch::Scratch;
use crate::{Error, Result};

mod launch;

pub use launch::{Launch, Ready};

const POLL: Duration = Duration::from_millis(5);
const STOP_LIMIT: Duration = Duration::from_secs(20);
const QUIT_LIMIT: Duration = Duration::from_secs(2);
const LOG_TAIL_BYTES: u64 = 4096;

/// A server process in its own directory. Dropping it kills the process and deletes the directory.
pub struct Server {
    name: String,
    launch: Launch,
    ready: Ready,
    child: Mutex<Option<Child>>,
    scratch: Scratch,
}

impl Server {
    /// Starts a server in `scratch` and blocks until it is ready.
    ///
    /// # Errors
    /// [`Error::Exited`] or [`Error::NotReady`], with the end of the log; [`Error::Io`] when the
    /// program cannot be executed.
    pub fn start(name: &str, scratch: Scratch, launch: Launch, ready: Ready) -> Result<Self> {
        let server = Self {
            name: name.to_owned(),
            launch,
            ready,
            child: Mutex::new(None),
            scratch,
        };
        server.restart()?;
        Ok(server)
    }

    /// Kills the server if it runs, starts it again, and blocks until it is ready.
    ///
    /// # Errors
    /// As for [`start`](Self::start).
    pub fn restart(&self) -> Result<()> {
        self.kill();
        let mut slot = self.child.lock();
        let child = slot.insert(self.launch.spawn(&self.scratch.run(), &self.log())?);
        let deadline = Instant::now() + self.launch.limit;
        loop {
            let ready = (self.ready)();
            if let Some(status) = self.exit_status(child)? {
                return Err(self.exited(status));
            }
            if ready {
                return Ok(());
            }
            if Instant::now() > deadline {
                let seconds = self.launch.limit.as_secs();
                let (server, log, tail) = (self.name.clone(), self.log(), self.log_tail());
                return Err(Error::NotReady {
                    server,
                    seconds,
                    log,
                    tail,
                });
            }
            thread::sleep(POLL);
        }
    }

    /// Shuts the server down with its stop signal, kills it after 20 s, and returns its exit
    /// status.
    ///
    /// # Errors
    /// [`Error::NotRunning`], or [`Error::Io`].
    pub fn stop(&self) -> Result<ExitStatus> {
        self.signal(self.launch.stop)?;
        match self.wait(STOP_LIMIT)? {
            Some(status) => Ok(status),
            None => self.kill().ok_or_else(|| self.not_running()),
        }
    }

    /// Waits until the server has exited and returns its exit status; none if it still runs after
    /// `limit`.
    ///
    /// # Errors
    /// [`Error::NotRunning`] if it was never started, [`Error::Io`].
    pub fn wait(&self, limit: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            // Not locked while waiting, so that another thread can kill the server.
            let status = match &mut *self.child.lock() {
                Some(child) => self.exit_status(child)?,
                None => return Err(self.not_running()),
            };
            if status.is_some() || Instant::now() >= deadline {
                return Ok(status);
            }
            thread::sleep(POLL);
        }
    }

    /// Kills the server and its descendants (SIGKILL) and waits until they have exited. None if it
    /// was never started.
    pub fn kill(&self) -> Option<ExitStatus> {
        let mut child = self.child.lock();
        let child = child.as_mut()?;
        // Fails only if the process has already exited.
        let _ = child.kill();
        let status = child.wait().ok();
        while !self.signal_all(Signal::SIGKILL).is_empty() {
            thread::yield_now();
        }
        status
    }

    /// Freezes the server and its descendants (SIGSTOP): the kernel accepts connections, nothing
    /// responds.
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        let mut stopped = Vec::new();
        // Repeated until no new process appears: the server may have been forking.
        loop {
            let found = self.signal_all(Signal::SIGSTOP);
            if found.iter().all(|pid| stopped.contains(pid)) {
                return Ok(());
            }
            stopped = found;
        }
    }

    /// Resumes the server after [`pause`](Self::pause).
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub fn resume(&self) -> Result<()> {
        self.signal_all(Signal::SIGCONT);
        self.signal(Signal::SIGCONT)
    }

    /// Sends a signal to the server process, but not to its descendants.
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.pid().and_then(|id| i32::try_from(id).ok());
        let id = id.ok_or_else(|| self.not_running())?;
        kill(Pid::from_raw(id), signal).map_err(|_| self.not_running())
    }

    /// The server's process id; none if it is not running.
    pub fn pid(&self) -> Option<u32> {
        let mut child = self.child.lock();
        let child = child.as_mut()?;
        matches!(self.exit_status(child), Ok(None)).then(|| child.id())
    }

    /// The server's directory.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// The server's log file: its standard output and error.
    pub fn log(&self) -> PathBuf {
        self.scratch.dir().join(format!("{}.log", self.name))
    }

    /// The last 4 KiB of the log.
    pub fn log_tail(&self) -> String {
        tail(&self.log()).unwrap_or_else(|e| format!("(log not readable: {e})"))
    }

    /// Sends a signal to every process in the server's directory; returns these processes.
    fn signal_all(&self, signal: Signal) -> Vec<Pid> {
        let found = self.scratch.processes();
        for pid in &found {
            // Fails only if the process has exited since it was listed.
            let _ = kill(*pid, signal);
        }
        found
    }

    /// The exit status, if the process has exited; repeatable.
    fn exit_status(&self, child: &mut Child) -> Result<Option<ExitStatus>> {
        child
            .try_wait()
            .map_err(Error::io(format!("waiting for {}", self.name)))
    }

    fn exited(&self, status: ExitStatus) -> Error {
        let (server, status) = (self.name.clone(), status.to_string());
        Error::Exited {
            server,
            status,
            log: self.log(),
            tail: self.log_tail(),
        }
    }

    fn not_running(&self) -> Error {
        Error::NotRunning {
            server: self.name.clone(),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let quit = self.launch.quit;
        if quit != Signal::SIGKILL && self.resume().is_ok() && self.signal(quit).is_ok() {
            // Killed below if it does not exit in time.
            let _ = self.wait(QUIT_LIMIT);
        }
        self.kill();
        self.scratch.remove();
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server")
            .field("name", &self.name)
            .field("dir", &self.scratch.dir())
            .finish_non_exhaustive()
    }
}

/// Runs a blocking function on the runtime's blocking thread pool.
///
/// # Errors
/// Those of `work`; [`Error::Task`] when it panics.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Task("a blocking task"))?
}

fn tail(log: &Path) -> std::io::Result<String> {
    let mut file = File::open(log)?;
    let from = fs::metadata(log)?.len().saturating_sub(LOG_TAIL_BYTES);
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
