//! Permissions in a file: as in any corpus.

use super::permission_cases as cases;
use super::snapshots::in_a_file;

#[test]
fn shares_and_denials_of_folders_reach_what_is_beneath_as_soon_as_they_are_told() {
    in_a_file(cases::shares_and_denials_of_folders_reach_what_is_beneath_as_soon_as_they_are_told);
}

#[test]
fn what_people_declare_adds_to_what_a_source_says_and_can_be_taken_back() {
    in_a_file(cases::what_people_declare_adds_to_what_a_source_says_and_can_be_taken_back);
}

#[test]
fn an_old_text_is_not_shared_to_whom_the_new_one_will_be() {
    in_a_file(cases::an_old_text_is_not_shared_to_whom_the_new_one_will_be);
}

#[test]
fn a_share_that_is_taken_away_is_gone_from_every_question_asked_afterwards() {
    in_a_file(cases::a_share_that_is_taken_away_is_gone_from_every_question_asked_afterwards);
}

#[test]
fn fields_are_documents_of_their_own_and_joined_where_both_may_be_seen() {
    in_a_file(cases::fields_are_documents_of_their_own_and_joined_where_both_may_be_seen);
}

#[test]
fn what_policies_refuse_is_not_returned_whatever_the_filter_lets_through() {
    in_a_file(cases::what_policies_refuse_is_not_returned_whatever_the_filter_lets_through);
}

#[test]
fn nobody_finds_another_tenants_or_a_source_that_the_task_does_not_name() {
    in_a_file(cases::nobody_finds_another_tenants_or_a_source_that_the_task_does_not_name);
}

#[test]
fn of_too_small_a_group_no_number_is_told() {
    in_a_file(cases::of_too_small_a_group_no_number_is_told);
}

#[test]
fn a_question_beyond_a_bound_is_refused() {
    in_a_file(cases::a_question_beyond_a_bound_is_refused);
}
