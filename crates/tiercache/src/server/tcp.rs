//! The client's settings for an address.

use redis::io::tcp::TcpSettings;
use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _};

use crate::server::invalid_url::InvalidUrl;

pub(super) fn connection(address: ConnectionAddr) -> Result<ConnectionInfo, InvalidUrl> {
    // Commands are pipelined on one connection: none may wait for the ACK of another.
    let tcp = TcpSettings::default().set_nodelay(true);
    let info = address.into_connection_info();
    let info = info.map_err(|_| InvalidUrl::new("address", "not supported on this system"))?;
    Ok(info.set_tcp_settings(tcp))
}
