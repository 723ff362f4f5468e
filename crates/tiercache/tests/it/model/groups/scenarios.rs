//! Scenarios of groups, and the mutants they catch.

mod groups_hold_when {
    use super::super::Groups;

    #[limited::test(seconds = 300)]
    fn two_replicas_read_while_another_writes() {
        Groups::new(&[0, 0, 1], &[0]).assert_holds();
        // Takes seconds: 640,000 states.
        Groups::new(&[0, 1], &[0, 1]).assert_holds();
    }

    #[limited::test(seconds = 300)]
    fn commands_are_lost_or_delayed() {
        Groups::new(&[0, 0], &[0]).faults(2).assert_holds();
        // Takes ten seconds: 800,000 states.
        Groups::new(&[1, 1], &[0, 1]).faults(1).assert_holds();
    }

    #[limited::test(seconds = 300)]
    fn writers_crash_at_any_step() {
        // Takes seconds: 400,000 states.
        Groups::new(&[0, 0], &[0, 1]).crashes().assert_holds();
    }

    #[limited::test]
    fn a_legacy_server_reads() {
        Groups::new(&[0, 1], &[0]).legacy_reads(1).assert_holds();
        Groups::new(&[0, 0], &[0]).legacy_reads(2).assert_holds();
    }

    #[limited::test]
    fn a_replica_has_a_local_level() {
        Groups::new(&[0, 0, 0], &[0]).local().assert_holds();
        Groups::new(&[0, 0], &[0, 1]).local().assert_holds();
        Groups::new(&[0, 0, 0], &[0])
            .local()
            .faults(1)
            .assert_holds();
    }
}

mod a_mutant_of_groups_is_caught {
    use super::super::{Groups, Mutant};

    fn caught(scenario: Groups, mutant: Mutant) {
        scenario.mutant(mutant).assert_caught();
    }

    #[limited::test]
    fn when_the_generation_is_replaced_before_the_commit_only() {
        caught(Groups::new(&[0, 0], &[0]), Mutant::InvalidateBeforeCommit);
    }

    #[limited::test]
    fn when_the_tag_is_taken_for_the_fill() {
        caught(Groups::new(&[0, 1, 1], &[1]), Mutant::TagWhenFilling);
    }

    #[limited::test]
    fn when_a_payload_without_a_tag_is_a_hit() {
        caught(
            Groups::new(&[0], &[0]).legacy_reads(1),
            Mutant::UntaggedIsHit,
        );
    }

    #[limited::test]
    fn when_a_fill_serves_waiters_that_came_during_the_load() {
        caught(Groups::new(&[0, 0], &[1]), Mutant::DeferToFill);
    }

    #[limited::test]
    fn when_the_group_is_not_read_again_with_the_lease() {
        caught(Groups::new(&[1, 0, 0], &[1]), Mutant::GroupNotReadWithLease);
    }

    #[limited::test]
    fn when_a_new_generation_replaces_a_fence() {
        caught(
            Groups::new(&[0, 0], &[1]).crashes(),
            Mutant::GenerationReplacesFence,
        );
    }

    #[limited::test]
    fn when_generations_repeat() {
        caught(Groups::new(&[0, 1, 1], &[1]), Mutant::GenerationsRepeat);
    }

    #[limited::test]
    fn when_the_end_of_a_write_removes_the_fence_of_another() {
        caught(
            Groups::new(&[0, 0], &[0, 1]).crashes(),
            Mutant::InvalidateRemovesForeignFence,
        );
    }

    #[limited::test]
    fn when_a_group_with_a_pending_invalidation_is_read() {
        caught(
            Groups::new(&[0, 0], &[0]).faults(2),
            Mutant::PendingNotBypassed,
        );
    }

    #[limited::test]
    fn when_a_failed_invalidation_is_forgotten() {
        caught(
            Groups::new(&[0, 0], &[0]).faults(2),
            Mutant::PendingForgotten,
        );
    }

    #[limited::test]
    fn when_own_writes_do_not_end_local_entries() {
        caught(
            Groups::new(&[0, 0, 0], &[0]).local().faults(2),
            Mutant::OwnWriteNotBumped,
        );
    }

    #[limited::test]
    fn when_local_entries_do_not_depend_on_their_group() {
        caught(
            Groups::new(&[0, 0, 0], &[1]).local(),
            Mutant::StampUnchecked,
        );
    }

    #[limited::test]
    fn when_the_version_is_read_with_the_reply() {
        caught(Groups::new(&[0, 0, 0], &[1]).local(), Mutant::StampAfterGet);
    }
}
