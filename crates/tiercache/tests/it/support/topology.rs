//! What the shared level is: one server, with TLS, with Sentinel, or a cluster. The variable
//! `TIERCACHE_TEST_TOPOLOGY` chooses it: `one` (by default), `tls`, `sentinel` or `cluster`.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;

use devstack::{Certificates, SentinelService, Valkey, ValkeyCluster};

use crate::support::KEY;

/// The shared level of a fixture. It is used as its primary server, of a cluster as the node that has
/// [`KEY`].
pub(crate) enum Level {
    One(Valkey),
    Tls(Valkey),
    Sentinel(Box<SentinelService>),
    Cluster { nodes: ValkeyCluster, home: usize },
}

impl Level {
    #[expect(clippy::disallowed_methods, reason = "a parameter of the test run")]
    pub(crate) async fn start() -> Self {
        let topology = std::env::var("TIERCACHE_TEST_TOPOLOGY");
        match topology.as_deref() {
            Err(_) | Ok("one") => Self::One(Valkey::start().await.unwrap()),
            Ok("tls") => Self::Tls(Valkey::start_with_tls().await.unwrap()),
            Ok("sentinel") => {
                Self::Sentinel(Box::new(SentinelService::start_idle().await.unwrap()))
            }
            Ok("cluster") => {
                let nodes = ValkeyCluster::start_primaries().await.unwrap();
                let slot = nodes.slot_of(KEY).await.unwrap();
                let home = nodes.owner_of(slot).await.unwrap();
                Self::Cluster { nodes, home }
            }
            Ok(other) => panic!("TIERCACHE_TEST_TOPOLOGY: {other}"),
        }
    }

    /// The URL for a cache.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::One(valkey) => valkey.url(),
            Self::Tls(_) => self.url_at(self.entrance()),
            Self::Sentinel(service) => service.url(),
            Self::Cluster { nodes, .. } => nodes.url(),
        }
    }

    /// The servers that have keys, with that of [`KEY`] first.
    pub(crate) fn primaries(&self) -> Vec<&Valkey> {
        match self {
            Self::Cluster { nodes, home } => {
                let mut servers: Vec<_> = nodes.servers().iter().collect();
                servers.swap(0, *home);
                servers
            }
            _ => vec![self],
        }
    }

    /// The address that a proxy leads to.
    pub(super) fn entrance(&self) -> SocketAddr {
        match self.tls() {
            Some((port, _)) => (Ipv4Addr::LOCALHOST, port).into(),
            None => self.addr(),
        }
    }

    /// The URL for a cache behind a proxy: that of the primary server alone.
    pub(super) fn url_at(&self, proxy: SocketAddr) -> String {
        match self.tls() {
            Some((_, files)) => with_tls(proxy, files),
            None => format!("redis://{proxy}/0"),
        }
    }

    /// Whether the server may be made a replica by hand.
    pub(crate) fn is_one_server(&self) -> bool {
        matches!(self, Self::One(_) | Self::Tls(_))
    }
}

impl Deref for Level {
    type Target = Valkey;

    fn deref(&self) -> &Valkey {
        match self {
            Self::One(valkey) | Self::Tls(valkey) => valkey,
            Self::Sentinel(service) => &service.servers()[0],
            Self::Cluster { nodes, home } => &nodes.servers()[*home],
        }
    }
}

/// The URL of an address that is reached with TLS.
pub(crate) fn with_tls(address: SocketAddr, files: &Certificates) -> String {
    format!(
        "rediss://{address}/0?ssl_ca_certs={}&ssl_certfile={}&ssl_keyfile={}",
        files.authority.display(),
        files.certificate.display(),
        files.key.display()
    )
}
