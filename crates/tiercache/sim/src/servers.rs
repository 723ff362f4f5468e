//! The servers of a world: one, a primary with a replica and sentinels, or a cluster.

use std::sync::Arc;

use bytes::Bytes;

use crate::plan::Plan;
use crate::setup::Topology;
use crate::valkey::cluster::{FIRST_PORT, Member, View, slot_of};
use crate::valkey::sentinel::Named;
use crate::valkey::{Mode, Valkey};

/// The servers. A shard is a primary and its replica.
pub(crate) struct Servers {
    /// By their ports.
    pub(crate) all: Vec<Valkey>,
    /// The server that is the primary of each shard.
    pub(crate) primaries: Vec<usize>,
    /// The time until which each shard is not whole: two servers take writes for one, a replica is
    /// missing, or a slot moves.
    pub(crate) changing: Vec<u64>,
    /// What the cluster agrees on.
    pub(crate) view: Arc<View>,
    /// What the sentinels agree on.
    pub(crate) named: Named,
    pub(crate) topology: Topology,
    keys: u64,
    is_grouped: bool,
}

impl Servers {
    pub(crate) fn new(plan: &Plan, is_recorded: bool) -> Self {
        let topology = plan.setup.topology;
        let shards = topology.shards();
        let mut view = View::new(shards);
        // So that the few keys of each seed are on other nodes.
        let mut shift = plan.seed;
        for key in 0..=plan.keys {
            let slot = slot_of(&name(key, plan.keys));
            view.place(slot, (shift % shards as u64) as usize);
            shift /= shards as u64;
        }
        let (view, named) = (
            Arc::new(view),
            Named {
                port: FIRST_PORT.into(),
                epoch: 1,
            },
        );
        let server = |id: usize| {
            let mut server = Valkey::new(id as u64 + 1);
            server.store.is_replicated = true;
            server.log = is_recorded.then(Vec::new);
            server.is_replica = id >= shards;
            server.mode = match topology {
                Topology::Cluster => Mode::Node(Member::new(id, &view)),
                Topology::Sentinel if id > 1 => Mode::Sentinel(named.clone()),
                Topology::Sentinel | Topology::One => Mode::Alone,
            };
            server
        };
        Self {
            all: (0..topology.servers()).map(server).collect(),
            primaries: (0..shards).collect(),
            changing: vec![0; shards],
            view,
            named,
            topology,
            keys: plan.keys,
            is_grouped: plan.is_grouped,
        }
    }

    /// The key with a number; the group's after the last.
    pub(crate) fn name(&self, key: u64) -> Bytes {
        name(key, self.keys)
    }

    /// The other server of a shard.
    pub(crate) fn replica(&self, shard: usize) -> usize {
        let shards = self.primaries.len();
        (self.primaries[shard] + shards) % (2 * shards)
    }

    pub(crate) fn primary(&mut self, shard: usize) -> &mut Valkey {
        &mut self.all[self.primaries[shard]]
    }

    /// The shard whose primary has a key.
    pub(crate) fn shard_of(&self, key: &[u8]) -> usize {
        match self.topology {
            Topology::One | Topology::Sentinel => 0,
            Topology::Cluster => self.shard_of_slot(slot_of(key)),
        }
    }

    pub(crate) fn shard_of_slot(&self, slot: usize) -> usize {
        self.view.owner(slot) % self.primaries.len()
    }

    /// The shard on which the writes of a key depend: that of its group, if it has one.
    pub(crate) fn shard_of_writes(&self, key: u64) -> usize {
        self.shard_of(&self.name_of_writes(key))
    }

    /// The key on which the writes of a key depend: that of its group, if it has one.
    pub(crate) fn name_of_writes(&self, key: u64) -> Bytes {
        self.name(if self.is_grouped { self.keys } else { key })
    }

    /// The server to which a client that knows everything sends the commands of a key, and whether
    /// it says ASKING before.
    pub(crate) fn server_of(&mut self, key: &Bytes) -> (usize, bool) {
        let server = self.primaries[self.shard_of(key)];
        let slot = slot_of(key);
        let valkey = &mut self.all[server];
        match valkey.member().and_then(|member| member.migrating) {
            Some((moving, to)) if moving == slot && valkey.store.version(key) == 0 => (to, true),
            _ => (server, false),
        }
    }

    /// Whether a server has a replica that is near: two thirds of the time, while its shard does not
    /// change.
    pub(crate) fn update_replica(&mut self, server: usize, now: u64, seed: u64) {
        let is_whole = self.changing[server % self.primaries.len()] <= now;
        let is_near = !(now / 700 + seed).is_multiple_of(3);
        self.all[server].store.has_near_replica = is_whole && is_near;
    }

    /// A sentinel or node learns what the others agree on.
    pub(crate) fn learn(&mut self, server: usize) {
        let (view, named) = (Arc::clone(&self.view), self.named.clone());
        match &mut self.all[server].mode {
            Mode::Node(member) => member.view = view,
            Mode::Sentinel(before) => *before = named,
            Mode::Alone => {}
        }
    }

    /// The number of keys.
    pub(crate) fn len(&self) -> usize {
        let primaries = self.primaries.iter();
        primaries.map(|server| self.all[*server].store.len()).sum()
    }
}

fn name(key: u64, keys: u64) -> Bytes {
    match key == keys {
        true => Bytes::from_static(b"g:all"),
        false => Bytes::from(format!("v:{key}")),
    }
}
