//! Plain cache-aside: SETEX after a load, DEL after a commit, and a map in each process.

use std::collections::HashMap;

use devstack::Valkey;

use super::Race;
use crate::support::{Database, KEY, Raw};

/// An actor's own state: its local level, the value that it holds but has not stored yet, and the
/// version that it has committed.
#[derive(Default)]
struct Actor {
    local: Option<u64>,
    held: u64,
    committed: u64,
}

pub(super) struct Plain {
    raw: Raw,
    database: Database,
    has_local: bool,
    actors: HashMap<String, Actor>,
}

impl Plain {
    pub(super) async fn new(race: &Race, valkey: &Valkey, database: Database) -> Self {
        let actors = race.actors().into_iter();
        Self {
            raw: Raw::connect(valkey).await,
            database,
            has_local: race.needs("local"),
            actors: actors
                .map(|name| (name.to_owned(), Actor::default()))
                .collect(),
        }
    }

    /// Takes the steps; then each actor reads.
    pub(super) async fn run(mut self, race: &Race) -> Vec<u64> {
        for (actor, verb) in race.steps() {
            let mut state = self.actors.remove(actor).unwrap();
            self.step(&mut state, verb).await;
            self.actors.insert(actor.to_owned(), state);
        }
        let mut actors = std::mem::take(&mut self.actors);
        let mut versions = Vec::new();
        for actor in actors.values_mut() {
            versions.push(self.read(actor).await);
        }
        versions
    }

    async fn step(&self, actor: &mut Actor, verb: &str) {
        match verb {
            "read" => drop(self.read(actor).await),
            "load" | "renew" => actor.held = self.database.select(),
            "store" => self.store(actor, actor.held).await,
            "get" => actor.held = self.get().await.expect("the shared level has a value"),
            "keep" => actor.local = Some(actor.held).filter(|_| self.has_local),
            "begin" => {}
            "commit" => actor.committed = self.database.commit(),
            "invalidate" => self.delete(actor).await,
            "publish" => self.store(actor, actor.committed).await,
            "write" | "change" => {
                self.database.commit();
                self.delete(actor).await;
            }
            "put" => {
                let version = self.database.commit();
                self.store(actor, version).await;
            }
            _ => panic!("unknown step: {verb}"),
        }
    }

    async fn read(&self, actor: &mut Actor) -> u64 {
        if let Some(version) = actor.local {
            return version;
        }
        if let Some(version) = self.get().await {
            actor.local = Some(version).filter(|_| self.has_local);
            return version;
        }
        let version = self.database.select();
        self.store(actor, version).await;
        version
    }

    async fn get(&self) -> Option<u64> {
        let text = String::from_utf8(self.raw.get(KEY).await?).unwrap();
        Some(text.parse().unwrap())
    }

    async fn store(&self, actor: &mut Actor, version: u64) {
        self.raw.set(KEY, version.to_string()).await;
        actor.local = Some(version).filter(|_| self.has_local);
    }

    async fn delete(&self, actor: &mut Actor) {
        self.raw.run::<()>(&[b"DEL", KEY.as_bytes()]).await;
        actor.local = None;
    }
}
