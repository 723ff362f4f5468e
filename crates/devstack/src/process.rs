//! A server process: started, watched until it is ready, frozen, killed, started again, and ended with this process.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::programs::{ServerUser, command_as};
use crate::scratch::Scratch;
use crate::{Error, Result};

const POLL: Duration = Duration::from_millis(5);
const STOP_LIMIT: Duration = Duration::from_secs(20);
const QUIT_LIMIT: Duration = Duration::from_secs(2);
const LOG_TAIL_BYTES: u64 = 4096;

/// How a server is started.
#[derive(Debug)]
pub struct Launch {
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its environment (it gets nothing of this process's, except a PATH of the system directories and a UTF-8 locale).
    pub env: Vec<(String, String)>,
    /// As whom it runs; none = as this process's user.
    pub user: Option<ServerUser>,
    /// The signal that asks it to end in an orderly way.
    pub stop: Signal,
    /// The signal that ends it at once, when its data are of no use any more. A server with children of its own should
    /// get one that lets it wait for them: otherwise they are left to process 1, which may not care in a container.
    pub quit: Signal,
    /// How long its start may take.
    pub limit: Duration,
}

/// Answers whether the server is ready; called every few milliseconds, so it must be quick.
pub type Ready = Box<dyn Fn() -> bool + Send + Sync>;

/// A server process in a directory of its own. Dropping it kills it and removes the directory.
pub struct Server {
    name: String,
    launch: Launch,
    ready: Ready,
    child: Mutex<Option<Child>>,
    scratch: Scratch,
}

impl Server {
    /// Starts a server in `scratch` and waits until it is ready.
    ///
    /// # Errors
    /// [`Error::Ended`] or [`Error::NotReady`] with the end of its log; [`Error::Io`] when it cannot be started.
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

    /// Starts it again, after killing it if it runs. Blocks until it is ready.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn restart(&self) -> Result<()> {
        self.kill();
        let mut slot = self.lock();
        let child = slot.insert(self.spawn()?);
        let deadline = Instant::now() + self.launch.limit;
        loop {
            let ready = (self.ready)();
            if let Some(status) = self.exited(child)? {
                return Err(self.ended(status));
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

    /// Asks it to end, waits for that (20 s, then it is killed) and returns its exit status.
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

    /// Waits until it has ended and returns its exit status, also when it had ended before; none when it still runs
    /// after `limit`.
    ///
    /// # Errors
    /// [`Error::NotRunning`] when it was never started, [`Error::Io`].
    pub fn wait(&self, limit: Duration) -> Result<Option<ExitStatus>> {
        let deadline = Instant::now() + limit;
        loop {
            // Not locked while waiting, so that another thread can kill it meanwhile.
            let ended = match &mut *self.lock() {
                Some(child) => self.exited(child)?,
                None => return Err(self.not_running()),
            };
            if ended.is_some() || Instant::now() >= deadline {
                return Ok(ended);
            }
            thread::sleep(POLL);
        }
    }

    /// Kills it and everything it started (SIGKILL), and waits until they are gone. None when it was never started.
    pub fn kill(&self) -> Option<ExitStatus> {
        let mut child = self.lock();
        let child = child.as_mut()?;
        // Frozen or not; one that has ended is sent nothing.
        let _ = child.kill();
        let status = child.wait().ok();
        while !self.signal_all(Signal::SIGKILL).is_empty() {
            thread::yield_now();
        }
        status
    }

    /// Freezes it and everything it started (SIGSTOP): connections are accepted by the kernel, nothing is answered.
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::SIGSTOP)?;
        let mut stopped = Vec::new();
        // What it was just starting appears in the second round.
        loop {
            let found = self.signal_all(Signal::SIGSTOP);
            if found.iter().all(|pid| stopped.contains(pid)) {
                return Ok(());
            }
            stopped = found;
        }
    }

    /// Lets it go on after [`pause`](Self::pause).
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub fn resume(&self) -> Result<()> {
        self.signal_all(Signal::SIGCONT);
        self.signal(Signal::SIGCONT)
    }

    /// Sends a signal to the server process itself.
    ///
    /// # Errors
    /// [`Error::NotRunning`].
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.pid().and_then(|id| i32::try_from(id).ok());
        let id = id.ok_or_else(|| self.not_running())?;
        kill(Pid::from_raw(id), signal).map_err(|_| self.not_running())
    }

    /// The server's process id; none when it is not running.
    pub fn pid(&self) -> Option<u32> {
        let mut child = self.lock();
        let child = child.as_mut()?;
        matches!(self.exited(child), Ok(None)).then(|| child.id())
    }

    /// The directory of the server's files.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// Its log: standard output and error.
    pub fn log(&self) -> PathBuf {
        self.scratch.dir().join(format!("{}.log", self.name))
    }

    /// The last 4 KiB of its log.
    pub fn log_tail(&self) -> String {
        tail(&self.log()).unwrap_or_else(|e| format!("(the log cannot be read: {e})"))
    }

    fn spawn(&self) -> Result<Child> {
        let log = self.log();
        let open = || File::options().create(true).append(true).open(&log);
        let out = open().map_err(Error::io(format!("opening {}", log.display())))?;
        let err = out
            .try_clone()
            .map_err(Error::io(format!("opening {}", log.display())))?;
        command_as(self.launch.user.as_ref(), &self.launch.program)?
            .args(&self.launch.args)
            .envs(self.launch.env.iter().map(|(key, value)| (key, value)))
            .current_dir(self.scratch.run())
            .stdout(Stdio::from(out))
            .stderr(Stdio::from(err))
            .process_group(0)
            .spawn()
            .map_err(Error::io(format!(
                "starting {}",
                self.launch.program.display()
            )))
    }

    /// Sends a signal to every process in the server's directory; returns them.
    fn signal_all(&self, signal: Signal) -> Vec<Pid> {
        let found = self.scratch.processes();
        for pid in &found {
            // One that ended since it was listed needs no signal.
            let _ = kill(*pid, signal);
        }
        found
    }

    /// The status of one that has ended; asked again, the same.
    fn exited(&self, child: &mut Child) -> Result<Option<ExitStatus>> {
        child
            .try_wait()
            .map_err(Error::io(format!("waiting for {}", self.name)))
    }

    fn ended(&self, status: ExitStatus) -> Error {
        let (server, status) = (self.name.clone(), status.to_string());
        Error::Ended {
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

    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let quit = self.launch.quit;
        if quit != Signal::SIGKILL && self.resume().is_ok() && self.signal(quit).is_ok() {
            // Killed below when it does not follow.
            let _ = self.wait(QUIT_LIMIT);
        }
        self.kill();
        self.scratch.end();
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
