//! A proxy that makes one server look like another: it replaces a word in what clients send, or leads
//! further connections to another server.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// Runs until dropped.
pub(crate) struct Front {
    addr: SocketAddr,
    task: AbortHandle,
    state: Arc<State>,
}

/// Where the next connection leads to, and the open ones.
struct State {
    next: Mutex<SocketAddr>,
    open: Mutex<Vec<AbortHandle>>,
}

struct Rules {
    first: SocketAddr,
    others: SocketAddr,
    /// A word, and what replaces it: of the same length, so that RESP's lengths are right.
    replaced: (&'static [u8], &'static [u8]),
}

impl Front {
    /// In front of one server, with a word replaced by another of the same length.
    pub(crate) async fn replacing(
        server: SocketAddr,
        word: &'static str,
        by: &'static str,
    ) -> Self {
        assert_eq!(word.len(), by.len());
        Self::start(Rules {
            first: server,
            others: server,
            replaced: (word.as_bytes(), by.as_bytes()),
        })
        .await
    }

    /// Leads the first connection to one server, and all later ones to another.
    pub(crate) async fn splitting(first: SocketAddr, others: SocketAddr) -> Self {
        Self::start(Rules {
            first,
            others,
            replaced: (b"", b""),
        })
        .await
    }

    /// Leads to one server until it is [switched](Self::switch_to) to another.
    pub(crate) async fn switched(server: SocketAddr) -> Self {
        Self::splitting(server, server).await
    }

    /// Ends all connections; later ones lead to another server.
    pub(crate) fn switch_to(&self, server: SocketAddr) {
        *self.state.next.lock().unwrap() = server;
        for connection in self.state.open.lock().unwrap().drain(..) {
            connection.abort();
        }
    }

    async fn start(rules: Rules) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let state = Arc::new(State {
            next: Mutex::new(rules.first),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&state);
        let accept = async move {
            let (mut is_first, rules) = (true, Arc::new(rules));
            while let Ok((client, _)) = listener.accept().await {
                let server = *accepting.next.lock().unwrap();
                let forwarding = tokio::spawn(forward(client, server, Arc::clone(&rules)));
                accepting
                    .open
                    .lock()
                    .unwrap()
                    .push(forwarding.abort_handle());
                if std::mem::take(&mut is_first) && rules.others != rules.first {
                    *accepting.next.lock().unwrap() = rules.others;
                }
            }
        };
        let task = tokio::spawn(accept).abort_handle();
        Self { addr, task, state }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://{}/0", self.addr)
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Forwards a connection. A word that is cut by the end of a packet is not replaced; the commands
/// of these tests fit in one.
async fn forward(client: TcpStream, server: SocketAddr, rules: Arc<Rules>) {
    let Ok(server) = TcpStream::connect(server).await else {
        return;
    };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let requests = async {
        let (word, by) = rules.replaced;
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length @ 1..) = from_client.read(&mut buffer).await {
            let bytes = &mut buffer[..length];
            if let Some(at) = bytes
                .windows(word.len().max(1))
                .position(|found| found == word)
            {
                bytes[at..at + by.len()].copy_from_slice(by);
            }
            if to_server.write_all(bytes).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = requests => {}
        _ = copy(&mut from_server, &mut to_client) => {}
    }
}
