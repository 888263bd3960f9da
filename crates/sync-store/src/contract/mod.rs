//! The promises of a store as clauses: each is one function that any backend must pass. A backend joins with
//! [`contract_suite!`](crate::contract_suite) and a function that makes an empty store.
//!
//! The clauses speak to a store as a server does: pushes are read from their JSON, answers are compared whole.

mod alike;
mod both_dialects;
mod deletes;
mod denied;
mod device;
mod erasing;
mod exporting;
mod importing;
mod joining;
mod kept;
mod leaving;
mod merging;
mod moving;
mod outgoing;
mod positions;
mod references;
mod replica;
mod row_device;
mod rows;
mod scopes;
mod size;
mod wire;

pub use alike::*;
pub use both_dialects::*;
pub use deletes::*;
pub use denied::*;
pub use device::{Device, START, changes, grant};
pub use erasing::*;
pub use exporting::*;
pub use importing::*;
pub use joining::*;
pub use kept::*;
pub use leaving::*;
pub use merging::*;
pub use moving::*;
pub use outgoing::*;
pub use positions::*;
pub use references::*;
pub use row_device::RowDevice;
pub use rows::*;
pub use scopes::*;
pub use size::*;
pub use wire::*;

/// Makes a test of each clause of the contract. `$fresh` is an async function that makes an empty store with
/// [`Rules::default`](crate::Rules): it returns an `Arc<dyn Store>` and whatever must live as long as the store does.
#[macro_export]
macro_rules! contract_suite {
    ($fresh:path) => {
        $crate::contract_suite! { @each $fresh;
            a_pushed_change_is_read_by_another_device
            the_changes_of_a_push_come_in_their_order
            values_come_back_digit_for_digit
            a_push_is_stored_whole
            a_client_does_not_hear_its_own_echo
            a_client_without_a_name_hears_everything
            an_answer_of_a_push_holds_what_others_wrote
            a_client_keeps_its_own_event_id_once
            actor_origin_and_space_come_back
            what_cannot_be_a_row_is_kept_aside_once
            a_cursor_at_the_head_brings_nothing_and_stays
            small_pages_bring_every_row_once
            a_page_of_one_table_passes_the_rows_of_the_others
            a_page_of_some_tables_is_in_order_over_all_of_them
            a_push_says_where_it_has_appended
            a_cursor_from_the_future_is_lowered
            a_clock_that_steps_back_skips_nothing
            concurrent_writers_are_read_without_a_gap
            a_hydration_brings_own_changes_on_every_page
            a_cursor_of_a_push_passes_nothing_that_the_answer_lacks
            the_later_write_wins_whatever_the_order
            at_equal_times_the_greater_client_wins_and_both_are_told
            a_lost_write_is_reported_and_corrected
            an_own_newer_write_is_no_conflict
            of_several_writes_of_a_push_the_last_of_the_latest_stands
            an_older_claim_of_a_client_has_no_effect
            a_row_goes_out_without_what_its_page_replaces
            the_same_push_again_stores_nothing
            a_retry_does_not_beat_what_came_between
            a_clock_ahead_gets_the_time_of_receipt
            a_delete_without_a_time_is_timed_once
            a_deleted_record_stays_deleted_under_late_updates
            an_undelete_brings_the_whole_record
            an_undelete_does_not_hide_what_its_writer_lacks
            an_update_before_its_insert_carries_the_values_beside
            a_timeless_insert_goes_out_as_an_insert_while_it_is_young
            an_insert_with_mixed_times_goes_out_as_an_update
            corrections_that_do_not_fit_come_through_the_log
            a_new_device_gets_live_rows_only
            a_page_is_bounded_in_bytes_and_holds_at_least_one_row
            dead_rows_go_after_the_history_window
            a_deleted_record_leaves_a_tombstone
            no_live_row_is_skipped_behind_large_tombstones
            what_goes_out_beside_the_values_counts_for_a_page
            a_record_that_would_hold_too_much_keeps_its_change_aside
            a_large_write_that_lost_is_told_through_the_log_once
            a_correction_in_a_space_names_its_author
            a_conflict_with_a_client_of_the_same_name_is_told
            two_users_see_nothing_of_each_other
            two_apps_see_nothing_of_each_other
            members_read_a_space_and_others_do_not
            a_write_without_the_role_stays_with_its_author
            a_space_of_others_is_told_like_one_that_is_not_there
            a_change_without_a_space_goes_where_the_record_is
            a_joiner_reads_all_of_the_space_once_and_goes_on
            a_joiner_reads_rows_as_everybody_does
            a_push_of_a_joiner_brings_the_space_in_pages
            a_page_may_end_at_either_edge_of_what_a_space_held
            a_joiner_misses_nothing_that_is_written_meanwhile
            spaces_are_read_one_after_the_other
            a_reading_from_the_beginning_misses_no_space_that_is_joined_meanwhile
            the_least_cursor_as_text_is_the_one_that_has_read_least
            an_app_without_rows_has_read_a_space_at_once
            another_role_sends_nothing_again
            whoever_was_away_is_told_what_was_left
            a_leave_is_told_on_every_page_up_to_it
            whoever_was_away_over_leave_and_return_reads_everything
            who_comes_back_reads_everything_again
            an_answer_that_was_wrong_once_changes_nothing
            an_answer_that_was_under_way_brings_nothing_back
            a_grant_that_is_taken_away_between_two_pushes_counts
            a_change_on_a_record_that_its_author_only_reads_is_kept
            what_was_denied_goes_into_the_space_with_the_role
            what_a_stranger_was_denied_goes_in_when_it_joins
            what_was_denied_counts_at_its_own_time
            all_that_was_denied_goes_in_batch_by_batch
            what_was_denied_long_ago_stays_with_its_author
            a_denied_delete_of_a_record_of_others_stays_with_its_author
            a_denied_delete_of_an_own_record_goes_in
            what_goes_into_a_deleted_record_leaves_it_deleted
            a_personal_record_written_with_a_space_moves_whole
            a_record_moves_into_that_of_the_space_field_by_field
            writes_of_the_same_time_are_told_when_a_record_moves
            a_retry_after_a_move_stores_nothing
            the_times_that_the_server_gave_survive_a_move
            a_record_whose_push_names_its_space_once_goes_there
            a_deleted_record_moves_with_its_delete
            values_without_a_time_do_not_grow_young_by_a_move
            a_large_record_moves_in_several_rows
            a_move_does_not_make_a_record_too_large
            a_denied_change_moves_nothing
            an_edit_with_the_new_role_takes_along_what_was_denied
            later_changes_of_a_denied_record_are_denied_too
            a_denied_delete_sent_again_with_the_new_role_is_a_replay
            a_delete_that_stays_keeps_no_later_edit_from_the_space
            a_personal_record_is_not_taken_for_one_of_a_space
            what_was_denied_keeps_its_space_when_it_is_told_again
            everything_of_a_user_is_exported
            everything_of_a_space_is_exported
            an_export_of_many_pages_has_each_row_once
            an_erased_user_is_gone_and_others_are_untouched
            members_keep_what_an_erased_user_wrote
            an_erased_user_may_begin_anew
            an_erasure_that_was_stopped_is_begun_again
            an_erased_space_is_gone_and_its_members_are_told
            an_import_leaves_what_pushes_would_have_left
            a_cursor_of_a_replaced_service_goes_on_a_minute_before
            pages_of_an_import_do_not_go_back_for_ever
            nothing_is_served_while_an_import_is_under_way
            an_import_goes_on_after_its_end_until_something_is_pushed
            a_change_stands_if_its_device_knew_the_version
            a_row_in_which_nothing_differs_has_a_new_version
            an_upload_sent_again_is_known_by_what_it_says
            a_refused_change_leaves_nothing
            changes_of_one_row_in_one_upload_stand_one_after_the_other
            a_row_needs_the_rows_that_it_refers_to
            a_page_is_whole_in_itself
            a_download_is_read_page_by_page
            both_dialects_work_on_one_record
            a_rows_client_never_gets_half_a_row
            what_can_never_be_a_row_is_answered_alone_and_kept
            an_answer_shows_conflicts_as_far_as_it_has_room
            a_device_is_told_of_what_it_has_not_sent
            an_insert_in_which_nothing_differs_goes_out_as_an_update
            devices_of_both_dialects_end_alike
            it_answers_as_the_store_in_memory
        }
    };
    (@each $fresh:path; $($clause:ident)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $clause() {
                let (store, _kept) = $fresh().await;
                $crate::contract::$clause(store).await;
            }
        )*
    };
}
