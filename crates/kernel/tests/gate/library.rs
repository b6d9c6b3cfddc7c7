//! Search in registered sources, as a call: decided, recorded, and each document decided once more.
//! What was found is labelled, redacted, and never silently old.

use crate::bed::{Bed, Done, Plan, identity, json, object, soon, throw};
use crate::upstream::{Fake, says};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming as Received;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use lockgate_core::bundle::starter::DOCUMENTS;
use lockgate_effects::Caller;
use lockgate_kernel::{Answer, ListKind};
use lockgate_retrieval::corpus::{Access, Incoming, Listing, Permissions, SourceOf};
use lockgate_retrieval::relation::Layer;
use lockgate_types::document::{Curation, DocumentFacts, Reader};
use lockgate_types::facts::Switch;
use lockgate_types::identity::Identity;
use lockgate_types::label::Confidentiality;
use lockgate_types::{Code, Digest, Json, Micros, Object, TaskName, UpstreamName};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) const PRINCIPALS: &str = r#"
undeclared_users = true
[group.staff]
[group.finance]
member_of = ["staff"]
[user.alice]
groups = ["staff"]
[user.bob]
groups = ["finance"]
[agent.bot]
environments = ["dev"]
clearance = "confidential"
"#;

const POLICIES: &str = r#"
@id("search")
permit (principal, action == Action::"retrieval/search", resource);

@id("tickets-without-addresses")
@obligation_redact("pii:email")
permit (principal is User, action == Action::"retrieve", resource in Source::"tickets");

@id("cited")
permit (principal, action in [Action::"desk/restart", Action::"desk/announce"], resource);

@id("after-secrets")
forbid (principal, action == Action::"desk/save", resource)
when { context.exposure.confidentiality == "confidential" };
"#;

const OPERATIONS: &str = r#"
[tool.restart]
effect = "write"
accepted = true
cite = { claims = "sources" }
schema = '''{"type":"object","properties":{"n":{"type":"integer"},"sources":{"type":"array",
  "items":{"type":"object"}}}}'''

[tool.announce]
effect = "write"
accepted = true
cite = { claims = "sources", ask = "press" }
schema = '''{"type":"object","properties":{"sources":{"type":"array","items":{"type":"object"}}}}'''
"#;

const WIKI: &str = "owner = \"it\"\nclassification = \"internal\"\ncuration = \"curated\"\n\
    [connector.directory]\npath = \"wiki\"\n";
const TICKETS: &str = "owner = \"it\"\nclassification = \"internal\"\n\
    [connector.directory]\npath = \"tickets\"\n";
const RUNBOOKS: &str = "owner = \"ops\"\nclassification = \"internal\"\nkind = \"runbook\"\n\
    [connector.directory]\npath = \"runbooks\"\n\
    [freshness]\nsay_after_s = 3600\nconfirm_after_s = 86400\nread_only_after_s = 172800\n\
    refuse_after_s = 864000\n";

pub(crate) fn plan() -> Plan {
    let text = |text: &str| text.to_owned();
    Plan {
        operations: OPERATIONS.to_owned(),
        policies: POLICIES.to_owned(),
        files: vec![
            ("principals.toml", text(PRINCIPALS)),
            ("policies/documents.cedar", text(DOCUMENTS)),
            ("sources/wiki.toml", text(WIKI)),
            ("sources/tickets.toml", text(TICKETS)),
            ("sources/runbooks.toml", text(RUNBOOKS)),
            ("tasks/writing.toml", text("sources = [\"wiki\"]\nanswers_from = [\"template\"]\n")),
        ],
        ..Plan::new()
    }
}

/// A document: source, id, text, readers; seen so many hours ago.
pub(crate) struct Page(
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) &'static str,
    pub(crate) Reader,
    pub(crate) i64,
);

fn staff() -> Reader {
    Reader::Group("staff".to_owned())
}

fn finance() -> Reader {
    Reader::Group("finance".to_owned())
}

pub(crate) fn pages() -> Vec<Page> {
    vec![
        Page("wiki", "travel.md", "Trips are booked by the travel desk.", staff(), 0),
        Page("wiki", "finance/budget.md", "The travel budget is 40,000 euros.", finance(), 0),
        Page("tickets", "1", "A trip for ada@mail.example was cancelled.", staff(), 0),
    ]
}

