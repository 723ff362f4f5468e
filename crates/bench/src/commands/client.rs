//! Requests to the measured servers.

use std::net::SocketAddr;
use std::time::Duration;

pub(super) use devstack::http::{Connection, Response};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::Outcome;

/// The time in which a server must listen.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends one request on a new connection. A status other than 200 is an error.
pub(super) async fn get(address: SocketAddr, path: &str, authorization: &str) -> Outcome<Response> {
    let response = Connection::open(address, authorization)
        .await?
        .get(path)
        .await?;
    match response.status {
        200 => Ok(response),
        status => Err(format!("{path}: {status}").into()),
    }
}

/// Waits until a server listens.
pub(super) async fn reachable(address: SocketAddr) -> Outcome {
    let listening = async {
        while TcpStream::connect(address).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    Ok(timeout(START_TIMEOUT, listening)
        .await
        .map_err(|_| "the server did not listen in time")?)
}
