//! Whether what this process remembers is still what the shared level has.
//!
//! Valkey tells, over a connection of its own (see [`mod@crate::tracker`]), which keys have changed.
//! What it tells is only counted: a remembered value carries the counts of the time *before* it
//! was asked for, and is good as long as they are the same. So there is no moment between
//! "fetched" and "remembered" in which a message could be missed.
//!
//! The counts say something only while the connection lives. A connection that is dead without
//! knowing tells nothing, so nothing is good for longer than [`TRUST`] after the **sending** of
//! the last sign of life that was answered. (Not after its answer: that may overtake the message
//! about a change made just before.)

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::epochs::{Epochs, KeyHash};
use crate::sync::{AtomicU64, Mutex, MutexGuard};

/// How long after a sign of life what was told so far is taken for everything.
pub(crate) const TRUST: Duration = Duration::from_secs(1);

/// The state of what Valkey has told.
pub(crate) struct Coherence {
    /// How often each key has changed.
    keys: Epochs,
    /// How often everything may have changed: a flush, a connection lost or made.
    generation: AtomicU64,
    /// Until when the counts are complete, in microseconds since `origin`; 0 is never.
    trusted_until: AtomicU64,
    origin: Instant,
    /// The connection that tells. Held for every change of `trusted_until`.
    connection: Mutex<Connection>,
    trusted: Notify,
    prefix_added: Notify,
}

#[derive(Default)]
struct Connection {
    number: u64,
    alive: bool,
    since: Option<Instant>,
    /// The server that it leads to.
    server: ServerId,
    /// The server that commands go to: another one's changes would be told by nobody.
    commands_to: ServerId,
    /// The prefixes to subscribe to. Only appended to, so their number identifies a state.
    prefixes: Vec<&'static str>,
}

/// The outcome of a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Confirmation {
    /// The local cache may be used.
    Trusted,
    /// A prefix was added and must be subscribed to first.
    PrefixMissing,
    /// The connection was replaced, lost, or leads to another server than commands.
    Rejected,
}

/// Which run of which server; `None` where it does not tell.
pub(crate) type ServerId = Option<String>;

/// What the counts were at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    key: u64,
    generation: u64,
}

impl Coherence {
    pub(crate) fn new() -> Self {
        Self {
            keys: Epochs::new(),
            generation: AtomicU64::new(0),
            trusted_until: AtomicU64::new(0),
            origin: Instant::now(),
            connection: Mutex::new(Connection::default()),
            trusted: Notify::new(),
            prefix_added: Notify::new(),
        }
    }

    /// The counts now. **To be taken before the value is asked for.**
    pub(crate) fn stamp(&self, key: KeyHash) -> Stamp {
        Stamp {
            key: self.keys.of(key),
            generation: self.generation.load(Ordering::Acquire),
        }
    }

    /// Whether a value with this stamp is what the shared level has, as far as was told.
    ///
    /// Trust is asked for first: a stamp that is right *afterwards* was right while trust
    /// lasted. The other way round, a whole reconnection could pass in between.
    pub(crate) fn is_current(&self, stamp: Stamp, key: KeyHash, now: Instant) -> bool {
        self.is_trusted(now) && self.stamp(key) == stamp
    }

    /// Whether the counts are complete.
    pub(crate) fn is_trusted(&self, now: Instant) -> bool {
        self.micros(now) < self.trusted_until.load(Ordering::Acquire)
    }

    /// A key has changed, or is about to look different.
    pub(crate) fn changed(&self, key: KeyHash) {
        self.keys.bump(key);
    }

