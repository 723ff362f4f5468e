//! A plain HTTP client on one connection: what it costs must not hide what a server costs.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// One connection, kept alive; one request at a time.
pub struct Connection {
    stream: BufReader<TcpStream>,
    authorization: String,
}

/// An answer's status, headers and body.
pub struct Answer {
    /// The status.
    pub status: u16,
    head: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let headers = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut named = headers.filter(|(given, _)| given.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim())
    }
}

impl Connection {
    /// Connects; every request will have this `Authorization`.
    ///
    /// # Errors
    /// When nothing listens.
    pub async fn open(address: SocketAddr, authorization: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream: BufReader::new(stream),
            authorization: authorization.to_owned(),
        })
    }

    /// Asks; every answer must have a `content-length`.
    ///
    /// # Errors
    /// When the connection fails, or what comes is no answer.
    pub async fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nhost: devstack\r\nauthorization: {}\r\n\r\n",
            self.authorization
        ))
        .await
    }

    /// Sends a JSON text; the answer must have a `content-length`.
    ///
    /// # Errors
    /// When the connection fails, or what comes is no answer.
    pub async fn post(&mut self, path: &str, json: &str) -> io::Result<Answer> {
        self.send("POST", path, json).await
    }

    /// As [`post`](Self::post).
    ///
    /// # Errors
    /// When the connection fails, or what comes is no answer.
    pub async fn put(&mut self, path: &str, json: &str) -> io::Result<Answer> {
        self.send("PUT", path, json).await
    }

    async fn send(&mut self, method: &str, path: &str, json: &str) -> io::Result<Answer> {
        self.ask(&format!(
            "{method} {path} HTTP/1.1\r\nhost: devstack\r\nauthorization: {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{json}",
            self.authorization,
            json.len()
        ))
        .await
    }

    async fn ask(&mut self, request: &str) -> io::Result<Answer> {
        self.stream.write_all(request.as_bytes()).await?;
        let mut line = String::new();
        self.stream.read_line(&mut line).await?;
        let status = line
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let mut answer = Answer {
            status: status.ok_or_else(|| io::Error::other("no status line"))?,
            head: String::new(),
            body: Vec::new(),
        };
        // Up to the empty line.
        while self.stream.read_line(&mut answer.head).await? > 2 {}
        let length = answer.header("content-length");
        let length = length.map_or(Ok(0), str::parse).map_err(io::Error::other)?;
        answer.body = vec![0; length];
        self.stream.read_exact(&mut answer.body).await?;
        Ok(answer)
    }
}
