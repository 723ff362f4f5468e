//! Defects that the simulator builds into the code, one at a time, to prove that its checks
//! detect them (see [`crate::seams::mutant`]).

macro_rules! mutants {
    ($($(#[$doc:meta])+ $name:ident),+ $(,)?) => {
        /// A defect of the code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Mutant {
            $($(#[$doc])+ $name),+
        }

        impl Mutant {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];
        }
    };
}

mutants! {
    /// FILL is an unconditional SET.
    FillWithoutLease,
    /// REFRESH is an unconditional SET.
    RefreshUnconditionally,
    /// RELEASE deletes any content.
    ReleaseAnything,
    /// After NOSCRIPT the script is not sent whole.
    ScriptNotResent,
    /// All leases have the same nonce.
    LeaseReused,
    /// All generations have the same nonce.
    GenerationReused,
    /// A fence counts as confirmed, and is not sent.
    FenceNotRaised,
    /// COMMIT is sent when the fence has expired.
    FenceTooShort,
    /// An invalidation counts as confirmed, and is not sent.
    InvalidateNotSent,
    /// An invalidation replaces the fences of other writers.
    InvalidateForeignFence,
    /// A write takes any fence of its own for confirmed.
    UnconfirmedFenceOwned,
    /// The value of a write is stored although it was rolled back.
    PutAfterRollback,
    /// The writer's memory is left to the pushes.
    MemoryNotInvalidated,
    /// Memory is invalidated before Valkey, and not after it.
    MemoryInvalidatedFirst,
    /// An invalidation that is not confirmed is not queued.
    FailedInvalidationDropped,
    /// Keys with a pending invalidation are read from Valkey.
    PendingNotBypassed,
    /// Confirmed invalidations are not kept to be repeated.
    InvalidationNotKept,
    /// A flush of the pending invalidations sends none.
    PendingDropped,
    /// A flush removes the invalidations that were queued meanwhile.
    LaterInvalidationDropped,
    /// Nothing is repeated after a reconnection.
    RecentNotRepeated,
    /// The invalidation of a namespace is not repeated after a reconnection.
    AllNotRepeated,
    /// A primary that took over slots while the former one stays connected counts as the same.
    NewPrimaryIgnored,
    /// A connection is used before the pending invalidations are flushed.
    UsedBeforeFlush,
    /// The identity of the server is not recorded.
    ServerNotRecorded,
    /// A lost connection for commands is not replaced.
    NoReconnection,
    /// A lost tracking connection is not replaced.
    TrackingNotReestablished,
    /// Memory is valid for three seconds after a heartbeat.
    MemoryValidTooLong,
    /// Tracking is requested on RESP2, which has no pushes.
    TrackingWithResp2,
    /// Another prefix is tracked.
    OtherPrefixTracked,
    /// Pushes are ignored.
    PushIgnored,
    /// Only the first key of a push is invalidated.
    OneKeyOfPush,
    /// The push of a flush is ignored.
    FlushPushIgnored,
    /// Memory is used without heartbeats.
    SilenceIgnored,
    /// Memory is used whatever the versions.
    VersionsIgnored,
    /// Memory is used although tracking was interrupted meanwhile.
    GlobalVersionIgnored,
    /// The version of a key never changes.
    KeyVersionKept,
    /// Versions are read when the reply has arrived.
    SnapshotAfterReply,
    /// A loaded value is current in memory.
    LoadedValueTracked,
    /// A group's version is not compared in memory.
    GroupIgnoredInMemory,
    /// A value that is inserted in memory stays there although its process has written the key
    /// since it was requested.
    ///
    /// (Without the check before a fill or a refresh no promise breaks: the write's INVALIDATE
    /// removes the lease or payload that FILL or REFRESH needs, and as long as it has not been
    /// executed it is pending, which that check covers as well.)
    OwnWriteIgnored,
    /// Readers that came during a FILL get its value.
    AdmittedAfterFill,
    /// Readers that came during a load get its value.
    JoinedDuringLoad,
    /// Readers that came during a GET get its value.
    JoinedDuringGet,
    /// A load does not acquire a lease.
    LoadedWithoutLease,
    /// A slot is removed although readers wait in it.
    SlotRemovedWithWaiters,
    /// Readers that came after a write of the process get the value of a FILL, which is sent
    /// whatever the process wrote during the load.
    ///
    /// (The versions of the waiters alone matter to threads only: one thread compares the version of
    /// the key and takes the waiters in one step.)
    DeferredWhateverTheyWrote,
    /// The connection to a primary that took over slots, and was one before, is used before the
    /// invalidations of its new keys are repeated.
    ConnectedPrimaryTrusted,
    /// A primary that says that another, unknown one has a slot keeps it.
    UnknownPrimaryIgnored,
    /// A read that followed a redirection returns what the other node has.
    RedirectedReadTrusted,
    /// Keys that move to another node during the invalidation of all keys are missed.
    SlotsNotLearnt,
    /// Payloads of any generation are current.
    TagIgnored,
    /// Timeouts do not close a connection.
    SilentConnectionKept,
    /// A command on a closed connection waits.
    ClosedConnectionWaits,
    /// Last known values are served however old they are.
    AgeUnlimited,
    /// The age of a value is the time since it came to memory.
    AgeUnderstated,
    /// A write leaves the last known value in memory.
    LastKnownKept,
    /// A failed load fails its reads, whatever the last known value.
    LastKnownNotServed,
    /// The last known value is served when a load takes 200 ms, although no load has failed.
    OutageAssumed,
    /// The soft timeout of loads has no effect.
    SoftTimeoutIgnored,
    /// Fences count as replicated although nothing waited for a replica.
    ReplicasNotAwaited,
}
