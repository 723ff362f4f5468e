//! The first level: the memory of a replica, and the connection that tells it of changes.
//!
//! Only replica 0 has one. An answer from a first level changes nothing that another replica
//! could see, so several of them are no more than one, several times.
//!
//! What is left out, because it could only keep an entry from being used: deadlines, eviction,
//! the end of freshness without need. A request may go past a usable entry at any time instead.

use super::state::{Action, Key, Lane, RequestPhase, State, WriterPhase};
use super::{Mutant, Protocol};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Local {
    /// The version that is kept, while its stamp is current.
    entry: Option<u8>,
    tracking: Tracking,
    /// Pushes on their way: some that were sent before the PING that is under way, and some
    /// that were sent later. All say the same, so their number makes no difference.
    before_ping: bool,
    pushed: bool,
    /// A PING under way, and what had been promised when it was sent. What is promised serves
    /// as the time of day.
    ping: Option<u8>,
    /// What had been promised when the last PING that was answered was sent.
    fresh: Option<u8>,
    /// What had been promised a second ago. A PING that was sent before is out of date.
    overdue: u8,
    /// The newest version by a write of this replica that has returned.
    own: u8,
    /// The newest version that a request of this replica was answered with.
    newest_answer: u8,
    /// How often the connection may yet break.
    breaks: u8,
    served: Served,
}

/// What the first level has been good for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Served {
    at_all: bool,
    after_break: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Tracking {
    /// Not connected, or known to be broken.
    Down,
    /// The server tracks. A PING is under way, and when it is answered the first level is to
    /// be used.
    Tracked,
    Live,
    /// Broken without the replica's knowledge: pushes get lost.
    HalfOpen,
    /// A mutant's: in use, and the server does not track.
    Untracked,
}

/// What can happen to the first level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// Pushes arrive: all that were sent before the PING, or else all there are.
    Deliver,
    Ping,
    /// An answer to PING arrives. It overtakes the pushes that were sent after the PING.
    Pong,
    /// A second has passed since something was promised.
    Second,
    /// The connection breaks, or is found to be broken.
    Break,
    BreakUnnoticed,
    /// A new connection: TRACKING is on and a PING under way.
    Track,
    /// The PING is answered and the first level is used again. Owed FINs need not be settled
    /// by then: their keys are bypassed.
    GoLive,
}

pub(super) fn possible(model: &Protocol, state: &State, actions: &mut Vec<Action>) {
    use Event::{Break, BreakUnnoticed, Deliver, GoLive, Ping, Pong, Second, Track};
    let Some(local) = &state.local else { return };
    let promised = state.replicas[0].promised;
    let early = model.mutant == Mutant::LiveBeforeTracking;
    let mut add = |possible: bool, event| {
        if possible {
            actions.push(Action::Local(event));
        }
    };
    let (live, half_open) = (Tracking::Live, Tracking::HalfOpen);
    let tracking = local.tracking;
    let answered = local.ping.is_some() && !local.before_ping;
    add(local.before_ping || local.pushed, Deliver);
    // One that was sent when no more was promised than the last time tells nothing new.
    let news = local.fresh != Some(promised) || model.mutant == Mutant::FreshFromPong;
    add(tracking == live && local.ping.is_none() && news, Ping);
    add(
        answered && (tracking == live || tracking == half_open),
        Pong,
    );
    add(local.overdue < promised, Second);
    let up = !matches!(tracking, Tracking::Down | Tracking::HalfOpen);
    add(tracking == half_open || (up && local.breaks > 0), Break);
    add(tracking == live && local.breaks > 0, BreakUnnoticed);
    let next = if early {
        Tracking::Untracked
    } else {
        Tracking::Down
    };
    add(tracking == next, Track);
    add(tracking == Tracking::Tracked && answered, GoLive);
    add(early && tracking == Tracking::Down, GoLive);
}

impl Local {
    /// In use, with an entry. (That it has none and that the key is empty is reached from here.)
    pub(super) fn new(breaks: u8) -> Self {
        Self {
            entry: Some(0),
            tracking: Tracking::Live,
            before_ping: false,
            pushed: false,
            ping: None,
            fresh: Some(0),
            overdue: 0,
            own: 0,
            newest_answer: 0,
            breaks,
            served: Served::default(),
        }
    }

    /// The connection is gone, with all that was on it.
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

    /// What a request would be answered with from the first level.
    pub(super) fn usable(&self) -> Option<u8> {
        let local = self.local.as_ref()?;
        let fresh = local.fresh.is_some_and(|sent| sent >= local.overdue);
        local.entry.filter(|_| fresh)
    }

    /// A key has changed on the server.
    pub(super) fn push(&mut self) {
        if let Some(local) = &mut self.local {
            local.pushed |= matches!(local.tracking, Tracking::Tracked | Tracking::Live);
        }
    }

    /// Ends the key's epoch, or that of all keys.
    pub(super) fn bump(&mut self, model: &Protocol) {
        if model.mutant == Mutant::StampUnchecked {
            return;
        }
        self.forget_entry();
        if let Lane::Looking { stamped } | Lane::Found { stamped, .. } = &mut self.replicas[0].lane
        {
            *stamped = false;
        }
    }

    pub(super) fn forget_entry(&mut self) {
        if let Some(local) = &mut self.local {
            local.entry = None;
        }
    }

