//! The limits that the service guarantees.

use std::time::Duration;

/// The longest silence of a connection after which a replica still uses its local cache: a write
/// may stay unseen for that long on a dead connection.
const MAX_SILENCE: Duration = Duration::from_secs(1);
/// The TTL of a lease: a loaded value may be stored as late as that.
pub(super) const LEASE_TTL: Duration = Duration::from_secs(5);
/// The TTL of a fence whose writer cannot remove it. Nothing is stored meanwhile.
pub(super) const FENCE_TTL: Duration = Duration::from_secs(10);
/// The time after a fault of Valkey within which a replica uses Valkey and its local cache again.
pub(super) const RECOVERY: Duration = Duration::from_secs(2);
/// The time after a fault of the database within which a replica uses it again.
pub(super) const DATABASE_RECOVERY: Duration = Duration::from_secs(2);
/// The maximum latency: with the database available, and unavailable.
pub(super) const MAX_LATENCY: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(6)];
/// The tolerance for scheduling delays of a loaded machine, added to each limit.
pub(super) const TOLERANCE: Duration = Duration::from_millis(300);

/// The required length of the quiet phase at the end of a run, after which every replica must have
/// converged.
pub fn quiet_time(longest_ttl: Duration) -> Duration {
    FENCE_TTL.max(longest_ttl + LEASE_TTL) + RECOVERY + TOLERANCE
}

/// The permitted lag of a response behind a write that had returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// The same replica made the write: no lag.
    ReadYourWrites,
    /// The other replica made the write and its invalidation reached Valkey: the time to detect a
    /// dead connection.
    Propagated,
    /// The legacy client made the write and its invalidation reached Valkey: the same limit.
    LegacyPropagated,
    /// The invalidation did not reach Valkey, or the legacy client stored a value that it had read
    /// before the write: the TTL after the last time at which a stale value may be stored.
    Ttl,
}

impl Bound {
    /// All bounds.
    pub const ALL: [Self; 4] = [
        Self::ReadYourWrites,
        Self::Propagated,
        Self::LegacyPropagated,
        Self::Ttl,
    ];

    /// A readable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadYourWrites => "written on the same replica",
            Self::Propagated => "written on the other replica",
            Self::LegacyPropagated => "written by the legacy client",
            Self::Ttl => "Valkey unreachable for the writer, or a late fill",
        }
    }

    /// The maximum lag of a key with this TTL.
    pub fn limit(self, ttl: Duration) -> Duration {
        match self {
            Self::ReadYourWrites => Duration::ZERO,
            Self::Propagated | Self::LegacyPropagated => MAX_SILENCE + TOLERANCE,
            Self::Ttl => ttl + LEASE_TTL + TOLERANCE,
        }
    }
}
