//! The world of a seed: its clock, its events in order, the network, Valkey, and the database.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::database::Database;
use crate::events::{Event, Events};
use crate::net::{Connection, Link};
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::servers::Servers;
use crate::steps::Steps;
use crate::trace::{Trace, Who, readable};
use crate::valkey::scripts::Script;

/// A world. Cheap to clone; one thread has it.
#[derive(Clone)]
pub(crate) struct World(Arc<Shared>);

struct Shared {
    start: Instant,
    state: Mutex<State>,
    scheduled: Notify,
}

pub(crate) struct State {
    start: Instant,
    pub(crate) plan: Plan,
    pub(crate) random: StdRng,
    pub(crate) trace: Trace,
    /// The way of each process to each server.
    pub(crate) links: Vec<Link>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) servers: Servers,
    /// How far the clock of the servers is ahead, in milliseconds.
    pub(crate) clock_ahead: u64,
    /// The server that each task has connected to last.
    pub(crate) connected: BTreeMap<tokio::task::Id, usize>,
    pub(crate) database: Database,
    pub(crate) oracle: Oracle,
    pub(crate) steps: Steps,
    pub(crate) coverage: crate::coverage::Coverage,
    events: Events,
    is_push_due: bool,
}

impl World {
    /// A world by its plan.
    pub(crate) fn new(plan: Plan, is_recorded: bool) -> Self {
        let start = Instant::now();
        let servers = plan.setup.topology.servers();
        let link = |process| Link {
            delay: match plan.slow {
                Some(slow) if slow != process => plan.delay.min(1),
                _ => plan.delay,
            },
            ..Link::default()
        };
        let mut state = State {
            start,
            random: StdRng::seed_from_u64(plan.seed ^ 0x5eed),
            trace: Trace::new(is_recorded),
            links: (0..plan.processes)
                .flat_map(|process| vec![link(process); servers])
                .collect(),
            steps: Steps::default(),
            connections: Vec::new(),
            servers: Servers::new(&plan, is_recorded),
            clock_ahead: 1_700_000_000_000,
            connected: BTreeMap::new(),
            database: Database::new(plan.keys),
            oracle: Oracle::new(&plan),
            coverage: crate::coverage::Coverage::default(),
            events: Events::default(),
            is_push_due: false,
            plan,
        };
        let keys = 0..state.plan.keys;
        let shards = keys.map(|key| state.servers.shard_of_writes(key)).collect();
        state.oracle.reached.set_shards(shards);
        Self(Arc::new(Shared {
            start,
            state: Mutex::new(state),
            scheduled: Notify::new(),
        }))
    }

    /// Reads or changes the state.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.events.added;
        let result = act(&mut state);
        if state.events.added != before {
            self.0.scheduled.notify_one();
        }
        result
    }

    /// Milliseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        self.0.start.elapsed().as_millis() as u64
    }

    pub(crate) async fn sleep_until(&self, at: u64) {
        sleep_until(self.0.start + Duration::from_millis(at)).await;
    }

    pub(crate) async fn sleep(&self, millis: u64) {
        self.sleep_until(self.now() + millis).await;
    }

    /// Executes the events at their times. Never returns.
    pub(crate) async fn run(self) {
        self.with(|state| state.schedule(100, Event::Expire));
        loop {
            let next = self.with(State::execute_due);
            let scheduled = self.0.scheduled.notified();
            match next {
                Some(at) => {
                    tokio::select! {
                        biased;
                        () = scheduled => {}
                        () = self.sleep_until(at) => {}
                    }
                }
                None => scheduled.await,
            }
        }
    }
}

impl State {
    pub(crate) fn now(&self) -> u64 {
        self.start.elapsed().as_millis() as u64
    }

    pub(crate) fn schedule(&mut self, at: u64, event: Event) {
        self.events.add(at, event);
    }

    /// The clock of the servers.
    pub(crate) fn server_time(&self) -> u64 {
        let rate = 1_000_000_u64.saturating_add_signed(self.plan.setup.server_drift);
        self.now() * rate / 1_000_000 + self.clock_ahead
    }

