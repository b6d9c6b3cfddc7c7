//! What ordinary documentation is taken for: of each directory of Markdown, how many pages are left
//! out, how many are suspected, what the default contract says, and how many answers to questions
//! have a document that is said to contradict its neighbours. Questions are the headings of pages.
//!
//! Arguments: directories, each a set by itself. With `LOCKGATE_SHOW` set, it names what it finds.

#![allow(
    clippy::panic,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "it fails by panicking"
)]

use lockgate_detect::contradict::{Piece, contradictions};
use lockgate_detect::{Kind, scan};
use lockgate_retrieval::corpus::{
    Access, Corpus, Incoming, Listing, Options, Permissions, SourceOf,
};
use lockgate_retrieval::cut::{Sizes, cut};
use lockgate_retrieval::embed::Hashed;
use lockgate_retrieval::format::{BlockKind, Format, Parsed, Rows, parse};
use lockgate_retrieval::quality::{Contract, Look, Near, Report, Watch};
use lockgate_retrieval::search::{Query, Stemming, Within};
use lockgate_types::document::{Curation, DocumentFacts, Reader};
use lockgate_types::label::Confidentiality;
use lockgate_types::{Digest, Micros};
use std::collections::BTreeSet;
use std::error::Error;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Pieces of one answer, as an answer of the gate has.
const FOUND: usize = 8;
/// Questions of one set.
const QUESTIONS_MAX: usize = 2000;

fn main() -> Result<(), Box<dyn Error>> {
    for directory in std::env::args().skip(1) {
        let pages = pages(Path::new(&directory))?;
        let report = looked_at(&pages);
        let breaches: Vec<&str> = report.breaches.iter().map(|it| it.term.as_str()).collect();
        let (answers, contradicted) = answers(&pages)?;
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "{directory}: {} pages, {} left out, {} suspected, {} hidden, breaches {breaches:?}; \
             {contradicted} of {answers} answers contradicted",
            pages.len(),
            report.withheld,
            report.suspected,
            report.hidden,
        )?;
    }
    Ok(())
}

/// The pages of a set, by their paths in it.
fn pages(directory: &Path) -> Result<Vec<(String, Parsed)>, Box<dyn Error>> {
    let (mut waiting, mut files) = (vec![directory.to_owned()], Vec::new());
    while let Some(directory) = waiting.pop() {
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let kind = path.extension().and_then(|it| it.to_str()).unwrap_or_default();
            if path.is_dir() {
                waiting.push(path);
            } else if kind == "md" || kind == "mdx" {
                files.push(path);
            }
        }
    }
    files.sort();
    let read = |path: PathBuf| -> Result<(String, Parsed), Box<dyn Error>> {
        let name = path.strip_prefix(directory)?.display().to_string();
        Ok((name, parse(Format::Markdown, &std::fs::read(&path)?, &Rows::default())?))
    };
    files.into_iter().map(read).collect()
}

fn looked_at(pages: &[(String, Parsed)]) -> Report {
    let (mut report, mut near) = (Report::new("documentation", 1, 0), Near::default());
    for (name, page) in pages {
        let look = Look::at(page, &Watch::default());
        if let Some(suspicion) = &look.suspicion {
            let what = if look.is_withheld { "left out" } else { "suspected" };
            show(&format!("{what}: {name}: {suspicion}"));
            for signal in scan(&page.text).iter().filter(|it| it.kind == Kind::Injection) {
                let said = page.text.get(signal.start..signal.end).unwrap_or_default();
                show(&format!("    {} {}: {said:?}", signal.class, signal.score));
            }
        }
        report.volume.added += u64::from(!look.is_withheld);
        report.add(name, &look, &mut near);
    }
    report.judge(&Contract::default(), None);
    report
}

/// How many answers there are, and in how many a document contradicts others.
fn answers(pages: &[(String, Parsed)]) -> Result<(usize, usize), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let options = Options { embedder: Arc::new(Hashed), stemming: Stemming::English };
    let corpus = Corpus::open(directory.path(), options, &mut |_| {})?;
    let of = SourceOf { name: "docs".into(), tenant: "acme".into(), access: Access::Synced };
    let mut draft = corpus.begin(&of, Listing::Whole, Micros(1))?;
    for (name, page) in pages {
        draft.put(incoming(name, page)?)?;
    }
    draft.publish("", Micros(1))?;
    let (mut questions, mut contradicted) = (0, 0);
    for question in headings(pages).iter().take(QUESTIONS_MAX) {
        let within = Within { tenant: "acme", sources: None, filter: None };
        let query = Query { text: question, vector: None, within, top: FOUND };
        let answer = corpus.search(&query, &mut |_| true)?;
        let names: Vec<&str> =
            answer.hits.iter().map(|hit| hit.provenance.document.id.as_str()).collect();
        let number = |name: &str| names.iter().position(|it| *it == name).unwrap_or(0);
        let piece = |hit| -> Piece<'_> {
            let hit: &lockgate_retrieval::search::Hit = hit;
            Piece { document: number(&hit.provenance.document.id), text: &hit.text }
        };
        let found = contradictions(&answer.hits.iter().map(piece).collect::<Vec<_>>());
        for it in &found {
            let name = names.get(it.document).copied().unwrap_or_default();
            show(&format!("contradicts: {question:?}: {name} ({})", it.share));
        }
        questions += 1;
        contradicted += usize::from(!found.is_empty());
    }
    Ok((questions, contradicted))
}

/// Headings of at least two words, each once.
fn headings(pages: &[(String, Parsed)]) -> BTreeSet<&str> {
    let of = |page: &'_ Parsed| -> Vec<(usize, usize)> {
        let heads = page.blocks.iter().filter(|it| matches!(it.kind, BlockKind::Heading(_)));
        heads.map(|it| (it.start, it.end)).collect()
    };
    let all = pages.iter().flat_map(|(_, page)| {
        of(page).into_iter().filter_map(|(start, end)| page.text.get(start..end))
    });
    all.filter(|it| it.split_whitespace().count() > 1 && it.len() < 200).collect()
}

fn incoming(name: &str, page: &Parsed) -> Result<Incoming, Box<dyn Error>> {
    Ok(Incoming {
        facts: DocumentFacts {
            id: name.to_owned(),
            source: String::new(),
            tenant: String::new(),
            folders: Vec::new(),
            kind: "page".into(),
            owner: None,
            curation: Curation::Collected,
            classification: Confidentiality::Internal,
            tags: BTreeSet::new(),
            readers: None,
            denied: BTreeSet::new(),
            changed: Micros(1),
            confirmed: Micros(1),
        },
        permissions: Some(Permissions::shared([Reader::Everyone])),
        title: name.to_owned(),
        author: None,
        made: None,
        link: None,
        fingerprint: Digest::of(page.text.as_bytes()),
        pieces: cut(&page.text, &page.blocks, Sizes::default())?,
        text: page.text.clone(),
    })
}

fn show(what: &str) {
    if std::env::var_os("LOCKGATE_SHOW").is_some() {
        // Nobody may be listening.
        let _ = writeln!(std::io::stdout(), "  {what}");
    }
}
