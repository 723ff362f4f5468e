//! Stand-ins for the HTTP services that the API calls: the auth service and the two GitHub hosts.
//!
//! | request | response |
//! |---|---|
//! | `POST /verify {"token"}` | 200 for a valid token, else 403 |
//! | `GET /experiments?user_number=N` | the user's experiment numbers; 403 without the API key as bearer token |
//! | `GET /<org>/autoreduction-scripts/<ref>/<INSTRUMENT>/reduce.py` | the script, with an `ETag`; 404 if there is none |
//! | `GET /repos/<org>/autoreduction-scripts/commits/HEAD` | `{"sha": …}`, with an `ETag` |
//! | `GET /orgs/<org>/packages/container/<name>/versions` | package versions, paginated (`page`, `per_page`, `Link`) |
//! | `GET /_calls` | the number of requests by path |
//! | `DELETE /_calls` | resets these counts |
//! | `PUT /_down {"seconds": S}` | 503 to every other request for S seconds |

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use serde_json::Value;

use crate::Result;
use crate::ports::{Port, retry_on_clash};
use crate::process::blocking;

mod handlers;
mod listener;
mod state;

use listener::Listener;
use state::State;

/// The stand-ins: one HTTP server on a thread of its own, so that tests on any runtime can use it.
/// Dropping it stops the server.
#[derive(Debug)]
pub struct Upstreams {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    addr: SocketAddr,
    /// The lease of the port, if it was not given.
    _port: Option<Port>,
    state: Arc<Mutex<State>>,
    listener: Mutex<Option<Listener>>,
}

impl Upstreams {
    /// Starts the stand-ins with the recorded data.
    ///
    /// # Errors
    /// [`Error::NoPort`](crate::Error::NoPort), [`Error::Io`](crate::Error::Io).
    pub async fn start() -> Result<Self> {
        blocking(Self::start_blocking).await
    }

    /// Blocking variant of [`start`](Self::start).
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_blocking() -> Result<Self> {
        retry_on_clash(|| {
            let port = Port::lease()?;
            Self::listen(port.addr(), Some(port))
        })
    }

    /// Variant of [`start`](Self::start) for a given address.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when it cannot be bound.
    pub async fn start_on(addr: SocketAddr) -> Result<Self> {
        blocking(move || Self::listen(addr, None)).await
    }

    fn listen(addr: SocketAddr, port: Option<Port>) -> Result<Self> {
        let inner = Inner {
            addr,
            _port: port,
            state: Arc::default(),
            listener: Mutex::new(None),
        };
        inner.refuse(false)?;
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// The server's address.
    pub fn addr(&self) -> SocketAddr {
        self.inner.addr
    }

    /// The server's port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.inner.addr.port()
    }

    /// `http://127.0.0.1:PORT`, for `AUTH_API_URL`, `GITHUB_RAW_URL` and `GITHUB_API_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr())
    }

    /// Requests for `path` (without its query) since the start or
    /// [`reset_calls`](Self::reset_calls).
    pub fn calls(&self, path: &str) -> u64 {
        self.state().calls.get(path).copied().unwrap_or(0)
    }

    /// Requests for any path since the start or [`reset_calls`](Self::reset_calls).
    pub fn total_calls(&self) -> u64 {
        self.state().calls.values().sum()
    }

    /// Resets all request counts.
    pub fn reset_calls(&self) {
        self.state().calls.clear();
    }

    /// The `Authorization` header of the latest request for `path`.
    pub fn last_authorization(&self, path: &str) -> Option<String> {
        self.state().authorizations.get(path).cloned()
    }

    /// Delays responses for paths that start with `prefix` ("" = all); zero removes the delay. The
    /// longest matching prefix applies.
    pub fn delay(&self, prefix: &str, by: Duration) {
        self.state()
            .delays
            .set(prefix, (!by.is_zero()).then_some(by));
    }

    /// Responds with this status for paths that start with `prefix` ("" = all); `None` removes the
    /// fault.
    pub fn fail(&self, prefix: &str, status: Option<u16>) {
        self.state().failures.set(prefix, status);
    }

    /// Closes the listener and all open connections (`true`), or listens again on the same port
    /// (`false`).
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io) when the port cannot be bound again.
    pub async fn refuse(&self, refuse: bool) -> Result<()> {
        let inner = Arc::clone(&self.inner);
        blocking(move || inner.refuse(refuse)).await
    }

    /// Sets the experiment numbers of a user.
    pub fn set_experiments(&self, user_number: i64, numbers: &[i64]) {
        self.state()
            .experiments
            .insert(user_number.to_string(), numbers.to_vec());
    }

    /// Sets the package versions of every container.
    pub fn set_packages(&self, versions: Vec<Value>) {
        self.state().packages = versions;
    }

    /// Sets the script of an instrument; `None` makes it 404.
    pub fn set_script(&self, instrument: &str, text: Option<&str>) {
        let scripts = &mut self.state().scripts;
        match text {
            Some(text) => scripts.insert(instrument.to_owned(), text.as_bytes().to_vec()),
            None => scripts.remove(instrument),
        };
    }

    /// Sets the commit id of `HEAD`.
    pub fn set_commit(&self, sha: &str) {
        sha.clone_into(&mut self.state().commit);
    }

    /// Makes `/verify` accept or reject a token.
    pub fn set_token(&self, token: &str, valid: bool) {
        let tokens = &mut self.state().valid_tokens;
        if valid {
            tokens.insert(token.to_owned())
        } else {
            tokens.remove(token)
        };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock()
    }
}

impl Inner {
    fn refuse(&self, refuse: bool) -> Result<()> {
        let mut listener = self.listener.lock();
        if refuse {
            *listener = None;
        } else if listener.is_none() {
            *listener = Some(Listener::start(self.addr, Arc::clone(&self.state))?);
        }
        Ok(())
    }
}