    fn execute_due(&mut self) -> Option<u64> {
        loop {
            let now = self.now();
            match self.events.next_time() {
                Some(at) if at <= now => {}
                next => return next,
            }
            if let Some(event) = self.events.take() {
                self.execute(event, now);
            }
        }
    }

    fn execute(&mut self, event: Event, now: u64) {
        match event {
            Event::Out(id, bytes) => {
                self.trace.add_bytes(now, &bytes);
                if self.connections[id].is_open && !self.connections[id].is_mute {
                    if self.connections[id].is_left() {
                        self.coverage.count("executed late");
                    }
                    self.commands(id, &bytes);
                }
            }
            Event::In(id, bytes) => {
                self.trace.add_bytes(now, &bytes);
                self.connections[id].deliver(&bytes);
            }
            Event::Push => self.push(),
            Event::Left(id) => self.connections[id].is_open = false,
            Event::Expire => {
                let time = self.server_time();
                for server in &mut self.servers.all {
                    let before = server.store.len();
                    server.store.expire(time);
                    let expired = before - server.store.len();
                    self.coverage.add("expired", expired as u64);
                }
                self.push_later();
                self.schedule(now + 100, Event::Expire);
            }
            Event::Demote(server) => self.demote(server),
            Event::Learn(server) => self.servers.learn(server),
            Event::Migrate(shard) => self.migrate(shard),
            Event::MoveEnd(shard) => self.end_move(shard),
        }
    }

    fn commands(&mut self, id: usize, bytes: &[u8]) {
        let (time, now) = (self.server_time(), self.now());
        let server = self.connections[id].server;
        self.servers.update_replica(server, now, self.plan.seed);
        let session = &mut self.connections[id].session;
        self.servers.all[server].receive(session, bytes, time);
        let parts = std::mem::take(&mut self.servers.all[server].parts);
        self.coverage.add("parts of values", parts);
        self.record_commands(now, id);
        let session = &mut self.connections[id].session;
        let out = session.out.split().freeze();
        if !out.is_empty() {
            self.send_in(id, out);
        }
        self.push_later();
    }

    fn record_commands(&mut self, now: u64, id: usize) {
        let Connection {
            process, server, ..
        } = self.connections[id];
        for (args, reply) in self.servers.all[server].take_log() {
            self.command_step(process, &args);
            if !self.trace.is_recorded() {
                continue;
            }
            if args[0] == "PING" {
                continue;
            }
            let script = |arg: &Bytes| {
                let by_text = Script::of_text(arg).map(|(script, _)| script);
                by_text.or_else(|| Script::of_hash(arg))
            };
            let texts = args.iter().map(|arg| match script(arg) {
                Some(script) => format!("{script:?}"),
                None => readable(arg),
            });
            let text = texts.collect::<Vec<_>>().join(" ");
            let text = || match self.servers.all.len() {
                1 => format!("from process {process}: {text} ─▶ {}", reply.readable()),
                _ => format!(
                    "{server} from process {process}: {text} ─▶ {}",
                    reply.readable()
                ),
            };
            self.trace.line(now, Who::Valkey, text);
        }
    }

    /// Lets Valkey send its pushes, after the commands that have arrived at the same time.
    pub(crate) fn push_later(&mut self) {
        if !self.is_push_due {
            self.is_push_due = true;
            self.schedule(self.now(), Event::Push);
        }
    }

    fn push(&mut self) {
        self.is_push_due = false;
        for server in 0..self.servers.all.len() {
            let changes = self.servers.all[server].take_changes();
            if changes.is_empty() {
                continue;
            }
            for id in 0..self.connections.len() {
                let connection = &mut self.connections[id];
                if !connection.is_open || connection.server != server {
                    continue;
                }
                changes.push_to(&mut connection.session);
                let out = connection.session.out.split().freeze();
                if !out.is_empty() {
                    self.coverage.count("push");
                    self.send_in(id, out);
                }
            }
        }
    }
}
