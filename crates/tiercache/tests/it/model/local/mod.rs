//! The local level of a replica, and its tracking connection.
//!
//! Only replica 0 has one. A local hit has no effect that another replica could observe, so
//! several local levels behave as several independent ones.
//!
//! Deadlines, eviction and premature loss of freshness are left out, since they only keep an
//! entry from being used. Instead, a request may bypass a usable entry at any time.

mod invariants;
mod scenarios;

pub(super) use scenarios::properties;

use super::state::{Action, RequestPhase, Slot, State};
use super::{Mutant, Protocol};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Local {
    /// The cached version; `None` once its version stamp is outdated.
    entry: Option<u8>,
    tracking: Tracking,
    /// Pushes in flight: sent before the PING in flight, and sent after it. All have the same
    /// effect, so they are not counted.
    before_ping: bool,
    pushed: bool,
    /// The PING in flight: the minimum version when it was sent. The minimum version serves as
    /// the clock.
    ping: Option<u8>,
    /// The minimum version when the last acknowledged PING was sent.
    fresh: Option<u8>,
    /// The minimum version one max silence ago. A PING sent before that no longer counts.
    past_min_version: u8,
    /// The newest version written by this replica whose write has returned.
    own: u8,
    /// The newest version that a fetch of this replica has returned.
    newest_response: u8,
    /// The remaining disconnects.
    disconnects: u8,
    hits: LocalHits,
}

/// Local hits so far: proof that the scenario exercises the local level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct LocalHits {
    any: bool,
    after_reconnect: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Tracking {
    /// Disconnected, or known to be broken.
    Down,
    /// The server tracks. A PING is in flight; its reply activates the local level.
    Tracked,
    Active,
    /// Broken and not yet detected: pushes are lost.
    HalfOpen,
    /// Only in a mutant: active, and the server does not track.
    Untracked,
}

/// A transition of the local level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Pushes arrive: those sent before the PING in flight, otherwise all.
    DeliverPushes,
    Ping,
    /// The reply to PING arrives, before the pushes that were sent after the PING.
    Pong,
    /// One max silence has passed since a version became the minimum.
    MaxSilenceElapses,
    /// The connection breaks, or a half-open one is detected.
    Disconnect,
    GoHalfOpen,
    /// A new connection: tracking is on and a PING in flight.
    Connect,
    /// The PING is acknowledged and the local level active again. Pending invalidations need
    /// not be flushed by then: their keys are bypassed.
    Activate,
}

pub(super) fn possible(model: &Protocol, state: &State, actions: &mut Vec<Action>) {
    use Event::{
        Activate, Connect, DeliverPushes, Disconnect, GoHalfOpen, MaxSilenceElapses, Ping, Pong,
    };
    let Some(local) = &state.local else { return };
    let min_version = state.replicas[0].min_version;
    let early = model.mutant == Mutant::ActiveBeforeTracking;
    let mut add = |possible: bool, event| {
        if possible {
            actions.push(Action::Local(event));
        }
    };
    let (active, half_open) = (Tracking::Active, Tracking::HalfOpen);
    let tracking = local.tracking;
    let acknowledged = local.ping.is_some() && !local.before_ping;
    add(local.before_ping || local.pushed, DeliverPushes);
    // A PING at the same minimum version as the last one changes nothing.
    let changes_freshness =
        local.fresh != Some(min_version) || model.mutant == Mutant::FreshFromPong;
    add(
        tracking == active && local.ping.is_none() && changes_freshness,
        Ping,
    );
    add(
        acknowledged && (tracking == active || tracking == half_open),
        Pong,
    );
    add(local.past_min_version < min_version, MaxSilenceElapses);
    let up = !matches!(tracking, Tracking::Down | Tracking::HalfOpen);
    add(
        tracking == half_open || (up && local.disconnects > 0),
        Disconnect,
    );
    add(tracking == active && local.disconnects > 0, GoHalfOpen);
    let next = if early {
        Tracking::Untracked
    } else {
        Tracking::Down
    };
    add(tracking == next, Connect);
    add(tracking == Tracking::Tracked && acknowledged, Activate);
    add(early && tracking == Tracking::Down, Activate);
}

impl Local {
    /// An active local level with an entry. (The empty states are reachable from here.)
    pub(super) fn new(disconnects: u8) -> Self {
        Self {
            entry: Some(0),
            tracking: Tracking::Active,
            before_ping: false,
            pushed: false,
            ping: None,
            fresh: Some(0),
            past_min_version: 0,
            own: 0,
            newest_response: 0,
            disconnects,
            hits: LocalHits::default(),
        }
    }

