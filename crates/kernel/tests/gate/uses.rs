//! What documents have fed, as the record tells it.

use crate::bed::Bed;
use crate::library::{QUOTE, bed, finds, for_task, pages, plan, restarts, who};
use lockgate_kernel::Uses;
use lockgate_types::facts::Mode;
use lockgate_types::{CallId, Code, Json, Micros};

async fn uses(bed: &Bed, source: &str, document: Option<&str>) -> Uses {
    let alice = who("alice");
    bed.kernel.uses_of(&alice, (source, document), None, 64).await.unwrap()
}

fn said<'j>(leaf: &'j Json, name: &str) -> &'j str {
    leaf.get(name).and_then(Json::as_str).unwrap_or_default()
}

#[tokio::test]
async fn a_document_is_known_by_whom_it_was_shown_to_and_what_followed() {
    let bed = bed(&pages()).await;
    let (alice, bob) = (who("alice"), who("bob"));
    assert!(uses(&bed, "wiki", None).await.sessions.is_empty());
    assert!(uses(&bed, "wiki", Some("travel.md")).await.sessions.is_empty());
    for (source, document, code) in [
        ("wiki", Some("travle.md"), Code::NoSuchPlace),
        ("wiki", Some("tickets/1"), Code::NoSuchPlace),
        ("wikki", None, Code::NoSuchSource),
    ] {
        let refused = bed.kernel.uses_of(&alice, (source, document), None, 64).await;
        assert_eq!(refused.unwrap_err().code, code, "of a misspelt name nothing is said");
    }
    bed.tool_in(&alice, "s1", "save", "{}").await.result();
    finds(&bed, &for_task(&alice, "triage"), r#"{"query":"trips","sources":["wiki"]}"#).await;
    restarts(&bed, &alice, "s1", QUOTE).await.result();
    restarts(&bed, &alice, "s1", "").await.code();
    bed.tool_in(&alice, "s2", "save", r#"{"amount":2}"#).await.result();
    finds(&bed, &bob, r#"{"query":"travel budget","sources":["wiki"]}"#).await;

    let bed = bed.restart(plan()).await;
    let found = uses(&bed, "wiki", Some("travel.md")).await;
    let [of_bob, of_alice] = &found.sessions[..] else { panic!("{found:?}") };
    assert_eq!((of_bob.reads, of_bob.changes, of_bob.refused), (0, 0, 0));
    assert_eq!((of_alice.reads, of_alice.changes, of_alice.refused), (0, 1, 1));
    let named = uses(&bed, "wiki", Some("wiki/travel.md")).await;
    assert_eq!((named.document.as_deref(), named.sessions.len()), (Some("travel.md"), 2));
    assert_eq!(of_alice.mode, Mode::Normal);
    let [shown] = &of_alice.uses[..] else { panic!("{found:?}") };
    assert_eq!(said(&shown.logged.decided, "task"), "triage");
    let names = shown.documents.as_ref().unwrap().iter();
    assert_eq!(names.collect::<Vec<_>>(), ["wiki/travel.md"]);
    let [restarted, refused] = &of_alice.followed[..] else { panic!("{found:?}") };
    assert_eq!(said(&restarted.logged.decided, "operation"), "desk/restart");
    assert_eq!((restarted.cites, refused.cites), (true, false));
    let outcome = restarted.logged.outcome.as_ref().unwrap();
    assert_eq!(said(outcome, "state"), "succeeded");
    assert_eq!(said(&refused.logged.decided, "verdict"), "deny");

    // Of a document that one of them alone may see; of all of a source; of one that nobody saw.
    let secret = uses(&bed, "wiki", Some("finance/budget.md")).await;
    assert_eq!(secret.sessions.len(), 1);
    assert_eq!(secret.sessions[0].id, of_bob.id);
    let all = uses(&bed, "wiki", None).await;
    let names = all.sessions[0].uses[0].documents.as_ref().unwrap();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(uses(&bed, "tickets", None).await.sessions.is_empty());
    bed.audit().await;
}

#[tokio::test]
async fn a_change_is_found_however_much_was_read_before_it() {
    let bed = bed(&pages()).await;
    let alice = who("alice");
    finds(&bed, &alice, r#"{"query":"trips","sources":["wiki"]}"#).await;
    for _ in 0..40 {
        assert_eq!(restarts(&bed, &alice, "s1", "").await.code(), Code::CitationsMissing);
    }
    bed.tool_in(&alice, "s1", "save", "{}").await.result();
    let found = uses(&bed, "wiki", None).await;
    let [session] = &found.sessions[..] else { panic!("{found:?}") };
    assert_eq!((session.reads, session.changes, session.refused), (0, 1, 40));
    assert!(session.is_cut);
    let last = session.followed.last().unwrap();
    assert_eq!(said(&last.logged.decided, "operation"), "desk/save");
}

#[tokio::test]
async fn who_is_forgotten_leaves_that_something_was_shown_and_not_what() {
    let bed = bed(&pages()).await;
    let alice = who("alice");
    finds(&bed, &alice, r#"{"query":"trips","sources":["wiki"]}"#).await;
    bed.store().erase(&alice.issuer, &alice.subject).await.unwrap();
    let found = uses(&bed, "wiki", Some("travel.md")).await;
    let [session] = &found.sessions[..] else { panic!("{found:?}") };
    assert!(session.uses[0].documents.is_none());
}

#[tokio::test]
async fn uses_come_in_pages() {
    let bed = bed(&pages()).await;
    let alice = who("alice");
    for _ in 0..3 {
        finds(&bed, &alice, r#"{"query":"trips","sources":["wiki"]}"#).await;
    }
    let (mut before, mut seen): (Option<(Micros, CallId)>, Vec<CallId>) = (None, Vec::new());
    loop {
        let page = bed.kernel.uses_of(&alice, ("wiki", None), before, 2).await.unwrap();
        let calls = page.sessions.iter().flat_map(|it| &it.uses);
        seen.extend(calls.map(|it| it.logged.call.clone()));
        match page.next {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    let mut sorted = seen.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!((seen.len(), sorted.len()), (3, 3));
}
