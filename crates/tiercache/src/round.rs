//! What a flight does: look into the shared level, or else load and fill.
//!
//! Every step that finds something out is preceded by boarding (see [`crate::flight`]):
//!
//! ```text
//! board, GET ──▶ payload: remember it (see [`crate::recall`]) ──────────▶ deliver
//!   │ nothing, a lease, or a payload that cannot be used
//! board, GETLEASE ──▶ payload ────────────────────────────────────────▶ deliver
//!   │ ▲ └── somebody else's lease: wait a little; at last ──┐
//!   │ won      a fence, no server, an invalidation owed ──┐ │
//! board, load                                     board, load ────────▶ deliver
//!   │
//! standby, FILL ──▶ accepted: those on standby board, too ────────────▶ deliver
//!              └──▶ refused:  those on standby wait on
//! ```
//!
//! **Why the late may take a filled value.** That a FILL was accepted says that no fence stood
//! up since the lease was given, so what was loaded is still current *when FILL is executed*.
//! FILL is thus an observation like the others, and who came before it was *sent* may have its
//! outcome. Who comes between its execution and its answer may not: a whole write may have
//! passed in that time.
//!
//! **Why their epoch counts, too.** A write whose fence never arrived is not seen by FILL. If
//! it was a write of this replica, the epoch tells.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::{Instant, sleep};

use crate::class::Inner;
use crate::commands::{Claim, Lasting};
use crate::flight::{Flight, Lane};
use crate::marker::{Lease, Stored};
use crate::outcome::{CachedValue, Failure, Source};
use crate::session::{Session, Trouble};

/// The pauses between looks at a key that somebody else is loading.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Flies one flight after another until nobody waits.
pub(crate) async fn fly<V, E>(class: Arc<Inner<V, E>>, mut lane: Lane<V, E>)
where
    V: Clone + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    let key = [class.spec.prefix, lane.name()].concat();
    while !lane.close_if_empty() {
        let flight = Flight::new(&lane);
        Round {
            class: &class,
            name: lane.name(),
            key: &key,
            flight,
        }
        .run()
        .await;
    }
}

struct Round<'a, V, E> {
    class: &'a Inner<V, E>,
    name: &'a str,
    key: &'a str,
    flight: Flight<'a, V, E>,
}

/// What the shared level has for a flight.
enum Shelf<V> {
    /// The value.
    Hit(V),
    /// Nothing, and the right to fill it.
    Leased(Arc<Session>, Lease),
    /// Nothing, and no right to fill it.
    Closed,
}

/// What a loader gave, and the epoch in which it began.
struct Loaded<V, E> {
    result: Result<V, Failure<E>>,
    epoch: u64,
}

impl<V, E> Round<'_, V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Clone + Send + Sync + 'static,
{
    async fn run(mut self) {
        self.class.counters.fetches.one();
        match self.look_up().await {
            Shelf::Hit(value) => {
                self.class.counters.hits.add(self.flight.passengers());
                self.flight.deliver(Ok(CachedValue {
                    value,
                    source: Source::Shared,
                }));
            }
            Shelf::Leased(session, lease) => self.load_and_fill(&session, lease).await,
            Shelf::Closed => {
                if let Some(loaded) = self.load().await {
                    self.deliver(loaded.result);
                }
            }
        }
    }

    /// Looks into the shared level, and asks to fill it if it has nothing.
    async fn look_up(&mut self) -> Shelf<V> {
        let spec = &self.class.spec;
        if spec.ttl.is_zero() || !spec.is_shared || !self.class.shared.has_shared_level() {
            return Shelf::Closed;
        }
        let Some(session) = self.class.shared.session() else {
            return self.without_shared();
        };
        // Before the look at what is owed: a write that notes its debt after that look makes
        // whatever is remembered with this out of date.
        let before = self.class.before(self.name);
        if !self.board_unless_owed() {
            return Shelf::Closed;
        }
        match self.get(&session).await {
            Ok((Stored::Payload(payload), life)) => match self.decode(&payload) {
                Some(value) => {
                    let class = self.class;
                    class.remember_shared(self.name, &value, before, life);
                    Shelf::Hit(value)
                }
                None => self.claim(session, Some(payload)).await,
            },
            Ok((Stored::Nothing | Stored::Leased, _)) => self.claim(session, None).await,
            Ok((Stored::OtherType, _)) => {
                self.class.counters.rejected.one();
                self.claim(session, None).await
            }
            Ok((Stored::Fenced, _)) => self.fenced(),
            Err(_) => self.without_shared(),
        }
    }

    /// What the key holds; for a class that is kept in memory, with its life.
    async fn get(&mut self, session: &Session) -> Result<(Stored, Option<Duration>), Trouble> {
        let limit = self.read_timeout();
        if !self.class.is_kept() {
            return Ok((session.get(self.key, limit).await?, None));
        }
        let Lasting { stored, until } = session.get_with_life(self.key, limit).await?;
        Ok((stored, until))
    }

