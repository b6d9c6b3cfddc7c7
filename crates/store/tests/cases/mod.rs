//! What every store promises, whatever database is under it.

mod evaluations;
mod limits;
mod memos;
mod notices;
mod risk;
mod runs;
mod shards;
mod stand_ins;
mod trails;
mod uses;

pub(crate) use evaluations::*;
pub(crate) use limits::*;

use crate::common::*;
use lockgate_core::evidence::evidence;
use lockgate_store::{
    ApprovalAnswer, CommitError, Options, OutcomeState, Payload, Store, Terms, TurnedAway,
};
use lockgate_types::call::Call;
use lockgate_types::evidence::Risk;
use lockgate_types::facts::Facts;
use lockgate_types::{CallId, Code, Json, Micros, Object};
use std::collections::BTreeSet;

/// Hands all of them to a macro, so that no store is left out.
macro_rules! for_every_case {
    ($run:ident) => {
        $run! {
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
            requests_come_in_pages_and_are_for_one_proposal_of_one_caller,
            a_webhook_is_told_how_each_request_stands_until_it_takes_it,
            a_message_of_a_channel_is_one_message_however_often_it_comes,
            a_place_is_free_however_a_call_ends,
            of_many_at_once_exactly_as_many_have_a_place,
            estimates_become_what_it_was,
            rows_take_what_is_left_until_it_is_known,
            every_tenant_has_a_log_of_its_own,
            an_end_leaves_what_it_leaves_in_every_log,
            a_request_is_answered_in_the_log_of_its_tenant,
            a_transaction_that_fails_leaves_every_log_as_it_was,
            what_a_session_met_its_group_has_met_and_a_restart_forgets_nothing,
            a_write_is_decided_again_if_its_group_has_met_more,
            refusals_tighten_a_session_and_no_restart_loosens_it,
            a_new_session_sheds_nothing,
            timers_and_people_loosen_and_it_is_recorded,
            what_a_result_shows_is_held_with_its_outcome,
            what_is_usual_is_kept_and_forgotten_with_its_subject,
            a_journal_is_written_once_by_whoever_drives_the_run,
            a_run_that_waits_is_taken_when_there_is_something_to_do,
            of_one_call_there_is_one_run_within_and_of_all_so_many,
            a_memo_is_its_subjects_alone_and_says_all_that_was_written,
            a_memory_is_divided_as_it_is_said,
            the_same_key_is_replaced_and_so_many_may_there_be,
            a_memo_whose_time_is_over_is_not_there,
            a_person_confirms_what_an_agent_wrote_and_no_agent_its_own,
            the_newest_result_of_each_suite_is_found_after_a_restart_too,
            a_key_names_one_run_of_its_opener_for_a_time,
            who_looks_after_a_gate_sees_and_ends_the_runs_of_others,
            answers_of_a_canary_are_counted_over_a_restart_too,
            it_is_told_once_in_a_window_that_a_budget_nears_its_end,
            an_answer_is_kept_for_one_prompt_and_those_who_may_the_same,
            what_was_shown_is_found_with_what_followed_in_its_session_alone,
        }
    };
}
pub(crate) use for_every_case;
pub(crate) use memos::*;
pub(crate) use notices::*;
pub(crate) use risk::*;
pub(crate) use runs::*;
pub(crate) use shards::*;
pub(crate) use stand_ins::*;
pub(crate) use trails::*;
pub(crate) use uses::*;

pub(crate) fn text<'a>(json: &'a Json, path: &[&str]) -> &'a str {
    json.at(path).and_then(Json::as_str).unwrap_or_else(|| panic!("{path:?} in {json}"))
}

