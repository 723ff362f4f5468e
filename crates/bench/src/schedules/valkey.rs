//! A connection to Valkey that reconnects after a failure.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use devstack::{Error, Result};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisResult, Value};
use tokio::time::timeout;

/// The timeout of a command, with its connect. Longer than Valkey is ever frozen: after it, a
/// command has been executed or never will be.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Runs one command at a time.
pub(super) struct Commands {
    client: Client,
    connection: Option<MultiplexedConnection>,
}

impl Commands {
    /// # Errors
    /// [`Error::Io`] when the client refuses the address.
    pub(super) fn new(address: SocketAddr) -> Result<Self> {
        let client = Client::open(format!("redis://{address}")).map_err(|error| Error::Io {
            doing: "using the address of Valkey".to_owned(),
            source: io::Error::other(error),
        })?;
        Ok(Self {
            client,
            connection: None,
        })
    }

    /// Runs a command; after an error the next one uses a new connection.
    pub(super) async fn run(&mut self, words: &[&str]) -> RedisResult<Value> {
        let reply = timeout(TIMEOUT, self.exchange(words)).await;
        let reply = reply.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        if reply.is_err() {
            self.connection = None;
        }
        reply
    }

    async fn exchange(&mut self, words: &[&str]) -> RedisResult<Value> {
        let connection = match &mut self.connection {
            Some(connection) => connection,
            none => {
                // `TIMEOUT` replaces the client's own, shorter limits.
                let config = AsyncConnectionConfig::new()
                    .set_connection_timeout(None)
                    .set_response_timeout(None);
                let opened = self
                    .client
                    .get_multiplexed_async_connection_with_config(&config);
                none.insert(opened.await?)
            }
        };
        let mut command = redis::Cmd::new();
        command.arg(words).query_async(connection).await
    }
}
