use loom::model;
use loom::thread;
use tokio::sync::oneshot::error::TryRecvError;

use super::*;

type Reply = oneshot::Receiver<Outcome<u64, ()>>;
type Slot = InFlightSlot<u64, ()>;

/// Enqueues a waiter. Returns its reply, and the slot if it is to be served.
fn enqueue(in_flight: &Arc<InFlight<u64, ()>>) -> (Reply, Option<Slot>) {
    let (reply, result) = oneshot::channel();
    let waiter = Waiter {
        reply,
        load: None,
        version: 0,
    };
    (result, in_flight.enqueue("MARI", waiter))
}

fn serve(slot: Slot) {
    serve_flight(Flight::new(slot));
}

fn serve_flight(mut flight: Flight<u64, ()>) {
    while !flight.end_if_empty() {
        flight.admit();
        deliver(&mut flight);
    }
}

fn deliver(flight: &mut Flight<u64, ()>) {
    flight.deliver(Ok(CachedValue::loaded(1)));
}

fn has_result(reply: &mut Reply) -> bool {
    reply.try_recv().is_ok()
}

#[test]
fn no_waiter_is_left_in_a_slot_without_a_task() {
    model(|| {
        let in_flight = Arc::new(InFlight::new());
        let others = [(); 2].map(|()| {
            let in_flight = Arc::clone(&in_flight);
            thread::spawn(move || {
                let (reply, slot) = enqueue(&in_flight);
                slot.into_iter().for_each(serve);
                reply
            })
        });
        let (mut reply, slot) = enqueue(&in_flight);
        slot.into_iter().for_each(serve);
        let mut replies = others.map(|other| other.join().unwrap());
        assert!(has_result(&mut reply) && replies.iter_mut().all(has_result));
        assert!(in_flight.is_empty());
    });
}

#[test]
fn a_panicking_task_closes_the_channels_of_its_waiters() {
    model(|| {
        let in_flight = Arc::new(InFlight::new());
        let (mut first, slot) = enqueue(&in_flight);
        let other = thread::spawn({
            let in_flight = Arc::clone(&in_flight);
            move || {
                let (reply, slot) = enqueue(&in_flight);
                // Enqueued after the removal, it has a slot of its own.
                let serves = slot.is_some();
                slot.into_iter().for_each(serve);
                (reply, serves)
            }
        });
        let mut flight = Flight::new(slot.unwrap());
        flight.admit();
        drop(flight);
        let (mut reply, serves) = other.join().unwrap();
        let closed = Err(TryRecvError::Closed);
        assert_eq!(first.try_recv().map(drop), closed);
        let result = reply.try_recv().map(drop);
        assert_eq!(result, if serves { Ok(()) } else { closed });
        assert!(in_flight.is_empty());
    });
}

#[test]
fn deferred_waiters_are_not_lost() {
    for accepted in [true, false] {
        model(move || {
            let in_flight = Arc::new(InFlight::new());
            let (mut first, slot) = enqueue(&in_flight);
            let others = [(); 2].map(|()| {
                let in_flight = Arc::clone(&in_flight);
                thread::spawn(move || {
                    let (reply, slot) = enqueue(&in_flight);
                    slot.into_iter().for_each(serve);
                    reply
                })
            });
            let mut flight = Flight::new(slot.unwrap());
            flight.admit();
            flight.defer(0);
            if accepted {
                flight.admit_deferred();
            } else {
                flight.return_deferred();
            }
            deliver(&mut flight);
            serve_flight(flight);
            let mut replies = others.map(|other| other.join().unwrap());
            assert!(has_result(&mut first) && replies.iter_mut().all(has_result));
            assert!(in_flight.is_empty());
        });
    }
}
