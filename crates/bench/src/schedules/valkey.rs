//! A plain connection to Valkey, made anew after a failure.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Longer than Valkey is ever frozen: what was sent has been executed by then, or never will be.
const LIMIT: Duration = Duration::from_secs(10);

pub(super) struct Commands {
    address: SocketAddr,
    stream: Option<BufReader<TcpStream>>,
}

impl Commands {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
        }
    }

    /// Runs a command whose reply is one line or one string. `None` for nil, and for an error:
    /// whoever asks goes on as if nothing was there, as the older program does.
    pub(super) async fn run(&mut self, words: &[&str]) -> io::Result<Option<Vec<u8>>> {
        let late = || io::Error::other("no answer in time");
        let reply = timeout(LIMIT, self.exchange(words)).await;
        let reply = reply.unwrap_or_else(|_| Err(late()));
        if reply.is_err() {
            self.stream = None;
        }
        reply
    }

    async fn exchange(&mut self, words: &[&str]) -> io::Result<Option<Vec<u8>>> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                none.insert(BufReader::new(stream))
            }
        };
        let mut command = format!("*{}\r\n", words.len());
        for word in words {
            command.push_str(&format!("${}\r\n{word}\r\n", word.len()));
        }
        stream.write_all(command.as_bytes()).await?;
        let mut line = String::new();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let line = line.trim_end();
        let Some(length) = line.strip_prefix('$') else {
            let good = line.starts_with(['+', ':']);
            return Ok(good.then(|| line.as_bytes().to_vec()));
        };
        let Ok(length) = length.parse::<usize>() else {
            return Ok(None);
        };
        let mut bytes = vec![0; length + 2];
        stream.read_exact(&mut bytes).await?;
        bytes.truncate(length);
        Ok(Some(bytes))
    }
}
