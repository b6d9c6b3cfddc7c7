//! Citations: retrieved in this session, still as they were, still to be seen, and word by word.

use crate::bundle::world;
use lockgate_core::retrieve::cite::{Cited, Now, Retrieved, Verdict, cited};
use lockgate_types::document::{Curation, DocumentFacts, Provenance};
use lockgate_types::label::Confidentiality;
use lockgate_types::{Code, Digest, Json, JsonLimits, Micros, OperationName};
use std::collections::BTreeSet;

const TEXT: &str = "Restart the primary\n\tonly  after the replica — “db-2” — has caught up.";
/// Where the chunk begins in its document.
const START: u64 = 100;

fn provenance(id: &str, text: &str) -> Provenance {
    Provenance {
        document: DocumentFacts {
            id: id.to_owned(),
            source: "runbooks".to_owned(),
            tenant: "default".to_owned(),
            folders: Vec::new(),
            kind: "runbook".to_owned(),
            owner: None,
            curation: Curation::Curated,
            classification: Confidentiality::Internal,
            tags: BTreeSet::new(),
            readers: None,
            denied: BTreeSet::new(),
            changed: Micros(0),
            confirmed: Micros(0),
        },
        title: id.to_owned(),
        author: None,
        made: None,
        ingested: Micros(0),
        snapshot: 1,
        span: (START, START + text.len() as u64),
        hash: Digest::of(text.as_bytes()),
        link: None,
    }
}

fn bundle() -> lockgate_core::World {
    let schema = r#"{"type":"object","properties":{"text":{"type":"string"},
        "sources":{"type":"array","items":{"type":"object","properties":{
        "document":{"type":"string"},"quote":{"type":"string"}}}}}}"#;
    let operations = format!(
        "[tool.restart]\neffect = \"write\"\naccepted = true\nschema = '''{schema}'''\n\
         cite = {{ text = \"text\", claims = \"sources\" }}\n\
         [tool.look]\neffect = \"read\"\naccepted = true\n"
    );
    world(&[
        ("lockgate.toml", "environment = \"dev\"\n[upstream.ops]\ncommand = [\"true\"]\n"),
        ("operations/ops.toml", &operations),
    ])
}

fn arguments(text: &str) -> Json {
    Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap()
}

const WHOLE: &str = "Restart the primary only after the replica — “db-2” — has caught up.";

/// Document, quote, how the document stands now, and where the quote stands or why it does not.
type Case = (&'static str, &'static str, Now, Result<(usize, usize), Code>);

const CASES: &[Case] = &[
    ("runbooks/db.md", WHOLE, Now::Same, Ok((0, TEXT.len()))),
    ("runbooks/db.md", "  only after\n\nthe replica ", Now::Same, Ok((21, 44))),
    // Invented, altered in a word, in case, in a dash.
    ("runbooks/db.md", "Restart it whenever you like.", Now::Same, Err(Code::QuoteNotFound)),
    ("runbooks/db.md", "Restart the primary only before", Now::Same, Err(Code::QuoteNotFound)),
    ("runbooks/db.md", "restart the primary only", Now::Same, Err(Code::QuoteNotFound)),
    ("runbooks/db.md", "replica - “db-2” - has", Now::Same, Err(Code::QuoteNotFound)),
    // Words run together.
    ("runbooks/db.md", "Restart theprimary only", Now::Same, Err(Code::QuoteNotFound)),
    ("runbooks/db.md", "the replica", Now::Same, Err(Code::QuoteTooShort)),
    ("runbooks/db.md", "a    b     c", Now::Same, Err(Code::QuoteTooShort)),
    // Of another document, or source.
    ("runbooks/web.md", WHOLE, Now::Same, Err(Code::CitedNotRetrieved)),
    ("handbook/db.md", WHOLE, Now::Same, Err(Code::CitedNotRetrieved)),
    // Changed since, or withdrawn: of what is withdrawn nothing is told.
    ("runbooks/db.md", WHOLE, Now::Changed, Err(Code::CitedChanged)),
    ("runbooks/db.md", WHOLE, Now::Withdrawn, Err(Code::CitedWithdrawn)),
    ("runbooks/db.md", "Restart it whenever", Now::Withdrawn, Err(Code::CitedWithdrawn)),
];

#[test]
fn a_quote_stands_where_it_is_said_to_or_is_refused() {
    let world = bundle();
    let operation = OperationName::new("ops/restart").unwrap();
    let (known, other) = (provenance("db.md", TEXT), provenance("db.md", "Something else here."));
    for (document, quote, now, expected) in CASES {
        let retrieved = [
            Retrieved::of(&other, "Something else here.", *now),
            Retrieved::of(&known, TEXT, *now),
        ];
        let quoted = String::from_utf8(Json::from(*quote).to_bytes()).unwrap();
        let given = format!(
            r#"{{"text":"As it says [1].","sources":[{{"document":"{document}","quote":{quoted}}}]}}"#
        );
        let found = cited(&world, &operation, arguments(&given).as_object(), &retrieved);
        let expected = match *expected {
            Ok((from, to)) => Verdict::Holds {
                chunk: Digest::of(TEXT.as_bytes()),
                span: (START + from as u64, START + to as u64),
            },
            Err(code) => Verdict::Fails(code),
        };
        assert_eq!(found, Cited::Checked(vec![expected.clone()]), "{document} {quote} {now:?}");
        if let Verdict::Holds { span: (from, to), .. } = expected {
            let (from, to) = ((from - START) as usize, (to - START) as usize);
            let equal = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert_eq!(equal(TEXT.get(from..to).unwrap()), equal(quote));
        }
    }
    // A text that is not the one of its hash is not what was found.
    let text = "Restart it whenever you like.";
    let retrieved = [Retrieved::of(&known, text, Now::Same)];
    let given = format!(r#"{{"sources":[{{"document":"runbooks/db.md","quote":"{text}"}}]}}"#);
    let found = cited(&world, &operation, arguments(&given).as_object(), &retrieved);
    assert_eq!(found.fault().map(|(code, _)| code), Some(Code::CitedNotRetrieved));
}

#[test]
fn what_has_to_be_cited_and_is_not_stops_the_call() {
    let world = bundle();
    let operation = OperationName::new("ops/restart").unwrap();
    for (given, what) in [
        ("{}", "`sources` has 0 claims, and 1 are wanted"),
        (r#"{"sources":"all"}"#, "`sources` has 0 claims, and 1 are wanted"),
        (
            r#"{"sources":[{"document":"runbooks/db.md"}]}"#,
            "claim 1 of `sources` names no document and quote",
        ),
        (
            r#"{"sources":[{"document":"db.md","quote":"x"}]}"#,
            "claim 1 of `sources` names no document and quote",
        ),
        (
            r#"{"text":"so [2]","sources":[{"document":"runbooks/db.md","quote":"x"}]}"#,
            "`text` cites [2], which is no claim of `sources`",
        ),
    ] {
        let given = arguments(given);
        let found = cited(&world, &operation, given.as_object(), &[]);
        assert_eq!(found.fault(), Some((Code::CitationsMissing, what.to_owned())));
    }
    let look = OperationName::new("ops/look").unwrap();
    assert_eq!(cited(&world, &look, None, &[]), Cited::Unasked);
}
