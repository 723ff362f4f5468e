//! Bodies that are being received, and their fair share.
//!
//! A new body is always admitted if another sender has more of them in progress: the oldest of
//! that sender makes way. Strangers make way for known callers. So clients that stall cannot keep
//! others from sending.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::auth::Caller;
use crate::error::ApiError;

/// The bodies that are being received; cheap to clone.
#[derive(Clone)]
pub struct Bodies(Arc<Inner>);

struct Inner {
    max: usize,
    refused: AtomicU64,
    transfers: Mutex<Transfers>,
}

#[derive(Default)]
struct Transfers {
    next: u64,
    /// By their order of arrival.
    by_id: BTreeMap<u64, Transfer>,
}

struct Transfer {
    sender: Sender,
    /// Dropped to make the transfer end.
    _alive: oneshot::Sender<()>,
}

/// The sender of a body, whose share is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sender {
    /// A caller with a valid token or the API key.
    Known(Caller),
    /// Anybody else at an address.
    Stranger(Option<IpAddr>),
}

/// A body that is being received, until dropped.
pub struct Receiving {
    bodies: Bodies,
    id: u64,
    alive: oneshot::Receiver<()>,
}

impl Bodies {
    pub(super) fn new(max: usize) -> Self {
        Self(Arc::new(Inner {
            max,
            refused: AtomicU64::default(),
            transfers: Mutex::default(),
        }))
    }

    /// Admits a body. If too many are being received, the oldest body of the sender with the most
    /// makes way.
    ///
    /// # Errors
    /// [`ApiError::Unavailable`] if this sender is the one to make way.
    pub fn admit(&self, sender: Sender) -> Result<Receiving, ApiError> {
        let mut transfers = self.0.transfers.lock();
        if transfers.by_id.len() >= self.0.max {
            self.0.refused.fetch_add(1, Ordering::Relaxed);
            let oldest = transfers.to_make_way(sender);
            let oldest = oldest.ok_or(ApiError::Unavailable)?;
            transfers.by_id.remove(&oldest);
        }
        let (alive, receiver) = oneshot::channel();
        let id = transfers.next;
        transfers.next += 1;
        let transfer = Transfer {
            sender,
            _alive: alive,
        };
        transfers.by_id.insert(id, transfer);
        Ok(Receiving {
            bodies: self.clone(),
            id,
            alive: receiver,
        })
    }

    /// The bodies that were refused or made way so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// The bodies that are being received.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.0.transfers.lock().by_id.len()
    }
}

impl Transfers {
    /// The oldest transfer of the sender with the most, a stranger if there is any. `None` if that
    /// is the new sender with the new transfer alone.
    fn to_make_way(&self, new: Sender) -> Option<u64> {
        let mut counts = HashMap::from([(new, 1)]);
        for transfer in self.by_id.values() {
            *counts.entry(transfer.sender).or_default() += 1;
        }
        let rank = |(sender, count): &(Sender, usize)| {
            let is_stranger = matches!(sender, Sender::Stranger(_));
            (is_stranger, *count, *sender != new)
        };
        let (most, _) = counts.into_iter().max_by_key(rank)?;
        let mut oldest = self.by_id.iter();
        oldest.find_map(|(id, transfer)| (transfer.sender == most).then_some(*id))
    }
}

impl Receiving {
    /// Completes when this body has to make way.
    pub async fn evicted(&mut self) {
        // The sending half sends nothing: it is dropped.
        let _ = (&mut self.alive).await;
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        self.bodies.0.transfers.lock().by_id.remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    const USER: Sender = Sender::Known(Caller::User { user_number: 1 });
    const OTHER: Sender = Sender::Known(Caller::User { user_number: 2 });

    fn stranger(last: u8) -> Sender {
        Sender::Stranger(Some(IpAddr::from([192, 0, 2, last])))
    }

    fn is_evicted(transfer: &mut Receiving) -> bool {
        transfer.evicted().now_or_never().is_some()
    }

    #[test]
    fn the_oldest_body_of_the_sender_with_the_most_makes_way() {
        let bodies = Bodies::new(3);
        let mut one = bodies.admit(stranger(1)).unwrap();
        let mut first = bodies.admit(stranger(2)).unwrap();
        let mut second = bodies.admit(stranger(2)).unwrap();
        let mut third = bodies.admit(stranger(3)).unwrap();
        assert!(is_evicted(&mut first));
        assert!(
            ![&mut one, &mut second, &mut third]
                .into_iter()
                .any(is_evicted)
        );
        drop(first);
        assert_eq!((bodies.in_use(), bodies.refused()), (3, 1));
        // A further one of the same sender replaces its own oldest one.
        let _fourth = bodies.admit(stranger(3)).unwrap();
        assert!(is_evicted(&mut third));
        drop((one, second));
        assert_eq!(bodies.in_use(), 1);
    }

    #[test]
    fn strangers_make_way_for_known_callers() {
        let bodies = Bodies::new(2);
        let mut unknown = bodies.admit(stranger(1)).unwrap();
        let mut user = bodies.admit(USER).unwrap();
        let _second = bodies.admit(USER).unwrap();
        assert!(is_evicted(&mut unknown) && !is_evicted(&mut user));
        assert_eq!(bodies.admit(stranger(2)).err(), Some(ApiError::Unavailable));
        // Among known callers, too, everybody has a share.
        let _other = bodies.admit(OTHER).unwrap();
        assert!(is_evicted(&mut user));
    }
}
