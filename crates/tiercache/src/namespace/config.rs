//! The configuration of a namespace, and what derives from it.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::codec::{Codec, CodecError};
use crate::seams;

/// A payload that begins as a marker does is padded with white space to more than a marker's
/// length, so that it cannot be taken for one. JSON ignores the padding.
const PADDED: &[u8] = b"null";
const PADDING: &[u8] = &[b' '; 66];

/// The shortest TTL that Valkey takes.
pub(crate) const SHORTEST_TTL: Duration = Duration::from_millis(1);

pub(crate) type Predicate<T> = Box<dyn Fn(&T) -> bool + Send + Sync>;
pub(crate) type Measure<T, M> = Box<dyn Fn(&T) -> M + Send + Sync>;
pub(crate) type Same<T> = Box<dyn Fn(&T, &T) -> bool + Send + Sync>;

/// See the builder's methods of the same names.
pub(crate) struct Config<V, E> {
    pub(crate) name: Arc<str>,
    pub(crate) prefix: String,
    pub(crate) ttl: Duration,
    /// The TTL of a value, if it is shorter than `ttl`.
    pub(crate) ttl_of: Option<Measure<V, Option<Duration>>>,
    pub(crate) ttl_jitter: f64,
    pub(crate) is_shared: bool,
    pub(crate) local: Option<LocalPolicy<V>>,
    pub(crate) codec: Box<dyn Codec<V>>,
    pub(crate) is_outage: Predicate<E>,
    pub(crate) max_payload: usize,
    pub(crate) load_timeout: Option<Duration>,
}

/// The policy by which a namespace uses the local cache.
pub(crate) struct LocalPolicy<V> {
    pub(crate) weight: Option<Measure<V, usize>>,
    pub(crate) max_stale: Duration,
    pub(crate) stale_after: Option<Duration>,
    pub(crate) same: Option<Same<V>>,
    pub(crate) refresh_window: Range<f64>,
}

impl<V: 'static, E> Config<V, E> {
    /// The TTL of this value.
    pub(crate) fn ttl_of(&self, value: &V) -> Duration {
        let shorter = self.ttl_of.as_ref().and_then(|ttl_of| ttl_of(value));
        shorter.map_or(self.ttl, |shorter| shorter.min(self.ttl))
    }

    /// The TTL of a fill of this value, with jitter; `None` for one that is not to be stored.
    pub(crate) fn fill_ttl(&self, value: &V) -> Option<Duration> {
        let ttl = self.ttl_of(value);
        let shortened = match self.ttl_jitter {
            0.0 => ttl,
            jitter => ttl.mul_f64(1.0 - jitter * seams::random::<f64>()),
        };
        (ttl >= SHORTEST_TTL).then(|| shortened.max(SHORTEST_TTL))
    }

    pub(crate) fn encode(&self, value: &V) -> Result<Bytes, CodecError> {
        let payload = self.codec.encode(value)?;
        if payload.starts_with(PADDED) {
            return Ok([&payload, PADDING].concat().into());
        }
        Ok(payload)
    }

    pub(crate) fn decode(&self, payload: &Bytes) -> Result<V, CodecError> {
        if payload.starts_with(PADDED) && payload.ends_with(PADDING) {
            return self
                .codec
                .decode(&payload.slice(..payload.len() - PADDING.len()));
        }
        self.codec.decode(payload)
    }
}

impl<V> LocalPolicy<V> {
    /// The time before the end of its TTL at which an early refresh becomes due.
    pub(crate) fn refresh_before(&self, ttl: Duration) -> Duration {
        ttl.mul_f64(seams::random_range(self.refresh_window.clone()))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::codec::{Json, Raw};
    use crate::protocol::marker::{FenceToken, Lease, Stored};

    fn config<V: 'static>(codec: impl Codec<V>) -> Config<V, ()> {
        Config {
            name: "test".into(),
            prefix: "test:".to_owned(),
            ttl: Duration::from_secs(60),
            ttl_of: None,
            ttl_jitter: 0.0,
            is_shared: true,
            local: None,
            codec: Box::new(codec),
            is_outage: Box::new(|()| true),
            max_payload: 1 << 20,
            load_timeout: None,
        }
    }

    #[test]
    fn no_payload_can_be_taken_for_a_marker() {
        let config = config::<Bytes>(Raw);
        let (lease, fence) = (Lease::new(), FenceToken::new());
        for value in [
            &b"null"[..],
            b"null ",
            b"nullable",
            lease.as_ref(),
            &lease.as_ref()[..5],
            fence.as_ref(),
        ] {
            let value = Bytes::copy_from_slice(value);
            let payload = config.encode(&value).unwrap();
            let stored = Stored::from(Some(payload.clone()));
            assert_eq!(stored, Stored::Payload(payload.clone()));
            assert_eq!(config.decode(&payload).unwrap(), value);
        }
    }

    #[test]
    fn a_json_null_stays_one_for_other_readers() {
        let config = config::<Option<u64>>(Json);
        let payload = config.encode(&None).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert!(read.is_null());
        assert_eq!(config.decode(&payload).unwrap(), None);
        assert_eq!(config.encode(&Some(7)).unwrap(), "7");
    }

    #[test]
    fn a_value_that_has_expired_is_not_stored() {
        let mut config = config::<u64>(Json);
        config.ttl_of = Some(Box::new(|millis| Some(Duration::from_millis(*millis))));
        assert_eq!(config.fill_ttl(&0), None);
        assert_eq!(config.fill_ttl(&7), Some(Duration::from_millis(7)));
        assert_eq!(config.fill_ttl(&u64::MAX), Some(config.ttl));
    }

    #[test]
    fn jitter_shortens_the_ttl_within_its_fraction() {
        let mut config = config::<u64>(Json);
        assert_eq!(config.fill_ttl(&1), Some(config.ttl));
        config.ttl_jitter = 0.5;
        let ttls: Vec<Duration> = (0..100).filter_map(|_| config.fill_ttl(&1)).collect();
        assert_eq!(ttls.len(), 100);
        assert!(
            ttls.iter()
                .all(|ttl| *ttl >= config.ttl / 2 && *ttl <= config.ttl)
        );
        assert_ne!(ttls[0], ttls[1]);
    }
}