pub(crate) fn incoming(page: &Page, now: Micros) -> Incoming {
    let Page(source, id, text, reader, hours) = page;
    let folders = id.rsplit_once('/').map(|(folder, _)| folder.to_owned());
    let at = Micros(now.0 - hours * 3_600_000_000);
    Incoming {
        facts: DocumentFacts {
            id: (*id).to_owned(),
            source: (*source).to_owned(),
            tenant: "default".to_owned(),
            folders: folders.into_iter().collect(),
            kind: if *source == "runbooks" { "runbook" } else { "page" }.to_owned(),
            owner: None,
            curation: Curation::Curated,
            classification: match id.starts_with("finance") {
                true => Confidentiality::Confidential,
                false => Confidentiality::Internal,
            },
            tags: BTreeSet::new(),
            readers: None,
            denied: BTreeSet::new(),
            changed: at,
            confirmed: at,
        },
        permissions: Some(Permissions::shared([reader.clone()])),
        title: (*id).to_owned(),
        author: None,
        made: None,
        link: Some(format!("https://wiki.example/{id}")),
        text: (*text).to_owned(),
        pieces: vec![(0, text.len())],
        fingerprint: Digest::of(text.as_bytes()),
    }
}

pub(crate) async fn bed(pages: &[Page]) -> Bed {
    let bed = Bed::with(Fake::start("[]", says("done")).await, plan()).await;
    fill(&bed, pages);
    bed
}

pub(crate) fn fill(bed: &Bed, pages: &[Page]) {
    let corpus = bed.kernel.library().unwrap().corpus().unwrap();
    let now = bed.kernel.clock().now();
    for source in ["wiki", "tickets", "runbooks"] {
        let of = SourceOf {
            name: source.to_owned(),
            tenant: "default".to_owned(),
            access: Access::Declared,
        };
        let mut draft = corpus.begin(&of, Listing::Whole, now).unwrap();
        for page in pages.iter().filter(|page| page.0 == source) {
            draft.put(incoming(page, now)).unwrap();
        }
        draft.publish("{}", now).unwrap();
    }
}

pub(crate) fn who(user: &str) -> Arc<Identity> {
    let groups: &[&str] = if user == "bob" { &["finance", "staff"] } else { &["staff"] };
    let subject_groups = groups.iter().map(|group| group.parse().unwrap()).collect();
    Arc::new(Identity { subject_groups, ..Identity::clone(&identity(user)) })
}

pub(crate) fn for_task(who: &Arc<Identity>, task: &str) -> Arc<Identity> {
    Arc::new(Identity { task: Some(TaskName::new(task).unwrap()), ..Identity::clone(who) })
}

async fn asks(bed: &Bed, who: &Arc<Identity>, session: &str, arguments: &str) -> Done {
    let params = Object::new().with("name", "search").with("arguments", object(arguments));
    bed.tool_at("retrieval", (who, session), params).await
}

/// The documents that were found, in the order of their names, and all that was said.
pub(crate) async fn finds(bed: &Bed, who: &Arc<Identity>, arguments: &str) -> (Vec<String>, Json) {
    let done = asks(bed, who, "s1", arguments).await;
    done.result();
    let Answer::Result(result) = &done.reply.answer else { panic!() };
    let structured = result.get("structuredContent").unwrap().clone();
    let pieces = structured.get("found").and_then(Json::as_array).unwrap();
    let name = |piece: &Json| piece.get("document").unwrap().as_str().unwrap().to_owned();
    let mut names: Vec<String> = pieces.iter().map(name).collect();
    names.sort();
    (names, structured)
}

#[tokio::test]
async fn each_person_finds_what_they_may_see_and_nothing_says_that_there_is_more() {
    let bed = bed(&pages()).await;
    let (alice, bob) = (who("alice"), who("bob"));
    let query = r#"{"query":"travel budget","sources":["wiki"]}"#;
    let (names, said) = finds(&bed, &alice, query).await;
    assert_eq!(names, ["wiki/travel.md"]);
    assert!(!said.to_string().contains("budget"), "{said}");
    assert_eq!(said.get("complete").and_then(Json::as_bool), Some(true));
    let (names, said) = finds(&bed, &bob, query).await;
    assert_eq!(names, ["wiki/finance/budget.md", "wiki/travel.md"]);
    let piece = &said.get("found").unwrap().as_array().unwrap()[0];
    for member in ["hash", "span", "snapshot", "permissions", "link", "confirmed"] {
        assert!(piece.get(member).is_some(), "{member}: {piece}");
    }
    // Taken back in Lockgate: gone from the next answer.
    let corpus = bed.kernel.library().unwrap().corpus().unwrap();
    let denied = Permissions::Inherits {
        shares: BTreeSet::new(),
        denials: BTreeSet::from([Reader::User("bob".to_owned())]),
    };
    corpus.permit("wiki", Layer::Declared, &[("finance".to_owned(), denied)]).unwrap();
    assert_eq!(finds(&bed, &bob, query).await.0, ["wiki/travel.md"]);
    bed.audit().await;
}

