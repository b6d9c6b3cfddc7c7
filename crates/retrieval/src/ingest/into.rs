//! Into the corpus: the snapshots that runs make are those that searches find.

use super::draft::{Destination, Draft, DraftError, Had};
use super::hand::BENEATH;
use crate::corpus::{self, Baton, Corpus, CorpusError, Incoming, Listing, Permissions, SourceOf};
use crate::quality::{Verdict, Volume};
use lockgate_types::Micros;

/// Ids that are read at once.
const IDS_AT_ONCE: usize = 1000;

/// A source of a corpus, as runs write to it.
#[derive(Clone)]
pub struct IntoCorpus<'t> {
    corpus: Corpus,
    source: SourceOf,
    baton: Option<&'t Baton>,
}

impl IntoCorpus<'_> {
    /// That source of that corpus.
    pub const fn new(corpus: Corpus, source: SourceOf) -> Self {
        Self { corpus, source, baton: None }
    }
}

impl<'t> IntoCorpus<'t> {
    /// The same, with a baton that was taken before the source was listed.
    pub const fn with_baton(corpus: Corpus, source: SourceOf, baton: &'t Baton) -> Self {
        Self { corpus, source, baton: Some(baton) }
    }
}

impl From<CorpusError> for DraftError {
    fn from(error: CorpusError) -> Self {
        Self { code: error.code(), why: error.to_string() }
    }
}

impl Destination for IntoCorpus<'_> {
    fn begin(&mut self, is_whole: bool, now: Micros) -> Result<Box<dyn Draft>, DraftError> {
        let listing = if is_whole { Listing::Whole } else { Listing::Changes };
        let draft = match self.baton {
            Some(baton) => self.corpus.begin_in(baton, &self.source, listing, now),
            None => self.corpus.begin(&self.source, listing, now),
        };
        Ok(Box::new(draft?))
    }
}

impl Draft for corpus::Draft {
    fn snapshot(&self) -> u64 {
        Self::snapshot(self)
    }

    fn had(&mut self, id: &str) -> Result<Option<Had>, DraftError> {
        let had = Self::had(self, id)?;
        Ok(had.map(|had| Had { fingerprint: had.fingerprint, changed: had.changed }))
    }

    fn beneath(&mut self, id: &str) -> Result<Vec<String>, DraftError> {
        let begin = format!("{id}{BENEATH}");
        let (mut found, mut after) = (Vec::new(), begin.clone());
        loop {
            let some = self.ids(Some(&after), IDS_AT_ONCE)?;
            let count = some.len();
            found.extend(some.into_iter().take_while(|it| it.starts_with(&begin)));
            match found.last() {
                Some(last) if count == IDS_AT_ONCE && *last > after => after.clone_from(last),
                _ => return Ok(found),
            }
        }
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
