//! An HTTP client that keeps one connection and reconnects after a failure.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use ::http::Method;
use tokio::time::timeout;

use crate::checker::Source;
use devstack::http::{self, Connection};
use devstack::tokens;

const JSON: (&str, &str) = ("content-type", "application/json");
/// The timeout of a request.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct Client {
    address: SocketAddr,
    connection: Option<Connection>,
}

/// A response of status 200.
pub(super) struct Response {
    pub(super) body: Vec<u8>,
    /// The source that `Cache-Status` reports. None if it reports none.
    pub(super) source: Option<Source>,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connection: None,
        }
    }

    pub(super) async fn get(&mut self, path: &str) -> Result<Response, String> {
        self.send(async |connection| connection.get(path).await)
            .await
    }

    /// Sends a body in JSON.
    pub(super) async fn write(
        &mut self,
        (method, path): &(Method, String),
        json: &str,
    ) -> Result<Response, String> {
        self.send(async |connection| connection.send(method.clone(), path, &[JSON], json).await)
            .await
    }

    /// Sends a request. A status other than 200 is an error.
    async fn send(
        &mut self,
        exchange: impl AsyncFnOnce(&mut Connection) -> io::Result<http::Response>,
    ) -> Result<Response, String> {
        let (address, idle) = (self.address, self.connection.take());
        let work = async move {
            let mut connection = match idle {
                Some(connection) => connection,
                None => Connection::open(address, &format!("Bearer {}", tokens::API_KEY)).await?,
            };
            let response = exchange(&mut connection).await?;
            Ok::<_, io::Error>((connection, response))
        };
        let (connection, response) = timeout(TIMEOUT, work)
            .await
            .map_err(|_| format!("no response in {} s", TIMEOUT.as_secs()))?
            .map_err(|error| format!("no response: {error}"))?;
        self.connection = Some(connection);
        if response.status != 200 {
            let text = String::from_utf8_lossy(&response.body);
            return Err(format!("{} {text}", response.status));
        }
        Ok(Response {
            source: response.header("cache-status").and_then(source),
            body: response.body,
        })
    }
}

/// Parses `Cache-Status`.
fn source(cache_status: &str) -> Option<Source> {
    let last = cache_status.rsplit(';').next()?.trim();
    match last {
        "detail=local" => Some(Source::Local),
        "detail=shared" => Some(Source::Shared),
        "fwd=miss" | "detail=database-unreachable" => Some(Source::Loaded),
        "detail=stale" => Some(Source::Stale),
        _ => None,
    }
}
