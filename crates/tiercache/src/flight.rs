//! Single flight, with boarding.
//!
//! Requests for one key travel together: while a flight is under way, others wait in the key's
//! *lane*. What a flight finds out is of use to a passenger only if the finding-out **began
//! after that passenger had come**: otherwise a write may have returned in between, and the
//! passenger must see it. So there is no "joining" of what runs already. A flight *boards*
//! everybody who waits immediately before it makes an observation (sends a command, calls the
//! loader), and delivers to those on board. Who comes later waits for the next observation.
//!
//! A lane exists while a task flies it. Leaving the map of lanes and finding that nobody waits
//! are one step under the lock, so nobody can wait in a lane that has no task.

use std::collections::HashMap;
use std::hash::RandomState;
use std::sync::{Arc, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use crate::outcome::{CachedValue, Failure};
use crate::sync::{Mutex, MutexGuard};

/// What a flight has for each of its passengers.
pub(crate) type Outcome<V, E> = Result<CachedValue<V>, Failure<E>>;

/// Loads the value from where it comes from.
pub(crate) type Loader<V, E> = Box<dyn FnOnce() -> BoxFuture<'static, Result<V, E>> + Send>;

/// A request on its way.
pub(crate) struct Passenger<V, E> {
    pub(crate) reply: oneshot::Sender<Outcome<V, E>>,
    /// Until it is used; a flight uses one of all.
    pub(crate) load: Option<Loader<V, E>>,
    /// The epoch of the key when this request came.
    pub(crate) epoch: u64,
}

impl<V, E> Passenger<V, E> {
    fn still_waits(&self) -> bool {
        !self.reply.is_closed()
    }
}

type Waiting<V, E> = Vec<Passenger<V, E>>;

/// The lanes of one class that are being flown.
pub(crate) struct Lanes<V, E>(Mutex<HashMap<Arc<str>, Waiting<V, E>, RandomState>>);

impl<V, E> Lanes<V, E> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(HashMap::default()))
    }

    /// Puts a passenger into the lane of `name`. If there was none, the caller gets it, to fly.
    pub(crate) fn join(
        self: &Arc<Self>,
        name: &str,
        passenger: Passenger<V, E>,
    ) -> Option<Lane<V, E>> {
        let mut lanes = self.lock();
        if let Some(waiting) = lanes.get_mut(name) {
            waiting.push(passenger);
            return None;
        }
        let name: Arc<str> = name.into();
        lanes.insert(Arc::clone(&name), vec![passenger]);
        Some(Lane {
            lanes: Arc::clone(self),
            name,
            closed: false,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Waiting<V, E>, RandomState>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one right to serve those who wait in a lane. Dropped before its end (a panic, the end
/// of the runtime), it takes the lane with it, and those who wait there are told.
pub(crate) struct Lane<V, E> {
    lanes: Arc<Lanes<V, E>>,
    name: Arc<str>,
    closed: bool,
}

impl<V, E> Lane<V, E> {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Closes the lane, unless somebody waits in it.
    pub(crate) fn close_if_empty(&mut self) -> bool {
        let mut lanes = self.lanes.lock();
        if lanes.get(&self.name).is_none_or(Vec::is_empty) {
            lanes.remove(&self.name);
            self.closed = true;
        }
        self.closed
    }

    fn with_waiting<T>(&self, act: impl FnOnce(&mut Waiting<V, E>) -> T) -> Option<T> {
        self.lanes.lock().get_mut(&self.name).map(act)
    }
}

impl<V, E> Drop for Lane<V, E> {
    fn drop(&mut self) {
        if !self.closed {
            // Bound first, so that the lock is free when the passengers are dropped.
            let stranded = self.lanes.lock().remove(&self.name);
            drop(stranded);
        }
    }
}

/// One flight: the passengers on board, and the lane in which others wait.
pub(crate) struct Flight<'lane, V, E> {
    lane: &'lane Lane<V, E>,
    aboard: Waiting<V, E>,
}

impl<'lane, V: Clone, E: Clone> Flight<'lane, V, E> {
    pub(crate) fn new(lane: &'lane Lane<V, E>) -> Self {
        Self {
            lane,
            aboard: Vec::new(),
        }
    }

    /// How many are on board.
    pub(crate) fn passengers(&self) -> u64 {
        self.aboard.len() as u64
    }

    /// Lets everybody on board who waits. **To be called immediately before each observation.**
    pub(crate) fn board(&mut self) {
        let aboard = &mut self.aboard;
        self.lane.with_waiting(|waiting| {
            if aboard.is_empty() {
                std::mem::swap(aboard, waiting);
            } else {
                aboard.append(waiting);
            }
        });
    }

    /// The loader of a passenger who still waits; `None` if all have hung up.
    pub(crate) fn take_loader(&mut self) -> Option<Loader<V, E>> {
        self.aboard.retain(Passenger::still_waits);
        self.aboard
            .iter_mut()
            .find_map(|passenger| passenger.load.take())
    }

    /// Sets aside those who came in the given epoch and are not on board.
    pub(crate) fn call_standby(&self, epoch: u64) -> Standby<'lane, V, E> {
        let called = self.lane.with_waiting(|waiting| {
            waiting
                .extract_if(.., |passenger| passenger.epoch == epoch)
                .collect()
        });
        Standby {
            lane: self.lane,
            called: called.unwrap_or_default(),
        }
    }

    pub(crate) fn board_standby(&mut self, mut standby: Standby<'lane, V, E>) {
        self.aboard.append(&mut standby.called);
    }

    /// Gives everybody on board the outcome.
    pub(crate) fn deliver(self, outcome: Outcome<V, E>) {
        let mut aboard = self.aboard.into_iter();
        let last = aboard.next_back();
        for passenger in aboard {
            // An error means that the passenger has hung up.
            let _ = passenger.reply.send(outcome.clone());
        }
        if let Some(passenger) = last {
            let _ = passenger.reply.send(outcome);
        }
    }
}

/// Passengers for whom an outcome may yet turn out to be good enough. Dropped, it puts them
/// back at the head of the lane.
pub(crate) struct Standby<'lane, V, E> {
    lane: &'lane Lane<V, E>,
    called: Waiting<V, E>,
}

impl<V, E> Drop for Standby<'_, V, E> {
    fn drop(&mut self) {
        let mut called = std::mem::take(&mut self.called);
        self.lane.with_waiting(|waiting| {
            called.append(waiting);
            std::mem::swap(&mut called, waiting);
        });
    }
}

