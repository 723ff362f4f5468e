//! The races, run by this crate: each actor is a process with a cache of its own.

use std::collections::HashMap;

use devstack::{Direction, FaultProxy, Mode, Valkey};
use tiercache::{Cache, CommitWith, Source};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::Race;
use crate::support::{
    Database, DbError, Gate, KEY, NAME, Raw, Response, Rows, TTL, enqueue, local_settings, stats,
    wait_for_shared_level, wait_for_tracking, wait_until, with_prefix,
};

struct Actor {
    proxy: FaultProxy,
    cache: Cache,
    rows: Rows,
    /// Whether a read waits until it is served locally.
    is_local: bool,
    load: Option<Gate>,
    read: Option<JoinHandle<Response>>,
    write: Option<Write>,
}

/// A write that waits before and after its commit.
struct Write {
    commit: Option<oneshot::Sender<()>>,
    committed: Option<oneshot::Receiver<()>>,
    end: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

pub(super) struct Fenced {
    raw: Raw,
    database: Database,
    actors: HashMap<String, Actor>,
}

impl Actor {
    async fn new(valkey: &Valkey, race: &Race) -> Self {
        let proxy = FaultProxy::start(valkey.addr()).await.unwrap();
        let url = format!("redis://{}", proxy.addr());
        let cache = local_settings(url).connect().unwrap();
        // A renewal is due at once.
        let window = if race.needs("renew") {
            0.999..0.9999
        } else {
            0.05..0.2
        };
        let rows = Rows::build(with_prefix(&cache, "test:row:", TTL).refresh_window(window));
        wait_for_shared_level(&cache, true).await;
        wait_for_tracking(&cache).await;
        let is_local = race.needs("local") || race.needs("renew");
        Self {
            proxy,
            cache,
            rows,
            is_local,
            load: None,
            read: None,
            write: None,
        }
    }
}

impl Fenced {
    pub(super) async fn new(race: &Race, valkey: &Valkey, database: Database) -> Self {
        let mut actors = HashMap::new();
        for name in race.actors() {
            actors.insert(name.to_owned(), Actor::new(valkey, race).await);
        }
        Self {
            raw: Raw::connect(valkey).await,
            database,
            actors,
        }
    }

    /// Takes the steps; then each actor reads. A change is visible to the actor that made it at
    /// once, and to the others when its push has arrived; and it stays so.
    pub(super) async fn run(mut self, race: &Race) -> Vec<u64> {
        for (name, verb) in race.steps() {
            let mut actor = self.actors.remove(name).unwrap();
            self.step(&mut actor, verb, race.publishes(name)).await;
            self.actors.insert(name.to_owned(), actor);
        }
        let mut versions = Vec::new();
        for (name, actor) in &self.actors {
            if !race.changes(name) {
                let is_current = async || self.read(actor).await.0 == self.database.version();
                let what = format!("the push of {KEY} at {name}, race {}", race.id);
                wait_until(what, is_current).await;
            }
            versions.push(self.read(actor).await.0);
        }
        versions
    }

    async fn read(&self, actor: &Actor) -> (u64, Source) {
        let load = self.database.loader();
        let read = actor.rows.get_or_load(NAME, load).await.unwrap();
        (read.value, read.source)
    }

    async fn step(&self, actor: &mut Actor, verb: &str, publishes: bool) {
        match verb {
            "read" if actor.is_local => {
                let is_local = async || self.read(actor).await.1 == Source::Local;
                wait_until("a local hit", is_local).await;
            }
            "read" => drop(self.read(actor).await),
            "load" => self.load(actor).await,
            "renew" => self.renew(actor).await,
            "store" => self.store(actor).await,
            "get" => self.get(actor).await,
            "keep" => {
                actor.proxy.set(Direction::ToClient, Mode::Pass);
                actor.read.take().unwrap().await.unwrap().unwrap();
            }
            "begin" => self.begin(actor, publishes).await,
            "commit" => commit(actor).await,
            "invalidate" | "publish" => end(actor).await,
            "write" | "put" => {
                self.begin(actor, publishes).await;
                commit(actor).await;
                end(actor).await;
            }
            "change" => {
                self.database.commit();
                actor.rows.invalidate(NAME).await;
            }
            _ => panic!("unknown step: {verb}"),
        }
    }

    /// A read whose loader has read the row.
    async fn load(&self, actor: &mut Actor) {
        let database = self.database.clone();
        let (mut gate, load) = Gate::after(move || Ok(database.select()));
        actor.read = Some(enqueue(&actor.rows, load));
        gate.entered().await;
        actor.load = Some(gate);
    }

    /// An early refresh whose loader has read the row.
    async fn renew(&self, actor: &mut Actor) {
        let refresh = async {
            loop {
                let database = self.database.clone();
                let (mut gate, load) = Gate::after(move || Ok(database.select()));
                actor.rows.get_or_load(NAME, load).await.unwrap();
                if gate.is_entered().await {
                    return gate;
                }
            }
        };
        actor.load = Some(limited::waiting("an early refresh", refresh).await);
    }

    async fn store(&self, actor: &mut Actor) {
        actor.load.take().unwrap().open();
        match actor.read.take() {
            Some(read) => drop(read.await.unwrap().unwrap()),
            None => {
                // The refresh is refused, since its key has changed.
                let is_refused = async || stats(&actor.cache).refreshes_refused == 1;
                wait_until("the end of the refresh", is_refused).await;
            }
        }
    }

    /// A read whose GET was executed and whose reply has not arrived.
    async fn get(&self, actor: &mut Actor) {
        let before = self.raw.calls("get").await;
        actor.proxy.set(Direction::ToClient, Mode::Hold);
        actor.read = Some(enqueue(&actor.rows, self.database.loader()));
        wait_until("GET", async || self.raw.calls("get").await > before).await;
    }

    /// A transaction that holds its lock, and whose fence is raised.
    async fn begin(&self, actor: &mut Actor, publishes: bool) {
        let (raised, is_raised) = oneshot::channel();
        let (commit, may_commit) = oneshot::channel();
        let (committed, is_committed) = oneshot::channel();
        let (end, may_end) = oneshot::channel();
        let (database, cache) = (self.database.clone(), actor.cache.clone());
        let key = match publishes {
            true => actor.rows.put(NAME, &(database.version() + 1)),
            false => actor.rows.key(NAME),
        };
        let commits = async move || {
            raised.send(()).unwrap();
            may_commit.await.unwrap();
            database.commit();
            committed.send(()).unwrap();
            may_end.await.unwrap();
            Ok::<_, DbError>(())
        };
        let task = tokio::spawn(async move {
            let write = cache.write(async move |write| {
                let fenced = write.fence(CommitWith(commits), [key]).await;
                fenced.commit().await
            });
            write.await.unwrap();
        });
        is_raised.await.unwrap();
        let fence = self.raw.get(KEY).await.unwrap();
        assert!(fence.starts_with(b"null\n"), "{fence:?}");
        actor.write = Some(Write {
            commit: Some(commit),
            committed: Some(is_committed),
            end,
            task,
        });
    }
}

async fn commit(actor: &mut Actor) {
    let write = actor.write.as_mut().unwrap();
    write.commit.take().unwrap().send(()).unwrap();
    write.committed.take().unwrap().await.unwrap();
}

async fn end(actor: &mut Actor) {
    let Write { end, task, .. } = actor.write.take().unwrap();
    end.send(()).unwrap();
    task.await.unwrap();
}