    /// Takes the lease. If somebody else has it, waits for that load's value, though not long.
    async fn claim(&mut self, session: Arc<Session>, mut rejected: Option<Bytes>) -> Shelf<V> {
        let deadline = Instant::now() + self.class.shared.settings.lease_wait;
        let mut pause = FIRST_PAUSE;
        loop {
            let before = self.class.before(self.name);
            if !self.board_unless_owed() {
                return Shelf::Closed;
            }
            let lease = Lease::new();
            let claim = session
                .get_lease(self.key, &lease, rejected.as_deref(), self.read_timeout())
                .await;
            match claim {
                Ok(Claim::Won) => return Shelf::Leased(session, lease),
                Ok(Claim::Held(Stored::Payload(payload))) => match self.decode(&payload) {
                    Some(value) => {
                        self.class.remember_answer(self.name, &value, before);
                        return Shelf::Hit(value);
                    }
                    None => rejected = Some(payload),
                },
                Ok(Claim::Held(Stored::Fenced)) => return self.fenced(),
                Ok(Claim::Held(_)) => {}
                Err(trouble) => {
                    self.settle_later(&trouble, lease);
                    return self.without_shared();
                }
            }
            if pause == FIRST_PAUSE {
                self.class.counters.leases_met.one();
            }
            if Instant::now() + pause > deadline {
                return Shelf::Closed;
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn load_and_fill(mut self, session: &Session, lease: Lease) {
        let Some(loaded) = self.load().await else {
            return self.release(session, lease).await;
        };
        let Ok(value) = &loaded.result else {
            self.release(session, lease).await;
            return self.deliver(loaded.result);
        };
        // A write of this replica has come between. If its fence got lost, FILL would not know.
        if self.class.epoch(self.name) != loaded.epoch || self.is_owed() {
            self.class.counters.fills_refused.one();
            self.release(session, lease).await;
            return self.deliver(loaded.result);
        }
        let payload = (self.class.spec.encode)(value);
        let standby = self.flight.call_standby(loaded.epoch);
        let limit = self.read_timeout();
        match session
            .fill(self.key, &lease, &payload, self.class.spec.ttl, limit)
            .await
        {
            Ok(true) => {
                self.class.counters.fills.one();
                self.flight.board_standby(standby);
            }
            Ok(false) => {
                self.class.counters.fills_refused.one();
                drop(standby);
            }
            Err(trouble) => {
                drop(standby);
                self.settle_later(&trouble, lease);
            }
        }
        self.deliver(loaded.result);
    }

    /// Calls the loader of a passenger, if any is still there to want the value.
    async fn load(&mut self) -> Option<Loaded<V, E>> {
        self.flight.board();
        let load = self.flight.take_loader()?;
        let counters = &self.class.counters;
        counters.loads.one();
        let before = self.class.before(self.name);
        // Within the future, so that a panic of the closure itself is caught as well.
        let loading = async move { load().await };
        let result = match AssertUnwindSafe(loading).catch_unwind().await {
            Ok(result) => result.map_err(Failure::Failed),
            Err(_) => Err(Failure::Panicked),
        };
        match &result {
            Ok(value) => self.class.remember_answer(self.name, value, before),
            Err(_) => counters.load_failures.one(),
        }
        let away = matches!(&result, Err(Failure::Failed(error)) if self.is_outage(error));
        self.class.origin_away.store(away, Ordering::Relaxed);
        Some(Loaded {
            result,
            epoch: before.epoch(),
        })
    }

    fn deliver(mut self, result: Result<V, Failure<E>>) {
        if let Err(Failure::Failed(error)) = &result
            && self.is_outage(error)
        {
            // It says nothing about the value, so it cannot be out of date.
            self.flight.board();
        }
        self.flight.deliver(result.map(|value| CachedValue {
            value,
            source: Source::Loaded,
        }));
    }

    /// Boards, and says whether the shared level may be asked for the key. In this order: the
    /// write of a passenger's own has left its debt before that passenger came.
    fn board_unless_owed(&mut self) -> bool {
        self.flight.board();
        let owed = self.is_owed();
        if owed {
            self.class.counters.bypassed_pending.one();
        }
        !owed
    }

    fn is_outage(&self, error: &E) -> bool {
        (self.class.spec.is_outage)(error)
    }

    fn is_owed(&self) -> bool {
        self.class.shared.debts.owes(self.key)
    }

    fn decode(&self, payload: &Bytes) -> Option<V> {
        let value = (self.class.spec.decode)(payload);
        if value.is_none() {
            self.class.counters.rejected.one();
        }
        value
    }

    fn fenced(&self) -> Shelf<V> {
        self.class.counters.fences_met.one();
        Shelf::Closed
    }

    fn without_shared(&self) -> Shelf<V> {
        self.class.counters.bypassed_unavailable.one();
        Shelf::Closed
    }

    async fn release(&mut self, session: &Session, lease: Lease) {
        if let Err(trouble) = session.release(self.key, &lease, self.read_timeout()).await {
            self.settle_later(&trouble, lease);
        }
    }

    /// The lease may stand, with nobody to use it: it must not keep others waiting.
    fn settle_later(&self, trouble: &Trouble, lease: Lease) {
        tracing::debug!(key = self.key, ?trouble, "a lease may be left behind");
        self.class.shared.debts.owe_release(self.key, lease);
    }

    fn read_timeout(&self) -> Duration {
        self.class.shared.settings.read_timeout
    }
}