    /// Everything may have changed.
    pub(crate) fn all_changed(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// A new connection is about to be made. Gives its number.
    pub(crate) fn connecting(&self) -> u64 {
        let mut connection = self.lock();
        connection.number += 1;
        connection.alive = true;
        connection.since = None;
        connection.number
    }

    /// This connection tells what changes at this server.
    pub(crate) fn tells_of(&self, number: u64, server: ServerId) {
        let mut connection = self.lock();
        if connection.number == number {
            connection.server = server;
        }
    }

    /// From now on commands go to this server. To be called before the first is sent.
    pub(crate) fn commands_go_to(&self, server: ServerId) {
        let mut connection = self.lock();
        connection.commands_to = server;
        if connection.server != connection.commands_to {
            self.end(&mut connection);
        }
    }

    /// This connection tells of all changes since before `sent`, when a sign of life was sent
    /// that has been answered. Says whether that is of any use.
    pub(crate) fn confirmed(&self, number: u64, subscribed: usize, sent: Instant) -> Confirmation {
        let mut connection = self.lock();
        let is_present = connection.number == number && connection.alive;
        if !is_present || connection.server != connection.commands_to {
            return Confirmation::Rejected;
        }
        if connection.prefixes.len() != subscribed {
            return Confirmation::PrefixMissing;
        }
        if connection.since.is_none() {
            connection.since = Some(sent);
            // What was remembered before has missed what was told to nobody.
            self.all_changed();
        }
        self.trusted_until
            .store(self.micros(sent + TRUST), Ordering::Release);
        self.trusted.notify_waiters();
        Confirmation::Trusted
    }

    /// Adds a prefix whose changes must be tracked. The local cache is bypassed until the
    /// tracking connection has subscribed to it. Fails with the prefix that overlaps with it.
    pub(crate) fn add_prefix(&self, prefix: &'static str) -> Result<(), &'static str> {
        let mut connection = self.lock();
        let overlaps = |other: &str| other.starts_with(prefix) || prefix.starts_with(other);
        if let Some(other) = connection
            .prefixes
            .iter()
            .copied()
            .find(|other| overlaps(other))
        {
            return Err(other);
        }
        connection.prefixes.push(prefix);
        self.distrust(&mut connection);
        drop(connection);
        self.prefix_added.notify_waiters();
        Ok(())
    }

    /// The prefixes after the first `subscribed`.
    pub(crate) fn prefixes_after(&self, subscribed: usize) -> Vec<&'static str> {
        self.lock()
            .prefixes
            .iter()
            .skip(subscribed)
            .copied()
            .collect()
    }

    pub(crate) fn has_prefixes(&self) -> bool {
        !self.lock().prefixes.is_empty()
    }

    /// Waits until there are more than `subscribed` prefixes.
    pub(crate) async fn wait_for_prefix_after(&self, subscribed: usize) {
        loop {
            let added = self.prefix_added.notified();
            if self.lock().prefixes.len() > subscribed {
                return;
            }
            added.await;
        }
    }

    /// This connection is no more.
    pub(crate) fn lost(&self, number: u64) {
        let mut connection = self.lock();
        if connection.number == number {
            self.end(&mut connection);
        }
    }

    fn end(&self, connection: &mut Connection) {
        connection.alive = false;
        self.distrust(connection);
    }

    fn distrust(&self, connection: &mut Connection) {
        connection.since = None;
        self.trusted_until.store(0, Ordering::Release);
        self.all_changed();
    }

    /// Waits until the counts are complete.
    pub(crate) async fn until_trusted(&self) {
        loop {
            let told = self.trusted.notified();
            if self.is_trusted(Instant::now()) {
                return;
            }
            told.await;
        }
    }

    /// How long the present connection has told of changes.
    pub(crate) fn age(&self) -> Option<Duration> {
        self.lock().since.map(|since| since.elapsed())
    }

    fn micros(&self, time: Instant) -> u64 {
        let since = time.saturating_duration_since(self.origin);
        u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    const MARI: fn() -> KeyHash = || KeyHash::of("spec:MARI");

    fn trusted() -> (Coherence, u64) {
        let coherence = Coherence::new();
        let number = coherence.connecting();
        coherence.confirmed(number, 0, Instant::now());
        (coherence, number)
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_ends_the_stamps_of_its_key() {
        let (coherence, _) = trusted();
        let (mari, let_) = (MARI(), KeyHash::of("spec:LET"));
        let stamps = (coherence.stamp(mari), coherence.stamp(let_));
        coherence.changed(mari);
        let now = Instant::now();
        assert!(!coherence.is_current(stamps.0, mari, now));
        assert!(coherence.is_current(stamps.1, let_, now));
        coherence.all_changed();
        assert!(!coherence.is_current(stamps.1, let_, now));
    }

    #[tokio::test(start_paused = true)]
    async fn trust_ends_a_second_after_the_last_sign_of_life_was_sent() {
        let (coherence, number) = trusted();
        let (stamp, sent) = (coherence.stamp(MARI()), Instant::now());
        tokio::time::advance(Duration::from_millis(400)).await;
        coherence.confirmed(number, 0, sent);
        let good_at =
            |millis| coherence.is_current(stamp, MARI(), sent + Duration::from_millis(millis));
        assert!(good_at(999) && !good_at(1000));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_connection_ends_all_stamps_and_cannot_be_confirmed() {
        let (coherence, number) = trusted();
        let stamp = coherence.stamp(MARI());
        coherence.lost(number);
        coherence.confirmed(number, 0, Instant::now());
        assert!(!coherence.is_trusted(Instant::now()));
        let next = coherence.connecting();
        coherence.lost(number);
        assert!(!coherence.is_trusted(Instant::now()));
        coherence.confirmed(next, 0, Instant::now());
        assert!(coherence.is_trusted(Instant::now()));
        assert!(!coherence.is_current(stamp, MARI(), Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_commands_do_not_go_to_is_not_listened_to() {
        let (coherence, number) = trusted();
        let (a, b) = (Some("a".to_owned()), Some("b".to_owned()));
        coherence.commands_go_to(b.clone());
        assert!(!coherence.is_trusted(Instant::now()));
        assert_eq!(
            coherence.confirmed(number, 0, Instant::now()),
            Confirmation::Rejected
        );
        for (server, trusted) in [(a, false), (b, true)] {
            let number = coherence.connecting();
            coherence.tells_of(number, server);
            let is_trusted =
                coherence.confirmed(number, 0, Instant::now()) == Confirmation::Trusted;
            assert_eq!(is_trusted, trusted);
            assert_eq!(coherence.is_trusted(Instant::now()), trusted);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_prefix_added_later_bypasses_the_local_cache_until_it_is_subscribed() {
        let (coherence, number) = trusted();
        let now = Instant::now();
        coherence.add_prefix("spec:").unwrap();
        let stamp = coherence.stamp(MARI());
        assert!(!coherence.is_trusted(now));
        let stale = coherence.confirmed(number, 0, now);
        assert_eq!(stale, Confirmation::PrefixMissing);
        assert!(!coherence.is_trusted(now));
        assert_eq!(coherence.prefixes_after(0), ["spec:"]);
        let subscribed = coherence.confirmed(number, 1, now);
        assert_eq!(subscribed, Confirmation::Trusted);
        assert!(coherence.is_trusted(now));
        assert!(!coherence.is_current(stamp, MARI(), now), "read before");
    }

    #[test]
    fn a_prefix_of_another_is_refused() {
        let coherence = Coherence::new();
        for prefix in ["live:instruments", "live:script:", "jobs:"] {
            coherence.add_prefix(prefix).unwrap();
        }
        for (prefix, other) in [
            ("live:", "live:instruments"),
            ("live:script:MARI", "live:script:"),
            ("jobs:", "jobs:"),
            ("", "live:instruments"),
        ] {
            assert_eq!(coherence.add_prefix(prefix), Err(other));
        }
        assert_eq!(coherence.prefixes_after(2), ["jobs:"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_stamped_before_a_connection_tells_is_not_current() {
        let coherence = Coherence::new();
        let number = coherence.connecting();
        let stamp = coherence.stamp(MARI());
        coherence.confirmed(number, 0, Instant::now());
        assert!(!coherence.is_current(stamp, MARI(), Instant::now()));
        assert!(coherence.age().is_some());
    }
}

#[cfg(all(test, feature = "loom"))]
#[expect(clippy::unwrap_used, reason = "a test says where it fails")]
mod every_interleaving {
    use std::sync::Arc;

    use loom::{model, thread};

    use super::*;

    /// What was remembered while nobody told of changes is not taken for current by whoever
    /// sees that somebody tells again.
    #[test]
    fn whoever_trusts_a_new_connection_sees_that_old_stamps_have_ended() {
        model(|| {
            let coherence = Arc::new(Coherence::new());
            let (key, now) = (KeyHash::of("MARI"), Instant::now());
            let number = coherence.connecting();
            let stamp = coherence.stamp(key);
            let tracker = thread::spawn({
                let coherence = Arc::clone(&coherence);
                move || coherence.confirmed(number, 0, now)
            });
            assert!(!coherence.is_current(stamp, key, now));
            assert_eq!(tracker.join().unwrap(), Confirmation::Trusted);
            assert!(coherence.is_trusted(now) && !coherence.is_current(stamp, key, now));
        });
    }

    /// A sign of life that was on its way when the connection was lost does not bring it back.
    #[test]
    fn a_lost_connection_stays_lost() {
        model(|| {
            let coherence = Arc::new(Coherence::new());
            let now = Instant::now();
            let number = coherence.connecting();
            let tracker = thread::spawn({
                let coherence = Arc::clone(&coherence);
                move || coherence.confirmed(number, 0, now)
            });
            coherence.lost(number);
            tracker.join().unwrap();
            assert!(!coherence.is_trusted(now));
        });
    }
}
