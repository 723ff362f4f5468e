//! Stand-ins for the auth service and GitHub.
use crate::{Error, Result};
use std::{net::SocketAddr, time::Duration};
/// The stand-ins: one HTTP server on a thread of its own.
#[derive(Debug)]
pub struct Upstreams {
    addr: SocketAddr,
}
impl Upstreams {
    /// Starts the stand-ins on a free port.
    pub async fn start() -> Result<Self> {
        Err(Error::Task("x"))
    }
    /// As start, blocking.
    pub fn start_blocking() -> Result<Self> {
        Err(Error::Task("x"))
    }
    /// Their address.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
    /// Their port.
    pub fn port(&self) -> u16 {
        self.addr.port()
    }
    /// `http://127.0.0.1:PORT`, for AUTH_API_URL, GITHUB_RAW_URL and GITHUB_API_URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }
    /// How often `path` (without query) was asked.
    pub fn calls(&self, _path: &str) -> u64 {
        0
    }
    /// How often anything was asked.
    pub fn total_calls(&self) -> u64 {
        0
    }
    /// Sets all counts back.
    pub fn reset_calls(&self) {}
    /// The `Authorization` header that `path` was last asked with.
    pub fn last_authorization(&self, _path: &str) -> Option<String> {
        None
    }
    /// Delays every answer to paths that begin with `prefix` ("" = all); zero takes it back.
    pub fn delay(&self, _prefix: &str, _by: Duration) {}
    /// Answers this status to paths that begin with `prefix`; `None` takes it back.
    pub fn fail(&self, _prefix: &str, _status: Option<u16>) {}
    /// Refuses connections (`true`), or listens again on the same port.
    pub async fn refuse(&self, _on: bool) -> Result<()> {
        Ok(())
    }
    /// The experiment numbers of a user.
    pub fn set_experiments(&self, _user_number: i64, _numbers: &[i64]) {}
    /// The package versions (served in pages: `?page=N&per_page=M`).
    pub fn set_packages(&self, _versions: Vec<serde_json::Value>) {}
    /// The script of an instrument; `None` = 404.
    pub fn set_script(&self, _instrument: &str, _text: Option<&str>) {}
    /// The commit that HEAD stands for.
    pub fn set_commit(&self, _sha: &str) {}
    /// Whether `/verify` accepts this token.
    pub fn set_token(&self, _token: &str, _valid: bool) {}
}
