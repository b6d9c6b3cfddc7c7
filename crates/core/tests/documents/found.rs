//! What retrievers of others find: what is declared of it, and what is known of a hit.

use crate::bundle::world;
use lockgate_core::World;
use lockgate_core::declare::Documents;
use lockgate_core::identify::{DEVELOPMENT, identify};
use lockgate_core::retrieve::found::{Seen, facts, hits, with_hits, words};
use lockgate_core::world::Files;
use lockgate_types::document::{DocumentFacts, Reader};
use lockgate_types::identity::Claims;
use lockgate_types::label::Confidentiality;
use lockgate_types::{Json, JsonLimits, Micros, Object};
use std::collections::BTreeSet;
use std::sync::Arc;

const GATE: &str = "environment = \"dev\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n[development]\nusers = [\"ann\"]\n[upstream.vectors.api]\nbase_url = \"https://v.example\"\n\
    [upstream.vectors.api.tool.query]\nmethod = \"POST\"\npath = \"/query\"\n\
    argument.query = { in = \"body\", type = \"string\" }\n";
const PRINCIPALS: &str = "undeclared_users = true\n[group.staff]\n[group.interns]\n\
    [agent.bot]\nenvironments = [\"dev\"]\n";
const NOTES: &str = "owner = \"it\"\nclassification = \"internal\"\ncuration = \"curated\"\n\
    kind = \"note\"\nkinds = [{ path = \"run/**\", kind = \"runbook\" }]\n\
    [connector.directory]\npath = \"notes\"\n\
    [permissions]\nreaders = [\"group:staff\"]\n\
    [[permissions.folder]]\npath = \"hr\"\nreaders = [\"user:hana\"]\ndenied = [\"group:interns\"]\n";
const SYNCED: &str = "owner = \"it\"\nclassification = \"public\"\n\
    [connector.directory]\npath = \"synced\"\n[permissions]\nsynced = true\n";

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap()
}

fn operation(documents: &str) -> String {
    format!("[tool.query]\neffect = \"read\"\n[tool.query.documents]\n{documents}")
}

fn bundle(documents: &str) -> Files {
    let operation = operation(documents);
    let files = [
        ("lockgate.toml", GATE),
        ("operations/vectors.toml", operation.as_str()),
        ("principals.toml", PRINCIPALS),
        ("sources/notes.toml", NOTES),
        ("sources/synced.toml", SYNCED),
    ];
    files.into_iter().map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec())).collect()
}

fn declared(documents: &str) -> (World, Arc<Documents>) {
    let world = World::load(&bundle(documents)).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
    let operation = world.operations.values().find(|it| it.documents.is_some()).unwrap();
    let documents = Arc::clone(operation.documents.as_ref().unwrap());
    (world, documents)
}

fn time(text: &str) -> Option<Micros> {
    (text == "2026-01-01T00:00:00Z").then_some(Micros(77))
}

fn known(documents: &str, hit: &str) -> Option<DocumentFacts> {
    let (world, documents) = declared(documents);
    let act = Object::new().with("sub", "bot");
    let claims = Object::new().with("sub", "ann").with("act", act);
    let claims = Claims { issuer: DEVELOPMENT.to_owned(), claims };
    let identity = identify(&world, &claims).unwrap();
    let seen = Seen { time: Some(time), ..Seen::default() };
    facts(&world, &identity, &documents, &json(hit), &seen)
}

fn readers(all: &[&str]) -> Option<BTreeSet<Reader>> {
    Some(all.iter().map(|text| Reader::from_text(text).unwrap()).collect())
}

const PLACES: &str = "hits = \"a.b\"\nid = \"id\"\ntext = \"t\"\n";

