//! The address of the client behind trusted proxies.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The client's address: that of the connection's peer, unless the peer is a trusted proxy.
///
/// Each proxy appends to `X-Forwarded-For` the address that it received the request from. So the
/// list is read from its end, up to the first address that is not a trusted proxy: what stands
/// before it is only the client's claim.
pub(super) fn client_address(peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> IpAddr {
    let mut address = peer.to_canonical();
    if trusted.is_empty() {
        return address;
    }
    let is_trusted = |address: &IpAddr| trusted.iter().any(|network| network.contains(address));
    let lines = headers.get_all(FORWARDED_FOR).into_iter().rev();
    let mut hops = lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.rsplit(','));
    while is_trusted(&address) {
        let hop = hops
            .next()
            .and_then(|hop| hop.trim().parse::<IpAddr>().ok());
        let Some(hop) = hop else { break };
        address = hop.to_canonical();
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(peer: &str, lines: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        let trusted: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        client_address(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn forwarded_addresses_count_only_if_a_trusted_proxy_added_them() {
        let proxies = &["10.0.0.0/8", "fd00::/8"][..];
        for (peer, lines, trusted, client) in [
            ("10.0.0.1", &["192.0.2.7"][..], &[][..], "10.0.0.1"),
            ("192.0.2.1", &["192.0.2.7"], proxies, "192.0.2.1"),
            ("10.0.0.1", &["192.0.2.7"], proxies, "192.0.2.7"),
            ("::ffff:10.0.0.1", &["192.0.2.7"], proxies, "192.0.2.7"),
            (
                "10.0.0.1",
                &["198.51.100.1, 192.0.2.7"],
                proxies,
                "192.0.2.7",
            ),
            ("10.0.0.1", &["192.0.2.7, 10.0.0.2"], proxies, "192.0.2.7"),
            ("10.0.0.1", &["192.0.2.7", "10.0.0.2"], proxies, "192.0.2.7"),
            ("fd00::1", &["2001:db8::7"], proxies, "2001:db8::7"),
            ("10.0.0.1", &["unknown"], proxies, "10.0.0.1"),
            ("10.0.0.1", &["192.0.2.7, x, 10.0.0.2"], proxies, "10.0.0.2"),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], proxies, "10.0.0.3"),
            ("10.0.0.1", &[], proxies, "10.0.0.1"),
        ] {
            assert_eq!(found(peer, lines, trusted), client, "{peer} {lines:?}");
        }
    }
}
