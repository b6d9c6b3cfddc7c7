//! Which documents somebody may be shown, over random organisations: the filter is what each
//! document's own decision is, and both are what Cedar's public API says over the whole set of
//! policies and the whole organisation. Then freshness and citations, by tables.
//!
//! `LOCKGATE_DOCUMENT_PAIRS` says how many decisions are compared; `cargo xtask documents` runs a
//! million of them.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking"
)]

mod bundle;
mod cite;
mod count;
mod found;
mod fresh;
mod oracle;
mod organisation;
mod policies;

use lockgate_core::retrieve::filter::Filter;
use lockgate_core::retrieve::{Admission, Retrieval, admits, filter};
use lockgate_types::Code;
use oracle::Oracle;
use organisation::{Dice, Organisation, Size};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Decisions that are compared in an ordinary run.
const PAIRS: u64 = 6_000;

/// What a run came to.
#[derive(Debug, Default)]
struct Seen {
    pairs: u64,
    admitted: u64,
    filtered: u64,
    refused: u64,
    codes: BTreeMap<&'static str, u64>,
}

impl Seen {
    fn add(&mut self, other: Self) {
        self.pairs += other.pairs;
        self.admitted += other.admitted;
        self.filtered += other.filtered;
        self.refused += other.refused;
        for (code, count) in other.codes {
            *self.codes.entry(code).or_default() += count;
        }
    }
}

/// Compares every decision of one organisation.
fn compare(seed: u64, size: &Size) -> Seen {
    let mut dice = Dice::of(seed);
    let organisation = Organisation::random(&mut dice, size);
    let world = organisation.world();
    let oracle = Oracle::of(&organisation);
    let mut seen = Seen::default();
    for asked in organisation.asked() {
        let facts = organisation.facts(&world, &asked);
        let retrieval = Retrieval::new(&world, &facts);
        let found = filter(&world, &facts);
        for (at, document) in organisation.documents.iter().enumerate() {
            let told =
                || format!("seed {seed}, {asked:?}, {document:#?}\n{}", organisation.policies);
            let answer = match &retrieval {
                Ok(retrieval) => retrieval.admits(document),
                Err(withheld) => Admission::Withheld(withheld.clone()),
            };
            let expected = oracle.admits(&facts, &asked, at);
            assert_eq!(answer.is_admitted(), expected, "{answer:?}, {}", told());
            match &found {
                Ok(filter) => {
                    assert_eq!(filter.holds(document), expected, "{filter:?}, {}", told());
                    seen.filtered += 1;
                }
                Err(why) => {
                    let is_said =
                        policies::UNSUPPORTED.iter().any(|it| oracle.says(&why.policy, it));
                    assert!(is_said, "{why}, {}", told());
                    seen.refused += 1;
                }
            }
            seen.pairs += 1;
            match &answer {
                Admission::Admitted { .. } => seen.admitted += 1,
                Admission::Withheld(why) => {
                    *seen.codes.entry(why.code.as_str()).or_default() += 1;
                }
            }
        }
    }
    seen
}

#[test]
fn a_filter_is_what_each_document_alone_is_decided_to_be() {
    let wanted = std::env::var("LOCKGATE_DOCUMENT_PAIRS").ok();
    let wanted = wanted.map_or(PAIRS, |text| text.parse().unwrap());
    let size = if wanted > PAIRS { Size::LARGE } else { Size::SMALL };
    let (next, done) = (AtomicU64::new(1), AtomicU64::new(0));
    let work = || {
        let mut seen = Seen::default();
        while done.load(Ordering::Relaxed) < wanted {
            let found = compare(next.fetch_add(1, Ordering::Relaxed), &size);
            done.fetch_add(found.pairs, Ordering::Relaxed);
            seen.add(found);
        }
        seen
    };
    let mut seen = Seen::default();
    std::thread::scope(|scope| {
        let workers = [(); 2].map(|()| scope.spawn(work));
        workers.into_iter().for_each(|worker| seen.add(worker.join().unwrap()));
    });
    eprintln!("{seen:#?}");
    // All of it was there: shown, refused for each reason, filtered, and refused a filter.
    assert!(seen.pairs >= wanted);
    assert!(seen.admitted * 20 > seen.pairs, "{seen:?}");
    assert!(seen.filtered * 4 > seen.pairs, "{seen:?}");
    assert!(seen.refused * 20 > seen.pairs, "{seen:?}");
    let codes =
        [Code::Forbidden, Code::PolicyFailed, Code::DocumentNotPermitted, Code::SourceNotForTask];
    for code in codes {
        let count = seen.codes.get(code.as_str()).copied().unwrap_or_default();
        assert!(count * 100 > seen.pairs, "{code}: {seen:?}");
    }
}

#[test]
fn an_identity_that_is_not_whole_is_shown_nothing() {
    let mut dice = Dice::of(7);
    let mut organisation = Organisation::random(&mut dice, &Size::SMALL);
    organisation.policies = "permit (principal, action == Action::\"retrieve\", resource);".into();
    let world = organisation.world();
    let asked = organisation.asked().into_iter();
    let mut asked = asked.filter(|it| it.task.is_none());
    let asked = asked.find(|it| !organisation.users[it.user].is_empty()).unwrap();
    let facts = organisation.facts(&world, &asked);
    let is_seen =
        |it: &&lockgate_types::document::DocumentFacts| admits(&world, &facts, it).is_admitted();
    let document = organisation.documents.iter().find(is_seen).unwrap();
    for code in [Code::FactsIncomplete, Code::UnknownAgent, Code::UnknownSubject] {
        let mut facts = facts.clone();
        let identity = std::sync::Arc::make_mut(&mut facts.identity);
        match code {
            Code::FactsIncomplete => identity.subject_groups.clear(),
            Code::UnknownAgent => identity.agent = "nobody".parse().unwrap(),
            _ => identity.subject = "nobody".parse().unwrap(),
        }
        let Admission::Withheld(why) = admits(&world, &facts, document) else { panic!("shown") };
        assert_eq!(why.code, code);
        assert_eq!(filter(&world, &facts), Ok(Filter::nothing()));
    }
}

#[test]
fn equal_keys_are_equal_filters() {
    let mut dice = Dice::of(11);
    let mut organisation = Organisation::random(&mut dice, &Size::SMALL);
    organisation.policies =
        "@id(\"a\")\npermit (principal, action == Action::\"retrieve\", resource)\n\
         when { resource.level <= context.clearance && context.mode == \"normal\" };"
            .into();
    let world = organisation.world();
    let asked = organisation.asked().remove(0);
    let facts = organisation.facts(&world, &asked);
    let key = |facts| Retrieval::new(&world, facts).map(|it| it.key()).unwrap();
    let mut later = facts.clone();
    later.now.0 += 1;
    assert_eq!(key(&facts), key(&later), "nothing asks for the time");
    let mut tighter = facts.clone();
    tighter.session.mode = lockgate_types::facts::Mode::Approvals;
    assert_ne!(key(&facts), key(&tighter), "the mode is asked for");
    let mut other = facts.clone();
    let identity = std::sync::Arc::make_mut(&mut other.identity);
    identity.subject_groups.insert("extra".parse().unwrap());
    assert_ne!(key(&facts), key(&other));
    // What asks for the time has another key every moment.
    organisation.policies =
        organisation.policies.replace("context.mode", "context.now > 5 && \"x\"");
    organisation.policies = organisation.policies.replace("\"x\" == \"normal\"", "true");
    let world = organisation.world();
    let key = |facts| Retrieval::new(&world, facts).map(|it| it.key()).unwrap();
    assert_ne!(key(&facts), key(&later));
}
