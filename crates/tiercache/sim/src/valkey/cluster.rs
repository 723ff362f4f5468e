//! A node of a cluster: its slots, and the redirections of commands whose keys are on other nodes.

use std::sync::Arc;

use bytes::Bytes;

use crate::valkey::resp::{Args, Reply};
use crate::valkey::store::Store;

/// The number of slots.
pub(crate) const SLOTS: usize = 16_384;
/// The port of the first node.
pub(crate) const FIRST_PORT: u16 = 7_000;

/// What nodes know of their cluster.
#[derive(Clone)]
pub(crate) struct View {
    /// The node that has each slot.
    owners: Vec<u8>,
    /// The slots of each node, as CLUSTER NODES has them.
    ranges: Vec<String>,
    pub(crate) nodes: Vec<Peer>,
}

/// A node, as another one knows it.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) address: String,
    pub(crate) epoch: u64,
    /// The primary of a replica.
    pub(crate) primary: Option<usize>,
    pub(crate) has_failed: bool,
}

impl View {
    /// A cluster of so many primaries, each with a replica after the last primary.
    pub(crate) fn new(primaries: usize) -> Self {
        let owner = |slot: usize| (slot * primaries / SLOTS) as u8;
        let peer = |node: usize| Peer {
            address: format!("valkey:{}", usize::from(FIRST_PORT) + node),
            epoch: node as u64 + 1,
            primary: node.checked_sub(primaries),
            has_failed: false,
        };
        let mut view = Self {
            owners: (0..SLOTS).map(owner).collect(),
            ranges: Vec::new(),
            nodes: (0..2 * primaries).map(peer).collect(),
        };
        view.update_ranges();
        view
    }

    /// The node that has a slot.
    pub(crate) fn owner(&self, slot: usize) -> usize {
        self.owners[slot].into()
    }

    /// Gives a slot to a node, from the start on.
    pub(crate) fn place(&mut self, slot: usize, node: usize) {
        self.owners[slot] = node as u8;
        self.update_ranges();
    }

    fn update_ranges(&mut self) {
        self.ranges = vec![String::new(); self.nodes.len()];
        let mut first = 0;
        for run in self.owners.chunk_by(|one, other| one == other) {
            let last = first + run.len() - 1;
            self.ranges[usize::from(run[0])] += &match first == last {
                true => format!(" {first}"),
                false => format!(" {first}-{last}"),
            };
            first = last + 1;
        }
    }

    fn next_epoch(&self) -> u64 {
        self.nodes.iter().map(|peer| peer.epoch).max().unwrap_or(0) + 1
    }

    /// A replica takes over the slots of its primary.
    pub(crate) fn promote(&mut self, from: usize, to: usize) {
        self.nodes[to].epoch = self.next_epoch();
        self.nodes[to].primary = None;
        self.nodes[from].has_failed = true;
        for owner in &mut self.owners {
            if usize::from(*owner) == from {
                *owner = to as u8;
            }
        }
        self.update_ranges();
    }

    /// A slot has moved.
    pub(crate) fn assign(&mut self, slot: usize, to: usize) {
        self.place(slot, to);
        self.nodes[to].epoch = self.next_epoch();
    }
}

/// A node.
pub(crate) struct Member {
    pub(crate) this: usize,
    pub(crate) view: Arc<View>,
    /// The slots that it sends to another node, and those that it receives.
    pub(crate) migrating: Option<(usize, usize)>,
    pub(crate) importing: Option<(usize, usize)>,
}

impl Member {
    pub(crate) fn new(this: usize, view: &Arc<View>) -> Self {
        Self {
            this,
            view: Arc::clone(view),
            migrating: None,
            importing: None,
        }
    }

    /// The error for a command with a key that another node has.
    pub(super) fn redirect(
        &self,
        store: &Store,
        (key, is_asking): (&Bytes, bool),
    ) -> Option<Reply> {
        let slot = slot_of(key);
        let owner = self.view.owner(slot);
        let to = |kind: &str, node: usize| {
            let address = &self.view.nodes[node].address;
            Some(Reply::error(format!("{kind} {slot} {address}")))
        };
        let is = |moving: Option<(usize, usize)>| moving.filter(|(moving, _)| *moving == slot);
        if owner == self.this {
            return match is(self.migrating) {
                Some((_, target)) if store.version(key) == 0 => to("ASK", target),
                _ => None,
            };
        }
        if is(self.importing).is_some() && is_asking {
            return None;
        }
        to("MOVED", owner)
    }

    /// The reply to CLUSTER NODES.
    pub(super) fn nodes(&self) -> String {
        let id = |node: usize| format!("{node:040x}");
        let mut text = String::new();
        for (node, peer) in self.view.nodes.iter().enumerate() {
            let mut flags = String::new();
            if node == self.this {
                flags += "myself,";
            }
            flags += if peer.primary.is_some() {
                "slave"
            } else {
                "master"
            };
            if peer.has_failed && node != self.this {
                flags += ",fail";
            }
            let primary = peer.primary.map_or("-".to_owned(), id);
            let (address, epoch) = (&peer.address, peer.epoch);
            text += &format!(
                "{} {address}@1{} {flags} {primary} 0 0 {epoch} connected",
                id(node),
                &address[address.len() - 4..]
            );
            text += &self.view.ranges[node];
            if node == self.this {
                if let Some((slot, to)) = self.migrating {
                    text += &format!(" [{slot}->-{}]", id(to));
                }
                if let Some((slot, from)) = self.importing {
                    text += &format!(" [{slot}-<-{}]", id(from));
                }
            }
            text.push('\n');
        }
        text
    }
}

/// The key of a command, if it has one.
pub(super) fn key_of<'a>(name: &[u8], args: &'a Args) -> Option<&'a Bytes> {
    match name {
        b"GET" | b"GETRANGE" | b"PTTL" | b"PEXPIRETIME" | b"TYPE" | b"SET" | b"SETEX" | b"DEL"
        | b"LPUSH" | b"WATCH" => args.get(1),
        b"EVAL" | b"EVALSHA" => args.get(3).filter(|_| args[2] != "0"),
        _ => None,
    }
}

/// The slot of a key. (None of the keys here has a part within braces.)
pub(crate) fn slot_of(key: &[u8]) -> usize {
    let mut crc = 0_u16;
    for byte in key {
        crc ^= u16::from(*byte) << 8;
        for _ in 0..8 {
            crc = match crc & 0x8000 {
                0 => crc << 1,
                _ => (crc << 1) ^ 0x1021,
            };
        }
    }
    usize::from(crc) % SLOTS
}
