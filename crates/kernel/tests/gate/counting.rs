//! How many documents there are, as a call: of those that may be seen, and of no small group.

use crate::bed::{Bed, Done, Plan, object};
use crate::library::{Page, incoming, plan, who};
use crate::upstream::{Fake, says};
use lockgate_kernel::Answer;
use lockgate_retrieval::corpus::{Access, Listing, SourceOf};
use lockgate_types::document::Reader;
use lockgate_types::identity::Identity;
use lockgate_types::{Code, Json, Object};
use std::sync::Arc;

const COUNTS: &str = "
@id(\"count\")
permit (principal, action == Action::\"retrieval/count\", resource)
unless { principal == User::\"carol\" };
";

/// Ten pages for staff, two of them old, six for finance; tickets ask for groups of eight.
async fn bed() -> Bed {
    let plan = plan();
    let policies = format!("{}{COUNTS}", plan.policies);
    let files = plan.files.into_iter().map(|(name, text)| match name {
        "sources/tickets.toml" => (name, format!("group_min = 8\n{text}")),
        name => (name, text),
    });
    let plan = Plan { policies, files: files.collect(), ..plan };
    let bed = Bed::with(Fake::start("[]", says("done")).await, plan).await;
    let corpus = bed.kernel.library().unwrap().corpus().unwrap();
    let now = bed.kernel.clock().now();
    let groups: &[(&str, &str, usize, &str)] = &[
        ("wiki", "staff", 8, "page"),
        ("wiki", "staff", 2, "old"),
        ("wiki", "finance", 6, "budget"),
        ("tickets", "staff", 7, "ticket"),
        ("runbooks", "staff", 5, "runbook"),
    ];
    for source in ["wiki", "tickets", "runbooks"] {
        let of = SourceOf {
            name: source.to_owned(),
            tenant: "default".to_owned(),
            access: Access::Declared,
        };
        let mut draft = corpus.begin(&of, Listing::Whole, now).unwrap();
        for (_, reader, count, kind) in groups.iter().filter(|it| it.0 == source) {
            for at in 0..*count {
                let reader = Reader::Group((*reader).to_owned());
                let mut page = incoming(&Page("wiki", "a.md", "words", reader, 0), now);
                page.facts.source = source.to_owned();
                page.facts.id = format!("{kind}-{at}");
                page.facts.kind = (*kind).to_owned();
                page.facts.tags = [(*kind).to_owned()].into();
                draft.put(page).unwrap();
            }
        }
        draft.publish("{}", now).unwrap();
    }
    bed
}

async fn counts(bed: &Bed, who: &Arc<Identity>, arguments: &str) -> Done {
    let params = Object::new().with("name", "count").with("arguments", object(arguments));
    bed.tool_at("retrieval", (who, "s1"), params).await
}

/// The groups that are told, and how large they have to be.
async fn told(bed: &Bed, who: &Arc<Identity>, arguments: &str) -> (String, i64) {
    let done = counts(bed, who, arguments).await;
    done.result();
    let Answer::Result(result) = &done.reply.answer else { panic!() };
    let said = result.get("structuredContent").unwrap();
    let groups = said.get("groups").unwrap().as_array().unwrap();
    let text = |group: &Json, member: &str| {
        group.get(member).and_then(Json::as_str).unwrap_or_default().to_owned()
    };
    let by = text(said, "by");
    let shown = groups.iter().map(|group| {
        let count = group.get("documents").unwrap().as_i64().unwrap();
        format!("{}/{} {count}", text(group, "source"), text(group, &by))
    });
    let least = said.get("group_min").unwrap().as_i64().unwrap();
    (shown.collect::<Vec<_>>().join(", "), least)
}

#[tokio::test]
async fn documents_that_may_be_seen_are_counted_and_no_small_group_is_told() {
    let bed = bed().await;
    let (alice, bob) = (who("alice"), who("bob"));
    let all = r#"{"by":"source","sources":["wiki","runbooks"]}"#;
    assert_eq!(told(&bed, &alice, all).await, ("runbooks/runbooks 5, wiki/wiki 10".to_owned(), 5));
    assert_eq!(told(&bed, &bob, all).await, ("runbooks/runbooks 5, wiki/wiki 16".to_owned(), 5));
    // What is left of ten without eight would be two.
    let kinds = r#"{"by":"kind","sources":["wiki"]}"#;
    assert_eq!(told(&bed, &alice, kinds).await, (String::new(), 5));
    assert_eq!(told(&bed, &bob, kinds).await, ("wiki/page 8".to_owned(), 5));
    let tags = r#"{"by":"tag","sources":["wiki","runbooks"]}"#;
    let found = "runbooks/runbook 5, wiki/budget 6, wiki/page 8";
    assert_eq!(told(&bed, &bob, tags).await, (found.to_owned(), 5));
    // Of several sources that which asks for most.
    let most = ("wiki/wiki 10".to_owned(), 8);
    assert_eq!(told(&bed, &alice, r#"{"by":"source"}"#).await, most);
    for wrong in [r#"{"by":"owner"}"#, "{}", r#"{"by":"tag","kinds":["page"]}"#] {
        assert_eq!(counts(&bed, &alice, wrong).await.code(), Code::ArgumentsRefused, "{wrong}");
    }
    bed.audit().await;
}

#[tokio::test]
async fn a_count_is_a_call_whose_session_has_met_what_was_counted() {
    let bed = bed().await;
    let bob = who("bob");
    bed.tool_in(&bob, "s1", "save", "{}").await.result();
    let refused = counts(&bed, &who("carol"), r#"{"by":"kind"}"#).await;
    assert_eq!(refused.code(), Code::SubjectNotPermitted);
    let corpus = bed.kernel.library().unwrap().corpus().unwrap();
    let now = bed.kernel.clock().now();
    let of = SourceOf {
        name: "wiki".to_owned(),
        tenant: "default".to_owned(),
        access: Access::Declared,
    };
    let mut draft = corpus.begin(&of, Listing::Whole, now).unwrap();
    let finance = Reader::Group("finance".to_owned());
    draft.put(incoming(&Page("wiki", "finance/a.md", "words", finance, 0), now)).unwrap();
    draft.publish("{}", now).unwrap();
    // No group is told, and that there is something was met all the same.
    assert_eq!(told(&bed, &bob, r#"{"by":"kind","sources":["wiki"]}"#).await.0, "");
    assert_eq!(bed.tool_in(&bob, "s1", "save", "{}").await.code(), Code::Forbidden);
    bed.audit().await;
}
