//! Into the corpus: the snapshots that runs make are those that searches find.

use super::draft::{Destination, Draft, DraftError, Had};
use crate::corpus::{self, Corpus, CorpusError, Incoming, Listing, Permissions, SourceOf};
use crate::quality::{Verdict, Volume};
use lockgate_types::Micros;

/// A source of a corpus, as runs write to it.
#[derive(Clone)]
pub struct IntoCorpus {
    corpus: Corpus,
    source: SourceOf,
}

impl IntoCorpus {
    /// That source of that corpus.
    pub const fn new(corpus: Corpus, source: SourceOf) -> Self {
        Self { corpus, source }
    }
}

impl From<CorpusError> for DraftError {
    fn from(error: CorpusError) -> Self {
        Self { code: error.code(), why: error.to_string() }
    }
}

impl Destination for IntoCorpus {
    fn begin(&mut self, is_whole: bool, now: Micros) -> Result<Box<dyn Draft>, DraftError> {
        let listing = if is_whole { Listing::Whole } else { Listing::Changes };
        Ok(Box::new(self.corpus.begin(&self.source, listing, now)?))
    }
}

impl Draft for corpus::Draft {
    fn snapshot(&self) -> u64 {
        Self::snapshot(self)
    }

    fn had(&mut self, id: &str) -> Result<Option<Had>, DraftError> {
        let had = Self::had(self, id)?;
        Ok(had.map(|had| Had { fingerprint: had.fingerprint }))
    }

    fn put(&mut self, document: Incoming) -> Result<(), DraftError> {
        Ok(Self::put(self, document)?)
    }

    fn keep(&mut self, id: &str, confirmed: Micros) -> Result<(), DraftError> {
        Ok(Self::keep(self, id, confirmed)?)
    }

    fn remove(&mut self, id: &str) -> Result<(), DraftError> {
        Ok(Self::remove(self, id)?)
    }

    fn permit(&mut self, changes: &[(String, Permissions)]) -> Result<(), DraftError> {
        Self::permit(self, changes)?;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DraftError> {
        Ok(Self::flush(self)?)
    }

    fn volume(&mut self) -> Result<Volume, DraftError> {
        let tally = self.tally()?;
        let corpus::Tally { added, changed, kept, removed, text_bytes: _ } = tally;
        Ok(Volume { added, changed, kept, removed })
    }

    fn finish(
        self: Box<Self>,
        verdict: Verdict,
        report: &str,
        now: Micros,
    ) -> Result<(), DraftError> {
        match verdict {
            Verdict::Publish => self.publish(report, now)?,
            Verdict::Quarantine => self.quarantine(report, now)?,
        };
        Ok(())
    }
}
