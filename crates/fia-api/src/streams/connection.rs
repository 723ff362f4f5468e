//! A connection to Valkey, opened on demand and reopened after a failure.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, Value};
use tiercache::Server;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};

/// Timeout for opening a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// Time without a further attempt to connect after a failed one.
const RECONNECT_BACKOFF: Duration = Duration::from_secs(1);
/// Idle time after which a connection is replaced instead of used: a firewall may have dropped it
/// without a notice to this side.
const MAX_IDLE: Duration = Duration::from_secs(30);

/// A command failed.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum CommandError {
    /// Valkey cannot be reached, or did not reply in time.
    #[error("Valkey unavailable: {0}")]
    Unavailable(String),
    /// Valkey rejected the command.
    #[error("Valkey rejected the command: {0}")]
    Rejected(String),
}

/// A connection for commands that only read: each may be sent twice.
pub(super) struct Connection {
    server: Server,
    /// The key of its commands, if it is one to a node of a cluster.
    key: Option<String>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    open: Option<Open>,
    /// Number of connections that were opened.
    opened: u64,
    failed_at: Option<Instant>,
}

#[derive(Clone)]
struct Open {
    connection: MultiplexedConnection,
    /// The value of `opened` when it was opened.
    number: u64,
    used_at: Instant,
}

impl Connection {
    pub(super) fn new(server: Server) -> Self {
        Self {
            server,
            key: None,
            state: Mutex::default(),
        }
    }

    /// To the node of a cluster that has a key.
    pub(super) fn of_key(server: Server, key: &str) -> Self {
        Self {
            server,
            key: Some(key.to_owned()),
            state: Mutex::default(),
        }
    }

    /// Sends a command and waits for its reply for at most `limit`.
    ///
    /// If the connection was closed, or the key has moved to another node, it is replaced, and the command is
    /// sent once more.
    pub(super) async fn call(&self, command: &Cmd, limit: Duration) -> Result<Value, CommandError> {
        let mut open = self.open(None).await?;
        let mut sent = timeout(limit, open.connection.send_packed_command(command)).await;
        let is_moved = |reply: &Value| {
            let error = reply.clone().extract_error().err();
            error.is_some_and(|error| error.redirect_node().is_some())
        };
        let is_moved = matches!(&sent, Ok(Ok(reply @ Value::ServerError(_))) if is_moved(reply));
        if is_moved || matches!(sent, Ok(Err(_))) {
            open = self.open(Some(open.number)).await?;
            sent = timeout(limit, open.connection.send_packed_command(command)).await;
        }
        let error = match sent {
            Ok(Ok(reply)) => {
                return reply
                    .extract_error()
                    .map_err(|error| CommandError::Rejected(error.to_string()));
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "reply timeout".to_owned(),
        };
        // A late reply must not reach another command.
        let mut state = self.state.lock().await;
        state.open.take_if(|current| current.number == open.number);
        Err(CommandError::Unavailable(error))
    }

    /// Returns the connection or opens one. `broken` is the number of a connection that failed.
    /// Concurrent callers wait for one attempt and share its failure.
    async fn open(&self, broken: Option<u64>) -> Result<Open, CommandError> {
        let mut state = self.state.lock().await;
        let now = Instant::now();
        state.open.take_if(|open| {
            Some(open.number) == broken || now.duration_since(open.used_at) > MAX_IDLE
        });
        if let Some(open) = &mut state.open {
            open.used_at = now;
            return Ok(open.clone());
        }
        let backoff = |at: Instant| now.duration_since(at) < RECONNECT_BACKOFF;
        if state.failed_at.is_some_and(backoff) {
            return Err(CommandError::Unavailable("waiting to reconnect".to_owned()));
        }
        let connected = self.connect().await;
        state.failed_at = connected.is_err().then(Instant::now);
        let connection = connected.map_err(CommandError::Unavailable)?;
        state.opened += 1;
        let open = Open {
            connection,
            number: state.opened,
            used_at: Instant::now(),
        };
        state.open = Some(open.clone());
        Ok(open)
    }

    async fn connect(&self) -> Result<MultiplexedConnection, String> {
        // The client's own timeouts do not cover all of its waits; `timeout` below does.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let connecting = async {
            match &self.key {
                Some(key) => self.server.connect_for(key, &config).await,
                None => self.server.connect(&config).await,
            }
        };
        match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected.map_err(|error| error.to_string()),
            Err(_) => Err("connection timeout".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use devstack::shared;
    use redis::cmd;

    use super::*;

    #[tokio::test]
    async fn a_connection_that_was_idle_for_long_is_replaced() {
        let valkey = shared::valkey().await.unwrap();
        let connection = Connection::new(Server::parse(&valkey.url()).unwrap());
        let ping = async || {
            connection
                .call(&cmd("PING"), CONNECT_TIMEOUT)
                .await
                .unwrap()
        };
        ping().await;
        ping().await;
        let mut state = connection.state.lock().await;
        assert_eq!(state.opened, 1);
        let open = state.open.as_mut().unwrap();
        open.used_at = open.used_at.checked_sub(2 * MAX_IDLE).unwrap();
        drop(state);
        ping().await;
        assert_eq!(connection.state.lock().await.opened, 2);
    }
}