pub(crate) async fn every_kind_of_call_is_traced_with_what_it_carried() {
    let directory = tempfile::tempdir().unwrap();
    let (store, opened) = Store::open(options(directory.path())).unwrap();
    assert!(opened.was_clean && opened.gap.is_none());
    let (world, alice) = (world(), identity("alice"));
    store.publish_bundle(world.digest, &files()).await.unwrap();

    let (written, _) = write(&store, &world, &alice).await.unwrap();
    let (looked, _) = read(&store, &world, &alice).await.unwrap();
    let (wiped, _) = refuse(&store, &world, &alice).await.unwrap();

    for (call, kinds_expected) in [
        (&written, &["intent", "outcome"][..]),
        (&looked, &["intent", "outcome"]),
        (&wiped, &["refusal"]),
    ] {
        let trace = store.trace(call).await.unwrap().unwrap();
        let leaves: Vec<Json> = trace.entries.iter().map(|entry| entry.leaf.clone()).collect();
        assert_eq!(kinds(&leaves), kinds_expected);
        let Payload::Present(parts) = &trace.entries[0].payload else { panic!() };
        let names: Vec<&str> = parts.iter().map(|part| part.name).collect();
        assert_eq!(names, ["call", "moment", "decision", "identity"]);
        if let [intent, outcome] = trace.entries.as_slice() {
            assert_eq!(text(&outcome.leaf, &["parent", "hash"]), intent.hash.to_string());
            let index = outcome.leaf.at(&["parent", "index"]).and_then(Json::as_i64);
            assert_eq!(index, Some(intent.index as i64));
            assert!(
                matches!(&outcome.payload, Payload::Present(parts) if parts[0].name == "result")
            );
        }
    }
    assert_eq!(store.trace(&call("look").id).await.unwrap().map(|_| ()), None);
    assert_eq!(store.bundle(&world.digest).await.unwrap(), Some(files()));

    // What a person wrote, or is called, is nowhere in the log.
    for entry in entries(&store).await {
        let leaf = entry.to_string();
        assert!(!leaf.contains("Ada") && !leaf.contains("alice"), "{leaf}");
    }
    let report = verify(&store).await.unwrap();
    assert_eq!(report.entries, 7);
    store.close().await.unwrap();

    let (store, opened) = reopen(&options(directory.path()));
    assert!(opened.was_clean && opened.gap.is_none());
    assert_eq!(opened.size, 9);
    assert!(store.trace(&written).await.unwrap().is_some());
    verify(&store).await.unwrap();
}

pub(crate) async fn recorded_facts_decide_to_the_recorded_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let world = world();
    for subject in ["alice", "bob"] {
        let identity = identity(subject);
        for _ in 0..20 {
            write(&store, &world, &identity).await.unwrap();
            read(&store, &world, &identity).await.unwrap();
            refuse(&store, &world, &identity).await.unwrap();
        }
    }
    let (mut from, mut replayed) = (0, 0);
    loop {
        let records = store.records(from, 50).await.unwrap();
        for record in &records.records {
            let recorded = record.recorded.as_ref().unwrap();
            let decision = lockgate_core::decide(&world, &recorded.facts().unwrap());
            assert_eq!(decision.to_canonical(), recorded.decision);
            assert_eq!(record.bundle, world.digest);
            replayed += 1;
        }
        from = records.next;
        if from == records.size {
            break;
        }
    }
    assert_eq!(replayed, 120);
}

pub(crate) async fn a_write_decided_on_a_stale_session_is_decided_again() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (world, alice) = (world(), identity("alice"));
    let before = store.session(&session_key(&alice)).await.unwrap();
    // Two writes on the same facts of the session do not contend.
    for _ in 0..2 {
        let permit = store
            .commit(allowed(&world, facts(&alice, before.clone(), call("save"))), Terms::default());
        drop(permit.await.unwrap());
    }
    read(&store, &world, &alice).await.unwrap();
    let after = store.session(&session_key(&alice)).await.unwrap();
    assert_eq!((after.revision, after.writes), (before.revision + 1, 2));
    assert_ne!(after.exposure, before.exposure);

    let stale = facts(&alice, before, call("save"));
    let call_id = stale.call.id.clone();
    let Err(CommitError::Moved(moved)) =
        store.commit(allowed(&world, stale.clone()), Terms::default()).await
    else {
        panic!("a permit on stale facts");
    };
    assert_eq!(*moved, stale);
    assert!(store.trace(&call_id).await.unwrap().is_none());
    // The state survives a restart: it is the fold of the entries, not of memory.
    store.close().await.unwrap();
    let (store, _) = reopen(&options(directory.path()));
    assert_eq!(store.session(&session_key(&alice)).await.unwrap(), after);
}

pub(crate) async fn only_reads_may_share_a_commit() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (world, alice) = (world(), identity("alice"));
    let session = store.session(&session_key(&alice)).await.unwrap();
    let write = allowed(&world, facts(&alice, session, call("save")));
    let refused = store.admit_read(write).map(|_| ()).unwrap_err();
    assert_eq!(refused.code(), Code::InvariantBroken);
}

pub(crate) async fn a_permit_that_is_dropped_gets_an_outcome_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (world, alice) = (world(), identity("alice"));
    let unspent = open_write(&store, &world, &alice).await.unwrap();
    let unspent_call = unspent.call().id.clone();
    drop(unspent);
    let (spent_call, _, spent) = open_write(&store, &world, &alice).await.unwrap().spend();
    drop(spent);
    let session = store.session(&session_key(&alice)).await.unwrap();
    let permit = store.admit_read(allowed(&world, facts(&alice, session, call("look")))).unwrap();
    let (read_call, _, spent) = permit.spend();
    drop(spent);
    for (call, state) in [
        (unspent_call, OutcomeState::Failed),
        (spent_call.id, OutcomeState::InDoubt),
        (read_call.id, OutcomeState::Truncated),
    ] {
        let trace = store.trace(&call).await.unwrap().unwrap();
        assert_eq!(text(&trace.entries[1].leaf, &["state"]), state.as_str());
    }
}

