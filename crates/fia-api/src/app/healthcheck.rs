//! `fia-api healthcheck`: whether the server in this container responds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use reqwest::Client;

/// The time limit of the check.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Requests `/healthz` of a server that listens on `bind`.
///
/// # Errors
/// The reason, if the server does not respond with 200 within 2 s.
pub async fn healthcheck(bind: SocketAddr) -> Result<(), String> {
    let url = format!("http://{}/healthz", reachable(bind));
    let client = Client::builder().no_proxy().timeout(TIMEOUT).build();
    let client = client.map_err(|error| error.to_string())?;
    let response = client.get(&url).send().await;
    let status = response.map_err(|error| error.to_string())?.status();
    if status == reqwest::StatusCode::OK {
        Ok(())
    } else {
        Err(format!("{url} responds with {status}"))
    }
}

/// An address at which a listener on `bind` can be reached: loopback if it listens on all.
fn reachable(bind: SocketAddr) -> SocketAddr {
    let ip = match bind.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, bind.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_all_addresses_is_reached_by_loopback() {
        for (bind, reached) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("10.1.2.3:8080", "10.1.2.3:8080"),
        ] {
            let reached: SocketAddr = reached.parse().unwrap();
            assert_eq!(reachable(bind.parse().unwrap()), reached);
        }
    }
}
