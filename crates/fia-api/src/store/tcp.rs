//! TCP connections to PostgreSQL.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

use crate::store::timeout::RESPONSE_TIMEOUT;

/// Idle time before TCP keep-alive probes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// Connects to the first address of a host that accepts. Returns the addresses of both ends, too.
pub(super) async fn connect(
    host: &str,
    port: u16,
) -> io::Result<(TcpStream, (SocketAddr, SocketAddr))> {
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    // Data that is not acknowledged for so long ends the connection.
    socket.set_tcp_user_timeout(Some(RESPONSE_TIMEOUT))?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_IDLE))?;
    let addresses = (stream.local_addr()?, stream.peer_addr()?);
    Ok((stream, addresses))
}
