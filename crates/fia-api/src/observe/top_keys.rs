//! The keys with the most of something, in bounded memory.
//!
//! *Space-saving* (Metwally, Agrawal, El Abbadi 2005): a new key takes the place of the one with
//! the least, and inherits its amount as its possible error. Every key with more than the total
//! divided by the capacity is in the table, and no amount is underestimated.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// The most keys in a table.
const CAPACITY: usize = 256;

/// The keys with the most of something.
#[derive(Debug, Default)]
pub struct TopKeys(Mutex<HashMap<Arc<str>, Amount>>);

/// The amount of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Amount {
    total: u64,
    /// The part of it that may belong to other keys.
    error: u64,
}

/// A key with its amount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopKey {
    /// The key.
    pub key: Arc<str>,
    /// Its amount, at most.
    pub amount: u64,
    /// How much less it may be.
    pub error: u64,
}

impl TopKeys {
    /// Adds an amount to a key.
    pub fn add(&self, key: &str, amount: u64) {
        let mut table = self.0.lock();
        if let Some(known) = table.get_mut(key) {
            known.total = known.total.saturating_add(amount);
            return;
        }
        let error = match table.len() {
            CAPACITY => replace_least(&mut table),
            _ => 0,
        };
        let total = error.saturating_add(amount);
        table.insert(key.into(), Amount { total, error });
    }

    /// Sets the amount of a key, if that is among the most.
    pub fn set(&self, key: &str, amount: u64) {
        let mut table = self.0.lock();
        let new = Amount {
            total: amount,
            error: 0,
        };
        if let Some(known) = table.get_mut(key) {
            *known = new;
            return;
        }
        if table.len() == CAPACITY {
            let least = least(&table);
            match least {
                Some((least, known)) if known < amount => {
                    table.remove(&least);
                }
                _ => return,
            }
        }
        table.insert(key.into(), new);
    }

    /// The keys with the most, the first one first.
    #[must_use]
    pub fn list(&self, limit: usize) -> Vec<TopKey> {
        let table = self.0.lock();
        let mut keys: Vec<TopKey> = table
            .iter()
            .map(|(key, amount)| TopKey {
                key: Arc::clone(key),
                amount: amount.total,
                error: amount.error,
            })
            .collect();
        drop(table);
        keys.sort_by(|one, other| {
            let by_amount = other.amount.cmp(&one.amount);
            by_amount.then_with(|| one.key.cmp(&other.key))
        });
        keys.truncate(limit);
        keys
    }
}

/// The key with the least, and its amount.
fn least(table: &HashMap<Arc<str>, Amount>) -> Option<(Arc<str>, u64)> {
    let (key, amount) = table.iter().min_by_key(|(_, amount)| amount.total)?;
    Some((Arc::clone(key), amount.total))
}

/// Removes the key with the least, and returns its amount.
fn replace_least(table: &mut HashMap<Arc<str>, Amount>) -> u64 {
    let Some((key, amount)) = least(table) else {
        return 0;
    };
    table.remove(&key);
    amount
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_keys_are_found_among_many_rare_ones() {
        let top = TopKeys::default();
        for round in 0..1_000_u64 {
            for rare in 0..100 {
                top.add(&format!("rare-{}", round * 100 + rare), 1);
            }
            for (frequent, amount) in [("a", 40), ("b", 30), ("c", 20)] {
                top.add(frequent, amount);
            }
        }
        let found = top.list(3);
        let keys: Vec<&str> = found.iter().map(|one| &*one.key).collect();
        assert_eq!(keys, ["a", "b", "c"]);
        for (one, exact) in found.iter().zip([40_000, 30_000, 20_000]) {
            assert!(
                one.amount >= exact && one.amount - one.error <= exact,
                "{one:?}"
            );
        }
        assert_eq!(top.0.lock().len(), CAPACITY);
    }

    #[test]
    fn the_largest_amounts_are_kept() {
        let top = TopKeys::default();
        for bytes in 0..10_000_u64 {
            top.set(&bytes.to_string(), bytes);
        }
        top.set("9999", 5);
        let amounts: Vec<u64> = top.list(2).iter().map(|one| one.amount).collect();
        assert_eq!(amounts, [9998, 9997]);
    }
}
