//! From a directory to an answer: ingested by a run, kept in the corpus, found through the filter
//! that the bundle's policies come to, and decided once more by them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use lockgate_core::World;
use lockgate_core::bundle::starter::DOCUMENTS;
use lockgate_core::identify::{DEVELOPMENT, identify};
use lockgate_core::retrieve::Retrieval;
use lockgate_core::world::Files;
use lockgate_retrieval::connect::Directory;
use lockgate_retrieval::corpus::{Access, Corpus, Options, SourceOf};
use lockgate_retrieval::embed::Hashed;
use lockgate_retrieval::ingest::{IntoCorpus, Means, Parser, Seen, Source, run};
use lockgate_retrieval::quality::{Report, Verdict};
use lockgate_retrieval::search::{Answer, Query, Stemming, Within};
use lockgate_types::call::{Call, Direction};
use lockgate_types::facts::{Facts, Mode, SessionState};
use lockgate_types::identity::Claims;
use lockgate_types::label::Label;
use lockgate_types::{CallId, Micros, Object, SessionId, UpstreamName};
use std::sync::Arc;
use support::{ORDERS, good_parser};
use tempfile::TempDir;

const NOW: i64 = 1_900_000_000_000_000;

const BUNDLE: [(&str, &str); 3] = [
    (
        "lockgate.toml",
        "environment = \"dev\"\ntenant = \"acme\"\n[[listen]]\naddress = \"127.0.0.1:0\"\n\
         [development]\nusers = [\"alice\", \"bob\"]\n",
    ),
    (
        "principals.toml",
        "[group.staff]\n[group.finance]\nmember_of = [\"staff\"]\n\
         [user.alice]\ngroups = [\"staff\"]\n[user.bob]\ngroups = [\"finance\"]\n\
         [agent.helper]\nenvironments = [\"dev\"]\nclearance = \"confidential\"\n",
    ),
    (
        "sources/wiki.toml",
        "owner = \"it\"\ntenant = \"acme\"\nclassification = \"internal\"\n\
         [connector.directory]\npath = \"wiki\"\n",
    ),
];

struct Company {
    world: World,
    folder: TempDir,
    state: TempDir,
    corpus: Corpus,
    parser: Parser,
    report: Option<Report>,
    runs: i64,
}