    /// Drops the connection and everything in flight on it.
    fn disconnect(&mut self, tracking: Tracking) {
        self.tracking = tracking;
        self.before_ping = false;
        self.pushed = false;
        self.ping = None;
    }
}

impl State {
    pub(super) fn is_local(&self, replica: u8) -> bool {
        replica == 0 && self.local.is_some()
    }

    /// The version that a local hit would return.
    pub(super) fn usable(&self) -> Option<u8> {
        let local = self.local.as_ref()?;
        let fresh = local
            .fresh
            .is_some_and(|sent| sent >= local.past_min_version);
        local.entry.filter(|_| fresh)
    }

    /// The server sends a push, if it tracks.
    pub(super) fn push(&mut self) {
        if let Some(local) = &mut self.local {
            local.pushed |= matches!(local.tracking, Tracking::Tracked | Tracking::Active);
        }
    }

    /// Bumps the version of the key, or of all keys.
    pub(super) fn bump(&mut self, model: &Protocol) {
        if model.mutant == Mutant::StampUnchecked {
            return;
        }
        self.forget_entry();
        if let Slot::Getting { unchanged } | Slot::Hit { unchanged, .. } =
            &mut self.replicas[0].slot
        {
            *unchanged = false;
        }
    }

    pub(super) fn forget_entry(&mut self) {
        if let Some(local) = &mut self.local {
            local.entry = None;
        }
    }

    /// A hit in the shared level replaces the entry.
    pub(super) fn store(&mut self, model: &Protocol, value: u8, unchanged: bool) {
        let unchanged = unchanged
            || matches!(
                model.mutant,
                Mutant::SnapshotAfterGet | Mutant::StampUnchecked
            );
        if let Some(local) = &mut self.local {
            local.entry = unchanged.then_some(value);
        }
    }

    pub(super) fn serve(&mut self, model: &Protocol, request: usize) {
        let usable = self.usable();
        if let (Some(_), Some(local)) = (usable, &mut self.local) {
            self.requests[request].phase = RequestPhase::Completed;
            self.completed += 1;
            local.hits.any = true;
            local.hits.after_reconnect |=
                model.disconnects > Some(local.disconnects) && local.tracking == Tracking::Active;
        }
    }

    pub(super) fn own_write_returned(&mut self, version: u8) {
        if let Some(local) = &mut self.local {
            local.own = local.own.max(version);
        }
    }

    pub(super) fn completed_past_local(&mut self, value: u8) {
        if let Some(local) = &mut self.local {
            local.newest_response = local.newest_response.max(value);
        }
    }

    pub(super) fn apply(&mut self, model: &Protocol, event: Event) {
        let min_version = self.replicas[0].min_version;
        let Some(local) = &mut self.local else { return };
        match event {
            Event::DeliverPushes if local.before_ping => {
                local.before_ping = false;
                self.bump(model);
            }
            Event::DeliverPushes => {
                local.pushed = false;
                self.bump(model);
            }
            Event::Ping => local.ping(min_version),
            Event::Pong => local.pong(model, min_version),
            Event::MaxSilenceElapses => local.past_min_version += 1,
            Event::Disconnect => {
                if local.tracking != Tracking::HalfOpen {
                    local.disconnects -= 1;
                }
                // The versions are bumped at reconnect; without freshness no entry is used.
                local.fresh = None;
                local.disconnect(Tracking::Down);
            }
            Event::GoHalfOpen => {
                local.disconnects -= 1;
                // A reply that no push precedes may still arrive.
                let ping = local.ping.filter(|_| !local.before_ping);
                local.disconnect(Tracking::HalfOpen);
                local.ping = ping;
            }
            Event::Connect if local.tracking == Tracking::Untracked => {
                local.tracking = Tracking::Active;
            }
            Event::Connect => {
                local.tracking = Tracking::Tracked;
                local.ping(min_version);
            }
            Event::Activate => {
                if local.tracking == Tracking::Tracked {
                    local.tracking = Tracking::Active;
                    local.pong(model, min_version);
                } else {
                    local.tracking = Tracking::Untracked;
                    local.fresh = Some(min_version);
                }
                if model.mutant != Mutant::NoBumpAtReconnect {
                    self.bump(model);
                }
            }
        }
    }
}

impl Local {
    fn ping(&mut self, min_version: u8) {
        self.ping = Some(min_version);
        self.before_ping |= std::mem::take(&mut self.pushed);
    }

    fn pong(&mut self, model: &Protocol, min_version: u8) {
        let sent = self.ping.take();
        self.fresh = if model.mutant == Mutant::FreshFromPong {
            Some(min_version)
        } else {
            sent
        };
    }
}
