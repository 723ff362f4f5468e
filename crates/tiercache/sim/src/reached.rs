//! Which primaries each process has reached since failovers, and how its clock ran: what the bounds
//! of a failover, and of a clock, depend on.

use crate::plan::{Fault, Plan};
use crate::setup::Topology;

/// One life of a process.
pub(crate) type Life = usize;

/// The longest time after a promotion in which each writer repeats its invalidations, if nothing else
/// fails.
const FAILOVER: u64 = 2_000;

/// What is known of the connections and the clock of each life.
pub(crate) struct Reached {
    /// The last time that each life connected to the primary of each shard; 0 while it uses another
    /// server.
    connected: Vec<Vec<u64>>,
    /// The last time that each life had repeated its invalidations to the primary of each shard,
    /// likewise.
    repeated: Vec<Vec<u64>>,
    /// The last time that a replica of each shard was promoted while clients may use its former
    /// primary.
    promoted: Vec<u64>,
    /// The shard on which the writes of each key depend.
    shards: Vec<usize>,
    /// The other shard that may have a key: while its slot moves, and afterwards if one of the two
    /// failed over meanwhile.
    beside: Vec<Option<usize>>,
    /// When the slot of each key began to move, while it does.
    moving: Vec<Option<u64>>,
    /// When the clock of a life stood still.
    stops: Vec<(Life, u64, u64)>,
    /// In parts per million.
    drift: u64,
    /// Whether nothing but failovers happens.
    is_calm: bool,
}

impl Reached {
    pub(crate) fn new(plan: &Plan) -> Self {
        let is_failover = |(_, fault): &(u64, Fault)| {
            matches!(fault, Fault::Promote { .. } | Fault::MoveSlot { .. })
        };
        let is_calm = plan.setup.topology != Topology::One
            && plan.faults.iter().all(is_failover)
            && plan.stepped.is_empty()
            && plan.legacy_writers == 0
            && plan.delay <= 1;
        Self {
            connected: Vec::new(),
            repeated: Vec::new(),
            promoted: vec![0; plan.setup.topology.shards()],
            shards: vec![0; plan.keys as usize],
            beside: vec![None; plan.keys as usize],
            moving: vec![None; plan.keys as usize],
            stops: Vec::new(),
            drift: plan.setup.drift(),
            is_calm,
        }
    }

    /// A process starts.
    pub(crate) fn begin_life(&mut self) -> Life {
        self.connected.push(vec![0; self.promoted.len()]);
        self.repeated.push(vec![0; self.promoted.len()]);
        self.connected.len() - 1
    }

    /// The shards on which the writes of each key depend from now on.
    pub(crate) fn set_shards(&mut self, shards: Vec<usize>) {
        self.shards = shards;
    }

    /// The slot of a key begins to move to another shard.
    pub(crate) fn begin_move(&mut self, key: u64, to: usize, now: u64) {
        self.beside[key as usize] = Some(to);
        self.moving[key as usize] = Some(now);
    }

    /// The slot of a key is on another shard than before. Returns since when the key may have been
    /// on both, as from [`on_two_since`](Self::on_two_since).
    pub(crate) fn end_move(&mut self, key: u64, from: usize) -> Option<u64> {
        self.beside[key as usize] = Some(from);
        let since = self.on_two_since(key);
        if since.is_none() {
            self.beside[key as usize] = None;
        }
        self.moving[key as usize] = None;
        since
    }

    /// The begin of the move of a key's slot, if one of its shards has failed over since: the key may
    /// be on both then, and invalidated on one only.
    pub(crate) fn on_two_since(&self, key: u64) -> Option<u64> {
        let begun = self.moving[key as usize]?;
        let mut shards = self.shards_of(key);
        shards
            .any(|shard| self.promoted[shard] >= begun)
            .then_some(begun)
    }

    /// Whether a key may be on two shards.
    pub(crate) fn has_moved(&self, key: u64) -> bool {
        self.beside[key as usize].is_some()
    }

    /// Whether a key may be on a shard.
    pub(crate) fn may_be_on(&self, key: u64, shard: usize) -> bool {
        self.shards_of(key).any(|of| of == shard)
    }

    fn shards_of(&self, key: u64) -> impl Iterator<Item = usize> {
        let beside = self.beside[key as usize];
        std::iter::once(self.shard(key)).chain(beside)
    }

    pub(crate) fn shard(&self, key: u64) -> usize {
        self.shards[key as usize]
    }

    /// The clock of a process stands still.
    pub(crate) fn clock_stops(&mut self, life: Life, (from, to): (u64, u64)) {
        self.stops.push((life, from, to));
    }

    /// A process has connected to the primary of a shard, or to a former one. Unless changes were
    /// `refused`, it has repeated its invalidations. Returns the last time before.
    pub(crate) fn connected(
        &mut self,
        (life, shard): (Life, usize),
        (is_primary, refused): (bool, bool),
        now: u64,
    ) -> u64 {
        let now = if is_primary { now } else { 0 };
        if !refused || !is_primary {
            self.repeated[life][shard] = now;
        }
        std::mem::replace(&mut self.connected[life][shard], now)
    }

    /// When a process had repeated its invalidations to the primary of a shard after a time.
    pub(crate) fn repeated_after(&self, life: Life, shard: usize, time: u64) -> Option<u64> {
        Some(self.repeated[life][shard]).filter(|at| *at > time)
    }

    pub(crate) fn promoted(&mut self, shard: usize, now: u64) {
        self.promoted[shard] = now;
    }

    /// The last promotion in the shards of a key; 0 if there was none.
    pub(crate) fn promotion(&self, key: u64) -> u64 {
        let promotions = self.shards_of(key).map(|shard| self.promoted[shard]);
        promotions.max().unwrap_or_default()
    }

    /// The promotion in the shard of a key since which a process may use the former primary, or none.
    pub(crate) fn behind(&self, life: Life, key: u64, now: u64) -> Option<u64> {
        let is_behind = |shard: &usize| {
            let promoted = self.promoted[*shard];
            let is_overdue = self.is_calm && now > promoted + FAILOVER;
            promoted > 0 && self.connected[life][*shard] < promoted && !is_overdue
        };
        let behind = self.shards_of(key).filter(is_behind);
        behind.map(|shard| self.promoted[shard]).min()
    }

    /// The time at which each writer must have repeated its invalidations after a promotion, if
    /// nothing else fails.
    pub(crate) fn deadline(&self, promoted: u64) -> Option<u64> {
        self.is_calm.then_some(promoted + FAILOVER)
    }

    /// So many milliseconds of any clock, in those of the world.
    pub(crate) fn stretched(&self, millis: u64) -> u64 {
        millis + (millis * self.drift).div_ceil(500_000)
    }

    /// How long the clock of a process has stood still since a time.
    pub(crate) fn stood_still(&self, life: Life, since: u64, now: u64) -> u64 {
        let of_life = self.stops.iter().filter(|(of, ..)| *of == life);
        of_life
            .map(|(_, from, to)| now.min(*to).saturating_sub(since.max(*from)))
            .sum()
    }
}
