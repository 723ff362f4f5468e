//! The set-up of a history: its servers, its clocks, and the size of its values. Most histories have
//! one server, exact clocks, and small values.

/// Which servers there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Topology {
    #[default]
    One,
    /// A primary, a replica, and three sentinels.
    Sentinel,
    /// Three primaries, each with a replica.
    Cluster,
}

impl Topology {
    /// The number of primaries.
    pub(crate) fn shards(self) -> usize {
        match self {
            Self::One | Self::Sentinel => 1,
            Self::Cluster => 3,
        }
    }

    /// The number of servers, the sentinels among them.
    pub(crate) fn servers(self) -> usize {
        match self {
            Self::One => 1,
            Self::Sentinel => 5,
            Self::Cluster => 6,
        }
    }

    /// The URL for a cache.
    pub(crate) fn url(self) -> &'static str {
        match self {
            Self::One => "redis://valkey:7000",
            Self::Sentinel => "redis+sentinel://valkey:7002,valkey:7003,valkey:7004/main",
            Self::Cluster => "redis+cluster://valkey:7000,valkey:7001,valkey:7003",
        }
    }
}

/// What is special about the set-up of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Clocks,
    Sentinel,
    Cluster,
    /// Values that are read in parts.
    Large,
    /// Fences that wait for a replica.
    Replicas,
    /// Last known values are served while the database is unavailable.
    Outages,
    /// Nodes of a cluster fail over while their slots move.
    Moves,
}

impl Kind {
    /// Each, by its name on the command line.
    pub(crate) const ALL: [(&str, Self); 7] = [
        ("clocks", Self::Clocks),
        ("sentinel", Self::Sentinel),
        ("cluster", Self::Cluster),
        ("large", Self::Large),
        ("replicas", Self::Replicas),
        ("outages", Self::Outages),
        ("moves", Self::Moves),
    ];
}

/// When last known values are served. Times are in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastKnown {
    /// The longest time after the TTL.
    pub(crate) max_stale: u64,
    /// The soft timeout of loads.
    pub(crate) after: Option<u64>,
}

/// The set-up of a history.
#[derive(Clone, Debug, Default)]
pub(crate) struct Setup {
    pub(crate) topology: Topology,
    /// The difference of each process's clock from the world's, in parts per million of its rate.
    pub(crate) drift: Vec<i64>,
    /// That of the servers.
    pub(crate) server_drift: i64,
    /// Whether the clock of a suspended process stands still.
    pub(crate) stops_clocks: bool,
    /// The bytes that each value has beside its version.
    pub(crate) padding: usize,
    /// The number of replicas that a fence waits for.
    pub(crate) wait_replicas: u32,
    pub(crate) last_known: Option<LastKnown>,
    /// Whether nodes fail over while their slots move.
    pub(crate) promotes_moving: bool,
}

impl Setup {
    /// The greatest difference of two clocks' rates, in parts per million.
    pub(crate) fn drift(&self) -> u64 {
        let greatest = self.drift.iter().map(|drift| drift.unsigned_abs()).max();
        greatest.unwrap_or_default() + self.server_drift.unsigned_abs()
    }
}
