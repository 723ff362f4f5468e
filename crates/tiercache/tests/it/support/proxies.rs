//! The network of one replica: a proxy in front of every server, which faults apply to alike.

use std::net::SocketAddr;
use std::sync::Arc;

use devstack::{Direction, FaultProxy, Mode};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use crate::support::Level;

/// Proxies in front of the servers of a level.
pub(crate) struct Proxies {
    proxies: Vec<FaultProxy>,
    url: String,
    /// Before the proxies of a cluster.
    _renaming: Vec<Renaming>,
}

impl Proxies {
    pub(crate) async fn start(level: &Level) -> Self {
        if !matches!(level, Level::Cluster { .. }) {
            let proxy = FaultProxy::start(level.entrance()).await.unwrap();
            let url = level.url_at(proxy.addr());
            return Self {
                proxies: vec![proxy],
                url,
                _renaming: Vec::new(),
            };
        }
        let servers: Vec<SocketAddr> = level.primaries().iter().map(|one| one.addr()).collect();
        let (mut listeners, mut proxies) = (Vec::new(), Vec::new());
        for _ in &servers {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            proxies.push(
                FaultProxy::start(listener.local_addr().unwrap())
                    .await
                    .unwrap(),
            );
            listeners.push(listener);
        }
        let names = servers.iter().zip(&proxies);
        let names = names.map(|(server, proxy)| (server.to_string(), proxy.addr().to_string()));
        let names: Arc<[(String, String)]> = names.collect();
        let nodes: Vec<&str> = names.iter().map(|(_, proxy)| &**proxy).collect();
        let renaming = listeners.into_iter().zip(&servers);
        Self {
            url: format!("redis+cluster://{}", nodes.join(",")),
            _renaming: renaming
                .map(|(listener, server)| Renaming::start(listener, *server, Arc::clone(&names)))
                .collect(),
            proxies,
        }
    }

    /// The URL for a cache.
    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    pub(crate) fn set(&self, direction: Direction, mode: Mode) {
        for proxy in &self.proxies {
            proxy.set(direction, mode);
        }
    }

    pub(crate) fn set_both(&self, mode: Mode) {
        for proxy in &self.proxies {
            proxy.set_both(mode);
        }
    }

    pub(crate) async fn heal(&self) -> devstack::Result<()> {
        for proxy in &self.proxies {
            proxy.heal().await?;
        }
        Ok(())
    }

    pub(crate) async fn refuse(&self, refuse: bool) -> devstack::Result<()> {
        for proxy in &self.proxies {
            proxy.refuse(refuse).await?;
        }
        Ok(())
    }

    /// Returns the number of connections.
    pub(crate) fn reset_all(&self) -> usize {
        self.proxies.iter().map(FaultProxy::reset_all).sum()
    }

    pub(crate) fn half_close(&self, direction: Direction) {
        for proxy in &self.proxies {
            proxy.half_close(direction);
        }
    }

    pub(crate) fn cut_after(&self, direction: Direction, bytes: Option<u32>) {
        for proxy in &self.proxies {
            proxy.cut_after(direction, bytes);
        }
    }

    /// The bytes that passed to or from the server that has [`KEY`](crate::support::KEY).
    pub(crate) fn bytes(&self, direction: Direction) -> u64 {
        self.proxies[0].bytes(direction)
    }
}

/// Replaces the names of nodes in replies by those of their proxies, which are as long.
struct Renaming(AbortHandle);

impl Renaming {
    fn start(listener: TcpListener, server: SocketAddr, names: Arc<[(String, String)]>) -> Self {
        for (node, proxy) in &*names {
            assert_eq!(node.len(), proxy.len(), "RESP's lengths would be wrong");
        }
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(rename(client, server, Arc::clone(&names)));
            }
        });
        Self(task.abort_handle())
    }
}

impl Drop for Renaming {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Forwards a connection. A name that is cut by the end of a packet is not replaced; replies with
/// names fit in one.
async fn rename(
    client: TcpStream,
    server: SocketAddr,
    names: Arc<[(String, String)]>,
) -> std::io::Result<()> {
    let server = TcpStream::connect(server).await?;
    server.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let replies = async {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let length = from_server.read(&mut buffer).await?;
            if length == 0 {
                return std::io::Result::Ok(());
            }
            let bytes = &mut buffer[..length];
            for (node, proxy) in &*names {
                let (node, proxy) = (node.as_bytes(), proxy.as_bytes());
                let mut from = 0;
                while let Some(found) = find(&bytes[from..], node) {
                    bytes[from + found..][..proxy.len()].copy_from_slice(proxy);
                    from += found + proxy.len();
                }
            }
            to_client.write_all(bytes).await?;
        }
    };
    tokio::select! {
        ended = replies => ended,
        ended = copy(&mut from_client, &mut to_server) => ended.map(drop),
    }
}

fn find(bytes: &[u8], word: &[u8]) -> Option<usize> {
    bytes.windows(word.len()).position(|found| found == word)
}
