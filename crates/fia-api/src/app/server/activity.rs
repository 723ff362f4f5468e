//! What each connection is doing, and for how long: the basis of timeouts and of the choice of
//! connections that make way for new ones.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

/// The time limit for the head of a request, from its first byte. A new connection counts as having
/// sent one.
const HEAD_TIMEOUT: Duration = Duration::from_secs(8);
/// How long a connection may be idle between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// The interval of the check of these limits.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Between two requests.
const IDLE: u8 = 0;
/// Receiving the head of a request.
const HEAD: u8 = 1;
/// Receiving a body, handling a request or sending its response.
const BUSY: u8 = 2;
/// Sending a response to a client that does not read.
const STALLED: u8 = 3;

/// What one connection is doing.
#[derive(Debug)]
pub(super) struct Activity {
    phase: AtomicU8,
    /// The beginning of the phase, in milliseconds since `epoch`.
    since: AtomicU64,
    epoch: Instant,
    has_unread_body: AtomicBool,
    close: Notify,
}

impl Activity {
    fn new(epoch: Instant) -> Self {
        let activity = Self {
            phase: AtomicU8::new(HEAD),
            since: AtomicU64::default(),
            epoch,
            has_unread_body: AtomicBool::default(),
            close: Notify::new(),
        };
        activity.enter(HEAD);
        activity
    }

    /// Records that bytes arrived. Returns the part of a request that they belong to.
    pub(super) fn received(&self) -> Received {
        match self.phase.load(Ordering::Relaxed) {
            IDLE => {
                self.enter(HEAD);
                Received::FirstOfHead
            }
            HEAD => Received::MoreOfHead,
            _ => Received::Body,
        }
    }

    /// Records that the head of a request is complete; until the guard is dropped, the connection
    /// is busy.
    pub(super) fn begin_request(self: &Arc<Self>) -> BusyGuard {
        self.phase.store(BUSY, Ordering::Relaxed);
        BusyGuard(Arc::clone(self))
    }

    /// Records whether the client reads what is sent.
    pub(super) fn set_stalled(&self, is_stalled: bool) {
        match (self.phase.load(Ordering::Relaxed), is_stalled) {
            (BUSY, true) => self.enter(STALLED),
            (STALLED, false) => self.phase.store(BUSY, Ordering::Relaxed),
            _ => {}
        }
    }

    /// Whether the body of the last request was not read to its end.
    pub(super) fn has_unread_body(&self) -> bool {
        self.has_unread_body.load(Ordering::Relaxed)
    }

    /// Records whether the body of the request is unread.
    pub(super) fn set_unread_body(&self, is_unread: bool) {
        self.has_unread_body.store(is_unread, Ordering::Relaxed);
    }

    /// Waits until the connection has to be closed.
    pub(super) async fn closed(&self) {
        self.close.notified().await;
    }

    fn enter(&self, phase: u8) {
        let now = self.epoch.elapsed().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        self.since.store(now, Ordering::Relaxed);
        self.phase.store(phase, Ordering::Relaxed);
    }

    /// How long the connection has waited for its client; `None` while it is busy.
    fn waiting(&self, now: Duration) -> Option<(u8, Duration)> {
        let phase = self.phase.load(Ordering::Relaxed);
        let since = Duration::from_millis(self.since.load(Ordering::Relaxed));
        (phase != BUSY).then(|| (phase, now.saturating_sub(since)))
    }
}

/// The part of a request that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    FirstOfHead,
    MoreOfHead,
    Body,
}

/// Marks a connection as busy.
#[derive(Debug)]
pub(super) struct BusyGuard(Arc<Activity>);

impl Drop for BusyGuard {
    fn drop(&mut self) {
        self.0.enter(IDLE);
    }
}

/// The open connections.
#[derive(Debug, Clone)]
pub(super) struct Open(Arc<Registry>);

#[derive(Debug)]
struct Registry {
    max: usize,
    epoch: Instant,
    connections: Mutex<HashMap<u64, Arc<Activity>>>,
    next: AtomicU64,
}

