//! A client of a replica: one kept connection, made anew after a failure.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::timeout;

use crate::checker::Source;
use devstack::http::{self, Connection};
use devstack::tokens;

/// Beyond this an answer has not come.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) struct Client {
    address: SocketAddr,
    connection: Option<Connection>,
}

/// An answer of status 200.
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    /// What `Cache-Status` says, if it says anything.
    pub(super) source: Option<Source>,
}

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connection: None,
        }
    }

    pub(super) async fn get(&mut self, path: &str) -> Result<Answer, String> {
        self.ask(async |connection| connection.get(path).await)
            .await
    }

    pub(super) async fn put(&mut self, path: &str, json: &str) -> Result<Answer, String> {
        self.ask(async |connection| connection.put(path, json).await)
            .await
    }

    /// Anything but a 200 is an error.
    async fn ask(
        &mut self,
        exchange: impl AsyncFnOnce(&mut Connection) -> io::Result<http::Response>,
    ) -> Result<Answer, String> {
        let (address, kept) = (self.address, self.connection.take());
        let work = async move {
            let mut connection = match kept {
                Some(connection) => connection,
                None => Connection::open(address, &format!("Bearer {}", tokens::API_KEY)).await?,
            };
            let answer = exchange(&mut connection).await?;
            Ok::<_, io::Error>((connection, answer))
        };
        let (connection, answer) = timeout(LIMIT, work)
            .await
            .map_err(|_| format!("no answer in {} s", LIMIT.as_secs()))?
            .map_err(|error| format!("no answer: {error}"))?;
        self.connection = Some(connection);
        if answer.status != 200 {
            let text = String::from_utf8_lossy(&answer.body);
            return Err(format!("{} {text}", answer.status));
        }
        Ok(Answer {
            source: answer.header("cache-status").and_then(said),
            body: answer.body,
        })
    }
}

fn said(cache_status: &str) -> Option<Source> {
    let last = cache_status.rsplit(';').next()?.trim();
    match last {
        "detail=local" => Some(Source::Local),
        "detail=shared" => Some(Source::Shared),
        "fwd=miss" => Some(Source::Loaded),
        "detail=stale" => Some(Source::Stale),
        _ => None,
    }
}
