//! Failovers: a replica is promoted, which lacks the last writes, while the former primary is dead or
//! takes writes for a while.

use std::sync::Arc;

use rand::RngExt as _;

use crate::events::Event;
use crate::net::End;
use crate::setup::Topology;
use crate::valkey::cluster::{FIRST_PORT, slot_of};
use crate::world::State;

/// The longest time until the nodes of a cluster learn of a failover.
const GOSSIP: u64 = 200;
/// The longest time until the other sentinels learn of a failover.
const HELLO: u64 = 2_000;

impl State {
    /// Promotes the replica of a shard, unless the shard is changing already.
    pub(crate) fn promote(&mut self, shard: usize, lag: u64, (split, back): (u64, u64)) {
        let now = self.now();
        let is_changing = self.servers.changing[shard] > now && !self.may_promote_moving(shard);
        if self.servers.topology == Topology::One || is_changing {
            self.coverage.count("failover in vain");
            return;
        }
        self.coverage.count("fault: failover");
        let (old, new) = (self.servers.primaries[shard], self.servers.replica(shard));
        let whole = now + split.max(back) + 1;
        self.servers.changing[shard] = self.servers.changing[shard].max(whole);
        self.servers.primaries[shard] = new;
        let since = self.server_time().saturating_sub(lag);
        let mut store = self.servers.all[old].store.clone();
        store.lose_since(since);
        // A replica shares no scripts with its primary.
        self.servers.all[new].forget_scripts();
        self.servers.all[new].is_replica = false;
        self.announce(old, new);
        if self.servers.topology == Topology::Cluster {
            self.promote_moving(old, new);
            let member = self.servers.all[new].member();
            let importing = member.and_then(|member| member.importing);
            for key in store.keys() {
                let is_imported = importing.is_some_and(|(slot, _)| slot == slot_of(&key));
                if self.servers.shard_of(&key) != shard && !is_imported {
                    store.delete(&key);
                }
            }
        }
        self.servers.all[new].store = store;
        let _ = self.servers.all[new].take_changes();
        let keys = 0..self.plan.keys;
        let lost: Vec<u64> = keys
            .filter(|key| self.oracle.reached.may_be_on(*key, shard))
            .collect();
        self.oracle
            .promoted(shard, &lost, (now.saturating_sub(lag), now));
        if split == 0 {
            self.cut_server(old, End::Reset);
            self.servers.all[old].is_up = false;
            self.schedule(now + back, Event::Demote(old));
        } else {
            self.coverage.count("two primaries");
            self.schedule(now + split, Event::Demote(old));
        }
    }

    /// Sentinels, and nodes of a cluster, learn of a promotion.
    fn announce(&mut self, old: usize, new: usize) {
        let now = self.now();
        let count = self.servers.all.len();
        match self.servers.topology {
            Topology::One => {}
            Topology::Sentinel => {
                self.servers.named.port = usize::from(FIRST_PORT) + new;
                self.servers.named.epoch += 1;
                let leader = self.random.random_range(2..count);
                for sentinel in 2..count {
                    let delay = self.random.random_range(0..HELLO);
                    let delay = if sentinel == leader { 0 } else { delay };
                    self.schedule(now + delay, Event::Learn(sentinel));
                }
            }
            Topology::Cluster => {
                Arc::make_mut(&mut self.servers.view).promote(old, new);
                self.servers.learn(new);
                self.others_learn(GOSSIP, &[old, new]);
            }
        }
    }

    /// The nodes of a cluster except some learn, each after a delay, what has changed.
    pub(crate) fn others_learn(&mut self, longest: u64, but: &[usize]) {
        let now = self.now();
        for node in (0..self.servers.all.len()).filter(|node| !but.contains(node)) {
            let delay = self.random.random_range(0..longest);
            let shard = node % self.servers.primaries.len();
            let is_former = !self.servers.all[node].is_replica
                && self.servers.primaries[shard] != node
                && self.plan.setup.promotes_moving;
            // The others do not reach a former primary that still takes writes.
            if !is_former {
                self.schedule(now + delay, Event::Learn(node));
            }
        }
    }

    /// A former primary becomes a replica.
    pub(crate) fn demote(&mut self, server: usize) {
        let (now, shards) = (self.now(), self.servers.primaries.len());
        let primary = self.servers.primaries[server % shards];
        if self.servers.topology == Topology::Cluster {
            let peer = &mut Arc::make_mut(&mut self.servers.view).nodes[server];
            (peer.primary, peer.has_failed) = (Some(primary), false);
            self.servers.learn(server);
            self.others_learn(GOSSIP, &[server]);
        } else {
            // Sentinel disconnects the clients of a server that it makes a replica.
            self.cut_server(server, End::Closed);
        }
        let valkey = &mut self.servers.all[server];
        if !std::mem::replace(&mut valkey.is_up, true) {
            valkey.restarted(now + server as u64);
        }
        // It gets the keys of the primary, which nobody reads here.
        valkey.flush();
        valkey.is_replica = true;
        if let Some(member) = valkey.member() {
            (member.migrating, member.importing) = (None, None);
        }
        self.push_later();
    }
}
