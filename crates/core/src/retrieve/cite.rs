//! Whether what is cited was found: in this session, still as it was, still to be seen, and word by
//! word.
//!
//! What was retrieved is handed in, with the text of each chunk; whether a document may still be
//! seen and is still as it was are facts. A quote is compared with white space made equal: each run
//! of Unicode white space is one space, and there is none at either end. Nothing else is folded, so
//! a quote with another letter, case, dash or quotation mark is another quote.

use crate::declare::Cite;
use crate::world::World;
use lockgate_types::document::Provenance;
pub use lockgate_types::document::{Cited, Verdict};
use lockgate_types::{Code, Digest, Json, Object, OperationName};

/// Claims of one call.
pub const CLAIMS_MAX: usize = 64;
/// Characters of a quote at least, white space made equal: less stands in any text.
pub const QUOTE_CHARS_MIN: usize = 12;
/// Bytes of a quote.
pub const QUOTE_BYTES_MAX: usize = 4096;

/// What somebody says a document says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The document: source and id.
    pub source: String,
    /// Its id within the source.
    pub id: String,
    /// What it says.
    pub quote: String,
}

/// A chunk that was retrieved in the session, and how its document stands now.
#[derive(Clone, Debug)]
pub struct Retrieved<'a> {
    /// The source of its document.
    pub source: &'a str,
    /// What the document is called there.
    pub id: &'a str,
    /// The byte of the document's text at which it begins.
    pub start: u64,
    /// Its text, as it was shown.
    pub text: &'a str,
    /// The hash of that.
    pub hash: Digest,
    /// How its document stands now.
    pub now: Now,
}

impl<'a> Retrieved<'a> {
    /// One that was shown as it stands in its document.
    pub fn of(provenance: &'a Provenance, text: &'a str, now: Now) -> Self {
        Self {
            source: &provenance.document.source,
            id: &provenance.document.id,
            start: provenance.span.0,
            text,
            hash: provenance.hash,
            now,
        }
    }
}

/// How a document stands that was retrieved before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Now {
    /// It is as it was, and may be seen.
    Same,
    /// It has changed, it is gone, or its snapshot serves no more.
    Changed,
    /// It may not be seen any more by whoever cites it.
    Withdrawn,
}

