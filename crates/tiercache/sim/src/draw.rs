//! Plans in the set-up of their seed.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tiercache::simulated::Mutant;

use crate::plan::{Fault, Plan, pick};
use crate::setup::{Kind, LastKnown, Topology};

impl Plan {
    /// The plan of a seed in a set-up of this kind, if one is given; otherwise of one that is drawn.
    pub(crate) fn of_kind(seed: u64, mutant: Option<Mutant>, kind: Option<Kind>) -> Self {
        // Histories of these two kinds differ in their topologies and in what is added below.
        let drawn = match kind {
            Some(Kind::Outages) => None,
            Some(Kind::Moves) => Some(Kind::Cluster),
            kind => kind,
        };
        let mut plan = Self::drawn(seed, mutant).in_setup(drawn);
        plan.add_outages(kind);
        plan.add_failovers_of_moves(kind);
        plan.faults.sort_by_key(|(at, _)| *at);
        plan
    }

    /// The plan in the set-up of its seed; all of these are of one `kind`, if there is one.
    fn in_setup(mut self, kind: Option<Kind>) -> Self {
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
        // Without a shared level, processes know nothing of each other's writes.
        if random.random_range(0..8_u32) == 0 && !self.is_unshared {
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
            self.reads.readers = 1;
            self.reads.burst = 1;
            self.reads.pause = self.reads.pause.max(300);
            self.writes.pause = self.writes.pause.max(400);
        }
        if setup.topology != Topology::One {
            self.add_failovers(random);
        }
        self
    }

    /// Servers fail over, and slots move.
    fn add_failovers(&mut self, random: &mut StdRng) {
        let shards = self.setup.topology.shards();
        let is_cluster = self.setup.topology == Topology::Cluster;
        if is_cluster && self.is_grouped {
            // Invalidations of a value are on another shard than those of its group, which alone the
            // oracle follows.
            (self.writes.elsewhere, self.writes.operators) = (0, 0);
            self.legacy_writers = 0;
        }
        for (_, planned) in &mut self.faults {
            if let Fault::Failover { lag } = *planned {
                *planned = promotion(random, shards, lag);
            }
        }
        // As often without any other fault.
        let count = random.random_range(0..4_u32);
        if random.random_range(0..3_u32) == 0 {
            (self.faults, self.stepped) = (Vec::new(), Vec::new());
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

impl Plan {
    /// The database is unavailable, and last known values are served meanwhile.
    fn add_outages(&mut self, kind: Option<Kind>) {
        let random = &mut StdRng::seed_from_u64(self.seed ^ 0x0007_a6e6);
        let is_drawn = random.random_range(0..16_u32) == 0;
        if kind != Some(Kind::Outages) && !(is_drawn && kind.is_none()) {
            return;
        }
        self.has_memory = true;
        self.ttl = pick(random, &[1_500, 4_000]);
        self.setup.last_known = Some(LastKnown {
            max_stale: pick(random, &[300, 2_000, 10_000]),
            after: pick(random, &[None, None, Some(40), Some(250)]),
        });
        for _ in 0..random.random_range(1..=4_u32) {
            let at = random.random_range(500..self.horizon);
            let millis = random.random_range(200..6_000);
            let fault = match random.random_range(0..4_u32) {
                0 => Fault::SlowDatabase { millis },
                _ => Fault::NoDatabase { millis },
            };
            self.faults.push((at, fault));
        }
    }

    /// A node from which a slot moves, or to which, fails over meanwhile.
    fn add_failovers_of_moves(&mut self, kind: Option<Kind>) {
        let random = &mut StdRng::seed_from_u64(self.seed ^ 0x000f_a170);
        let is_drawn = random.random_range(0..3_u32) == 0;
        let is_meant = kind == Some(Kind::Moves) || is_drawn && kind.is_none();
        if self.setup.topology != Topology::Cluster || !is_meant {
            return;
        }
        self.setup.promotes_moving = true;
        let shards = self.setup.topology.shards();
        for _ in 0..random.random_range(1..=3_u32) {
            let at = random.random_range(500..self.horizon);
            let (to, millis) = (
                random.random_range(0..shards),
                random.random_range(20..3_000),
            );
            let key = random.random_range(0..=self.keys);
            self.faults.push((at, Fault::MoveSlot { key, to, millis }));
            let lag = random.random_range(0..4_000);
            let mut fault = promotion(random, shards, lag);
            if let Fault::Promote { shard, .. } = &mut fault
                && random.random_range(0..2_u32) == 0
            {
                *shard = to;
            }
            self.faults
                .push((at + random.random_range(0..millis), fault));
        }
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
