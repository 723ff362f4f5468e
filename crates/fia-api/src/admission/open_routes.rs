//! A rate limit for requests without a token: a token bucket for each address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::admission::ClientAddress;
use crate::error::ApiError;

/// The most addresses with a bucket of their own; the others share one.
const MAX_BUCKETS: usize = 4096;

/// The rate limit of the routes that need no token.
pub struct OpenRoutes {
    /// Requests a second, and the most at once; 0 if there is no limit.
    rate: u32,
    buckets: Mutex<HashMap<Option<IpAddr>, Bucket>>,
    refused: AtomicU64,
}

#[derive(Clone, Copy)]
struct Bucket {
    tokens: f64,
    updated: Instant,
}

impl OpenRoutes {
    pub(super) fn new(rate: u32) -> Self {
        Self {
            rate,
            buckets: Mutex::default(),
            refused: AtomicU64::default(),
        }
    }

    /// Counts a request of an address.
    ///
    /// # Errors
    /// [`ApiError::TooMany`] beyond the rate.
    pub fn check(&self, client: Option<ClientAddress>) -> Result<(), ApiError> {
        if self.rate == 0
            || self.take(
                client.map(|ClientAddress(address)| network(address)),
                Instant::now(),
            )
        {
            return Ok(());
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(ApiError::TooMany)
    }

    /// The requests that were refused so far.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn take(&self, address: Option<IpAddr>, now: Instant) -> bool {
        let rate = f64::from(self.rate);
        let filled = |bucket: &Bucket| {
            let seconds = now.duration_since(bucket.updated).as_secs_f64();
            (bucket.tokens + seconds * rate).min(rate)
        };
        let mut buckets = self.buckets.lock();
        let mut address = address;
        if buckets.len() >= MAX_BUCKETS && !buckets.contains_key(&address) {
            // A full bucket need not be kept: a new one is full, too.
            buckets.retain(|_, bucket| filled(bucket) < rate);
            if buckets.len() >= MAX_BUCKETS {
                address = None;
            }
        }
        let bucket = buckets.entry(address).or_insert(Bucket {
            tokens: rate,
            updated: now,
        });
        let tokens = filled(bucket);
        let is_within = tokens >= 1.0;
        *bucket = Bucket {
            tokens: if is_within { tokens - 1.0 } else { tokens },
            updated: now,
        };
        is_within
    }
}

/// The address whose bucket counts: a client commonly has a whole /64 of IPv6 addresses.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(number: u32) -> Option<IpAddr> {
        Some(IpAddr::from(number.to_be_bytes()))
    }

    #[test]
    fn a_bucket_allows_its_rate_and_refills() {
        let routes = OpenRoutes::new(2);
        let start = Instant::now();
        let later = start + Duration::from_millis(500);
        let taken = [start, start, start, later, later].map(|now| routes.take(address(1), now));
        assert_eq!(taken, [true, true, false, true, false]);
        assert!(routes.take(address(2), later));
        let long_after = start + Duration::from_secs(60);
        let taken = [0; 3].map(|_| routes.take(address(1), long_after));
        assert_eq!(taken, [true, true, false]);
    }

    #[test]
    fn many_addresses_take_bounded_memory_and_share_a_bucket() {
        let routes = OpenRoutes::new(1);
        let start = Instant::now();
        let admitted = (0..10_000)
            .filter(|n| routes.take(address(*n), start))
            .count();
        assert_eq!(admitted, MAX_BUCKETS + 1);
        assert!(routes.buckets.lock().len() <= MAX_BUCKETS + 1);
        // Full buckets are forgotten.
        assert!(routes.take(address(20_000), start + Duration::from_secs(2)));
        assert_eq!(routes.buckets.lock().len(), 1);
    }

    #[test]
    fn the_addresses_of_a_network_share_a_bucket() {
        let client = |text: &str| Some(ClientAddress(text.parse().unwrap()));
        let routes = OpenRoutes::new(1);
        assert_eq!(routes.check(client("2001:db8::1")), Ok(()));
        assert_eq!(routes.check(client("2001:db8::2")), Err(ApiError::TooMany));
        assert_eq!(routes.check(client("2001:db8:1::")), Ok(()));
        assert_eq!(routes.refused(), 1);
        let unlimited = OpenRoutes::new(0);
        assert!((0..100).all(|_| unlimited.check(None).is_ok()));
    }
}