/// Holds what a call cites against what was retrieved in its session.
pub fn cited(
    world: &World,
    operation: &OperationName,
    arguments: Option<&Object>,
    retrieved: &[Retrieved<'_>],
) -> Cited {
    let declared = world.operations.get(operation).and_then(|it| it.cite.as_ref());
    let Some(cite) = declared else { return Cited::Unasked };
    match claims(cite, arguments) {
        Ok(claims) => Cited::Checked(claims.iter().map(|claim| check(claim, retrieved)).collect()),
        Err(what) => Cited::Missing(what),
    }
}

/// The claims of a call, or what is missing of them.
pub fn claims(cite: &Cite, arguments: Option<&Object>) -> Result<Vec<Claim>, String> {
    let name = &cite.claims;
    let given = arguments.and_then(|arguments| arguments.get(name));
    let given = given.and_then(Json::as_array).unwrap_or_default();
    let wanted = usize::try_from(cite.claims_min).unwrap_or(usize::MAX);
    if given.len() < wanted {
        return Err(format!("`{name}` has {} claims, and {wanted} are wanted", given.len()));
    }
    if given.len() > CLAIMS_MAX {
        return Err(format!("`{name}` has more than {CLAIMS_MAX} claims"));
    }
    let claim = |(at, json): (usize, &Json)| {
        let text = |name: &str| json.get(name).and_then(Json::as_str);
        let document = text("document").and_then(|it| it.split_once('/'));
        match (document, text("quote")) {
            (Some((source, id)), Some(quote)) => {
                Ok(Claim { source: source.to_owned(), id: id.to_owned(), quote: quote.to_owned() })
            }
            _ => Err(format!("claim {} of `{name}` names no document and quote", at + 1)),
        }
    };
    let claims = given.iter().enumerate().map(claim).collect::<Result<Vec<_>, _>>()?;
    if let Some(text) = &cite.text {
        let said = arguments.and_then(|arguments| arguments.get(text)).and_then(Json::as_str);
        let mut marks = marks(said.unwrap_or_default());
        if let Some(mark) = marks.find(|mark| !(1..=claims.len()).contains(mark)) {
            return Err(format!("`{text}` cites [{mark}], which is no claim of `{name}`"));
        }
    }
    Ok(claims)
}

/// The numbers in brackets of a text.
fn marks(text: &str) -> impl Iterator<Item = usize> {
    let inside = text.split('[').skip(1).filter_map(|piece| Some(piece.split_once(']')?.0));
    inside.flat_map(|inside| {
        let numbers = inside.split(',').map(|number| number.trim().parse::<usize>().ok());
        numbers.collect::<Option<Vec<_>>>().unwrap_or_default()
    })
}

/// What a claim comes to. Of several chunks of the document, one that has the quote will do.
pub fn check(claim: &Claim, retrieved: &[Retrieved<'_>]) -> Verdict {
    let quote = equalised(&claim.quote).map(|(c, _)| c).collect::<Vec<char>>();
    let is_sized = claim.quote.len() <= QUOTE_BYTES_MAX && quote.len() >= QUOTE_CHARS_MIN;
    let is_of_it = |it: &&Retrieved<'_>| {
        // A chunk whose text is not the one that was found is not evidence of anything.
        it.source == claim.source && it.id == claim.id && Digest::of(it.text.as_bytes()) == it.hash
    };
    let chunks: Vec<&Retrieved<'_>> = retrieved.iter().filter(is_of_it).collect();
    if chunks.is_empty() {
        return Verdict::Fails(Code::CitedNotRetrieved);
    }
    // First: of what may not be seen any more nothing is told, also not whether a quote was right.
    if chunks.iter().any(|it| it.now == Now::Withdrawn) {
        return Verdict::Fails(Code::CitedWithdrawn);
    }
    if !is_sized {
        return Verdict::Fails(Code::QuoteTooShort);
    }
    let mut is_changed = false;
    for chunk in chunks {
        let Some((from, to)) = find(chunk.text, &quote) else { continue };
        if chunk.now == Now::Changed {
            is_changed = true;
            continue;
        }
        let span = (chunk.start.saturating_add(from), chunk.start.saturating_add(to));
        return Verdict::Holds { chunk: chunk.hash, span };
    }
    Verdict::Fails(if is_changed { Code::CitedChanged } else { Code::QuoteNotFound })
}

/// Where a quote stands in a text: bytes from, to.
fn find(text: &str, quote: &[char]) -> Option<(u64, u64)> {
    let all: Vec<(char, (usize, usize))> = equalised(text).collect();
    let is_here = |window: &[(char, (usize, usize))]| {
        window.iter().zip(quote).all(|((here, _), wanted)| here == wanted)
    };
    let found = all.windows(quote.len().max(1)).find(|window| is_here(window))?;
    let (first, last) = (found.first()?, found.last()?);
    let (from, to) = (first.1.0, last.1.1);
    Some((u64::try_from(from).ok()?, u64::try_from(to).ok()?))
}

/// The characters of a text with white space made equal, each with the bytes that it stands for.
fn equalised(text: &str) -> impl Iterator<Item = (char, (usize, usize))> {
    let text = text.trim_end();
    let start = text.len() - text.trim_start().len();
    let mut rest = text.char_indices().skip_while(move |(at, _)| *at < start).peekable();
    std::iter::from_fn(move || {
        let (at, c) = rest.next()?;
        let mut to = at + c.len_utf8();
        if !c.is_whitespace() {
            return Some((c, (at, to)));
        }
        while let Some((at, c)) = rest.next_if(|(_, c)| c.is_whitespace()) {
            to = at + c.len_utf8();
        }
        Some((' ', (at, to)))
    })
}
