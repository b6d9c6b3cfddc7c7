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
    cases::for_every_case!(cases);
    fleet::a_session_goes_on_at_another_node().await;
    fleet::nodes_join_what_a_group_has_met().await;
    fleet::a_session_and_what_is_behind_it_are_read_at_once().await;
    fleet::what_tightens_at_one_node_is_tight_at_another().await;
    fleet::a_bundle_rules_on_every_node().await;
    fleet::one_key_is_one_effect_across_nodes().await;
    fleet::one_node_tells_a_webhook_what_another_was_asked().await;
    fleet::a_cap_holds_across_nodes().await;
    fleet::a_canary_has_one_stage_and_is_taken_back_once().await;
    fleet::places_are_those_of_the_whole_fleet().await;
    fleet::a_rate_is_taken_in_slices().await;
    fleet::every_tenant_has_a_log_at_every_node().await;
    fleet::a_switch_stops_every_node().await;
    fleet::one_node_drives_a_run_and_another_takes_it_from_one_that_is_lost().await;
    fleet::a_node_that_is_cut_off_stops_by_itself().await;
    fleet::a_node_taken_for_lost_has_no_permits_any_more().await;
    fleet::another_process_of_the_name_takes_the_lease().await;
    fleet::a_lock_that_is_waited_for_in_vain_leaves_nothing_behind().await;
    fleet::sessions_that_cannot_be_read_leave_no_transaction_behind().await;
    fleet::sessions_that_end_in_the_middle_lose_nothing().await;
}