pub(crate) async fn a_second_writer_is_turned_away() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let error = Store::open(options(directory.path())).map(|_| ()).unwrap_err();
    assert_eq!(error.code(), Code::AnotherWriter);
    assert!(error.to_string().contains(&directory.path().display().to_string()));
    write(&store, &world(), &identity("alice")).await.unwrap();
}

pub(crate) async fn results_are_kept_small_or_on_request() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (world, alice) = (world(), identity("alice"));
    for (size, keep_all, part) in [
        (10, false, "result"),
        (lockgate_store::RESULT_KEPT_BYTES_MAX - 2, false, "result"),
        (lockgate_store::RESULT_KEPT_BYTES_MAX, false, "result_digest"),
        (lockgate_store::RESULT_KEPT_BYTES_MAX, true, "result"),
    ] {
        let (call, _, spent) = open_write(&store, &world, &alice).await.unwrap().spend();
        let mut record = outcome(&"x".repeat(size));
        record.keep_all = keep_all;
        store.conclude(spent, record).await.unwrap();
        let trace = store.trace(&call.id).await.unwrap().unwrap();
        let Payload::Present(parts) = &trace.entries[1].payload else { panic!() };
        assert_eq!(parts[0].name, part, "{size}");
        let bytes = trace.entries[1].leaf.get("bytes").and_then(Json::as_i64);
        assert_eq!(bytes, Some(size as i64 + 2));
    }
}

pub(crate) async fn requests_without_identity_cannot_fill_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    write(&store, &world(), &identity("alice")).await.unwrap();
    let turned = |subject: &str, at| TurnedAway {
        code: Code::TokenExpired,
        at,
        who: Some((ISSUER.to_owned(), subject.to_owned())),
        listener: "main".to_owned(),
    };
    let start = now();
    for _ in 0..250 {
        let _ = store.turn_away(turned("mallory", start)).await;
    }
    let mut later = start;
    later.0 += 1_000_000;
    store.turn_away(turned("alice", later)).await.unwrap();
    let entries = entries(&store).await;
    let away: Vec<&Json> =
        entries.iter().filter(|entry| text(entry, &["k"]) == "turned_away").collect();
    assert_eq!(away.len(), 101);
    assert!(away[0].get("subject").is_none(), "an unknown subject leaves no name");
    let last = away[100];
    assert_eq!(last.get("missed").and_then(Json::as_i64), Some(150));
    assert!(text(last, &["subject"]).starts_with("u_"));
}

pub(crate) async fn an_undeclared_operations_name_stays_out_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (world, alice) = (world(), identity("alice"));
    let session = store.session(&session_key(&alice)).await.unwrap();
    let named: Call = call("Ada Lovelace, born 1815");
    let id = named.id.clone();
    store.refuse(refused(&world, facts(&alice, session, named))).await.unwrap();
    let trace = store.trace(&id).await.unwrap().unwrap();
    assert!(!trace.entries[0].leaf.to_string().contains("Ada"));
    let Payload::Present(parts) = &trace.entries[0].payload else { panic!() };
    assert!(String::from_utf8_lossy(&parts[0].bytes).contains("Ada"));
}

pub(crate) async fn silence_is_told_apart_from_absence() {
    let directory = tempfile::tempdir().unwrap();
    let heartbeat = Some(std::time::Duration::from_millis(1));
    let (store, _) = Store::open(Options { heartbeat, ..options(directory.path()) }).unwrap();
    while !kinds(&entries(&store).await).contains(&"heartbeat") {}
    verify(&store).await.unwrap();
    store.close().await.unwrap();

    let heartbeat = None;
    let (store, _) = Store::open(Options { heartbeat, ..options(directory.path()) }).unwrap();
    let before = entries(&store).await.len();
    for _ in 0..50 {
        assert_eq!(entries(&store).await.len(), before);
    }
}

