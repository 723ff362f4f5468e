//! The page's own connection to Valkey, so that it never delays a request: for the fleet and the
//! search of keys.

use std::collections::VecDeque;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, FromRedisValue, Pipeline, RedisError, cmd};
use secrecy::ExposeSecret as _;
use tiercache::Server;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

use crate::config;

/// The time limit to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// The time limit of a command.
const TIMEOUT: Duration = Duration::from_millis(300);
/// The time after a failure in which no connection is attempted.
const BACKOFF: Duration = Duration::from_secs(1);
/// The time that a search may take.
const SEARCH_TIME: Duration = Duration::from_millis(25);
/// The number of keys that one step of a search visits: about 1 ms of Valkey's time.
const SEARCH_STEP: usize = 5_000;
/// What all keys of this service begin with.
const PREFIX: &str = "fia_api:";

/// A connection that is opened when needed. At most one command is in flight.
pub(super) struct Valkey {
    server: Option<Server>,
    /// A key: in a cluster, commands go to the node that has it.
    home: &'static str,
    current: Mutex<Current>,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    failed: Option<Instant>,
}

/// A command has no reply.
#[derive(Debug, thiserror::Error)]
pub(super) enum ValkeyError {
    #[error("not configured")]
    NotConfigured,
    #[error("unavailable")]
    Unavailable,
    #[error("no reply in time")]
    Timeout,
    #[error("{0}")]
    Refused(#[from] RedisError),
}

/// The result of a search.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Search {
    pub(super) keys: Vec<String>,
    /// The keys that were visited, approximately.
    pub(super) visited: usize,
    pub(super) is_complete: bool,
}

impl Valkey {
    /// A client of the cache's server, in a cluster of the node that has a key; does not connect.
    pub(super) fn new(config: &config::Cache, home: &'static str) -> Self {
        let url = config.valkey_url.as_ref().filter(|_| config.shared);
        // Parsed before, when the cache was created.
        let server = url.and_then(|url| Server::parse(url.expose_secret()).ok());
        Self {
            server,
            home,
            current: Mutex::default(),
        }
    }

    pub(super) fn is_configured(&self) -> bool {
        self.server.is_some()
    }

    /// Sends a command.
    pub(super) async fn call<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, ValkeyError> {
        self.with(async |mut connection| command.query_async(&mut connection).await)
            .await
    }

    /// Sends commands in one pipeline.
    pub(super) async fn call_all<T: FromRedisValue>(
        &self,
        commands: &Pipeline,
    ) -> Result<T, ValkeyError> {
        self.with(async |mut connection| commands.query_async(&mut connection).await)
            .await
    }

    async fn with<T>(
        &self,
        work: impl AsyncFnOnce(MultiplexedConnection) -> Result<T, RedisError>,
    ) -> Result<T, ValkeyError> {
        let server = self.server.as_ref().ok_or(ValkeyError::NotConfigured)?;
        let mut current = self.current.lock().await;
        let connection = match &current.connection {
            Some(connection) => connection.clone(),
            None => {
                if current
                    .failed
                    .is_some_and(|failed| failed.elapsed() < BACKOFF)
                {
                    return Err(ValkeyError::Unavailable);
                }
                let config = AsyncConnectionConfig::new();
                let connecting = server.connect_for(self.home, &config);
                match timeout(CONNECT_TIMEOUT, connecting).await {
                    Ok(Ok(connection)) => current.connection.insert(connection).clone(),
                    Ok(Err(_)) | Err(_) => {
                        current.failed = Some(Instant::now());
                        return Err(ValkeyError::Unavailable);
                    }
                }
            }
        };
        let result = match timeout(TIMEOUT, work(connection)).await {
            Ok(result) => result.map_err(ValkeyError::from),
            Err(_) => Err(ValkeyError::Timeout),
        };
        if result.is_err() {
            current.connection = None;
        }
        result
    }

    /// The connections to all servers that have keys. Those to the nodes of a cluster are opened for
    /// each search, since its nodes change.
    async fn nodes(&self) -> Result<Vec<MultiplexedConnection>, ValkeyError> {
        let server = self.server.as_ref().ok_or(ValkeyError::NotConfigured)?;
        if !server.is_cluster() {
            return Ok(vec![self.with(async |connection| Ok(connection)).await?]);
        }
        let config = AsyncConnectionConfig::new();
        match timeout(CONNECT_TIMEOUT, server.connect_all(&config)).await {
            Ok(Ok(connections)) => Ok(connections),
            Ok(Err(_)) | Err(_) => Err(ValkeyError::Unavailable),
        }
    }

    /// Searches the keys of this service that contain a text, for 25 ms at most.
    pub(super) async fn search(&self, text: &str, limit: usize) -> Result<Search, ValkeyError> {
        let found = self.search_nodes(text, limit).await;
        if found.is_err() {
            self.current.lock().await.connection = None;
        }
        found
    }

    async fn search_nodes(&self, text: &str, limit: usize) -> Result<Search, ValkeyError> {
        let text = match PREFIX.starts_with(text) {
            true => "",
            false => text.strip_prefix(PREFIX).unwrap_or(text),
        };
        let pattern = format!("{}*{}*", glob(PREFIX), glob(text));
        let mut scans: VecDeque<Scan> = self.nodes().await?.into_iter().map(Scan::new).collect();
        let end = Instant::now() + SEARCH_TIME;
        let (mut keys, mut visited) = (Vec::new(), 0);
        // A step on each node in turn.
        while let Some(mut scan) = scans.pop_front() {
            keys.extend(scan.step(&pattern).await?);
            visited += SEARCH_STEP;
            if scan.cursor != 0 {
                scans.push_back(scan);
            }
            if keys.len() >= limit || Instant::now() >= end {
                break;
            }
        }
        let is_complete = scans.is_empty() && keys.len() <= limit;
        // SCAN may return a key twice.
        keys.sort();
        keys.dedup();
        keys.truncate(limit);
        Ok(Search {
            keys,
            visited,
            is_complete,
        })
    }
}

/// The search on one server.
struct Scan {
    connection: MultiplexedConnection,
    /// 0 at the begin, and at the end.
    cursor: u64,
}

impl Scan {
    fn new(connection: MultiplexedConnection) -> Self {
        Self {
            connection,
            cursor: 0,
        }
    }

    async fn step(&mut self, pattern: &str) -> Result<Vec<String>, ValkeyError> {
        let mut scan = cmd("SCAN");
        scan.arg(self.cursor).arg("MATCH").arg(pattern);
        scan.arg("COUNT").arg(SEARCH_STEP);
        let scanning = scan.query_async(&mut self.connection);
        let scanned = timeout(TIMEOUT, scanning).await;
        let (cursor, found): (u64, Vec<String>) = scanned.map_err(|_| ValkeyError::Timeout)??;
        self.cursor = cursor;
        Ok(found)
    }
}

/// A text that matches itself only.
fn glob(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for character in text.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_of_patterns_match_themselves() {
        assert_eq!(glob("a*b?[c]\\"), "a\\*b\\?\\[c\\]\\\\");
    }
}
