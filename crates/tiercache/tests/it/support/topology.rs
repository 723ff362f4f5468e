//! What the shared level is: one server, with TLS, with Sentinel, or a cluster. The variable
//! `TIERCACHE_TEST_TOPOLOGY` chooses it: `one` (by default), `tls`, `sentinel` or `cluster`.

use std::net::{Ipv4Addr, SocketAddr};
use std::ops::Deref;

use devstack::{SentinelService, Valkey, ValkeyCluster};

/// The shared level of a fixture. It is used as its primary server; a cluster has a single node,
/// so that tests know where a key is.
pub(crate) enum Level {
    One(Valkey),
    Tls(Valkey),
    Sentinel(Box<SentinelService>),
    Cluster(ValkeyCluster),
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
            Ok("cluster") => Self::Cluster(ValkeyCluster::start_single().await.unwrap()),
            Ok(other) => panic!("TIERCACHE_TEST_TOPOLOGY: {other}"),
        }
    }

    /// The URL for a cache.
    pub(crate) fn url(&self) -> String {
        match self {
            Self::One(valkey) => valkey.url(),
            Self::Tls(_) => self.url_at(self.entrance()),
            Self::Sentinel(service) => service.url(),
            Self::Cluster(cluster) => cluster.url(),
        }
    }

    /// The address that a proxy leads to.
    pub(crate) fn entrance(&self) -> SocketAddr {
        match self.tls() {
            Some((port, _)) => (Ipv4Addr::LOCALHOST, port).into(),
            None => self.addr(),
        }
    }

    /// The URL for a cache behind a proxy: that of the primary server alone.
    pub(crate) fn url_at(&self, proxy: SocketAddr) -> String {
        let Some((_, files)) = self.tls() else {
            return format!("redis://{proxy}/0");
        };
        format!(
            "rediss://{proxy}/0?ssl_ca_certs={}&ssl_certfile={}&ssl_keyfile={}",
            files.authority.display(),
            files.certificate.display(),
            files.key.display()
        )
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
            Self::Cluster(cluster) => &cluster.servers()[0],
        }
    }
}
