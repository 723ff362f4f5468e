//! Clients of the older server, which fill without a lease and invalidate after COMMIT.

use bytes::{Bytes, BytesMut};
use rand::RngExt as _;

use crate::valkey::Session;
use crate::valkey::resp::take_reply;
use crate::world::World;

/// A client. Its commands arrive after a delay, whatever the faults of the network.
pub(crate) struct Legacy {
    world: World,
    session: Session,
}

impl Legacy {
    pub(crate) fn new(world: &World) -> Self {
        Self {
            world: world.clone(),
            session: Session::default(),
        }
    }

    /// Executes a command. The raw reply.
    async fn call(&mut self, args: &[&str]) -> Bytes {
        let delay = self.world.with(|state| state.random.random_range(0..8));
        self.world.sleep(delay).await;
        let mut bytes = format!("*{}\r\n", args.len());
        for arg in args {
            bytes += &format!("${}\r\n{arg}\r\n", arg.len());
        }
        let session = &mut self.session;
        self.world.with(|state| {
            let time = state.server_time();
            let key = Bytes::copy_from_slice(args[1].as_bytes());
            let (server, is_asking) = state.servers.server_of(&key);
            session.is_asking = is_asking;
            state.servers.all[server].receive(session, bytes.as_bytes(), time);
            state.push_later();
        });
        let mut out: BytesMut = session.out.split();
        take_reply(&mut out).unwrap_or_default()
    }

    async fn pause(&self) -> bool {
        let pause = self.world.with(|state| state.random.random_range(1..1_500));
        self.world.sleep(pause).await;
        self.world.with(|state| state.now() < state.plan.horizon)
    }

    fn key(&self) -> u64 {
        self.world
            .with(|state| state.random.random_range(0..state.plan.keys))
    }

    /// Reads: GET, or else SELECT and SETEX.
    pub(crate) async fn keep_reading(mut self) {
        while self.pause().await {
            let key = self.key();
            let name = format!("v:{key}");
            let held = self.call(&["GET", &name]).await;
            let text = String::from_utf8_lossy(&held).into_owned();
            let payload = text.lines().nth(1).unwrap_or_default();
            if payload.trim().parse::<u64>().is_ok() {
                continue;
            }
            let ttl = self.world.with(|state| state.plan.ttl / 1_000);
            let Ok(version) = self.world.clone().load(key).await else {
                continue;
            };
            self.call(&["SETEX", &name, &ttl.to_string(), &version.to_string()])
                .await;
            self.world.with(|state| state.coverage.count("legacy fill"));
        }
    }

    /// Writes: UPDATE and COMMIT, then SETEX 1 null.
    pub(crate) async fn keep_writing(mut self) {
        while self.pause().await {
            let key = self.key();
            let begun = self.world.now();
            let Ok(transaction) = self.world.update(&[key]).await else {
                continue;
            };
            let version = transaction.rows[0].version;
            let outcome = transaction.commit().await;
            let tombstone = ["SETEX", &format!("v:{key}"), "1", "null"];
            // If it is refused, the value from before is served until its TTL.
            let is_invalidated = self.call(&tombstone).await.starts_with(b"+");
            if outcome.is_ok() && is_invalidated {
                self.world.with(|state| {
                    let times = (begun, state.now());
                    state.oracle.returned(None, key, version, times);
                    state.coverage.count("legacy write");
                });
            }
        }
    }
}
