//! What was redacted of a piece is in nothing else that is said of it, and what is left of the
//! piece is cited all the same.

use crate::bed::Bed;
use crate::library::{Page, bed, fill, finds, incoming, pages, plan, restarts, who};
use lockgate_retrieval::corpus::{Access, Listing, SourceOf};
use lockgate_retrieval::search::JOINED_BYTES_MAX;
use lockgate_types::document::Reader;
use lockgate_types::{Code, Digest, Json};
use std::collections::BTreeSet;

const TICKET: &str = "A trip for ada@mail.example was cancelled.";
const CLAIM: &str = r#"{"document":"tickets/1","quote":"was cancelled"}"#;

fn pieces(said: &Json) -> &[Json] {
    said.get("found").and_then(Json::as_array).unwrap()
}

fn text<'j>(piece: &'j Json, member: &str) -> &'j str {
    piece.get(member).and_then(Json::as_str).unwrap_or_default()
}

#[tokio::test]
async fn what_was_redacted_is_not_told_by_a_hash_and_what_is_left_can_be_cited() {
    let bed = bed(&pages()).await;
    let alice = who("alice");
    let (names, said) = finds(&bed, &alice, r#"{"query":"trip cancelled","limit":2}"#).await;
    assert_eq!(names, ["tickets/1", "wiki/travel.md"]);
    // Whoever has all but the address tries addresses: nothing tells which it was.
    let guessed = Digest::of(TICKET.as_bytes()).to_string();
    assert!(!said.to_string().contains(&guessed), "{said}");
    let is_ticket = |piece: &&Json| text(piece, "document") == "tickets/1";
    let ticket = pieces(&said).iter().find(is_ticket).unwrap();
    assert!(ticket.get("hash").is_none(), "{ticket}");
    assert_eq!(text(ticket, "shown"), Digest::of(text(ticket, "text").as_bytes()).to_string());
    // Of what was redacted nowhere the hash is there, and anybody can hold the text against it.
    let page = pieces(&said).iter().find(|piece| !is_ticket(piece)).unwrap();
    assert_eq!(text(page, "hash"), Digest::of(text(page, "text").as_bytes()).to_string());
    assert!(page.get("sealed").is_none() && page.get("shown").is_none(), "{page}");

    let bed = bed.restart(plan()).await;
    restarts(&bed, &alice, "s1", CLAIM).await.result();
    let mut changed = pages();
    changed[2].2 = "A trip for ada@mail.example was cancelled late.";
    fill(&bed, &changed);
    assert_eq!(restarts(&bed, &alice, "s1", CLAIM).await.code(), Code::CitedChanged);
    bed.audit().await;
}

#[tokio::test]
async fn who_may_see_a_document_cannot_be_guessed_from_its_fingerprint() {
    let staff = Reader::Group("staff".to_owned());
    let reader = staff.clone();
    let other = Page("wiki", "other.md", "Trips by train are others.", staff, 0);
    let mut all = pages();
    all.push(other);
    let bed = bed(&all).await;
    let alice = who("alice");
    let query = r#"{"query":"trips","sources":["wiki"]}"#;
    let (_, said) = finds(&bed, &alice, query).await;
    let of = |said: &Json| -> Vec<String> {
        pieces(said).iter().map(|piece| text(piece, "permissions").to_owned()).collect()
    };
    let told = of(&said);
    // The readers are the same: that is not told either, to whoever shares a page of their own.
    assert!(told.len() == 2 && told[0] != told[1], "{told:?}");
    assert!(told.iter().all(|it| it.starts_with("hmac-sha256:")), "{told:?}");
    let (readers, denied) = (BTreeSet::from([reader]), BTreeSet::<Reader>::new());
    let guessed = Digest::of(format!("{:?}\n{denied:?}", Some(readers)).as_bytes()).to_string();
    let digits = |told: &str| told.rsplit(':').next().map(str::to_owned);
    assert!(told.iter().all(|it| digits(it) != digits(&guessed)), "{told:?}");
    assert_eq!(of(&finds(&bed, &alice, query).await.1), told);
    bed.audit().await;
}

/// A ticket, and who has to do with it as an address of theirs.
fn mail(bed: &Bed) {
    let corpus = bed.kernel.library().unwrap().corpus().unwrap();
    let now = bed.kernel.clock().now();
    let (name, tenant) = ("tickets".to_owned(), "default".to_owned());
    let of = SourceOf { name, tenant, access: Access::Declared };
    let mut page = incoming(&pages()[2], now);
    page.author = Some("Ada <ada@mail.example>".to_owned());
    page.facts.owner = Some("bea@mail.example".to_owned());
    page.link = Some("https://mail.example/?from=cleo@mail.example".to_owned());
    let mut draft = corpus.begin(&of, Listing::Whole, now).unwrap();
    draft.put(page).unwrap();
    draft.publish("{}", now).unwrap();
}

#[tokio::test]
async fn who_wrote_and_owns_it_and_where_it_is_are_redacted_like_its_text() {
    let bed = bed(&[]).await;
    mail(&bed);
    let (_, said) = finds(&bed, &who("alice"), r#"{"query":"trip cancelled"}"#).await;
    let [ticket] = pieces(&said) else { panic!("{said}") };
    for member in ["author", "owner", "link", "text"] {
        assert!(text(ticket, member).contains("[redacted]"), "{member}: {ticket}");
    }
    assert!(!said.to_string().contains("@mail.example"), "{said}");
    bed.audit().await;
}

#[tokio::test]
async fn what_is_joined_is_not_cut_off_within_what_is_redacted() {
    let staff = || Reader::Group("staff".to_owned());
    let long: &'static str = String::leak("on ".repeat(1362) + "Mail ada@mail.example.org now.");
    assert!(long.find("ada@") < Some(JOINED_BYTES_MAX - 4) && long.len() > JOINED_BYTES_MAX);
    let row = Page("tickets", "7", "A complaint.", staff(), 0);
    let bed = bed(&[row, Page("tickets", "7/note", long, staff(), 0)]).await;
    let (names, said) = finds(&bed, &who("alice"), r#"{"query":"complaint","limit":1}"#).await;
    assert_eq!(names, ["tickets/7"]);
    let [row] = pieces(&said) else { panic!("{said}") };
    let note = row.get("fields").and_then(Json::as_array).unwrap();
    assert_eq!(text(&note[0], "document"), "tickets/7/note");
    assert!(!said.to_string().contains("ada@"), "{said}");
    bed.audit().await;
}
