//! Requests to a server that is measured.

use std::net::SocketAddr;
use std::time::Duration;

pub(super) use devstack::http::{Connection, Response};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::Outcome;

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(10);

/// One request on a connection of its own; an answer other than 200 is an error.
pub(super) async fn get(address: SocketAddr, path: &str, authorization: &str) -> Outcome<Response> {
    let answer = Connection::open(address, authorization)
        .await?
        .get(path)
        .await?;
    match answer.status {
        200 => Ok(answer),
        status => Err(format!("{path}: {status}").into()),
    }
}

/// Waits until something listens.
pub(super) async fn reachable(address: SocketAddr) -> Outcome {
    let listening = async {
        while TcpStream::connect(address).await.is_err() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    Ok(timeout(START, listening)
        .await
        .map_err(|_| "nothing listens in time")?)
}
