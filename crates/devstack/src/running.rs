//! What can be done to every private server while it runs.

use std::fmt;
use std::process::ExitStatus;
use std::sync::Arc;

use crate::Result;
use crate::process::{Server, blocking};

/// A server that was started. Dropping the last of its owners kills it. No method depends on the runtime that started
/// it.
pub struct Running(Arc<Server>);

impl Running {
    /// A handle to a server that was started.
    pub fn new(server: Server) -> Self {
        Self(Arc::new(server))
    }

    /// Ends it in an orderly way, waits for that (20 s, then it is killed) and returns its exit status. What it had on
    /// disk is kept.
    ///
    /// # Errors
    /// [`Error::NotRunning`](crate::Error::NotRunning).
    pub async fn stop(&self) -> Result<ExitStatus> {
        let server = Arc::clone(&self.0);
        blocking(move || server.stop()).await
    }

    /// Kills it at once (SIGKILL). What it had on disk is kept.
    pub fn kill(&self) {
        self.0.kill();
    }

    /// Starts it again (after killing it when it runs), on the same port, with what it had on disk.
    ///
    /// # Errors
    /// As its start.
    pub async fn restart(&self) -> Result<()> {
        let server = Arc::clone(&self.0);
        blocking(move || server.restart()).await
    }

    /// Freezes it (SIGSTOP): it accepts connections and never answers.
    ///
    /// # Errors
    /// [`Error::NotRunning`](crate::Error::NotRunning).
    pub fn pause(&self) -> Result<()> {
        self.0.pause()
    }

    /// Lets it go on after [`pause`](Self::pause).
    ///
    /// # Errors
    /// [`Error::NotRunning`](crate::Error::NotRunning).
    pub fn resume(&self) -> Result<()> {
        self.0.resume()
    }

    /// The process: its log, its directory, its id.
    pub fn server(&self) -> &Server {
        &self.0
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
