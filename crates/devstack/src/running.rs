//! Operations common to all private servers: stop, kill, restart, pause.

use std::fmt;
use std::process::ExitStatus;
use std::sync::Arc;

use crate::Result;
use crate::process::{Server, blocking};

/// The handle of a server process that was started. Dropping it kills the server, once calls in
/// progress have finished. It can be used from any runtime.
pub struct Running(Arc<Server>);

impl Running {
    /// Wraps a started server.
    pub fn new(server: Server) -> Self {
        Self(Arc::new(server))
    }

    /// Shuts the server down, kills it after 20 s, and returns its exit status. Its files are kept.
    ///
    /// # Errors
    /// [`Error::NotRunning`](crate::Error::NotRunning).
    pub async fn stop(&self) -> Result<ExitStatus> {
        let server = Arc::clone(&self.0);
        blocking(move || server.stop()).await
    }

    /// Kills the server (SIGKILL). Its files are kept.
    pub fn kill(&self) {
        self.0.kill();
    }

    /// Kills the server if it runs and starts it again, on the same port and with the same files.
    ///
    /// # Errors
    /// As for its first start.
    pub async fn restart(&self) -> Result<()> {
        let server = Arc::clone(&self.0);
        blocking(move || server.restart()).await
    }

    /// Freezes the server (SIGSTOP): the kernel accepts connections, but nothing responds.
    ///
    /// # Errors
    /// [`Error::NotRunning`](crate::Error::NotRunning).
    pub fn pause(&self) -> Result<()> {
        self.0.pause()
    }

    /// Resumes the server after [`pause`](Self::pause).
    ///
    /// # Errors
    /// [`Error::NotRunning`](crate::Error::NotRunning).
    pub fn resume(&self) -> Result<()> {
        self.0.resume()
    }

    /// The server process: its log, directory and process id.
    pub fn server(&self) -> &Server {
        &self.0
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
