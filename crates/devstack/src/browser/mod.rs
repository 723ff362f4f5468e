//! Headless Chromium, for tests of pages.
//!
//! Driven by the `DevTools` protocol over a pipe (messages of JSON, each ended by a zero byte), so
//! that it needs no port and no client of `WebSocket`.

mod input;

use std::collections::HashMap;
use std::io;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::scratch::Scratch;
use crate::{Error, Result, find_program};

/// The time limit of a command.
const LIMIT: Duration = Duration::from_secs(30);

/// Its standard input and output become the ends of the pipe.
const LAUNCH: &str = r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#;

const ARGUMENTS: [&str; 12] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--no-first-run",
    "--no-proxy-server",
    "--remote-debugging-pipe",
];

/// A running browser. Dropping it kills it and deletes its profile.
pub struct Browser {
    shared: Arc<Shared>,
    reader: AbortHandle,
    _process: Child,
    _profile: Scratch,
}

struct Shared {
    to_browser: tokio::sync::Mutex<ChildStdin>,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    /// What pages logged, by session.
    logged: Mutex<Vec<(String, String)>>,
}

/// A page of a browser.
pub struct Page {
    shared: Arc<Shared>,
    session: String,
}

impl Browser {
    /// Starts the browser; `None` if Chromium is not installed. Must be
    /// called within a Tokio runtime.
    ///
    /// # Errors
    /// [`Error::Io`] if it cannot be started.
    pub fn start() -> Result<Option<Self>> {
        let Ok(program) = find_program("chromium", &[]) else {
            return Ok(None);
        };
        let profile = Scratch::new("chromium", None)?;
        let mut process = Command::new("sh")
            .args(["-c", LAUNCH])
            .arg(program)
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", profile.run().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(Error::io("starting Chromium"))?;
        let (Some(to_browser), Some(from_browser)) = (process.stdin.take(), process.stdout.take())
        else {
            return Err(Error::io("starting Chromium")(
                io::ErrorKind::BrokenPipe.into(),
            ));
        };
        let shared = Arc::new(Shared {
            to_browser: tokio::sync::Mutex::new(to_browser),
            next: AtomicU64::new(1),
            waiting: Mutex::default(),
            logged: Mutex::default(),
        });
        let reader = tokio::spawn(read(from_browser, Arc::clone(&shared))).abort_handle();
        Ok(Some(Self {
            shared,
            reader,
            _process: process,
            _profile: profile,
        }))
    }