/// An open connection; closed when dropped.
#[derive(Debug)]
pub(super) struct OpenGuard {
    registry: Arc<Registry>,
    id: u64,
    pub(super) activity: Arc<Activity>,
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.registry.connections.lock().remove(&self.id);
    }
}

impl Open {
    /// No connections yet, and at most `max`.
    pub(super) fn new(max: usize) -> Self {
        Self(Arc::new(Registry {
            max,
            epoch: Instant::now(),
            connections: Mutex::default(),
            next: AtomicU64::default(),
        }))
    }

    /// Adds a connection. At the limit, the one that has waited longest for its client is closed;
    /// `None` if all are busy.
    pub(super) fn add(&self) -> Option<OpenGuard> {
        let registry = &self.0;
        let activity = Arc::new(Activity::new(registry.epoch));
        let id = registry.next.fetch_add(1, Ordering::Relaxed);
        let mut connections = registry.connections.lock();
        if connections.len() >= registry.max {
            let now = registry.epoch.elapsed();
            let waiting = connections.iter().filter_map(|(id, activity)| {
                let (_, waited) = activity.waiting(now)?;
                Some((waited, *id))
            });
            let (_, longest) = waiting.max()?;
            // Removed now, so that the next connection finds another one.
            connections.remove(&longest)?.close.notify_one();
        }
        connections.insert(id, Arc::clone(&activity));
        Some(OpenGuard {
            registry: Arc::clone(registry),
            id,
            activity,
        })
    }

    /// Closes connections that have waited too long for a request. Never ends. Those whose client
    /// does not read have a time limit in the socket.
    pub(super) async fn enforce_timeouts(&self) {
        let mut checks = interval(CHECK_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            checks.tick().await;
            let now = self.0.epoch.elapsed();
            for activity in self.0.connections.lock().values() {
                let is_over = match activity.waiting(now) {
                    Some((HEAD, waited)) => waited > HEAD_TIMEOUT,
                    Some((IDLE, waited)) => waited > KEEP_ALIVE,
                    _ => false,
                };
                if is_over {
                    activity.close.notify_one();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_closed(activity: &Activity) -> bool {
        use futures_util::FutureExt as _;
        activity.closed().now_or_never().is_some()
    }

    #[test]
    fn the_connection_that_waited_longest_makes_way() {
        let open = Open::new(3);
        let guards: Vec<OpenGuard> = (0..3).map(|_| open.add().unwrap()).collect();
        let _busy = guards[1].activity.begin_request();
        let _sending = guards[0].activity.begin_request();
        guards[0].activity.set_stalled(true);
        for (guard, since) in guards.iter().zip([30, 10, 20]) {
            guard.activity.since.store(since, Ordering::Relaxed);
        }
        let _fourth = open.add().unwrap();
        let closed: Vec<bool> = guards
            .iter()
            .map(|guard| is_closed(&guard.activity))
            .collect();
        assert_eq!(closed, [false, false, true]);
    }

    #[test]
    fn busy_connections_are_never_closed_for_a_new_one() {
        let open = Open::new(2);
        let guards = [open.add().unwrap(), open.add().unwrap()];
        let busy = guards
            .each_ref()
            .map(|guard| guard.activity.begin_request());
        assert!(open.add().is_none());
        drop(busy);
        assert!(open.add().is_some());
    }

    #[test]
    fn a_closed_connection_leaves_its_place() {
        let open = Open::new(1);
        drop(open.add().unwrap());
        let second = open.add().unwrap();
        assert!(!is_closed(&second.activity));
    }

    #[test]
    fn bytes_between_two_requests_begin_a_head() {
        let open = Open::new(1);
        let guard = open.add().unwrap();
        let activity = &guard.activity;
        assert_eq!(activity.received(), Received::MoreOfHead);
        let busy = activity.begin_request();
        assert_eq!(activity.received(), Received::Body);
        drop(busy);
        assert_eq!(activity.received(), Received::FirstOfHead);
        assert_eq!(activity.received(), Received::MoreOfHead);
    }
}
