//! A run: from what a source has to a snapshot that may be served.
//!
//! It lists, fetches what it does not know yet, has it read in a confined process, cuts it, looks
//! at it, and hands it on as a draft. A run that is killed goes on where it was; a run that is
//! repeated changes nothing. In the end the draft is published or quarantined, by its contract.

pub mod confine;
mod draft;
mod hand;
mod into;
mod parser;
mod seen;
mod source;
pub mod worker;

pub use draft::{Destination, Draft, DraftError, Had};
pub use into::IntoCorpus;
pub use parser::{DOCUMENT_WITHIN, ParseError, Parser};
pub use seen::{Seen, SeenError};
pub use source::{Field, Source};

use crate::connect::{
    ConnectError, Connector, Content, DOCUMENTS_MAX, Entry, Listing, Permissions,
};
use crate::format::Format;
use crate::quality::{Near, Report, Verdict};
use hand::Hand;
use lockgate_types::{Code, Digest, Micros};
use seen::Known;
use std::time::Duration;

/// Documents after which what is there is written down: a run that is killed goes on from there.
const BATCH_DOCUMENTS_MAX: usize = 64;
/// Bytes that one run fetches.
pub const RUN_BYTES_MAX: u64 = 64 << 30;
/// How long one run may take: then it stops, and the next one goes on.
pub const RUN_WITHIN: Duration = Duration::from_secs(12 * 3600);
/// Documents in a row that are not to be had, after which the source is taken to be away.
const AWAY_MAX: u32 = 20;
/// Changes of permissions that are handed on at once.
pub const PERMISSIONS_MAX: usize = 1024;

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Documents that were listed.
    pub listed: usize,
    /// Documents that were looked at.
    pub done: usize,
    /// Documents that are as they were.
    pub kept: usize,
    /// Documents that could not be read.
    pub refused: usize,
    /// Documents that were left out, since they give orders.
    pub withheld: usize,
    /// Bytes that were fetched.
    pub bytes: u64,
}

/// Why a run did not come to its end. What it has done is kept, and the next one goes on.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The source does not say what it has.
    #[error("{0}")]
    Connect(ConnectError),
    /// The draft cannot be written.
    #[error("{0}")]
    Draft(DraftError),
    /// What was seen before cannot be read or written.
    #[error("{0}")]
    Seen(SeenError),
    /// No document can be read safely.
    #[error("{0}")]
    Parser(ParseError),
    /// Somebody has stopped it.
    #[error("the run was stopped: the next one goes on where it stopped")]
    Stopped,
    /// It takes too long, or fetches too much.
    #[error("the run has used up its {what}: the next one goes on where it stopped")]
    UsedUp {
        /// Of what there is no more.
        what: &'static str,
    },
}

impl IngestError {
    /// The code of the failure.
    pub const fn code(&self) -> Code {
        match self {
            Self::Connect(error) => error.code(),
            Self::Draft(error) => error.code,
            Self::Seen(_) => Code::IngestStateBroken,
            Self::Parser(error) => error.code(),
            Self::Stopped => Code::RunStopped,
            Self::UsedUp { .. } => Code::RunUsedUp,
        }
    }
}

/// What a run needs beside its source.
pub struct Means<'a> {
    /// Where documents come from.
    pub connector: &'a mut dyn Connector,
    /// Who reads them.
    pub parser: &'a mut Parser,
    /// Where they go.
    pub destination: &'a mut dyn Destination,
    /// What earlier runs have seen.
    pub seen: &'a mut Seen,
    /// The clock.
    pub now: &'a dyn Fn() -> Micros,
    /// Who wants to know how far it is.
    pub progress: &'a mut dyn FnMut(&Progress),
    /// Whether it is to stop: asked before each document.
    pub stop: &'a dyn Fn() -> bool,
}

