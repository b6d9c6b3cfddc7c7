//! Documents that are meant to do harm: those of `corpora/hostile` and those that are made. Each is
//! read without what it hides, or refused with a reason; and whoever has them read stays up.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use lockgate_retrieval::cut::{Sizes, cut};
use lockgate_retrieval::format::{Format, Parsed, Rows};
use lockgate_retrieval::ingest::{ParseError, Parser};
use lockgate_retrieval::quality::{Look, Watch};
use std::path::{Path, PathBuf};
use support::{ORDERS, good_parser, made};

/// Bytes of memory that this process may have used in the end, its own documents included.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

fn corpus() -> Vec<(PathBuf, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpora/hostile");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.file_name().is_some_and(|name| name != "README.md"));
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

fn read(parser: &mut Parser, name: &str, bytes: &[u8]) -> Result<Parsed, ParseError> {
    let format = Format::of(name, None, bytes).unwrap_or(Format::Text);
    let read = parser.parse(format, bytes, &Rows::default());
    if let Ok(page) = &read {
        assert_eq!(page.mistake(), None);
        assert!(cut(&page.text, &page.blocks, Sizes::default()).is_ok());
    }
    read
}

/// All texts of a document.
fn said(page: &Parsed) -> String {
    let beneath: Vec<String> = page.beneath.iter().map(|it| said(&it.page)).collect();
    format!("{} {}", page.text, beneath.join(" "))
}

fn is_held(page: &Parsed) -> bool {
    let look = Look::at(page, &Watch::default());
    look.is_withheld || page.beneath.iter().any(|it| is_held(&it.page))
}

#[test]
fn orders_are_found_in_every_place_that_hides_them() {
    let mut parser = good_parser();
    let mut places = 0;
    let files = corpus().into_iter().map(|(path, bytes)| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name.clone(), name, bytes)
    });
    let made = made::hiding();
    let made = made.into_iter().map(|(place, name, bytes)| (place.into(), name.into(), bytes));
    for (place, name, bytes) in files.chain(made) {
        // Those are for the other test.
        if place.starts_with("breaks-") {
            continue;
        }
        let page = read(&mut parser, &name, &bytes).unwrap_or_else(|it| panic!("{place}: {it}"));
        assert!(!said(&page).contains(ORDERS), "{place}: {}", page.text);
        let is_tag = |it: char| ('\u{e0000}'..='\u{e007f}').contains(&it);
        assert!(!said(&page).contains(is_tag), "{place}");
        assert!(said(&page).contains("plan"), "{place}: {page:?}");
        assert!(is_held(&page), "{place}: {:?}", page.findings);
        places += 1;
    }
    assert!(places >= 24, "{places}");
}

#[test]
fn what_is_meant_to_break_readers_is_read_or_refused() {
    let mut parser = good_parser();
    let mut refused = Vec::new();
    let files = corpus().into_iter().filter_map(|(path, bytes)| {
        let name = path.file_name()?.to_string_lossy().into_owned();
        name.starts_with("breaks-").then_some((name.clone(), name, bytes))
    });
    let made = made::breaking();
    let made = made.into_iter().map(|(what, name, bytes)| (what.into(), name.into(), bytes));
    for (what, name, bytes) in files.chain(made) {
        if let Err(error) = read(&mut parser, &name, &bytes) {
            assert!(!matches!(error, ParseError::NotConfined { .. }), "{what}: {error}");
            refused.push((what, error.code().as_str()));
        }
        // Whatever became of that one: the next one is read.
        let next = read(&mut parser, "a.md", b"# A plan\n").unwrap();
        assert_eq!(next.text, "A plan");
    }
    for (what, code) in [
        ("bomb", "LG-Q013"),
        ("bomb-in-parts", "LG-Q013"),
        ("two-of-a-name", "LG-Q012"),
        ("growing-entities", "LG-Q012"),
        ("deep-docx", "LG-Q013"),
        ("deep-html", "LG-Q013"),
        ("deep-markdown", "LG-Q013"),
        ("pdf-of-nothing", "LG-Q012"),
        ("binary", "LG-Q012"),
        ("breaks-quote.csv", "LG-Q012"),
    ] {
        assert!(refused.contains(&(what.to_owned(), code)), "{what}: {refused:?}");
    }
    let peak = memory_peak();
    assert!(peak < MEMORY_BYTES_MAX, "{peak}");
}

/// Bytes of memory that this process has had at most.
fn memory_peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() << 10
}

/// Half of them are not even PDF files any more. Nobody has to read them: nobody may fall over.
#[test]
fn mutated_pdf_files_cost_themselves_only() {
    let mut parser = good_parser();
    let whole = made::pdf("BT /F1 12 Tf 50 700 Td (A plan.) Tj ET", "");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        usize::try_from(state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % bound
    };
    let mut readable = 0;
    for _ in 0..300 {
        let mut bytes = whole.clone();
        for _ in 0..=below(4) {
            let at = below(bytes.len());
            match below(4) {
                0 => bytes[at] = u8::try_from(below(256)).unwrap(),
                1 => drop(bytes.drain(at..(at + 9).min(bytes.len()))),
                2 => bytes.truncate(at.max(9)),
                _ => {
                    let pieces = [&b"<<"[..], b"[", b"(", b" 0 R", b"-1", b"999999999999", b">>"];
                    bytes.splice(at..at, pieces[below(pieces.len())].iter().copied());
                }
            }
        }
        match parser.parse(Format::Pdf, &bytes, &Rows::default()) {
            Ok(_) => readable += 1,
            Err(error) => assert!(!matches!(error, ParseError::NotConfined { .. }), "{error}"),
        }
    }
    assert!(readable > 30, "{readable}");
}
