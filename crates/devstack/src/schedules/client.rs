//! A client of a replica: one kept connection, made anew after a failure.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::oracle::Source;
use crate::tokens;

/// Beyond this an answer has not come.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) struct Client {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
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
            stream: None,
        }
    }

    pub(super) async fn get(&mut self, path: &str) -> Result<Answer, String> {
        self.ask("GET", path, "").await
    }

    pub(super) async fn put(&mut self, path: &str, json: &str) -> Result<Answer, String> {
        self.ask("PUT", path, json).await
    }

    /// Anything but a 200 is an error.
    async fn ask(&mut self, method: &str, path: &str, json: &str) -> Result<Answer, String> {
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: schedule\r\nauthorization: Bearer {}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{json}",
            tokens::API_KEY,
            json.len()
        );
        let (status, answer) = match timeout(LIMIT, self.exchange(&request)).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(error)) => {
                self.stream = None;
                return Err(format!("no answer: {error}"));
            }
            Err(_) => {
                self.stream = None;
                return Err(format!("no answer in {} s", LIMIT.as_secs()));
            }
        };
        match status {
            200 => Ok(answer),
            status => Err(format!(
                "{status} {}",
                String::from_utf8_lossy(&answer.body)
            )),
        }
    }

    async fn exchange(&mut self, request: &str) -> io::Result<(u16, Answer)> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                none.insert(BufReader::new(stream))
            }
        };
        stream.write_all(request.as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let status = line.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("no status line"))?;
        let (mut length, mut source) = (0, None);
        loop {
            line.clear();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.trim_end().split_once(':') else {
                break;
            };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().map_err(io::Error::other)?;
            } else if name.eq_ignore_ascii_case("cache-status") {
                source = said(value);
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        Ok((status, Answer { body, source }))
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
