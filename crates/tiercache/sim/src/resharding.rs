//! Slots of a cluster that move to another node: its keys one by one, each asked for (ASK) on the new
//! node when it is not on the old one any more.

use std::sync::Arc;

use rand::RngExt as _;

use crate::events::Event;
use crate::setup::Topology;
use crate::valkey::cluster::slot_of;
use crate::world::State;

/// The longest time until the nodes learn who has a slot.
const GOSSIP: u64 = 500;

impl State {
    /// Begins to move the slot of a key to another shard, unless one of the two is changing.
    pub(crate) fn move_slot(&mut self, key: u64, to: usize, millis: u64) {
        let slot = slot_of(&self.servers.name(key));
        let from = self.servers.shard_of_slot(slot);
        let now = self.now();
        let is_changing = |shard: usize| self.servers.changing[shard] > now;
        let is_cluster = self.servers.topology == Topology::Cluster;
        if !is_cluster || from == to || is_changing(from) || is_changing(to) {
            self.coverage.count("slot not moved");
            return;
        }
        let end = now + millis;
        (self.servers.changing[from], self.servers.changing[to]) = (end + 1, end + 1);
        let (source, target) = (self.servers.primaries[from], self.servers.primaries[to]);
        if let Some(member) = self.servers.all[target].member() {
            member.importing = Some((slot, source));
        }
        if let Some(member) = self.servers.all[source].member() {
            member.migrating = Some((slot, target));
        }
        let migrated = self.random.random_range(now..=end);
        self.schedule(migrated, Event::Migrate(from));
        self.schedule(end, Event::MoveEnd(from));
    }

    /// MIGRATE of the keys of the slot that a shard gives up.
    pub(crate) fn migrate(&mut self, from: usize) {
        let Some((slot, target)) = self.migrating(from) else {
            return;
        };
        let (source, time) = (self.servers.primaries[from], self.server_time());
        self.servers.all[source].store.now = time;
        self.servers.all[target].store.now = time;
        for key in self.servers.all[source].store.keys() {
            if slot_of(&key) != slot {
                continue;
            }
            let store = &mut self.servers.all[source].store;
            let entry = store.get(&key).cloned();
            store.delete(&key);
            if let Some(entry) = entry {
                let store = &mut self.servers.all[target].store;
                store.set(&key, entry.content, entry.expires);
                self.coverage.count("key migrated");
            }
        }
        self.push_later();
    }

    /// The new node has the slot.
    pub(crate) fn end_move(&mut self, from: usize) {
        self.migrate(from);
        let Some((slot, target)) = self.migrating(from) else {
            return;
        };
        let source = self.servers.primaries[from];
        Arc::make_mut(&mut self.servers.view).assign(slot, target);
        for node in [source, target] {
            self.servers.learn(node);
            if let Some(member) = self.servers.all[node].member() {
                (member.migrating, member.importing) = (None, None);
            }
        }
        let shards: Vec<usize> = (0..self.plan.keys)
            .map(|key| self.servers.shard_of_writes(key))
            .collect();
        self.oracle.reached.set_shards(shards);
        self.coverage.count("slot moved");
        self.others_learn(GOSSIP, &[source, target]);
    }

    fn migrating(&mut self, shard: usize) -> Option<(usize, usize)> {
        self.servers.primary(shard).member()?.migrating
    }
}
