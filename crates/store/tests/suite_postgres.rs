//! What the record promises, against a real PostgreSQL: everything that the embedded store does,
//! and what several nodes have in common.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "helpers of tests fail by panicking"
)]

mod cases;
mod common;
mod fleet;

use common::*;
use lockgate_sim::postgres::{Cluster, SUPERUSER};

/// One server for all of it: each case has a database of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_record_is_the_same_on_postgres() {
    let cluster = Cluster::start().unwrap();
    let socket = cluster.socket().display().to_string().replace('/', "%2F");
    SERVER.set(format!("postgres://{SUPERUSER}@{socket}/{{}}")).unwrap();
    macro_rules! cases {
        ($($case:ident),* $(,)?) => {$( cases::$case().await; )*};
    }
    cases! {
        every_kind_of_call_is_traced_with_what_it_carried,
        recorded_facts_decide_to_the_recorded_bytes,
        a_write_decided_on_a_stale_session_is_decided_again,
        only_reads_may_share_a_commit,
        a_permit_that_is_dropped_gets_an_outcome_all_the_same,
        a_second_writer_is_turned_away,
        results_are_kept_small_or_on_request,
        requests_without_identity_cannot_fill_the_log,
        an_undeclared_operations_name_stays_out_of_the_log,
        silence_is_told_apart_from_absence,
        an_intent_that_a_clean_end_left_open_gets_its_outcome_at_the_next_start,
        a_write_decided_under_another_bundle_is_decided_again,
        an_attempt_at_what_is_not_in_doubt_gets_no_permit,
    }
    fleet::a_session_goes_on_at_another_node().await;
    fleet::a_bundle_rules_on_every_node().await;
    fleet::one_key_is_one_effect_across_nodes().await;
    fleet::a_cap_holds_across_nodes().await;
    fleet::a_switch_stops_every_node().await;
    fleet::a_node_that_is_cut_off_stops_by_itself().await;
    fleet::a_node_taken_for_lost_has_no_permits_any_more().await;
    fleet::another_process_of_the_name_takes_the_lease().await;
    fleet::a_lock_that_is_waited_for_in_vain_leaves_nothing_behind().await;
    fleet::sessions_that_end_in_the_middle_lose_nothing().await;
}
