//! Last known values, which are served while the database is unavailable: which ones may be, when,
//! and when one must be.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::oracle::{Life, Oracle, PUSH};
use crate::plan::Plan;
use crate::setup;

/// The wait in milliseconds for a database whose last load failed.
const UNAVAILABLE_WAIT: u64 = 200;
/// The longest time in milliseconds from the failure of a load to the last read that it ends.
const DELIVERY: u64 = 100;
/// The longest time in milliseconds that a read spends before it waits for a load.
const BEFORE_LOAD: u64 = 500;

/// What is known of the memory and the loads of each life.
pub(crate) struct LastKnown {
    limits: Option<setup::LastKnown>,
    ttl: u64,
    /// The values that memory had, which no write of the process has removed since.
    kept: BTreeMap<(Life, u64), Kept>,
    /// The keys that a process is writing.
    writing: BTreeSet<(Life, u64)>,
    /// The processes that have invalidated all keys, which is repeated at any time.
    unsteady: BTreeSet<Life>,
    /// When a load of a process failed last.
    failed: BTreeMap<Life, u64>,
}

/// A value in the memory of a process.
#[derive(Clone, Copy)]
pub(crate) struct Kept {
    since: u64,
    /// The time at which it may be too old.
    until: u64,
}

/// A read that has ended.
#[derive(Clone, Copy)]
pub(crate) struct Ended {
    pub(crate) began: u64,
    pub(crate) now: u64,
    /// Whether its process may have been suspended meanwhile.
    pub(crate) is_suspended: bool,
}

impl LastKnown {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            limits: plan.setup.last_known,
            ttl: plan.ttl,
            kept: BTreeMap::new(),
            writing: BTreeSet::new(),
            unsteady: BTreeSet::new(),
            failed: BTreeMap::new(),
        }
    }

    /// Whether reads may be served with last known values.
    pub(crate) fn is_used(&self) -> bool {
        self.limits.is_some()
    }

    /// A load of a process has failed.
    pub(crate) fn load_failed(&mut self, life: Life, now: u64) {
        self.failed.insert(life, now);
    }

    /// A process begins to change a key.
    pub(crate) fn begin_write(&mut self, life: Life, key: u64) {
        self.writing.insert((life, key));
        self.kept.remove(&(life, key));
    }

    pub(crate) fn end_write(&mut self, life: Life, key: u64) {
        self.writing.remove(&(life, key));
    }

    /// A process invalidates all keys.
    pub(crate) fn begin_invalidate_all(&mut self, life: Life) {
        self.unsteady.insert(life);
        self.kept.retain(|(of, _), _| *of != life);
    }

    /// The value that memory has of a key, as far as it is known.
    pub(crate) fn kept(&self, life: Life, key: u64) -> Option<Kept> {
        self.kept.get(&(life, key)).copied()
    }

    /// Whether a read of a key must return its last known value at least, which was `kept` when it
    /// began.
    fn is_due(&self, life: Life, (key, kept): (u64, Option<Kept>), now: u64) -> bool {
        let is_same = |kept: Kept, later: Kept| kept.since == later.since && kept.until > now;
        let later = self.kept(life, key);
        kept.is_some_and(|kept| later.is_some_and(|later| is_same(kept, later)))
    }
}

impl Oracle {
    /// A read got a value from memory.
    pub(crate) fn was_in_memory(&mut self, life: Life, key: u64, now: u64) {
        let known = &mut self.last_known;
        let Some(limits) = known.limits else {
            return;
        };
        let of = (life, key);
        if known.writing.contains(&of) || known.unsteady.contains(&life) {
            return;
        }
        let stretch = self.reached.stretched(limits.max_stale) - limits.max_stale;
        let until = now + limits.max_stale.saturating_sub(stretch);
        let kept = Kept { since: now, until };
        known.kept.entry(of).or_insert(kept).until = until;
    }

    /// A read has failed, since the database is unavailable.
    pub(crate) fn judge_failure(&mut self, life: Life, keys: &[(u64, Option<Kept>)], now: u64) {
        let mut known = keys.iter().copied();
        if known.all(|key| self.last_known.is_due(life, key, now)) {
            let keys: Vec<u64> = keys.iter().map(|(key, _)| *key).collect();
            self.fail(format!(
                "a read of {keys:?} by process life {life} failed, whose last known values are due"
            ));
        }
    }

    /// Judges how long a read of a key took.
    pub(crate) fn judge_wait(&mut self, life: Life, key: (u64, Option<Kept>), read: Ended) {
        let after = self.last_known.limits.and_then(|limits| limits.after);
        let is_due = self.last_known.is_due(life, key, read.now);
        let Some(after) = after.filter(|_| is_due) else {
            return;
        };
        let elapsed = read.now - read.began;
        if elapsed > self.reached.stretched(after) + BEFORE_LOAD && !read.is_suspended {
            self.fail(format!(
                "a read of key {} by process life {life}, whose last known value was due after \
                 {after} ms, took {elapsed} ms",
                key.0
            ));
        }
    }

    /// Judges that a read was served with a last known value, of this age.
    pub(crate) fn judge_stale(&mut self, life: Life, age: (Duration, Duration), read: Ended) {
        let Some(limits) = self.last_known.limits else {
            return self.fail("a last known value, which nobody wants".to_owned());
        };
        let (age, past_ttl) = (age.0.as_millis(), age.1.as_millis());
        let longest = self.last_known.ttl + limits.max_stale;
        // It was loaded when its TTL began.
        let is_understated = past_ttl > 0 && age + 2 < past_ttl + u128::from(self.last_known.ttl);
        if past_ttl > limits.max_stale.into() || age > longest.into() || is_understated {
            self.fail(format!(
                "a last known value is {age} ms old, {past_ttl} ms after its TTL"
            ));
        }
        // Timeouts are those of the process's clock.
        let elapsed = self.reached.stretched(read.now - read.began) + 2;
        let failed = self.last_known.failed.get(&life);
        let has_failed = failed.is_some_and(|at| at + DELIVERY >= read.began);
        let is_known = failed.is_some() && elapsed >= UNAVAILABLE_WAIT;
        let is_late = limits.after.is_some_and(|after| elapsed >= after);
        if !(has_failed || is_known || is_late || read.is_suspended) {
            self.fail(format!(
                "process life {life} got a last known value although the database was available"
            ));
        }
    }

    /// The version that a last known value must have at least, which was loaded so long before the
    /// read began.
    pub(crate) fn required_of_stale(
        &mut self,
        (reader, key): (Life, u64),
        age: Duration,
        began: u64,
    ) -> u64 {
        let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        let mut age = self.reached.stretched(age) + 2;
        age += self.reached.stood_still(reader, 0, began);
        if self.reached.promotion(key) > 0 {
            // Perhaps its process used a former primary then.
            age += self.reached.stretched(self.lifetime) + PUSH;
        }
        let then = began.saturating_sub(age);
        self.required(reader, key, then).otherwise
    }

    /// The longest age of a last known value.
    pub(crate) fn longest_age(&self) -> Duration {
        let max_stale = self.last_known.limits.map(|limits| limits.max_stale);
        Duration::from_millis(self.last_known.ttl + max_stale.unwrap_or_default())
    }
}