#[test]
fn hits_are_where_they_are_declared_and_nothing_stands_beside_them() {
    let (_, documents) = declared(&format!("{PLACES}source = \"notes\"\n"));
    let answer = json(r#"{"a":{"b":[{"id":1},{"id":2}],"total":9},"took":3}"#);
    assert_eq!(hits(&documents, &answer).map(<[Json]>::len), Some(2));
    for other in [r#"{"a":{"b":{}}}"#, r#"{"a":[]}"#, "[]", r#"{"b":[]}"#] {
        assert!(hits(&documents, &json(other)).is_none(), "{other}");
    }
    let left = with_hits(&documents, vec![json(r#"{"id":2}"#)]);
    assert_eq!(Json::from(left).to_string(), r#"{"a":{"b":[{"id":2}]}}"#);
    assert_eq!(words(&documents, &json(r#"{"t":["x","y"]}"#)), Some(None));
    assert_eq!(words(&documents, &json(r#"{"t":{"x":1}}"#)), None);
}

#[test]
fn what_is_declared_of_a_source_holds_for_what_is_found_of_it() {
    let places = format!("{PLACES}source = \"notes\"\n");
    let plain = known(&places, r#"{"id":"a.md","t":"x"}"#).unwrap();
    assert_eq!((plain.source.as_str(), plain.kind.as_str()), ("notes", "note"));
    assert_eq!(plain.readers, readers(&["group:staff"]));
    assert_eq!(plain.owner.as_deref(), Some("it"));
    assert_eq!((plain.changed, plain.confirmed), (Micros(0), Micros(0)), "nobody says when");
    let beneath = known(&places, r#"{"id":"hr/a.md","t":"x"}"#).unwrap();
    assert_eq!(beneath.readers, readers(&["group:staff", "user:hana"]));
    assert_eq!(Some(beneath.denied), readers(&["group:interns"]));
    assert_eq!(known(&places, r#"{"id":"run/a/b.md","t":"x"}"#).unwrap().kind, "runbook");
    assert_eq!(known(&places, r#"{"id":7,"t":"x"}"#).unwrap().id, "7");
    for nameless in [r#"{"t":"x"}"#, r#"{"id":"","t":"x"}"#, r#"{"id":1.5}"#, r#"{"id":["a"]}"#] {
        assert!(known(&places, nameless).is_none(), "{nameless}");
    }
}

#[test]
fn who_reads_a_hit_is_what_is_known_for_certain() {
    let said = format!("{PLACES}source_member = \"s\"\nreaders = \"r\"\ndenied = \"d\"\n");
    let of = |source: &str, rest: &str| {
        known(&said, &format!(r#"{{"id":"a","t":"x","s":"{source}"{rest}}}"#))
    };
    let readers_of = |source: &str, rest: &str| of(source, rest).unwrap().readers;
    assert_eq!(readers_of("synced", r#","r":["user:ann"]"#), readers(&["user:ann"]));
    assert_eq!(readers_of("synced", r#","r":"everyone""#), readers(&["everyone"]));
    assert_eq!(readers_of("synced", r#","r":[]"#), readers(&[]));
    for unknown in ["", r#","r":null"#, r#","r":["ann"]"#, r#","r":[1]"#, r#","r":{}"#] {
        assert_eq!(readers_of("synced", unknown), None, "{unknown}");
        assert_eq!(readers_of("notes", unknown), None, "{unknown}");
    }
    // What people have declared adds up with what the retriever says.
    let both = readers_of("notes", r#","r":["user:ann"]"#);
    assert_eq!(both, readers(&["group:staff", "user:ann"]));
    let denied = of("notes", r#","r":[],"d":["user:ann"]"#).unwrap().denied;
    assert_eq!(Some(denied), readers(&["user:ann"]));
    assert!(of("notes", r#","r":[],"d":["ann"]"#).is_none(), "kept from somebody unknown");
    assert!(of("payroll", "").is_none(), "no registered source");
    let by_itself = format!("{PLACES}source = \"synced\"\nfilters_by_subject = true\n");
    let found = known(&by_itself, r#"{"id":"a","t":"x"}"#).unwrap();
    assert_eq!(found.readers, readers(&["user:ann"]));
    let nobody = known(&format!("{PLACES}source = \"synced\"\n"), r#"{"id":"a","t":"x"}"#);
    assert_eq!(nobody.unwrap().readers, None);
}

#[test]
fn a_hit_can_only_raise_its_classification_and_its_age() {
    let places =
        format!("{PLACES}source = \"notes\"\nclassification = \"c\"\nconfirmed = \"at\"\n");
    for (said, expected) in [
        ("", Confidentiality::Internal),
        (r#","c":"public""#, Confidentiality::Internal),
        (r#","c":"confidential""#, Confidentiality::Confidential),
        (r#","c":"cosmic""#, Confidentiality::Restricted),
        (r#","c":3"#, Confidentiality::Restricted),
    ] {
        let found = known(&places, &format!(r#"{{"id":"a","t":"x"{said}}}"#)).unwrap();
        assert_eq!(found.classification, expected, "{said}");
    }
    for (said, expected) in [
        ("", 0),
        (r#","at":"2026-01-01T00:00:00Z""#, 77),
        (r#","at":"yesterday""#, 0),
        (r#","at":1000"#, 1_000_000_000),
        (r#","at":1780000000000000"#, 0),
        (r#","at":-5"#, 0),
    ] {
        let found = known(&places, &format!(r#"{{"id":"a","t":"x"{said}}}"#)).unwrap();
        assert_eq!(found.confirmed, Micros(expected), "{said}");
    }
}

#[test]
fn what_is_declared_wrongly_of_a_retriever_is_named() {
    for (documents, mistake) in [
        ("hits = \"a\"\nid = \"id\"\ntext = \"t\"\n", "of which source"),
        (
            "hits = \"a\"\nid = \"id\"\ntext = \"t\"\nsource = \"notes\"\nsource_member = \"s\"\n",
            "of which source",
        ),
        ("hits = \"a\"\nid = \"id\"\ntext = \"t\"\nsource = \"nots\"\n", "no source"),
        ("hits = \"a..b\"\nid = \"id\"\ntext = \"t\"\nsource = \"notes\"\n", "no path"),
        ("hits = \"notes.a\"\nid = \"id\"\ntext = \"t\"\nsource = \"notes\"\n", "gate's own"),
        (
            "hits = \"a\"\nid = \"id\"\ntext = \"t\"\nsource = \"notes\"\nquery = \"q\"\n",
            "no argument",
        ),
        (
            "hits = \"a\"\nid = \"id\"\ntext = \"t\"\nsource = \"notes\"\nreaders = \"r\"\n\
            filters_by_subject = true\n",
            "who their readers are",
        ),
        (
            "hits = \"a\"\nid = \"id\"\ntext = \"t\"\nsource = \"notes\"\n[tool.query.returns]\n\
            origin = \"tenant\"\n",
            "labels of their own",
        ),
    ] {
        let mistakes = World::load(&bundle(documents)).err().unwrap_or_default();
        let named = mistakes.iter().any(|it| it.to_string().contains(mistake));
        assert!(named, "{documents}: {mistakes:?}");
    }
    let mut files = bundle(&format!("{PLACES}source = \"notes\"\n"));
    let mistakes = |files: &Files| World::load(files).err().unwrap_or_default();
    assert!(mistakes(&files).is_empty());
    let found = |text: &str| {
        let retriever = "[connector.retriever]\noperation = \"vectors/query\"";
        text.replace("[connector.directory]\npath = \"notes\"", retriever)
            .replace("[connector.directory]\npath = \"synced\"", retriever)
            .into_bytes()
    };
    files.insert("sources/notes.toml".to_owned(), found(NOTES));
    assert!(mistakes(&files).is_empty());
    files.insert("sources/synced.toml".to_owned(), found(SYNCED));
    let named = mistakes(&files).iter().any(|it| it.to_string().contains("does not find"));
    assert!(named, "it finds documents of another source");
    files.insert("sources/synced.toml".to_owned(), SYNCED.into());
    let write = operation(&format!("{PLACES}source = \"notes\"\n")).replace("read", "write");
    files.insert("operations/vectors.toml".to_owned(), write.into_bytes());
    assert!(mistakes(&files).iter().any(|it| it.to_string().contains("to be a read")));
    // Without a retriever there is nothing to declare.
    assert!(world(&[]).operations.values().all(|it| it.documents.is_none()));
}