impl Company {
    fn new() -> Self {
        let mut files: Files = BUNDLE
            .iter()
            .map(|(path, text)| ((*path).to_owned(), text.as_bytes().into()))
            .collect();
        files.insert("policies/documents.cedar".to_owned(), DOCUMENTS.as_bytes().to_vec());
        let world = World::load(&files).unwrap_or_else(|mistakes| panic!("{mistakes:?}"));
        let (folder, state) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let options = Options { embedder: Arc::new(Hashed), stemming: Stemming::English };
        let corpus = Corpus::open(&state.path().join("corpus"), options, &mut |_| {}).unwrap();
        Self { world, folder, state, corpus, parser: good_parser(), report: None, runs: 0 }
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// What the source has is brought in.
    fn ingest(&mut self) -> Report {
        self.runs += 1;
        let now = Micros(NOW + self.runs * 1_000_000);
        let mut source = Source::new("wiki", "acme");
        source.contract.documents_min = None;
        let of =
            SourceOf { name: "wiki".to_owned(), tenant: "acme".to_owned(), access: Access::Synced };
        let link = Some("https://wiki.example/".to_owned());
        let means = Means {
            connector: &mut Directory::new(self.folder.path().to_owned(), link),
            parser: &mut self.parser,
            destination: &mut IntoCorpus::new(self.corpus.clone(), of),
            seen: &mut Seen::open(&self.state.path().join("seen.db")).unwrap(),
            now: &move || now,
            progress: &mut |_| {},
            stop: &|| false,
        };
        let report = run(&source, self.report.as_ref(), means).unwrap();
        self.report = Some(report.clone());
        report
    }

    /// The titles, texts and links that somebody finds.
    fn asks(&self, user: &str, text: &str) -> Vec<(String, String)> {
        let facts = self.facts(user);
        let retrieval = Retrieval::new(&self.world, &facts).unwrap();
        let filter = retrieval.filter().unwrap();
        let within = Within { tenant: "acme", sources: None, filter: Some(&filter) };
        let query = Query { text, vector: None, within, top: 10 };
        let mut decide = |document: &_| retrieval.admits(document).is_admitted();
        let Answer { hits, disagreements, is_complete, .. } =
            self.corpus.search(&query, &mut decide).unwrap();
        assert!(is_complete && disagreements == 0);
        hits.into_iter().map(|hit| (hit.provenance.document.id, hit.text)).collect()
    }

    fn ids(&self, user: &str, text: &str) -> Vec<String> {
        let mut ids: Vec<String> = self.asks(user, text).into_iter().map(|(id, _)| id).collect();
        ids.sort();
        ids.dedup();
        ids
    }

    fn facts(&self, user: &str) -> Facts {
        let act = Object::new().with("sub", "helper");
        let claims = Object::new().with("sub", user).with("act", act);
        let claims = Claims { issuer: DEVELOPMENT.to_owned(), claims };
        let identity = identify(&self.world, &claims).unwrap();
        let arguments = Object::new().with("query", "q");
        let params = Object::new().with("name", "search").with("arguments", arguments);
        let (id, upstream) = (CallId::new("c1").unwrap(), UpstreamName::new("retrieval").unwrap());
        Facts {
            identity: Arc::new(identity),
            call: Call::new(id, upstream, Direction::ToUpstream, "tools/call", params).unwrap(),
            session: SessionState {
                id: SessionId::new("s1").unwrap(),
                mode: Mode::Normal,
                exposure: Label::default(),
                writes: 0,
                revision: 1,
                risk: None,
                fed: None,
            },
            now: Micros(NOW),
            switches: Vec::new(),
            approvals: Vec::new(),
            live_difference: None,
            earlier: None,
            exhausted: Vec::new(),
            plan: None,
            preview: None,
            broken: None,
            cited: None,
            flow: None,
            history: None,
            risk: None,
        }
    }
}

fn company() -> Company {
    let it = Company::new();
    it.write("_permissions.toml", "readers = [\"group:staff\"]\n");
    it.write(
        "travel.md",
        "# Travel\n\nTrips are booked by the travel desk. The budget is public.\n",
    );
    it.write("finance/_permissions.toml", "readers = [\"group:finance\"]\ninherit = false\n");
    it.write("finance/budget.md", "# Budget\n\nThe travel budget of next year is 40,000 euros.\n");
    it
}

#[test]
fn two_people_ask_the_same_and_find_what_each_may_see() {
    let mut company = company();
    assert_eq!(company.ingest().verdict, Verdict::Publish);
    assert_eq!(company.ids("alice", "travel budget"), ["travel.md"]);
    assert_eq!(company.ids("bob", "travel budget"), ["finance/budget.md", "travel.md"]);
    let found = company.asks("bob", "how many euros");
    assert!(found.iter().any(|(_, text)| text.contains("40,000 euros")), "{found:?}");
}

#[test]
fn a_share_that_is_taken_back_at_the_source_is_gone_with_the_next_run() {
    let mut company = company();
    company.ingest();
    let denied = "readers = [\"group:finance\"]\ndenied = [\"user:bob\"]\ninherit = false\n";
    company.write("finance/_permissions.toml", denied);
    company.ingest();
    assert_eq!(company.ids("bob", "travel budget"), ["travel.md"]);
}

#[test]
fn a_page_that_gives_orders_is_found_by_nobody() {
    let mut company = company();
    company.write("poison.md", &format!("# Travel\n\nThe travel budget. {ORDERS}\n"));
    company.ingest();
    for user in ["alice", "bob"] {
        assert!(!company.ids(user, "travel budget").contains(&"poison.md".to_owned()));
    }
    assert!(company.asks("bob", "previous instructions").iter().all(|(id, _)| id != "poison.md"));
}

#[test]
fn what_is_deleted_at_the_source_is_found_no_more() {
    let mut company = company();
    company.ingest();
    std::fs::remove_file(company.folder.path().join("travel.md")).unwrap();
    company.ingest();
    assert!(company.ids("alice", "travel").is_empty());
}
