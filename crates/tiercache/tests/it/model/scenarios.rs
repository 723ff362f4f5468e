//! Scenarios without a local level, and the mutants they catch.

mod the_protocol_holds_when {
    use super::super::Protocol;

    #[limited::test(seconds = 300)]
    fn two_replicas_read_while_one_writes_and_commands_time_out() {
        // Takes seconds: three requests that may be admitted at any step, 370,000 states.
        Protocol::new(&[0, 0, 1], &[0]).faults(1).assert_holds();
    }

    #[limited::test]
    fn two_commands_are_lost_or_delayed() {
        Protocol::new(&[0, 0], &[0]).faults(2).assert_holds();
    }

    #[limited::test(seconds = 300)]
    fn two_replicas_write_concurrently() {
        // Takes a second or two: two writers and two fetches, 160,000 states.
        Protocol::new(&[0, 1], &[0, 1]).assert_holds();
        Protocol::new(&[1], &[0, 1]).faults(1).assert_holds();
    }

    #[limited::test]
    fn writers_crash_at_any_step() {
        Protocol::new(&[0, 0], &[0, 1]).crashes().assert_holds();
    }

    #[limited::test(seconds = 300)]
    fn writes_store_their_values() {
        // Takes a second or two: 200,000 states.
        Protocol::new(&[0, 1], &[0, 1])
            .puts()
            .crashes()
            .assert_holds();
        Protocol::new(&[0], &[0, 1]).puts().faults(2).assert_holds();
        Protocol::new(&[0], &[0])
            .puts()
            .legacy_writers(1)
            .faults(1)
            .assert_holds();
    }

    #[limited::test(seconds = 300)]
    fn the_server_fails_over_and_loses_the_last_writes() {
        // Takes seconds: the key may get any content that it had.
        Protocol::new(&[0, 1], &[0]).failovers(2).assert_holds();
        Protocol::new(&[1], &[0, 1]).failovers(1).assert_holds();
        Protocol::new(&[0], &[0])
            .puts()
            .faults(1)
            .failovers(1)
            .assert_holds();
    }

    #[limited::test(seconds = 300)]
    fn a_legacy_server_writes() {
        // Takes a second or two: 180,000 states.
        Protocol::new(&[0, 0, 1], &[])
            .legacy_writers(2)
            .assert_holds();
        Protocol::new(&[0, 0], &[0])
            .legacy_writers(1)
            .assert_holds();
    }
}

mod a_mutant_is_caught {
    use super::super::{Mutant, Protocol};

    #[limited::test]
    fn without_a_lease() {
        Protocol::new(&[0], &[0])
            .mutant(Mutant::FillWithoutLease)
            .assert_caught();
        Protocol::new(&[0], &[0])
            .mutant(Mutant::FillIfEmpty)
            .assert_caught();
    }

    #[limited::test]
    fn when_the_fence_precedes_the_row_lock() {
        Protocol::new(&[0], &[0, 1])
            .mutant(Mutant::FenceBeforeLock)
            .assert_caught();
    }

    #[limited::test]
    fn when_an_unacknowledged_fence_is_owned() {
        Protocol::new(&[1], &[0, 1])
            .faults(1)
            .mutant(Mutant::InvalidateOwnsUnacknowledgedFence)
            .assert_caught();
    }

    #[limited::test]
    fn without_a_nonce_per_attempt() {
        Protocol::new(&[0, 0], &[1])
            .faults(1)
            .mutant(Mutant::NoncePerProcess)
            .assert_caught();
    }

    #[limited::test]
    fn when_requests_join_a_running_flight() {
        Protocol::new(&[0, 0], &[0])
            .mutant(Mutant::JoinRunningFlight)
            .assert_caught();
        Protocol::new(&[0, 0], &[1])
            .mutant(Mutant::JoinRunningFlight)
            .assert_caught();
    }

    #[limited::test]
    fn when_waiters_are_deferred_until_the_fill_reply() {
        Protocol::new(&[0, 0], &[1])
            .mutant(Mutant::JoinAtFillReply)
            .assert_caught();
    }

    #[limited::test]
    fn without_a_key_version() {
        Protocol::new(&[0, 0], &[0])
            .faults(2)
            .mutant(Mutant::NoKeyVersion)
            .assert_caught();
    }

    #[limited::test]
    fn when_a_write_stores_its_value_without_its_fence() {
        Protocol::new(&[], &[0, 1])
            .puts()
            .mutant(Mutant::PutWithoutFence)
            .assert_caught();
    }

    #[limited::test]
    fn when_an_invalidation_does_not_mark_a_foreign_fence() {
        Protocol::new(&[], &[0, 1])
            .puts()
            .faults(1)
            .mutant(Mutant::ForeignFenceUnmarked)
            .assert_caught();
    }

    #[limited::test]
    fn when_invalidations_are_not_repeated_after_a_failover() {
        Protocol::new(&[0, 0], &[0])
            .failovers(1)
            .mutant(Mutant::ForgetRecentInvalidations)
            .assert_caught();
    }

    #[limited::test]
    fn when_the_promoted_server_is_used_before_invalidations_are_repeated() {
        Protocol::new(&[0, 0], &[0])
            .failovers(1)
            .mutant(Mutant::UseBeforeRepeating)
            .assert_caught();
    }

    #[limited::test]
    fn without_pending_invalidations() {
        Protocol::new(&[0, 0], &[0])
            .faults(2)
            .mutant(Mutant::ForgetPendingInvalidation)
            .assert_caught();
    }
}
