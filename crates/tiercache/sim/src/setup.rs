//! The set-up of a history: its servers, its clocks, and the size of its values. Most histories have
//! one server, exact clocks, and small values.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::plan::{Fault, Plan};

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
}

impl Kind {
    /// Each, by its name on the command line.
    pub(crate) const ALL: [(&str, Self); 5] = [
        ("clocks", Self::Clocks),
        ("sentinel", Self::Sentinel),
        ("cluster", Self::Cluster),
        ("large", Self::Large),
        ("replicas", Self::Replicas),
    ];
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
}

impl Setup {
    /// The greatest difference of two clocks' rates, in parts per million.
    pub(crate) fn drift(&self) -> u64 {
        let greatest = self.drift.iter().map(|drift| drift.unsigned_abs()).max();
        greatest.unwrap_or_default() + self.server_drift.unsigned_abs()
    }
}

impl Plan {
    /// The plan in the set-up of its seed; all of these are of one `kind`, if there is one.
    pub(crate) fn in_setup(mut self, kind: Option<Kind>) -> Self {
        // Of its own, so that the other histories stay as they were.
        let random = &mut StdRng::seed_from_u64(self.seed ^ 0x005e_7095);
        let mut is = |of: Kind, share: u32| {
            let is_drawn = random.random_range(0..64) < share;
            is_drawn && kind.is_none() || kind == Some(of)
        };
        let (is_cluster, is_sentinel) = (is(Kind::Cluster, 10), is(Kind::Sentinel, 7));
        let (has_clocks, is_large) = (is(Kind::Clocks, 14), is(Kind::Large, 1));
        let waits = is(Kind::Replicas, 3);
        let setup = &mut self.setup;
        setup.topology = match (is_cluster, is_sentinel || waits) {
            (true, _) => Topology::Cluster,
            (false, true) => Topology::Sentinel,
            (false, false) => Topology::One,
        };
        if random.random_range(0..8_u32) == 0 {
            self.processes += 1;
        }
        if has_clocks {
            let most = [100, 1_000, 10_000][random.random_range(0..3)];
            let mut drift = || random.random_range(-most..=most);
            setup.drift = (0..self.processes).map(|_| drift()).collect();
            setup.server_drift = drift();
            setup.stops_clocks = random.random_range(0..2_u32) == 0;
        }
        if is_large {
            setup.padding = [100 << 10, 200 << 10, 1_100 << 10][random.random_range(0..3)];
        }
        setup.wait_replicas = u32::from(waits);
        if is_large {
            self.has_memory = true;
            self.readers = 1;
            self.read_pause = self.read_pause.max(300);
            self.write_pause = self.write_pause.max(400);
        }
        if setup.topology != Topology::One {
            self.with_failovers(random);
        }
        self
    }

    /// Servers fail over, and slots move.
    fn with_failovers(&mut self, random: &mut StdRng) {
        let shards = self.setup.topology.shards();
        let is_cluster = self.setup.topology == Topology::Cluster;
        for (_, planned) in &mut self.faults {
            if let Fault::Failover { lag } = *planned {
                *planned = promotion(random, shards, lag);
            }
        }
        // As often without any other fault.
        let count = random.random_range(0..4_u32);
        if random.random_range(0..3_u32) == 0 {
            self.faults.clear();
        }
        for _ in 0..count {
            let at = random.random_range(500..self.horizon);
            let fault = match is_cluster && random.random_range(0..2_u32) == 0 {
                true => Fault::MoveSlot {
                    key: random.random_range(0..=self.keys),
                    to: random.random_range(0..shards),
                    millis: random.random_range(5..1_500),
                },
                false => {
                    let lag = random.random_range(0..4_000);
                    promotion(random, shards, lag)
                }
            };
            self.faults.push((at, fault));
        }
        self.faults.sort_by_key(|(at, _)| *at);
    }
}

fn promotion(random: &mut StdRng, shards: usize, lag: u64) -> Fault {
    Fault::Promote {
        shard: random.random_range(0..shards),
        lag,
        split: [0, random.random_range(1..3_000)][random.random_range(0..2)],
        back: random.random_range(20..2_000),
    }
}