    /// Opens an empty page of this size, in light or dark colours.
    ///
    /// # Errors
    /// [`Error::Io`] if the browser does not respond.
    pub async fn page(&self, (width, height): (u32, u32), is_dark: bool) -> Result<Page> {
        let target = json!({"url": "about:blank"});
        let target = self
            .shared
            .call(None, "Target.createTarget", target)
            .await?;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self
            .shared
            .call(None, "Target.attachToTarget", attach)
            .await?;
        let page = Page {
            shared: Arc::clone(&self.shared),
            session: attached["sessionId"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        };
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            page.call(domain, json!({})).await?;
        }
        let metrics = json!({
            "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600,
        });
        page.call("Emulation.setDeviceMetricsOverride", metrics)
            .await?;
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        let media = json!({"features": features});
        page.call("Emulation.setEmulatedMedia", media).await?;
        Ok(page)
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Page {
    /// Loads a page, and waits until it is complete.
    ///
    /// # Errors
    /// [`Error::Io`] if the browser does not respond.
    pub async fn open(&self, url: &str) -> Result<()> {
        self.call("Page.navigate", json!({"url": url})).await?;
        self.wait_for("document.readyState === 'complete'", LIMIT)
            .await
    }

    /// Has the pages that are opened from now on run no scripts of their own.
    ///
    /// # Errors
    /// [`Error::Io`] if the browser does not respond.
    pub async fn disable_scripts(&self) -> Result<()> {
        let disable = json!({"value": true});
        let call = self.call("Emulation.setScriptExecutionDisabled", disable);
        call.await.map(drop)
    }

    /// The value of an expression, which may be a promise.
    ///
    /// # Errors
    /// [`Error::Io`] if it throws, or the browser does not respond.
    pub async fn evaluate(&self, expression: &str) -> Result<Value> {
        let evaluate = json!({
            "expression": expression, "awaitPromise": true, "returnByValue": true,
        });
        let evaluated = self.call("Runtime.evaluate", evaluate).await?;
        match evaluated.get("exceptionDetails") {
            None => Ok(evaluated["result"]["value"].clone()),
            Some(thrown) => Err(failed(format!("{expression}: {thrown}"))),
        }
    }

    /// Waits until a condition holds in the page.
    ///
    /// # Errors
    /// [`Error::Io`] if it does not within the limit.
    pub async fn wait_for(&self, condition: &str, limit: Duration) -> Result<()> {
        let waiting = async {
            // A new document ends the evaluation in the one before.
            while self.evaluate(condition).await.ok() != Some(Value::Bool(true)) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let held = timeout(limit, waiting).await;
        held.map_err(|_| failed(format!("not within {limit:?}: {condition}")))
    }

    /// An image of what the window shows, as `png` or `webp`.
    ///
    /// # Errors
    /// [`Error::Io`] if the browser does not respond.
    pub async fn screenshot(&self, format: &str) -> Result<Vec<u8>> {
        let options = json!({"format": format, "quality": 80});
        let image = self.call("Page.captureScreenshot", options).await?;
        let text = image["data"].as_str().unwrap_or_default();
        STANDARD
            .decode(text)
            .map_err(|error| failed(error.to_string()))
    }

    /// What the page logged so far: errors, among them violations of its security policy.
    pub fn logged(&self) -> Vec<String> {
        let logged = self.shared.logged.lock();
        let own = logged
            .iter()
            .filter(|(session, _)| *session == self.session);
        own.map(|(_, text)| text.clone()).collect()
    }

    async fn call(&self, method: &str, parameters: Value) -> Result<Value> {
        self.shared
            .call(Some(&self.session), method, parameters)
            .await
    }
}

impl Shared {
    async fn call(&self, session: Option<&str>, method: &str, parameters: Value) -> Result<Value> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut message = json!({"id": id, "method": method, "params": parameters});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let (sender, reply) = oneshot::channel();
        self.waiting.lock().insert(id, sender);
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        let sending = async { self.to_browser.lock().await.write_all(&bytes).await };
        sending.await.map_err(Error::io(method.to_owned()))?;
        let reply = timeout(LIMIT, reply).await;
        let mut reply = reply
            .ok()
            .and_then(Result::ok)
            .ok_or_else(|| failed(format!("{method}: no reply")))?;
        match reply.get("error") {
            None => Ok(reply["result"].take()),
            Some(error) => Err(failed(format!("{method}: {error}"))),
        }
    }

    fn receive(&self, message: Value) {
        if let Some(id) = message["id"].as_u64() {
            if let Some(sender) = self.waiting.lock().remove(&id) {
                // The caller may have given up.
                let _ = sender.send(message);
            }
            return;
        }
        let parameters = &message["params"];
        let text = match message["method"].as_str() {
            Some("Log.entryAdded") if parameters["entry"]["level"] == "verbose" => None,
            Some("Log.entryAdded") => parameters["entry"]["text"].as_str().map(str::to_owned),
            Some("Runtime.exceptionThrown") => Some(parameters["exceptionDetails"].to_string()),
            _ => None,
        };
        if let Some(text) = text {
            let session = message["sessionId"].as_str().unwrap_or_default();
            self.logged.lock().push((session.to_owned(), text));
        }
    }
}

async fn read(from_browser: ChildStdout, shared: Arc<Shared>) {
    let mut from_browser = BufReader::new(from_browser);
    let mut bytes = Vec::new();
    while let Ok(1..) = from_browser.read_until(0, &mut bytes).await {
        bytes.pop();
        if let Ok(message) = serde_json::from_slice(&bytes) {
            shared.receive(message);
        }
        bytes.clear();
    }
}

fn failed(what: String) -> Error {
    Error::io("driving Chromium")(io::Error::other(what))
}
