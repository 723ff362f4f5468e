//! Learns the primaries of a cluster and their slots: at every heartbeat, and at once after a
//! redirection. All nodes are asked, since one may be behind.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::future::join_all;
use redis::{AsyncConnectionConfig, Cmd, Value, cmd};

use crate::cluster::Cluster;
use crate::connection::{CommandError, Connection, unexpected_reply};
use crate::seams::{Instant, sleep, timeout};
use crate::server::HostPort;
use crate::server::slots::{View, merge};
use crate::sync::lock;

/// The shortest pause between two questions.
const PAUSE: Duration = Duration::from_millis(50);

/// Never returns while there is a cluster.
pub(super) async fn run(cluster: Weak<Cluster>) {
    let mut is_logged = false;
    while let Some(cluster) = cluster.upgrade() {
        match cluster.learn().await {
            Ok(()) => is_logged = false,
            Err(error) if !is_logged => {
                is_logged = true;
                tracing::warn!(%error, "the nodes of the cluster are unknown: shared cache bypassed; retrying");
            }
            Err(_) => {}
        }
        sleep(PAUSE).await;
        let _ = timeout(cluster.settings.heartbeat, cluster.outdated.notified()).await;
    }
}

fn nodes() -> Cmd {
    let mut nodes = cmd("CLUSTER");
    nodes.arg("NODES");
    nodes
}

impl Cluster {
    /// Learns the nodes and slots as they are after the begin of this call.
    pub(crate) async fn learn(&self) -> Result<(), CommandError> {
        // One at a time, so that no earlier state replaces a later one.
        let _learning = self.learning.lock().await;
        let open: Vec<(HostPort, Option<Arc<Connection>>)> = {
            let nodes = lock(&self.nodes);
            let connection = |(address, node): (&HostPort, &Arc<super::Node>)| {
                (address.clone(), node.breaker.connection())
            };
            nodes.iter().map(connection).collect()
        };
        let asking = open.iter().filter_map(|(address, connection)| {
            let connection = connection.as_ref()?;
            Some(self.ask(connection, address))
        });
        let mut views: Vec<View> = join_all(asking).await.into_iter().flatten().collect();
        if views.is_empty() {
            let known = open.into_iter().map(|(address, _)| address);
            let seeds = self.server.seeds().unwrap_or_default().iter().cloned();
            let asking = known.chain(seeds).map(|address| self.ask_anew(address));
            let asked = join_all(asking).await;
            let mut last = CommandError::Timeout;
            for view in asked {
                match view {
                    Ok(view) => views.push(view),
                    Err(error) => last = error,
                }
            }
            if views.is_empty() {
                return Err(last);
            }
        }
        let is_resharding = views.iter().any(|view| view.is_resharding);
        let (primaries, owners) = merge(views);
        self.apply(&primaries, owners, is_resharding);
        Ok(())
    }

    async fn ask(&self, connection: &Connection, address: &HostPort) -> Result<View, CommandError> {
        let deadline = Instant::now() + self.settings.connect_timeout;
        let text = match connection.call(&nodes(), deadline).await? {
            Value::BulkString(text) => String::from_utf8_lossy(&text).into_owned(),
            Value::VerbatimString { text, .. } => text,
            _ => return Err(unexpected_reply()),
        };
        Ok(View::parse(&text, address, self.server.is_encrypted()))
    }

    /// Asks a node without an open connection.
    async fn ask_anew(&self, address: HostPort) -> Result<View, CommandError> {
        let server = self.server.node(&address);
        let asking = async {
            let connect = async |config| server.open(&config).await;
            let config = AsyncConnectionConfig::new();
            let connection = Connection::open("nodes", config, connect).await?;
            self.ask(&connection, &address).await
        };
        let asked = timeout(self.settings.connect_timeout, asking).await;
        asked.map_err(|_| CommandError::Timeout)?
    }
}