    /// A hit takes the entry's place.
    pub(super) fn keep(&mut self, model: &Protocol, value: u8, stamped: bool) {
        let stamped =
            stamped || matches!(model.mutant, Mutant::StampAfterGet | Mutant::StampUnchecked);
        if let Some(local) = &mut self.local {
            local.entry = stamped.then_some(value);
        }
    }

    pub(super) fn serve(&mut self, model: &Protocol, request: usize) {
        let usable = self.usable();
        if let (Some(_), Some(local)) = (usable, &mut self.local) {
            self.requests[request].phase = RequestPhase::Answered;
            self.answers += 1;
            local.served.at_all = true;
            local.served.after_break |=
                model.breaks > Some(local.breaks) && local.tracking == Tracking::Live;
        }
    }

    pub(super) fn own_write_returned(&mut self, version: u8) {
        if let Some(local) = &mut self.local {
            local.own = local.own.max(version);
        }
    }

    pub(super) fn answered_past_local(&mut self, value: u8) {
        if let Some(local) = &mut self.local {
            local.newest_answer = local.newest_answer.max(value);
        }
    }

    pub(super) fn happen(&mut self, model: &Protocol, event: Event) {
        let promised = self.replicas[0].promised;
        let Some(local) = &mut self.local else { return };
        match event {
            Event::Deliver if local.before_ping => {
                local.before_ping = false;
                self.bump(model);
            }
            Event::Deliver => {
                local.pushed = false;
                self.bump(model);
            }
            Event::Ping => local.ping(promised),
            Event::Pong => local.pong(model, promised),
            Event::Second => local.overdue += 1,
            Event::Break => {
                if local.tracking != Tracking::HalfOpen {
                    local.breaks -= 1;
                }
                // The stamps end with the next connection; without trust they are worth nothing.
                local.fresh = None;
                local.disconnect(Tracking::Down);
            }
            Event::BreakUnnoticed => {
                local.breaks -= 1;
                // An answer that nothing holds up may still arrive.
                let ping = local.ping.filter(|_| !local.before_ping);
                local.disconnect(Tracking::HalfOpen);
                local.ping = ping;
            }
            Event::Track if local.tracking == Tracking::Untracked => {
                local.tracking = Tracking::Live;
            }
            Event::Track => {
                local.tracking = Tracking::Tracked;
                local.ping(promised);
            }
            Event::GoLive => {
                if local.tracking == Tracking::Tracked {
                    local.tracking = Tracking::Live;
                    local.pong(model, promised);
                } else {
                    local.tracking = Tracking::Untracked;
                    local.fresh = Some(promised);
                }
                if model.mutant != Mutant::NoBumpAtReconnect {
                    self.bump(model);
                }
            }
        }
    }
}

impl Local {
    fn ping(&mut self, promised: u8) {
        self.ping = Some(promised);
        self.before_ping |= std::mem::take(&mut self.pushed);
    }

    fn pong(&mut self, model: &Protocol, promised: u8) {
        let sent = self.ping.take();
        self.fresh = if model.mutant == Mutant::FreshFromPong {
            Some(promised)
        } else {
            sent
        };
    }
}

/// What must be so.
impl State {
    /// Nothing older than a write of the same replica that has returned.
    pub(super) fn shows_own_writes(&self) -> bool {
        self.compare(|entry, local| entry >= local.own)
    }

    /// Nothing older than a write of any replica that has returned, its fence or FIN having
    /// been acknowledged, unless the push about it is still on its way, or lost unnoticed.
    pub(super) fn shows_what_was_pushed(&self) -> bool {
        let promised = self.replicas[0].promised;
        self.compare(|entry, local| {
            let untold = local.before_ping || local.pushed || local.tracking == Tracking::HalfOpen;
            untold || entry >= promised
        })
    }

    /// And in no case if that was a second ago.
    pub(super) fn shows_what_is_overdue(&self) -> bool {
        self.compare(|entry, local| entry >= local.overdue)
    }

    /// When all is said and done, what the shared level has, or the database.
    pub(super) fn is_right_at_rest(&self) -> bool {
        use WriterPhase::{Begun, Crashed, Returned};
        let done = self
            .writers
            .iter()
            .all(|writer| matches!(writer.phase, Begun | Crashed | Returned));
        let settled = self.replicas.iter().all(|replica| replica.owed.is_none());
        self.compare(|entry, local| {
            let told = !local.before_ping && !local.pushed && local.tracking == Tracking::Live;
            let at_rest = done && settled && told;
            !at_rest || entry == self.database || self.key == Key::Value(entry)
        })
    }

    /// Nothing older than what this replica has shown already.
    pub(super) fn does_not_go_back(&self) -> bool {
        self.compare(|entry, local| entry >= local.newest_answer)
    }

    pub(super) fn has_served(&self) -> bool {
        self.local.is_some_and(|local| local.served.at_all)
    }

    pub(super) fn has_served_after_a_break(&self) -> bool {
        self.local.is_some_and(|local| local.served.after_break)
    }

    /// That pushes take their time does show.
    pub(super) fn lags(&self) -> bool {
        !self.compare(|entry, _| entry >= self.replicas[0].promised)
    }

    fn compare(&self, right: impl FnOnce(u8, &Local) -> bool) -> bool {
        match (self.usable(), &self.local) {
            (Some(entry), Some(local)) => right(entry, local),
            _ => true,
        }
    }
}