#[tokio::test]
async fn what_was_found_is_met_and_redacted_before_anybody_has_it() {
    let bed = bed(&pages()).await;
    let (alice, bob) = (who("alice"), who("bob"));
    let (names, said) = finds(&bed, &alice, r#"{"query":"trip cancelled"}"#).await;
    assert!(names.contains(&"tickets/1".to_owned()), "{names:?}");
    assert!(!said.to_string().contains("ada@mail"), "{said}");
    assert!(said.to_string().contains("[redacted]"), "{said}");
    bed.tool_in(&alice, "s1", "save", "{}").await.result();
    finds(&bed, &bob, r#"{"query":"euros"}"#).await;
    assert_eq!(bed.tool_in(&bob, "s1", "save", "{}").await.code(), Code::Forbidden);
    bed.audit().await;
}

#[tokio::test]
async fn a_search_is_narrowed_by_its_arguments_and_its_task() {
    let bed = bed(&pages()).await;
    let bob = who("bob");
    let found = finds(&bed, &bob, r#"{"query":"trip travel","sources":["tickets"]}"#).await.0;
    assert_eq!(found, ["tickets/1"]);
    let found = finds(&bed, &bob, r#"{"query":"trip travel","sources":["nothing"]}"#).await.0;
    assert!(found.is_empty(), "{found:?}");
    let found = finds(&bed, &bob, r#"{"query":"travel","limit":1}"#).await.0;
    assert_eq!(found.len(), 1);
    let found = finds(&bed, &bob, r#"{"query":"travel","kinds":["runbook"]}"#).await.0;
    assert!(found.is_empty(), "{found:?}");
    // Of a task's answers: only what they may be made of.
    let writing = for_task(&bob, "writing");
    assert!(finds(&bed, &writing, r#"{"query":"travel"}"#).await.0.is_empty());
    for wrong in [r#"{"query":"x","limit":51}"#, r#"{"query":"x","tenant":"other"}"#, "{}"] {
        assert_eq!(asks(&bed, &bob, "s1", wrong).await.code(), Code::ArgumentsRefused, "{wrong}");
    }
    bed.audit().await;
}

#[tokio::test]
async fn a_search_stands_in_lists_and_stops_with_a_switch() {
    let bed = bed(&pages()).await;
    let alice = who("alice");
    let upstream = UpstreamName::new("retrieval").unwrap();
    let caller = Caller::default();
    let listed = bed.kernel.list(&alice, &caller, &upstream, ListKind::Tools).await;
    let Ok(listed) = listed else { panic!() };
    assert_eq!(listed.items.len(), 1);
    assert!(listed.items[0].get("inputSchema").is_some());
    let switch = Switch { scope: "tool".to_owned(), name: "retrieval".to_owned() };
    throw(bed.store(), switch, &bed.kernel.clock().mint()).await.1.unwrap();
    let stopped = asks(&bed, &alice, "s1", r#"{"query":"travel"}"#).await;
    assert_eq!(stopped.code(), Code::SwitchEngaged);
    bed.audit().await;
}

#[tokio::test]
async fn what_is_old_is_said_and_tightens_the_session_before_it_is_read() {
    for (hours, words, code) in [
        (0, None, None),
        (2, Some("2 hours ago"), None),
        (30, Some("somebody has to confirm"), Some(Code::ApprovalRequired)),
        (60, Some("may only read from now on"), Some(Code::ModeForbids)),
    ] {
        let text = "When the database is slow, restart it.";
        let bed = bed(&[Page("runbooks", "db.md", text, staff(), hours)]).await;
        let alice = who("alice");
        bed.tool_in(&alice, "s1", "save", "{}").await.result();
        let (names, said) = finds(&bed, &alice, r#"{"query":"database slow"}"#).await;
        assert_eq!(names, ["runbooks/db.md"]);
        let notes = said.get("notes").unwrap().to_string();
        assert!(words.map_or(notes == "[]", |words| notes.contains(words)), "{hours}: {notes}");
        let after = bed.tool_in(&alice, "s1", "save", r#"{"amount":1}"#).await;
        match code {
            None => drop(after.result()),
            Some(code) => {
                assert_eq!(after.code(), code, "{hours}");
                let Answer::Refused(refusal) = &after.reply.answer else { panic!() };
                assert!(refusal.reason.contains("stale:runbooks/db.md"), "{}", refusal.reason);
            }
        }
        bed.audit().await;
    }
    let bed = bed(&[Page("runbooks", "db.md", "Restart it.", staff(), 300)]).await;
    let alice = who("alice");
    assert!(finds(&bed, &alice, r#"{"query":"restart"}"#).await.0.is_empty());
    bed.tool_in(&alice, "s1", "save", "{}").await.result();
    bed.audit().await;
}

/// Restarts something, because of what is said to stand somewhere. Each time another effect.
pub(crate) async fn restarts(bed: &Bed, who: &Arc<Identity>, session: &str, claims: &str) -> Done {
    let count = bed.fake.of("tools/call").len();
    let arguments = format!(r#"{{"n":{count},"sources":[{claims}]}}"#);
    bed.tool_in(who, session, "restart", &arguments).await
}

pub(crate) const QUOTE: &str =
    r#"{"document":"wiki/travel.md","quote":"booked by the travel desk"}"#;

#[tokio::test]
async fn what_matters_rests_on_what_was_found_and_still_stands() {
    let bed = bed(&pages()).await;
    let (alice, bob) = (who("alice"), who("bob"));
    let code = async |claims: &str| restarts(&bed, &alice, "s1", claims).await.code();
    assert_eq!(code("").await, Code::CitationsMissing);
    assert_eq!(code(QUOTE).await, Code::CitedNotRetrieved);
    finds(&bed, &alice, r#"{"query":"trips"}"#).await;
    restarts(&bed, &alice, "s1", QUOTE).await.result();
    let altered = r#"{"document":"wiki/travel.md","quote":"booked by the finance desk"}"#;
    assert_eq!(code(altered).await, Code::QuoteNotFound);
    let secret = r#"{"document":"wiki/finance/budget.md","quote":"The travel budget is"}"#;
    assert_eq!(code(secret).await, Code::CitedNotRetrieved);
    // In another session nothing was found.
    let elsewhere = restarts(&bed, &alice, "s2", QUOTE).await;
    assert_eq!(elsewhere.code(), Code::CitedNotRetrieved);
    // What was redacted is no quote of anybody's.
    let address = r#"{"document":"tickets/1","quote":"trip for ada@mail.example was"}"#;
    assert_eq!(code(address).await, Code::QuoteNotFound);
    // The record is what knows: also in the gate's next life.
    let bed = bed.restart(plan()).await;
    restarts(&bed, &alice, "s1", QUOTE).await.result();

    // Taken away from her; changed.
    finds(&bed, &bob, r#"{"query":"trips"}"#).await;
    let corpus = bed.kernel.library().unwrap().corpus().unwrap();
    let denied = Permissions::Inherits {
        shares: BTreeSet::new(),
        denials: BTreeSet::from([Reader::User("alice".to_owned())]),
    };
    corpus.permit("wiki", Layer::Declared, &[("travel.md".to_owned(), denied)]).unwrap();
    let done = restarts(&bed, &alice, "s1", QUOTE).await;
    assert_eq!(done.code(), Code::CitedWithdrawn);
    restarts(&bed, &bob, "s1", QUOTE).await.result();
    let mut changed = pages();
    changed[0].2 = "Trips are booked by whoever travels.";
    fill(&bed, &changed);
    assert_eq!(restarts(&bed, &bob, "s1", QUOTE).await.code(), Code::CitedChanged);
    bed.audit().await;
}

#[tokio::test]
async fn where_somebody_may_be_asked_what_is_not_cited_waits_and_what_is_wrong_does_not() {
    let bed = bed(&pages()).await;
    let alice = who("alice");
    let waits = bed.tool_in(&alice, "s1", "announce", "{}").await;
    assert_eq!(waits.code(), Code::ApprovalRequired);
    let Answer::Refused(refusal) = &waits.reply.answer else { panic!() };
    assert!(refusal.reason.contains("not cited"), "{}", refusal.reason);
    let invented = format!(r#"{{"sources":[{QUOTE}]}}"#);
    let done = bed.tool_in(&alice, "s1", "announce", &invented).await;
    assert_eq!(done.code(), Code::CitedNotRetrieved);
    bed.audit().await;
}

/// Numbers that look random, the same for one seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % bound as u64).unwrap()
    }

    fn readers(&mut self) -> BTreeSet<Reader> {
        let one = |dice: &mut Self| match dice.below(8) {
            0 => Reader::Everyone,
            1 | 2 => Reader::Group(format!("g{}", dice.below(3))),
            _ => Reader::User(format!("u{}", dice.below(USERS))),
        };
        (0..self.below(3)).map(|_| one(self)).collect()
    }
}

const USERS: usize = 5;
const FOLDERS: usize = 4;
const SECRETS: usize = 24;

/// What was told of documents and folders, and the oracle that decides each document alone.
struct Told {
    own: Vec<BTreeSet<Reader>>,
    /// By people: to whom, and from whom. Of documents, then of folders.
    said: Vec<(BTreeSet<Reader>, BTreeSet<Reader>)>,
}

impl Told {
    fn may(&self, user: usize, document: usize) -> bool {
        let mut is = vec![Reader::Everyone, Reader::User(format!("u{user}"))];
        is.extend(
            (0..3).filter(|g| (user + g).is_multiple_of(2)).map(|g| Reader::Group(format!("g{g}"))),
        );
        let among = |set: &BTreeSet<Reader>| is.iter().any(|reader| set.contains(reader));
        let said = [&self.said[document], &self.said[SECRETS + document % FOLDERS]];
        let is_shared = among(&self.own[document]) || said.iter().any(|(shares, _)| among(shares));
        is_shared && !said.iter().any(|(_, denials)| among(denials))
    }
}

fn secret(document: usize) -> String {
    format!("f{}/secret{document}.md", document % FOLDERS)
}

/// Of no other document is a word of this one said.
fn mark(document: usize) -> String {
    format!("zq{document}zq")
}

#[tokio::test]
async fn nothing_that_a_gate_says_or_records_is_of_a_document_that_may_not_be_seen() {
    let bed = bed(&[]).await;
    let corpus = bed.kernel.library().unwrap().corpus().unwrap();
    let (mut dice, now) = (Dice(88_172_645_463_325_252), bed.kernel.clock().now());
    let none = || (BTreeSet::new(), BTreeSet::new());
    let own = (0..SECRETS).map(|_| dice.readers()).collect();
    let mut told = Told { own, said: (0..SECRETS + FOLDERS).map(|_| none()).collect() };
    let (name, tenant) = ("wiki".to_owned(), "default".to_owned());
    let of = SourceOf { name, tenant, access: Access::Declared };
    let mut draft = corpus.begin(&of, Listing::Whole, now).unwrap();
    for document in 0..SECRETS {
        let page = Page("wiki", "x", "", staff(), 0);
        let text = format!("Everybody asks about travel. {} is in here.", mark(document));
        let id = secret(document);
        let mut incoming = incoming(&page, now);
        incoming.facts.folders = vec![format!("f{}", document % FOLDERS)];
        incoming.title = format!("About {}", mark(document));
        incoming.link = Some(format!("https://wiki.example/{}", mark(document)));
        incoming.permissions = Some(Permissions::shared(told.own[document].clone()));
        incoming.pieces = vec![(0, text.len())];
        (incoming.facts.id, incoming.text) = (id, text);
        draft.put(incoming).unwrap();
    }
    draft.publish("{}", now).unwrap();
    let (mut pairs, mut seen) = (0, 0);
    for round in 0..40 {
        let at = dice.below(SECRETS + FOLDERS);
        told.said[at] = (dice.readers(), if round % 3 == 0 { dice.readers() } else { none().0 });
        let (shares, denials) = told.said[at].clone();
        let place = if at < SECRETS { secret(at) } else { format!("f{}", at - SECRETS) };
        let said = Permissions::Inherits { shares, denials };
        corpus.permit("wiki", Layer::Declared, &[(place, said)]).unwrap();
        for user in 0..USERS {
            let groups = (0..3).filter(|g| (user + g).is_multiple_of(2)).map(|g| format!("g{g}"));
            let subject_groups = groups.map(|group| group.parse().unwrap()).collect();
            let who = identity(&format!("u{user}"));
            let who = Arc::new(Identity { subject_groups, ..Identity::clone(&who) });
            let wanted = dice.below(SECRETS);
            let query = [format!("travel {}", mark(wanted)), mark(wanted)][dice.below(2)].clone();
            let asked = format!(r#"{{"query":"{query}","limit":50}}"#);
            let done = asks(&bed, &who, "s1", &asked).await;
            let answer = done.result();
            let trace = bed.store().trace(&done.reply.call).await.unwrap();
            let record = format!("{trace:?}");
            for document in 0..SECRETS {
                pairs += 1;
                let is_named = |text: &str| {
                    // What somebody asks for themselves is said of nobody.
                    let text = text.replace(&query, "");
                    text.contains(&mark(document)) || text.contains(&secret(document))
                };
                if told.may(user, document) {
                    seen += usize::from(is_named(&answer));
                } else {
                    assert!(!is_named(&answer), "u{user} is told of {document}: {answer}");
                    assert!(!is_named(&record), "the record of u{user} has {document}");
                }
            }
        }
    }
    assert!(pairs > 4000 && seen > 500, "{pairs} {seen}");
    assert_eq!(corpus.disagreements(), 0);
    bed.audit().await;
}

/// An endpoint whose vectors say whether a text is about money, and which texts it was told.
async fn endpoint() -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let told = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&told);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let heard = Arc::clone(&heard);
            let answer = move |request: http::Request<Received>| {
                let heard = Arc::clone(&heard);
                async move {
                    let body = request.into_body().collect().await?.to_bytes();
                    let body = json(std::str::from_utf8(&body).unwrap());
                    let texts = body.get("input").unwrap().as_array().unwrap();
                    let about = |(at, text): (usize, &Json)| {
                        let text = text.as_str().unwrap();
                        heard.lock().unwrap().push(text.to_owned());
                        let is_money = text.contains("euros") || text.contains("costs");
                        let numbers = if is_money { "1,0" } else { "0,1" };
                        format!(r#"{{"index":{at},"embedding":[{numbers}]}}"#)
                    };
                    let all: Vec<String> = texts.iter().enumerate().map(about).collect();
                    let text = format!(r#"{{"data":[{}]}}"#, all.join(","));
                    Ok::<_, hyper::Error>(http::Response::new(Full::new(Bytes::from(text))))
                }
            };
            let serving = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), hyper::service::service_fn(answer));
            tokio::spawn(serving);
        }
    });
    (address, told)
}

#[tokio::test]
async fn an_endpoint_makes_vectors_of_what_it_may_be_told_and_of_nothing_else() {
    let (address, told) = endpoint().await;
    let more = format!(
        "[retrieval]\nvectors = \"endpoint\"\n[retrieval.endpoint]\nbase_url = \"{address}\"\n\
         model = \"m\"\ndimensions = 2\nceiling = \"internal\"\n"
    );
    let plan = Plan { more, ..plan() };
    let bed = Bed::with(Fake::start("[]", says("done")).await, plan).await;
    let price = Page("wiki", "prices.md", "A ticket is 30 euros.", staff(), 0);
    fill(&bed, &pages().into_iter().chain([price]).collect::<Vec<_>>());
    let stop = CancellationToken::new();
    let (kernel, stopping) = (bed.kernel.clone(), stop.clone());
    let tending = tokio::spawn(async move { kernel.tend_vectors(stopping).await });
    let corpus = bed.kernel.library().unwrap().corpus().unwrap();
    let done = async {
        while !corpus.unembedded(10, Confidentiality::Internal).unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    soon(done).await;
    stop.cancel();
    soon(tending).await.unwrap();
    // By what it means: no word of it is there.
    let alice = who("alice");
    assert_eq!(finds(&bed, &alice, r#"{"query":"costs","limit":1}"#).await.0, ["wiki/prices.md"]);
    // The budget is confidential: it was told nobody, and neither is a question of who has read it.
    let bob = who("bob");
    finds(&bed, &bob, r#"{"query":"budget"}"#).await;
    finds(&bed, &bob, r#"{"query":"forty thousand"}"#).await;
    let told = told.lock().unwrap().clone();
    assert!(told.iter().any(|text| text.contains("30 euros")), "{told:?}");
    assert!(told.contains(&"budget".to_owned()), "{told:?}");
    assert!(!told.iter().any(|text| text.contains("40,000")), "{told:?}");
    assert!(!told.contains(&"forty thousand".to_owned()), "{told:?}");
    bed.audit().await;
}
