//! A link of limited throughput.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::interval;

/// What the link lets pass at once from the server, and how often: 6.4 MB/s.
const CHUNK: usize = 64 << 10;
const TICK: Duration = Duration::from_millis(10);

/// Runs until dropped.
pub(crate) struct SlowLink {
    addr: SocketAddr,
    task: AbortHandle,
}

impl SlowLink {
    /// In front of a server.
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                links.spawn(forward(client, server));
            }
        });
        Self {
            addr,
            task: task.abort_handle(),
        }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for SlowLink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(client: TcpStream, server: SocketAddr) -> std::io::Result<()> {
    let server = TcpStream::connect(server).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let slowly = async move {
        let mut ticks = interval(TICK);
        let mut chunk = vec![0; CHUNK];
        loop {
            ticks.tick().await;
            match from_server.read(&mut chunk).await? {
                0 => return Ok(()),
                read => to_client.write_all(&chunk[..read]).await?,
            }
        }
    };
    tokio::select! {
        ended = slowly => ended,
        ended = copy(&mut from_client, &mut to_server) => ended.map(drop),
    }
}
