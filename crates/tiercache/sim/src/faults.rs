//! The faults of a plan, each at its time.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::net::End;
use crate::plan::Fault;
use crate::process::{self, Running};
use crate::trace::Who;
use crate::valkey::Valkey;
use crate::valkey::store::{Content, Store};
use crate::world::{State, World};

/// The processes, and what is to happen to them.
pub(crate) struct Faults {
    world: World,
    /// `None` while a process is dead.
    pub(crate) processes: Vec<Option<Running>>,
    /// What ends a fault, by its time.
    endings: BTreeMap<(u64, usize), Ending>,
}

#[derive(Clone, Copy)]
enum Ending {
    Resume(usize),
    Start(usize),
}

impl Faults {
    pub(crate) fn new(world: &World, processes: Vec<Option<Running>>) -> Self {
        Self {
            world: world.clone(),
            processes,
            endings: BTreeMap::new(),
        }
    }

    /// Lets the faults of the plan happen, and end.
    pub(crate) async fn run(&mut self) {
        let faults = self.world.with(|state| state.plan.faults.clone());
        for (i, (at, fault)) in faults.into_iter().enumerate() {
            self.end_until(at).await;
            self.world.sleep_until(at).await;
            self.world.with(|state| {
                let now = state.now();
                state.trace.add(&[now, 8, i as u64]);
                state.trace.line(now, Who::World, || format!("{fault:?}"));
                state.coverage.count(fault.name());
                fault.happen(state, now);
            });
            self.happen(fault, at, i);
        }
        self.end_until(u64::MAX).await;
    }

    fn happen(&mut self, fault: Fault, at: u64, i: usize) {
        match fault {
            Fault::Pause { process, millis } => {
                if let Some(running) = &self.processes[process] {
                    let stops_clock = self.world.with(|state| {
                        let stops_clock = state.plan.setup.stops_clocks;
                        if stops_clock {
                            state
                                .oracle
                                .reached
                                .clock_stops(running.app.life, (at, at + millis));
                        }
                        stops_clock
                    });
                    running.tasks.pause(stops_clock);
                    self.endings
                        .insert((at + millis, i), Ending::Resume(process));
                }
            }
            Fault::Crash { process, millis } => {
                if let Some(running) = self.processes[process].take() {
                    running.tasks.kill();
                    self.world.with(|state| {
                        state.cut(Some(process), End::Reset);
                        let committed = state.oracle.killed(running.app.life);
                        state.coverage.add("killed after COMMIT", committed);
                    });
                    self.endings
                        .insert((at + millis, i), Ending::Start(process));
                }
            }
            _ => {}
        }
    }

    async fn end_until(&mut self, time: u64) {
        while let Some((&(at, i), &ending)) = self.endings.first_key_value() {
            if at > time {
                return;
            }
            self.endings.remove(&(at, i));
            self.world.sleep_until(at).await;
            match ending {
                Ending::Resume(process) => {
                    if let Some(running) = &self.processes[process] {
                        running.tasks.resume();
                    }
                }
                Ending::Start(process) => {
                    self.processes[process] = process::start(&self.world, process).await;
                }
            }
        }
    }
}

impl State {
    /// The keys of the primary that has a key, and its name.
    fn store_of(&mut self, key: u64) -> (&mut Store, Bytes) {
        let name = self.servers.name(key);
        let shard = self.servers.shard_of(&name);
        (&mut self.servers.primary(shard).store, name)
    }
}

impl Fault {
    /// Its effect on the network, Valkey, and the database.
    fn happen(self, state: &mut State, now: u64) {
        match self {
            Self::Cut { process } => state.cut(Some(process), End::Reset),
            Self::Close { process } => state.cut(Some(process), End::Closed),
            Self::CutAll => state.cut(None, End::Reset),
            Self::HoldOut { process, millis } => {
                for link in state.links_of(process, millis) {
                    link.held_out = now + millis;
                }
            }
            Self::HoldIn { process, millis } => {
                for link in state.links_of(process, millis) {
                    link.held_in = now + millis;
                }
            }
            Self::Refuse { process, millis } => {
                for link in state.links_of(process, millis) {
                    link.refused = now + millis;
                }
                state.cut(Some(process), End::Reset);
            }
            Self::Pause { .. } | Self::Crash { .. } => {}
            Self::Restart => {
                state.cut(None, End::Closed);
                for (id, server) in state.servers.all.iter_mut().enumerate() {
                    server.store.clear();
                    let _ = server.take_changes();
                    server.restarted(now + id as u64);
                }
            }
            Self::Failover { lag } => {
                state.cut(None, End::Reset);
                let since = state.server_time().saturating_sub(lag);
                let server = state.servers.primary(0);
                server.store.lose_since(since);
                server.restarted(now);
                state.oracle.failed_over(now.saturating_sub(lag), now);
            }
            Self::Promote {
                shard,
                lag,
                split,
                back,
            } => state.promote(shard, lag, (split, back)),
            Self::MoveSlot { key, to, millis } => state.move_slot(key, to, millis),
            Self::Jump { millis } => state.clock_ahead += millis,
            Self::NoDatabase { millis } => state.database.unavailable = now + millis,
            Self::SlowDatabase { millis } => state.database.slow = now + millis,
            _ => self.happen_to_keys(state),
        }
    }

    /// Its effect on the keys of Valkey.
    fn happen_to_keys(self, state: &mut State) {
        match self {
            Self::Flush => {
                for shard in 0..state.servers.primaries.len() {
                    state.servers.primary(shard).flush();
                }
                state.push_later();
            }
            Self::ForgetScripts => {
                state
                    .servers
                    .all
                    .iter_mut()
                    .for_each(Valkey::forget_scripts);
            }
            Self::Evict { key } => {
                let (store, name) = state.store_of(key);
                store.delete(&name);
                state.push_later();
            }
            Self::Retype { key } => {
                let (store, name) = state.store_of(key);
                store.set(&name, Content::List(1), None);
                state.push_later();
            }
            Self::Corrupt { key } => {
                let content = Content::Text(Bytes::from_static(b"{\"a\":"));
                let expires = Some(state.server_time() + 60_000);
                let (store, name) = state.store_of(key);
                store.set(&name, content, expires);
                state.push_later();
            }
            _ => {}
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Cut { .. } => "fault: cut",
            Self::Close { .. } => "fault: close",
            Self::CutAll => "fault: cut all",
            Self::HoldOut { .. } => "fault: commands held",
            Self::HoldIn { .. } => "fault: replies held",
            Self::Refuse { .. } => "fault: connections refused",
            Self::Pause { .. } => "fault: process suspended",
            Self::Crash { .. } => "fault: process killed",
            Self::Restart => "fault: Valkey restarted",
            Self::Failover { .. } => "fault: failover",
            Self::Promote { .. } => "fault: replica promoted",
            Self::MoveSlot { .. } => "fault: slot moves",
            Self::Flush => "fault: flushed",
            Self::ForgetScripts => "fault: scripts flushed",
            Self::Evict { .. } => "fault: evicted",
            Self::Retype { .. } => "fault: another type",
            Self::Corrupt { .. } => "fault: invalid payload",
            Self::Jump { .. } => "fault: clock jumped",
            Self::NoDatabase { .. } => "fault: database unavailable",
            Self::SlowDatabase { .. } => "fault: database slow",
        }
    }
}