/// Runs once. The report says what became of it; `before`: that of the snapshot that serves.
pub fn run<'a>(
    source: &'a Source,
    before: Option<&Report>,
    means: Means<'a>,
) -> Result<Report, IngestError> {
    let begun = (means.now)();
    means.seen.settle(source.digest()).map_err(IngestError::Seen)?;
    let cursor = means.seen.cursor().map_err(IngestError::Seen)?;
    let listing =
        means.connector.list(cursor.as_deref()).map_err(|error| match (means.stop)() {
            // Whoever fetches is stopped, too.
            true => IngestError::Stopped,
            false => IngestError::Connect(error),
        })?;
    if listing.entries.len() > DOCUMENTS_MAX {
        let (what, max) = ("documents", DOCUMENTS_MAX);
        return Err(IngestError::Connect(ConnectError::TooMuch { what, max }));
    }
    let draft = means.destination.begin(listing.is_whole, begun).map_err(IngestError::Draft)?;
    let report = Report::new(&source.name, draft.snapshot(), begun.0);
    let progress = Progress { listed: listing.entries.len(), ..Progress::default() };
    let declaration = source.digest().to_string();
    let mut run =
        Run { source, declaration, means, draft, report, progress, begun, away: 0, batch: 0 };
    run.permissions(&listing)?;
    for entry in &listing.entries {
        run.entry(entry)?;
    }
    run.gone(&listing)?;
    run.finish(&listing, before)
}

struct Run<'a> {
    source: &'a Source,
    declaration: String,
    means: Means<'a>,
    draft: Box<dyn Draft>,
    report: Report,
    progress: Progress,
    begun: Micros,
    /// Documents in a row that were not to be had.
    away: u32,
    batch: usize,
}

