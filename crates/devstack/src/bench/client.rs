//! A plain HTTP client on one connection: what it costs must not hide what the server costs.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::Outcome;

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(10);

/// One connection, kept alive; one request at a time.
pub(super) struct Connection {
    stream: BufReader<TcpStream>,
    authorization: String,
}

/// An answer's status, headers and body.
pub(super) struct Answer {
    pub(super) status: u16,
    head: String,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// The first header of this name.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut named = headers.filter(|(given, _)| given.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim())
    }
}

impl Connection {
    pub(super) async fn open(address: SocketAddr, authorization: &str) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            authorization: authorization.to_owned(),
        })
    }

    /// Asks; every answer must have a `content-length`.
    pub(super) async fn get(&mut self, path: &str) -> Outcome<Answer> {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nhost: bench\r\nauthorization: {}\r\n\r\n",
            self.authorization
        ))
        .await
    }

    /// Sends a JSON text; the answer must have a `content-length`.
    pub(super) async fn post(&mut self, path: &str, json: &str) -> Outcome<Answer> {
        self.send("POST", path, json).await
    }

    /// As [`post`](Self::post).
    pub(super) async fn put(&mut self, path: &str, json: &str) -> Outcome<Answer> {
        self.send("PUT", path, json).await
    }

    async fn send(&mut self, method: &str, path: &str, json: &str) -> Outcome<Answer> {
        self.ask(&format!(
            "{method} {path} HTTP/1.1\r\nhost: bench\r\nauthorization: {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{json}",
            self.authorization,
            json.len()
        ))
        .await
    }

    async fn ask(&mut self, request: &str) -> Outcome<Answer> {
        self.stream.write_all(request.as_bytes()).await?;
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let mut answer = Answer {
            status: status.ok_or("no status line")?,
            head: String::new(),
            body: Vec::new(),
        };
        // Up to the empty line.
        while self.stream.read_line(&mut answer.head).await? > 2 {}
        let length = answer.header("content-length");
        answer.body = vec![0; length.map_or(Ok(0), str::parse)?];
        self.stream.read_exact(&mut answer.body).await?;
        Ok(answer)
    }
}

/// One request on a connection of its own; an answer other than 200 is an error.
pub(super) async fn get(address: SocketAddr, path: &str, authorization: &str) -> Outcome<Answer> {
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