#[cfg(all(test, feature = "loom"))]
mod every_interleaving {
    use loom::model;
    use loom::thread;
    use tokio::sync::oneshot::error::TryRecvError;

    use super::*;
    use crate::outcome::Source;

    type Reply = oneshot::Receiver<Outcome<u64, ()>>;

    /// Waits in the lane, and says whether there is one to fly.
    fn come(lanes: &Arc<Lanes<u64, ()>>) -> (Reply, Option<Lane<u64, ()>>) {
        let (reply, answer) = oneshot::channel();
        let passenger = Passenger {
            reply,
            load: None,
            epoch: 0,
        };
        (answer, lanes.join("MARI", passenger))
    }

    fn fly(mut lane: Lane<u64, ()>) {
        while !lane.close_if_empty() {
            let mut flight = Flight::new(&lane);
            flight.board();
            deliver(flight);
        }
    }

    fn deliver(flight: Flight<'_, u64, ()>) {
        flight.deliver(Ok(CachedValue {
            value: 1,
            source: Source::Shared,
        }));
    }

    fn is_answered(reply: &mut Reply) -> bool {
        reply.try_recv().is_ok()
    }

    #[test]
    fn nobody_waits_in_a_lane_that_has_no_task() {
        model(|| {
            let lanes = Arc::new(Lanes::new());
            let others = [(); 2].map(|()| {
                let lanes = Arc::clone(&lanes);
                thread::spawn(move || {
                    let (reply, lane) = come(&lanes);
                    lane.into_iter().for_each(fly);
                    reply
                })
            });
            let (mut reply, lane) = come(&lanes);
            lane.into_iter().for_each(fly);
            let mut replies = others.map(|other| other.join().unwrap());
            assert!(is_answered(&mut reply) && replies.iter_mut().all(is_answered));
            assert!(lanes.lock().is_empty());
        });
    }

    #[test]
    fn a_lane_whose_task_panics_tells_those_who_wait() {
        model(|| {
            let lanes = Arc::new(Lanes::new());
            let (mut first, lane) = come(&lanes);
            let other = thread::spawn({
                let lanes = Arc::clone(&lanes);
                move || {
                    let (reply, lane) = come(&lanes);
                    // Too late to be told, it has a lane of its own.
                    let flies = lane.is_some();
                    lane.into_iter().for_each(fly);
                    (reply, flies)
                }
            });
            // What unwinding does, first to the flight and then to the lane.
            let lane = lane.unwrap();
            let mut flight = Flight::new(&lane);
            flight.board();
            drop(flight);
            drop(lane);
            let (mut reply, flies) = other.join().unwrap();
            let told = Err(TryRecvError::Closed);
            assert_eq!(first.try_recv().map(drop), told);
            let answer = reply.try_recv().map(drop);
            assert_eq!(answer, if flies { Ok(()) } else { told });
            assert!(lanes.lock().is_empty());
        });
    }

    #[test]
    fn those_on_standby_are_not_lost() {
        for accepted in [true, false] {
            model(move || {
                let lanes = Arc::new(Lanes::new());
                let (mut first, lane) = come(&lanes);
                let others = [(); 2].map(|()| {
                    let lanes = Arc::clone(&lanes);
                    thread::spawn(move || {
                        let (reply, lane) = come(&lanes);
                        lane.into_iter().for_each(fly);
                        reply
                    })
                });
                let lane = lane.unwrap();
                let mut flight = Flight::new(&lane);
                flight.board();
                let standby = flight.call_standby(0);
                if accepted {
                    flight.board_standby(standby);
                } else {
                    drop(standby);
                }
                deliver(flight);
                fly(lane);
                let mut replies = others.map(|other| other.join().unwrap());
                assert!(is_answered(&mut first) && replies.iter_mut().all(is_answered));
                assert!(lanes.lock().is_empty());
            });
        }
    }
}
