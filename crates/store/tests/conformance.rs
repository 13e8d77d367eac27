//! Every case of the conformance suite, on every engine.

use muster_testkit::conformance::{access, documents, forgotten, leases, log, read_models, roster, stress};
use muster_testkit::database::{Engine, fresh};

macro_rules! on_both_engines {
    ($($module:ident::$case:ident,)* ; $($again:ident::$whole:ident,)*) => {
        mod sqlite {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let database = fresh(Engine::Sqlite).await;
                $module::$case(&database.store).await;
                database.store.close().await;
            })*
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $whole() {
                let database = fresh(Engine::Sqlite).await;
                $again::$whole(&database).await;
                database.store.close().await;
            })*
        }
        mod postgres {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $case() {
                let database = fresh(Engine::Postgres).await;
                $module::$case(&database.store).await;
                database.store.close().await;
            })*
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $whole() {
                let database = fresh(Engine::Postgres).await;
                $again::$whole(&database).await;
                database.store.close().await;
            })*
        }
    };
}

on_both_engines! {
    log::appends_are_numbered_without_gaps,
    log::an_expected_version_is_checked,
    log::a_key_appends_once,
    log::a_key_appends_once_under_concurrency,
    log::a_transaction_is_all_or_nothing,
    log::the_chain_verifies,
    log::an_erased_line_leaves_the_chain_whole,
    log::recorded_at_never_goes_back,
    log::organisations_do_not_see_each_other,
    documents::settings_and_feeds_come_back,
    documents::uploads_come_back,
    documents::lists_are_filtered,
    documents::change_sets_come_back,
    documents::change_sets_add_up,
    documents::change_sets_are_found_by_when_one_person_approved,
    roster::newer_rows_win_over_pages,
    roster::an_identifier_may_belong_to_several,
    roster::fingerprints_come_back,
    forgotten::a_member_is_dropped_everywhere,
    forgotten::blocks_come_back,
    leases::a_lease_has_one_holder,
    leases::a_lost_lease_cannot_commit,
    leases::a_lease_taken_meanwhile_fences_the_commit,
    leases::a_duty_has_one_holder,
    leases::a_mark_never_goes_back,
    stress::readers_see_exactly_what_was_committed,
    stress::one_of_many_wins_a_version,
    access::a_key_is_found_with_user_and_role,
    access::keys_of_others_are_out_of_reach,
    access::a_change_and_its_event_are_one,
    access::an_address_is_one_users,
    access::the_last_use_counts,
    access::reads_are_noted_and_forgotten,
    access::a_request_is_answered_once,
    access::answers_are_given_up,
    access::one_of_many_gets_a_request,
    access::a_revocation_does_not_wait_for_an_import,
    ; // Those that need its address too.
    access::another_process_sees_it_at_once,
    access::nobody_is_there_at_first,
    read_models::a_lane_is_begun_once,
    read_models::a_step_is_written_whole,
    read_models::two_at_once_move_a_lane_once,
    read_models::a_rebuilt_lane_takes_the_place_in_one_step,
}