pub(crate) async fn an_intent_that_a_clean_end_left_open_gets_its_outcome_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let options = options(directory.path());
    let (store, _) = Store::open(options.clone()).unwrap();
    let permit = open_write(&store, &world(), &identity("alice")).await.unwrap();
    let id = permit.call().id.clone();
    // As if nobody had come to drop it.
    std::mem::forget(permit);
    store.close().await.unwrap();
    let (store, opened) = reopen(&options);
    assert!(opened.was_clean && opened.gap.is_none());
    let trace = store.trace(&id).await.unwrap().unwrap();
    assert_eq!(text(&trace.entries[1].leaf, &["state"]), "in_doubt");
    verify(&store).await.unwrap();
}

pub(crate) async fn a_write_decided_under_another_bundle_is_decided_again() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (old, alice) = (world(), identity("alice"));
    store.publish_bundle(old.digest, &files()).await.unwrap();
    let session = store.session(&session_key(&alice)).await.unwrap();
    let decided = || allowed(&old, facts(&alice, session.clone(), call("save")));
    store.commit(decided(), Terms::default()).await.map(drop).unwrap();
    let late = decided();
    let mut changed = files();
    changed.insert("tasks/one.toml".to_owned(), Vec::new());
    let digest = lockgate_core::bundle::digest(&changed);
    store.publish_bundle(digest, &changed).await.unwrap();
    assert!(matches!(store.commit(late, Terms::default()).await, Err(CommitError::Moved(_))));
}

pub(crate) async fn an_attempt_at_what_is_not_in_doubt_gets_no_permit() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (world, alice) = (world(), identity("alice"));
    let session = store.session(&session_key(&alice)).await.unwrap();
    let mut attempt = call("save");
    attempt.attempt_of = Some(lockgate_types::CallId::new("gone").unwrap());
    let allowed = allowed(&world, facts(&alice, session, attempt));
    let terms = Terms { window_us: Some(1), ..Terms::default() };
    assert!(matches!(store.commit(allowed, terms).await, Err(CommitError::Moved(_))));
}

pub(crate) async fn requests_come_in_pages_and_are_for_one_proposal_of_one_caller() {
    let directory = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(options(directory.path())).unwrap();
    let (world, alice, bob) = (world(), identity("alice"), identity("bob"));
    store.publish_bundle(world.digest, &files()).await.unwrap();
    let session = store.session(&session_key(&alice)).await.unwrap();
    let asks = |number: i64| {
        let mut asks = call("wipe");
        asks.params.set("arguments", Object::new().with("number", number));
        facts(&alice, session.clone(), asks)
    };
    // All end at once, so that pages cannot go by that alone.
    let expires = Micros(now().0 + 3_600_000_000);
    let mut requests = Vec::new();
    for number in 0..7 {
        let refused = refused(&world, asks(number));
        let (decision, facts) = (refused.decision(), refused.facts());
        let evidence = evidence(&world, decision, facts, None, Risk::default());
        requests.push(store.ask(refused, &evidence, expires).await.unwrap().0);
    }
    let first = store.approval_requests(3).await.unwrap();
    let mut seen: Vec<CallId> = first.iter().map(|request| request.call.clone()).collect();
    loop {
        let after = seen.last().unwrap().clone();
        let page = store.approval_requests_after(&after, 3).await.unwrap().unwrap();
        if page.is_empty() {
            break;
        }
        seen.extend(page.into_iter().map(|request| request.call));
    }
    assert_eq!(seen.len(), 7);
    assert_eq!(seen.iter().collect::<BTreeSet<_>>(), requests.iter().collect());
    let unknown = CallId::new("unknown").unwrap();
    assert_eq!(store.approval_requests_after(&unknown, 3).await.unwrap(), None);

    let is_for =
        async |request: &CallId, facts: Facts| store.is_request_for(request, &facts).await.unwrap();
    assert!(is_for(&requests[0], asks(0)).await);
    assert!(!is_for(&requests[0], asks(1)).await);
    assert!(!is_for(&unknown, asks(0)).await);
    let mut other = asks(0);
    other.identity = bob;
    assert!(!is_for(&requests[0], other).await);

    // One is given up; what is asked for stays closed, and counts.
    let by = call("wipe").id;
    let cancel = ApprovalAnswer::Cancel;
    assert!(store.answer_approval(&requests[0], cancel.clone(), &by).await.unwrap());
    assert!(!store.answer_approval(&requests[0], cancel, &by).await.unwrap());
    let lately = store.asked_lately(&asks(0)).await.unwrap();
    assert_eq!(lately.requests, [("cancelled".to_owned(), 1), ("pending".to_owned(), 6)]);
    let trace = store.trace(&requests[1]).await.unwrap().unwrap();
    let Payload::Present(parts) = &trace.entries[0].payload else { panic!() };
    assert!(parts.iter().any(|part| part.name == "evidence"));
    verify(&store).await.unwrap();
    store.close().await.unwrap();
}