impl Run<'_> {
    /// Hands on who may read what, before any document: what is taken away is gone at once. All of
    /// it each time, of what is known: where they are kept it is seen what has changed, whoever has
    /// told it last.
    fn permissions(&mut self, listing: &Listing) -> Result<(), IngestError> {
        let mut changes: Vec<(String, Permissions)> = listing.folders.clone();
        for entry in &listing.entries {
            if let (Some(said), Some(_)) = (&entry.permissions, self.known(&entry.id)?) {
                changes.push((entry.id.clone(), said.clone()));
            }
        }
        for some in changes.chunks(PERMISSIONS_MAX) {
            self.draft.permit(some).map_err(IngestError::Draft)?;
        }
        Ok(())
    }

    fn known(&mut self, id: &str) -> Result<Option<Known>, IngestError> {
        self.means.seen.get(id).map_err(IngestError::Seen)
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), IngestError> {
        self.check_bounds()?;
        let known = self.known(&entry.id)?;
        let known = match known {
            Some(known) if known.declaration != self.declaration => None,
            Some(known) if self.is_there(&entry.id, &known)? => Some(known),
            _ => None,
        };
        let version = known.as_ref().and_then(|known| known.version.clone());
        let is_same = version.is_some() && version == entry.version;
        let fetched = if is_same {
            Ok(Content::Same)
        } else {
            self.means.connector.fetch(entry, version.as_deref())
        };
        match (fetched, known) {
            (Ok(Content::Same), Some(known)) => self.keep(entry, known, (self.means.now)())?,
            (Ok(Content::Same), None) => {
                let why = "it is said to be as before, and was not there before";
                let code = Code::SourceMismatch.as_str();
                self.refuse(entry, Known::default(), code, why)?;
            }
            (Err(ConnectError::Away { why }), known) => self.away(entry, known, &why)?,
            (Err(error), _) => {
                let (code, why) = (error.code(), error.to_string());
                self.refuse(entry, Known::default(), code.as_str(), &why)?;
            }
            (Ok(Content::Gone), _) => self.forget(&entry.id)?,
            (Ok(content), known) => {
                self.away = 0;
                self.content(entry, content, known)?;
            }
        }
        self.progress.done += 1;
        (self.means.progress)(&self.progress);
        self.batch += 1;
        if self.batch >= BATCH_DOCUMENTS_MAX { self.flush() } else { Ok(()) }
    }

    /// Whether what was seen of a document is what the draft has of it.
    fn is_there(&mut self, id: &str, known: &Known) -> Result<bool, IngestError> {
        if known.documents.is_empty() {
            // It was refused, or left out whole: there is nothing that could be otherwise.
            return Ok(true);
        }
        let of = known.documents.iter().find(|(_, look)| !look.is_withheld);
        let id = of.map_or(id, |(id, _)| id.as_str()).to_owned();
        if of.is_none() {
            return Ok(true);
        }
        let had = self.draft.had(&id).map_err(IngestError::Draft)?;
        Ok(had.is_some_and(|had| Some(had.fingerprint.to_string()) == known.fingerprint))
    }

    /// It is as it was: so is all that lies beneath it, and that it could not be read.
    fn keep(&mut self, entry: &Entry, known: Known, confirmed: Micros) -> Result<(), IngestError> {
        if let Some((code, why)) = &known.refused {
            self.progress.refused += 1;
            self.report.refuse(&entry.id, code, why);
            return Ok(());
        }
        for (id, _) in known.documents.iter().filter(|(_, look)| !look.is_withheld) {
            self.draft.keep(id, confirmed).map_err(IngestError::Draft)?;
        }
        self.progress.kept += 1;
        let known = Known { confirmed: confirmed.0, ..known };
        self.means.seen.put(&entry.id, &known).map_err(IngestError::Seen)
    }

    /// It is not to be had now. What is there stays, and says since when nobody has seen it.
    fn away(&mut self, entry: &Entry, known: Option<Known>, why: &str) -> Result<(), IngestError> {
        self.away += 1;
        if self.away > AWAY_MAX {
            let why = why.to_owned();
            return Err(IngestError::Connect(ConnectError::Away { why }));
        }
        self.report.unconfirmed += 1;
        match known {
            Some(known) => {
                let confirmed = Micros(known.confirmed);
                self.keep(entry, known, confirmed)
            }
            None => {
                self.report.refuse(&entry.id, Code::SourceAway.as_str(), why);
                self.keep_what_serves(&entry.id)
            }
        }
    }

    /// What another node of a fleet has read stays, and is taken to have been seen no later than it
    /// was changed.
    fn keep_what_serves(&mut self, id: &str) -> Result<(), IngestError> {
        let Some(had) = self.draft.had(id).map_err(IngestError::Draft)? else { return Ok(()) };
        let beneath = self.draft.beneath(id).map_err(IngestError::Draft)?;
        for id in std::iter::once(id.to_owned()).chain(beneath) {
            self.draft.keep(&id, had.changed).map_err(IngestError::Draft)?;
        }
        Ok(())
    }

    fn content(
        &mut self,
        entry: &Entry,
        content: Content,
        known: Option<Known>,
    ) -> Result<(), IngestError> {
        let mut entry = entry.clone();
        let declaration = self.declaration.clone();
        let confirmed = (self.means.now)().0;
        let mut next = Known { declaration, confirmed, ..Known::default() };
        let (page, fingerprint) = match content {
            Content::Row(page) => {
                let version = entry.version.clone().unwrap_or_default();
                (Ok(*page), self.source.fingerprint("row", version.as_bytes()))
            }
            Content::Bytes { bytes, media_type, version, changed } => {
                self.progress.bytes += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                entry.version = version.or(entry.version);
                entry.changed = entry.changed.or(changed);
                let media_type = media_type.or_else(|| entry.media_type.clone());
                let format = Format::of(&entry.id, media_type.as_deref(), &bytes);
                let name = format.map_or("none", Format::as_str);
                let fingerprint = self.source.fingerprint(name, &bytes);
                if let Some(known) = known
                    && known.fingerprint == Some(fingerprint.to_string())
                {
                    let known = Known { version: entry.version.clone(), ..known };
                    return self.keep(&entry, known, Micros(next.confirmed));
                }
                (self.read(format, &bytes)?, fingerprint)
            }
            Content::Same | Content::Gone => return Ok(()),
        };
        next.version.clone_from(&entry.version);
        next.fingerprint = Some(fingerprint.to_string());
        match page {
            Ok(page) => self.hand_on(&entry, page, fingerprint, next),
            Err(error) => {
                if !matches!(error, ParseError::Refused(_)) {
                    // That may have been the machine's fault: the next run tries again.
                    (next.version, next.fingerprint) = (None, None);
                }
                let why = error.to_string();
                self.refuse(&entry, next, error.code().as_str(), &why)
            }
        }
    }

    /// Has a document read. `Err` within: it is refused. `Err` without: nothing can be read.
    fn read(
        &mut self,
        format: Option<Format>,
        bytes: &[u8],
    ) -> Result<Result<crate::format::Parsed, ParseError>, IngestError> {
        let Some(format) = format else {
            return Ok(Err(ParseError::Refused(crate::format::FormatError::Unknown)));
        };
        match self.means.parser.parse(format, bytes, &self.source.rows()) {
            Err(error @ ParseError::NotConfined { .. }) => Err(IngestError::Parser(error)),
            other => Ok(other),
        }
    }

    fn hand_on(
        &mut self,
        entry: &Entry,
        page: crate::format::Parsed,
        fingerprint: Digest,
        mut next: Known,
    ) -> Result<(), IngestError> {
        let now = (self.means.now)();
        let hand = Hand { source: self.source, entry, fingerprint, now };
        let documents = match hand.documents(page) {
            Ok(documents) => documents,
            Err(why) => {
                let code = Code::DocumentTooLarge;
                return self.refuse(entry, next, code.as_str(), &why);
            }
        };
        let is_left_out = documents.iter().any(|(_, look)| look.is_withheld);
        self.progress.withheld += usize::from(is_left_out);
        for (handed, look) in documents {
            next.documents.push((handed.facts.id.clone(), look.clone()));
            if !look.is_withheld {
                self.draft.put(handed).map_err(IngestError::Draft)?;
            }
        }
        self.supersede(&entry.id, &next)?;
        self.means.seen.put(&entry.id, &next).map_err(IngestError::Seen)
    }

    /// What lay beneath a document and does not any more is gone, and so is what is left out now.
    fn supersede(&mut self, id: &str, next: &Known) -> Result<(), IngestError> {
        let Some(last) = self.known(id)? else { return Ok(()) };
        for (old, _) in &last.documents {
            let is_there =
                |(id, look): &(String, crate::quality::Look)| id == old && !look.is_withheld;
            if !next.documents.iter().any(is_there) {
                self.draft.remove(old).map_err(IngestError::Draft)?;
            }
        }
        Ok(())
    }

    /// It cannot be read: it is not served, whatever it was before. The next run does not try
    /// again, unless it has changed.
    fn refuse(
        &mut self,
        entry: &Entry,
        next: Known,
        code: &str,
        why: &str,
    ) -> Result<(), IngestError> {
        self.progress.refused += 1;
        self.report.refuse(&entry.id, code, why);
        let refused = Some((code.to_owned(), why.to_owned()));
        let next = Known { refused, documents: Vec::new(), ..next };
        self.supersede(&entry.id, &next)?;
        self.means.seen.put(&entry.id, &next).map_err(IngestError::Seen)
    }

    fn forget(&mut self, id: &str) -> Result<(), IngestError> {
        self.supersede(id, &Known::default())?;
        self.means.seen.remove(id).map_err(IngestError::Seen)
    }

    /// What is not there any more.
    fn gone(&mut self, listing: &Listing) -> Result<(), IngestError> {
        for id in &listing.gone {
            self.forget(id)?;
        }
        if listing.is_whole {
            let listed: Vec<&str> = listing.entries.iter().map(|it| it.id.as_str()).collect();
            for id in self.means.seen.ids().map_err(IngestError::Seen)? {
                if listed.binary_search(&id.as_str()).is_err() {
                    self.forget(&id)?;
                }
            }
        }
        for (id, why) in &listing.skipped {
            self.report.skip(id, why);
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), IngestError> {
        self.batch = 0;
        // In this order: what is remembered to be there has to be there.
        self.draft.flush().map_err(IngestError::Draft)?;
        self.means.seen.commit().map_err(IngestError::Seen)
    }

    fn check_bounds(&self) -> Result<(), IngestError> {
        if (self.means.stop)() {
            return Err(IngestError::Stopped);
        }
        let passed = (self.means.now)().0.saturating_sub(self.begun.0);
        if u128::try_from(passed).unwrap_or(0) > RUN_WITHIN.as_micros() {
            return Err(IngestError::UsedUp { what: "time" });
        }
        if self.progress.bytes > RUN_BYTES_MAX {
            return Err(IngestError::UsedUp { what: "bytes" });
        }
        Ok(())
    }

    /// Looks at all that is there now, and publishes or quarantines.
    fn finish(mut self, listing: &Listing, before: Option<&Report>) -> Result<Report, IngestError> {
        self.report.volume = self.draft.volume().map_err(IngestError::Draft)?;
        let mut near = Near::default();
        let report = &mut self.report;
        let each = &mut |_: &str, known: &Known| {
            for (id, look) in &known.documents {
                report.add(id, look, &mut near);
            }
        };
        self.means.seen.each(each).map_err(IngestError::Seen)?;
        self.report.judge(&self.source.contract, before);
        let now = (self.means.now)();
        self.report.ended = now.0;
        let verdict = self.report.verdict;
        self.draft.finish(verdict, &self.report.to_json(), now).map_err(IngestError::Draft)?;
        let cursor = listing.cursor.as_deref().filter(|_| verdict == Verdict::Publish);
        self.means.seen.set_cursor(cursor).map_err(IngestError::Seen)?;
        Ok(self.report)
    }
}
