//! What is owed to the shared level: commands that had to be executed and were not, as far as
//! anyone knows.
//!
//! * A **FIN** that failed. Until it is repeated the shared level may hold a value older than
//!   the write, so reads of that key go past it.
//! * The **release** of a lease that may or may not have been taken. Not needed to be right,
//!   only to be quick: such a lease holds up the readers of its key for as long as it lives.
//!
//! The mender settles both before it lets a new connection be used, and at every heartbeat.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::marker::{FenceToken, Lease};
use crate::session::{Session, Trouble};

/// More keys than this are owed only where keys are without number. Then all keys count as
/// owed until what the shared level held at that time has expired.
const MOST_FINS: usize = 10_000;
/// Leases beyond these run out by themselves.
const MOST_RELEASES: usize = 1_000;

#[derive(Default)]
pub(crate) struct Debts {
    owed: Mutex<Owed>,
    /// How many keys `owed` holds; looked at before every read of the shared level.
    fins: AtomicUsize,
    /// Whether `owed.all_until` is set; likewise.
    all: AtomicBool,
}

#[derive(Default)]
struct Owed {
    fins: HashMap<String, Fin>,
    releases: Vec<(String, Lease)>,
    next_serial: u64,
    all_until: Option<Instant>,
}

#[derive(Clone)]
struct Fin {
    /// The last fence of ours on this key that was acknowledged.
    own: Option<FenceToken>,
    /// Tells this debt from one that was added while it was being settled.
    serial: u64,
}

impl Debts {
    /// How many keys are owed a FIN.
    pub(crate) fn count(&self) -> usize {
        self.fins.load(Ordering::Acquire)
    }

    /// Whether the shared level must not be asked for this key.
    pub(crate) fn owes(&self, key: &str) -> bool {
        if self.count() == 0 && !self.all.load(Ordering::Acquire) {
            return false;
        }
        let owed = self.lock();
        owed.all_until.is_some() || owed.fins.contains_key(key)
    }

    /// A FIN failed. `longest_life` is how long any entry of the shared level may live.
    pub(crate) fn owe_fin(&self, key: &str, own: Option<FenceToken>, longest_life: Duration) {
        let mut owed = self.lock();
        owed.next_serial += 1;
        let serial = owed.next_serial;
        if let Some(fin) = owed.fins.get_mut(key) {
            // A fence that was not acknowledged does not take the place of one that was.
            *fin = Fin {
                own: own.or_else(|| fin.own.take()),
                serial,
            };
        } else if owed.fins.len() < MOST_FINS {
            owed.fins.insert(key.to_owned(), Fin { own, serial });
        } else {
            owed.all_until = Some(Instant::now() + longest_life);
        }
        self.publish(&owed);
    }

    /// A lease was asked for or was to be given back, and the outcome is unknown.
    pub(crate) fn owe_release(&self, key: &str, lease: Lease) {
        let mut owed = self.lock();
        if owed.releases.len() < MOST_RELEASES {
            owed.releases.push((key.to_owned(), lease));
        }
    }

    /// Settles everything, or stops when the server does not answer. A command it refuses
    /// stays owed, but does not keep the others from being settled.
    pub(crate) async fn settle(&self, session: &Session, limit: Duration) -> Result<(), Trouble> {
        self.forgive_expired();
        let releases = std::mem::take(&mut self.lock().releases);
        for (key, lease) in releases {
            answered(session.release(&key, &lease, limit).await)?;
        }
        let fins: Vec<(String, Fin)> = self
            .lock()
            .fins
            .iter()
            .map(|(key, fin)| (key.clone(), fin.clone()))
            .collect();
        for (key, fin) in fins {
            // A FIN that finds another writer's fence is done, too: that writer's own follows.
            if answered(session.fin(&key, fin.own.as_ref(), limit).await)? {
                self.settled(&key, fin.serial);
            }
        }
        Ok(())
    }

    fn settled(&self, key: &str, serial: u64) {
        let mut owed = self.lock();
        if owed.fins.get(key).is_some_and(|fin| fin.serial == serial) {
            owed.fins.remove(key);
        }
        self.publish(&owed);
    }

    fn forgive_expired(&self) {
        let mut owed = self.lock();
        owed.all_until = owed.all_until.filter(|until| Instant::now() < *until);
        self.publish(&owed);
    }

    fn publish(&self, owed: &Owed) {
        self.fins.store(owed.fins.len(), Ordering::Release);
        self.all.store(owed.all_until.is_some(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, Owed> {
        self.owed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the command was executed; an error if there is no knowing.
fn answered(reply: Result<bool, Trouble>) -> Result<bool, Trouble> {
    match reply {
        Ok(_) => Ok(true),
        Err(Trouble::Refused(error)) => {
            tracing::warn!(%error, "the shared cache level refuses what it is owed");
            Ok(false)
        }
        Err(trouble) => Err(trouble),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFE: Duration = Duration::from_secs(65);

    #[test]
    fn only_the_keys_that_are_owed_are_avoided() {
        let debts = Debts::default();
        assert!(!debts.owes("a"));
        debts.owe_fin("a", None, LIFE);
        assert!(debts.owes("a") && !debts.owes("b"));
        assert_eq!(debts.count(), 1);
    }

    #[test]
    fn an_acknowledged_fence_is_remembered_when_a_later_one_is_lost() {
        let debts = Debts::default();
        let own = FenceToken::new();
        debts.owe_fin("a", Some(own.clone()), LIFE);
        debts.owe_fin("a", None, LIFE);
        assert!(debts.lock().fins["a"].own == Some(own));
    }

    #[test]
    fn a_debt_made_while_an_older_one_is_settled_stays() {
        let debts = Debts::default();
        debts.owe_fin("a", None, LIFE);
        let settling = debts.lock().fins["a"].serial;
        debts.owe_fin("a", None, LIFE);
        debts.settled("a", settling);
        assert!(debts.owes("a"));
        let settling = debts.lock().fins["a"].serial;
        debts.settled("a", settling);
        assert!(!debts.owes("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_debts_are_a_debt_of_every_key_until_all_entries_have_expired() {
        let debts = Debts::default();
        for i in 0..=MOST_FINS {
            debts.owe_fin(&i.to_string(), None, LIFE);
        }
        assert_eq!(debts.count(), MOST_FINS);
        assert!(debts.owes("another"));
        debts.forgive_expired();
        assert!(debts.owes("another"));
        tokio::time::advance(LIFE).await;
        debts.forgive_expired();
        assert!(!debts.owes("another") && debts.owes("0"));
    }

    #[test]
    fn releases_are_bounded() {
        let debts = Debts::default();
        for _ in 0..=MOST_RELEASES {
            debts.owe_release("a", Lease::new());
        }
        assert_eq!(debts.lock().releases.len(), MOST_RELEASES);
    }
}
