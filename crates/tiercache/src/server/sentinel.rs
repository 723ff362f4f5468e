//! Sentinel: which server is the primary of a service now.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ErrorKind, RedisConnectionInfo,
    RedisError, RedisResult, Value, cmd, pipe,
};

use crate::seams::timeout;
use crate::server::invalid_url::InvalidUrl;
#[cfg(tiercache_simulation)]
use crate::server::socket::Socket;
use crate::server::tcp::Transport;
use crate::server::url::HostPort;
use crate::sync::{Mutex, lock};

/// Timeout of a query to a sentinel. All are queried at once.
const QUERY_TIMEOUT: Duration = Duration::from_millis(250);

/// The sentinels of a service, and the primary that was connected to last through this value; a
/// clone has its own.
pub(super) struct Sentinels {
    service: Arc<Service>,
    primary: Mutex<Option<Primary>>,
}

struct Service {
    name: String,
    sentinels: Vec<Client>,
    transport: Transport,
}

/// The address of a primary.
type Primary = (String, u16);

impl Clone for Sentinels {
    fn clone(&self) -> Self {
        Self {
            service: Arc::clone(&self.service),
            primary: Mutex::default(),
        }
    }
}

impl Sentinels {
    pub(super) fn new(
        sentinels: &[HostPort],
        login: &RedisConnectionInfo,
        service: String,
        transport: Transport,
    ) -> Result<Self, InvalidUrl> {
        let client = |sentinel: &HostPort| {
            let info = transport.to(sentinel);
            Client::open(info.set_redis_settings(login.clone()))
                .map_err(|_| InvalidUrl::new("host", "not a valid address of a sentinel"))
        };
        let sentinels = sentinels.iter().map(client).collect::<Result<_, _>>()?;
        let name = service;
        Ok(Self {
            service: Arc::new(Service {
                name,
                sentinels,
                transport,
            }),
            primary: Mutex::default(),
        })
    }

    pub(super) fn service(&self) -> &str {
        &self.service.name
    }

    /// The current primary.
    pub(super) async fn locate(&self) -> RedisResult<ConnectionInfo> {
        let primary = self.primary().await;
        let (host, port) = primary.ok_or_else(|| unavailable("no sentinel names a primary"))?;
        Ok(self.service.transport.to(&HostPort { host, port }))
    }

    /// Checks that a server is a primary: a sentinel may have missed a failover.
    pub(super) async fn check(
        &self,
        info: &ConnectionInfo,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<()> {
        let role: Value = cmd("ROLE").query_async(connection).await?;
        let is_primary = matches!(&role, Value::Array(role)
            if matches!(role.first(), Some(Value::BulkString(name)) if name == b"master"));
        if !is_primary {
            return Err(unavailable(
                "the server that the sentinels name is no primary",
            ));
        }
        *lock(&self.primary) = match info.addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Some((host.clone(), *port))
            }
            _ => None,
        };
        Ok(())
    }

    /// Whether the sentinels name the primary that was connected to last. Without a sentinel that
    /// responds, the server is used as long as it does.
    pub(super) async fn is_unmoved(&self) -> bool {
        let named = self.primary().await;
        named.is_none() || named == *lock(&self.primary)
    }

    /// The primary that the sentinel with the highest configuration epoch names: those behind a
    /// failover have a lower one.
    async fn primary(&self) -> Option<Primary> {
        let queries = self.service.sentinels.iter().map(|client| async move {
            let query = query(client, &self.service.name);
            timeout(QUERY_TIMEOUT, query).await.ok()?.ok()?
        });
        let named = join_all(queries).await;
        let latest = named.into_iter().flatten().max_by_key(|(epoch, _)| *epoch);
        latest.map(|(_, primary)| primary)
    }
}

/// The configuration epoch and the primary according to a sentinel. During a failover the address
/// is that of the promoted replica, which the record of the service shows only when it is over.
async fn query(client: &Client, service: &str) -> RedisResult<Option<(u64, Primary)>> {
    let config = AsyncConnectionConfig::new();
    #[cfg(tiercache_simulation)]
    let socket = Socket::open(client.get_connection_info(), None, &config).await?;
    #[cfg(tiercache_simulation)]
    let mut sentinel = socket.connection.clone();
    #[cfg(not(tiercache_simulation))]
    let mut sentinel = client
        .get_multiplexed_async_connection_with_config(&config)
        .await?;
    let mut commands = pipe();
    let [address, record] = ["GET-MASTER-ADDR-BY-NAME", "MASTER"];
    commands.cmd("SENTINEL").arg(address).arg(service);
    commands.cmd("SENTINEL").arg(record).arg(service);
    let reply: (Option<Primary>, Vec<(String, String)>) =
        commands.query_async(&mut sentinel).await?;
    let (address, record) = reply;
    let mut fields = record.iter();
    let epoch =
        fields.find_map(|(name, value)| (name == "config-epoch").then(|| value.parse().ok()));
    Ok(address.map(|address| (epoch.flatten().unwrap_or(0), address)))
}

fn unavailable(reason: &'static str) -> RedisError {
    (ErrorKind::Io, reason).into()
}
