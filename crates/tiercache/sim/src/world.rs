//! The world of a seed: its clock, its events in order, the network, Valkey, and the database.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::database::Database;
use crate::net::{Connection, Link};
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::trace::{Trace, Who, readable};
use crate::valkey::Valkey;
use crate::valkey::scripts::Script;

/// A world. Cheap to clone; one thread has it.
#[derive(Clone)]
pub(crate) struct World(Arc<Shared>);

struct Shared {
    start: Instant,
    state: Mutex<State>,
    scheduled: Notify,
}

/// What happens at some time.
pub(crate) enum Event {
    /// Bytes arrive at Valkey.
    Out(usize, Bytes),
    /// Bytes arrive at the client.
    In(usize, Bytes),
    /// Valkey sends the pushes that are due.
    Push,
    /// The client has closed the connection.
    Left(usize),
    /// Valkey deletes what has expired.
    Expire,
}

pub(crate) struct State {
    start: Instant,
    pub(crate) plan: Plan,
    pub(crate) random: StdRng,
    pub(crate) trace: Trace,
    pub(crate) links: Vec<Link>,
    pub(crate) connections: Vec<Connection>,
    pub(crate) valkey: Valkey,
    /// How far Valkey's clock is ahead, in milliseconds.
    pub(crate) clock_ahead: u64,
    pub(crate) database: Database,
    pub(crate) oracle: Oracle,
    pub(crate) coverage: crate::coverage::Coverage,
    events: BinaryHeap<Reverse<Scheduled>>,
    serial: u64,
    is_push_due: bool,
}

struct Scheduled {
    at: u64,
    serial: u64,
    event: Event,
}

impl PartialEq for Scheduled {
    fn eq(&self, other: &Self) -> bool {
        self.serial == other.serial
    }
}

impl Eq for Scheduled {}

impl PartialOrd for Scheduled {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scheduled {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.serial).cmp(&(other.at, other.serial))
    }
}

impl World {
    /// A world by its plan.
    pub(crate) fn new(plan: Plan, is_recorded: bool) -> Self {
        let start = Instant::now();
        let mut valkey = Valkey::new(1);
        valkey.store.is_replicated = true;
        valkey.log = is_recorded.then(Vec::new);
        let link = Link {
            delay: plan.delay,
            ..Link::default()
        };
        let state = State {
            start,
            random: StdRng::seed_from_u64(plan.seed ^ 0x5eed),
            trace: Trace::new(is_recorded),
            links: vec![link; plan.processes],
            connections: Vec::new(),
            valkey,
            clock_ahead: 1_700_000_000_000,
            database: Database::new(plan.keys),
            oracle: Oracle::new(&plan),
            coverage: crate::coverage::Coverage::default(),
            events: BinaryHeap::new(),
            serial: 0,
            is_push_due: false,
            plan,
        };
        Self(Arc::new(Shared {
            start,
            state: Mutex::new(state),
            scheduled: Notify::new(),
        }))
    }

    /// Reads or changes the state.
    pub(crate) fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let before = state.serial;
        let result = act(&mut state);
        if state.serial != before {
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
        self.serial += 1;
        let serial = self.serial;
        self.events.push(Reverse(Scheduled { at, serial, event }));
    }

    /// The server's clock.
    pub(crate) fn server_time(&self) -> u64 {
        self.now() + self.clock_ahead
    }

    fn execute_due(&mut self) -> Option<u64> {
        loop {
            let now = self.now();
            match self.events.peek() {
                Some(Reverse(next)) if next.at <= now => {}
                next => return next.map(|Reverse(next)| next.at),
            }
            if let Some(Reverse(Scheduled { event, .. })) = self.events.pop() {
                self.execute(event, now);
            }
        }
    }

    fn execute(&mut self, event: Event, now: u64) {
        match event {
            Event::Out(id, bytes) => {
                self.trace.add_bytes(now, &bytes);
                if self.connections[id].is_open {
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
                let (time, before) = (self.server_time(), self.valkey.store.len());
                self.valkey.store.expire(time);
                let expired = before - self.valkey.store.len();
                self.coverage.add("expired", expired as u64);
                self.push_later();
                self.schedule(now + 100, Event::Expire);
            }
        }
    }

    fn commands(&mut self, id: usize, bytes: &[u8]) {
        let (time, now) = (self.server_time(), self.now());
        let session = &mut self.connections[id].session;
        self.valkey.receive(session, bytes, time);
        self.record_commands(now, id);
        let session = &mut self.connections[id].session;
        let out = session.out.split().freeze();
        if !out.is_empty() {
            self.send_in(id, out);
        }
        self.push_later();
    }

    fn record_commands(&mut self, now: u64, id: usize) {
        let process = self.connections[id].process;
        for (args, reply) in self.valkey.take_log() {
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
            let text = || format!("from process {process}: {text} ─▶ {}", reply.readable());
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
        let changes = self.valkey.take_changes();
        if changes.is_empty() {
            return;
        }
        for id in 0..self.connections.len() {
            let connection = &mut self.connections[id];
            if !connection.is_open {
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
