//! The faults of a plan, each at its time.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::net::End;
use crate::plan::{Fault, Stepped};
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
    /// What is to happen, by its time, and in order.
    due: BTreeMap<(u64, usize), Due>,
}

#[derive(Clone, Copy)]
enum Due {
    Fault(Fault),
    /// From now on a fault waits for its step.
    Arm(Stepped),
    /// No fault waits for its step any more.
    Disarm,
    Resume(usize),
    Start(usize),
}

impl Faults {
    /// The faults of the plan.
    pub(crate) fn new(world: &World, processes: Vec<Option<Running>>) -> Self {
        let mut faults = Self {
            world: world.clone(),
            processes,
            due: BTreeMap::new(),
        };
        let plan = world.with(|state| state.plan.clone());
        for (at, fault) in plan.faults {
            faults.add(at, Due::Fault(fault));
        }
        for stepped in plan.stepped {
            faults.add(stepped.at, Due::Arm(stepped));
        }
        faults.add(plan.horizon, Due::Disarm);
        faults
    }

    fn add(&mut self, at: u64, due: Due) {
        let serial = self.due.len();
        let serial = (serial..).find(|serial| !self.due.contains_key(&(at, *serial)));
        self.due.insert((at, serial.unwrap_or_default()), due);
    }

    /// Lets the faults happen, and end.
    pub(crate) async fn run(&mut self) {
        let stepped = self.world.with(|state| Arc::clone(&state.steps.became_due));
        while let Some((&(at, serial), &due)) = self.due.first_key_value() {
            tokio::select! {
                biased;
                () = stepped.notified() => {
                    for fault in self.world.with(|state| state.steps.take_due()) {
                        self.happen(fault);
                        let is_suspended = matches!(fault, Fault::Pause { .. });
                        if let Some(process) = fault.process().filter(|_| !is_suspended) {
                            // Its step has suspended it.
                            self.resume(process);
                        }
                    }
                }
                () = self.world.sleep_until(at) => {
                    self.due.remove(&(at, serial));
                    self.execute(due).await;
                }
            }
        }
    }

    async fn execute(&mut self, due: Due) {
        match due {
            Due::Fault(fault) => self.happen(fault),
            Due::Arm(stepped) => self.world.with(|state| {
                for server in &mut state.servers.all {
                    server.log.get_or_insert_default();
                }
                state.steps.arm(stepped);
            }),
            Due::Disarm => self.world.with(|state| state.steps.disarm()),
            Due::Resume(process) => self.resume(process),
            Due::Start(process) => {
                self.processes[process] = process::start(&self.world, process).await;
            }
        }
    }

    fn resume(&self, process: usize) {
        if let Some(running) = &self.processes[process] {
            running.tasks.resume();
        }
    }

    fn happen(&mut self, fault: Fault) {
        let now = self.world.with(|state| {
            let now = state.now();
            state.trace.add(&[now, 8, fault.name().len() as u64]);
            state.trace.line(now, Who::World, || format!("{fault:?}"));
            state.coverage.count(fault.name());
            fault.happen(state, now);
            now
        });
        match fault {
            Fault::Pause { process, millis } => {
                if let Some(running) = &self.processes[process] {
                    let life = running.app.life;
                    let stops_clock = self.world.with(|state| {
                        let stops_clock = state.plan.setup.stops_clocks;
                        if stops_clock {
                            let reached = &mut state.oracle.reached;
                            reached.clock_stops(life, (now, now + millis));
                        }
                        stops_clock
                    });
                    running.tasks.pause(stops_clock);
                    self.add(now + millis, Due::Resume(process));
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
                    self.add(now + millis, Due::Start(process));
                }
            }
            _ => {}
        }
    }
}

impl State {
    /// An operator deletes values, or flushes all servers.
    pub(crate) fn delete_as_operator(&mut self, keys: &[u64], flushes: bool) {
        let time = self.server_time();
        for server in &mut self.servers.all {
            server.store.now = time;
        }
        if flushes {
            for shard in 0..self.servers.primaries.len() {
                self.servers.primary(shard).flush();
            }
        } else {
            for key in keys {
                let name = self.servers.name(*key);
                let (server, _) = self.servers.server_of(&name);
                self.servers.all[server].store.delete(&name);
            }
        }
        self.push_later();
    }

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
            Self::Mute { process, tracking } => state.mute(process, tracking),
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
            Self::ReadOnly { millis } => {
                let until = state.server_time() + millis;
                for server in &mut state.servers.all {
                    server.read_only = until;
                }
            }
            _ => {}
        }
    }
}
