//! The nodes of a cluster that the URL names: the others are learnt from one of them.

use std::sync::Arc;

use futures_util::future::select_ok;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, ConnectionInfo, RedisConnectionInfo, RedisError, RedisResult, cmd,
};

use crate::server::slots::View;
use crate::server::tcp::{Transport, connect};
use crate::server::url::HostPort;

/// The nodes of a cluster that the URL names.
#[derive(Clone)]
pub(super) struct Seeds {
    pub(super) transport: Arc<Transport>,
    pub(super) addresses: Arc<[HostPort]>,
}

impl Seeds {
    pub(super) fn to(&self, address: &HostPort, login: &RedisConnectionInfo) -> ConnectionInfo {
        self.transport.to(address).set_redis_settings(login.clone())
    }

    /// Connects to the node that accepts first.
    pub(super) async fn connect(
        &self,
        login: &RedisConnectionInfo,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<(HostPort, MultiplexedConnection)> {
        let connecting = self.addresses.iter().map(|address| {
            let info = self.to(address, login);
            Box::pin(async move {
                Ok::<_, RedisError>((address.clone(), connect(&info, config).await?))
            })
        });
        Ok(select_ok(connecting).await?.0)
    }

    /// As [`connect`](Self::connect), with the nodes as that one knows them.
    pub(super) async fn ask(
        &self,
        login: &RedisConnectionInfo,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<(HostPort, MultiplexedConnection, View)> {
        let (asked, mut connection) = self.connect(login, config).await?;
        let mut nodes = cmd("CLUSTER");
        let nodes: Vec<u8> = nodes.arg("NODES").query_async(&mut connection).await?;
        let nodes = String::from_utf8_lossy(&nodes);
        let view = View::parse(&nodes, &asked, self.transport.is_encrypted());
        Ok((asked, connection, view))
    }
}
