//! The client's settings for an address.

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _,
    RedisResult,
};

use crate::server::invalid_url::InvalidUrl;
use crate::server::tls::TlsOptions;
use crate::server::url::HostPort;

pub(super) fn connection(address: ConnectionAddr) -> Result<ConnectionInfo, InvalidUrl> {
    // Commands are pipelined on one connection: none may wait for the ACK of another.
    let tcp = TcpSettings::default().set_nodelay(true);
    let info = address.into_connection_info();
    let info = info.map_err(|_| InvalidUrl::new("address", "not supported on this system"))?;
    Ok(info.set_tcp_settings(tcp))
}

/// Connects with the client's own TLS and limits.
pub(super) async fn connect(
    info: &ConnectionInfo,
    config: &AsyncConnectionConfig,
) -> RedisResult<MultiplexedConnection> {
    let client = Client::open(info.clone())?;
    client
        .get_multiplexed_async_connection_with_config(config)
        .await
}

/// How addresses are reached: plain, or with TLS and its certificates.
#[derive(Clone)]
pub(super) struct Transport(ConnectionInfo);

impl Transport {
    /// Reads the files of certificates.
    pub(super) fn new(tls: Option<&TlsOptions>) -> Result<Self, InvalidUrl> {
        let (host, port) = ("localhost".to_owned(), 0);
        let Some(tls) = tls else {
            return Ok(Self(connection(ConnectionAddr::Tcp(host, port))?));
        };
        let address = ConnectionAddr::TcpTls {
            host,
            port,
            insecure: !tls.verifies,
            tls_params: None,
        };
        Ok(Self(tls.apply(connection(address)?)?))
    }

    pub(super) fn is_encrypted(&self) -> bool {
        matches!(self.0.addr(), ConnectionAddr::TcpTls { .. })
    }

    /// The settings for an address.
    pub(super) fn to(&self, HostPort { host, port }: &HostPort) -> ConnectionInfo {
        let (host, port) = (host.clone(), *port);
        let address = match self.0.addr().clone() {
            ConnectionAddr::TcpTls {
                insecure,
                tls_params,
                ..
            } => ConnectionAddr::TcpTls {
                host,
                port,
                insecure,
                tls_params,
            },
            _ => ConnectionAddr::Tcp(host, port),
        };
        self.0.clone().set_addr(address)
    }
}
