//! Slots of a cluster that move to another node: its keys one by one, each asked for (ASK) on the new
//! node when it is not on the old one any more.

use std::sync::Arc;

use bytes::Bytes;
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
        for key in self.keys_of(slot) {
            self.oracle.reached.begin_move(key, to, now);
        }
        let migrated = self.random.random_range(now..=end);
        self.schedule(migrated, Event::Migrate(from));
        self.schedule(end, Event::MoveEnd(from));
    }

    /// MIGRATE of the keys of the slot that a shard gives up. It refuses (BUSYKEY) those that the
    /// other node has, which only a failover of the shard can have brought back.
    pub(crate) fn migrate(&mut self, from: usize) {
        for key in self.keys_to_migrate(from) {
            let Some((_, target)) = self.migrating(from) else {
                return;
            };
            let source = self.servers.primaries[from];
            if self.servers.all[target].store.get(&key).is_some() {
                self.coverage.count("key on both nodes");
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

    fn keys_to_migrate(&mut self, from: usize) -> Vec<Bytes> {
        let Some((slot, target)) = self.migrating(from) else {
            return Vec::new();
        };
        let (source, time) = (self.servers.primaries[from], self.server_time());
        self.servers.all[source].store.now = time;
        self.servers.all[target].store.now = time;
        let mut keys = self.servers.all[source].store.keys();
        keys.retain(|key| slot_of(key) == slot);
        keys
    }

    /// The new node has the slot. Of keys that both nodes have, its values stay.
    pub(crate) fn end_move(&mut self, from: usize) {
        self.migrate(from);
        let source = self.servers.primaries[from];
        for key in self.keys_to_migrate(from) {
            self.servers.all[source].store.delete(&key);
        }
        let Some((slot, target)) = self.migrating(from) else {
            return;
        };
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
        let now = self.now();
        for key in self.keys_of(slot) {
            self.oracle.moved(key, from, now);
        }
        self.coverage.count("slot moved");
        self.others_learn(GOSSIP, &[source, target]);
    }

    /// The keys whose writes depend on a slot.
    fn keys_of(&self, slot: usize) -> Vec<u64> {
        let keys = 0..self.plan.keys;
        keys.filter(|key| slot_of(&self.servers.name_of_writes(*key)) == slot)
            .collect()
    }

    /// Whether the replica of a shard is promoted although its shard is changing: since a slot moves,
    /// and nothing else happens.
    pub(crate) fn may_promote_moving(&mut self, shard: usize) -> bool {
        if !self.plan.setup.promotes_moving {
            return false;
        }
        let replica = &self.servers.all[self.servers.replica(shard)];
        let is_whole = replica.is_replica && replica.is_up;
        let member = self.servers.primary(shard).member();
        let is_moving =
            member.is_some_and(|member| member.migrating.is_some() || member.importing.is_some());
        if is_whole && is_moving {
            self.coverage.count("failover while a slot moves");
        }
        is_whole && is_moving
    }

    /// A new primary goes on with the move of a slot: since version 8, replicas of Valkey know of
    /// it, and so does the node at the other end.
    pub(crate) fn promote_moving(&mut self, old: usize, new: usize) {
        let Some(member) = self.servers.all[old].member() else {
            return;
        };
        let moving = (member.migrating, member.importing);
        for primary in self.servers.primaries.clone() {
            let Some(member) = self.servers.all[primary].member() else {
                continue;
            };
            if primary == new {
                (member.migrating, member.importing) = moving;
            }
            for (_, other) in [&mut member.migrating, &mut member.importing]
                .into_iter()
                .flatten()
            {
                if *other == old {
                    *other = new;
                }
            }
        }
    }

    fn migrating(&mut self, shard: usize) -> Option<(usize, usize)> {
        self.servers.primary(shard).member()?.migrating
    }
}
