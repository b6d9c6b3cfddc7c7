//! A snapshot under way.
//!
//! What a connector says is gathered and written in batches: each is whole or not there. A draft
//! that is let go of stays open, and whoever begins one of the source goes on with it. What it says
//! of permissions is in force at once; what it says of documents when it is published.

use super::incoming::{self, Had, Incoming, Permissions, Tally};
use super::{CorpusError, SourceRow, check_changes, check_report};
use crate::corpus::Snapshot;
use crate::embed::Embedder;
use crate::embedded::{Embedded, EmbeddedDraft};
use crate::fleet::{FleetCorpus, FleetDraft};
use crate::relation::Revision;
use lockgate_types::Micros;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Documents that are gathered before they are written.
pub const BUFFERED_MAX: usize = 256;
/// Bytes of their texts.
pub const BUFFERED_BYTES_MAX: usize = 8 << 20;

/// A snapshot under way.
pub struct Draft {
    half: Half,
    embedder: Arc<dyn Embedder>,
    gathered: Gathered,
    gathered_bytes: usize,
}

/// What it is written into.
enum Half {
    Embedded(EmbeddedDraft),
    Fleet(Box<FleetDraft>),
}

/// What is said and not written yet, by the ids of documents.
pub(crate) type Gathered = BTreeMap<String, Said>;

/// What is said of a document.
pub(crate) enum Said {
    Is(Box<Incoming>),
    IsAsItWas(Micros),
    IsGone,
}

/// The vectors of a document's chunks.
pub(crate) type OfChunks = Vec<Option<Vec<f32>>>;
/// Those of what is gathered, by the ids of documents.
pub(crate) type Vectors = BTreeMap<String, OfChunks>;

/// Asks whichever there is.
macro_rules! either {
    ($half:expr, $draft:ident => $asked:expr) => {
        match $half {
            Half::Embedded($draft) => $asked,
            Half::Fleet($draft) => $asked,
        }
    };
}

impl Draft {
    pub(super) fn embedded(corpus: &Embedded, draft: EmbeddedDraft) -> Self {
        Self::of(Half::Embedded(draft), &corpus.options().embedder)
    }

    pub(super) fn fleet(corpus: &FleetCorpus, draft: FleetDraft) -> Self {
        Self::of(Half::Fleet(Box::new(draft)), &corpus.options().embedder)
    }

    fn of(half: Half, embedder: &Arc<dyn Embedder>) -> Self {
        let embedder = Arc::clone(embedder);
        Self { half, embedder, gathered: BTreeMap::new(), gathered_bytes: 0 }
    }

    fn source(&self) -> &SourceRow {
        either!(&self.half, draft => draft.source())
    }

    /// Its number within its source.
    pub fn snapshot(&self) -> u64 {
        either!(&self.half, draft => draft.snapshot())
    }

    /// Whether it goes on with one that was left open.
    pub fn is_resumed(&self) -> bool {
        either!(&self.half, draft => draft.is_resumed())
    }

    /// What is there of a document: in this draft, or else in the snapshot that it is made from.
    ///
    /// # Errors
    ///
    /// If it cannot be read.
    pub fn had(&mut self, id: &str) -> Result<Option<Had>, CorpusError> {
        if let Some(Said::Is(incoming)) = self.gathered.get(id) {
            let (fingerprint, changed) = (incoming.fingerprint, incoming.facts.changed);
            return Ok(Some(Had { fingerprint, changed, is_in_draft: true }));
        }
        let is_said = self.gathered.contains_key(id);
        let found = either!(&mut self.half, draft => draft.had(id))?;
        Ok(found.map(|had| Had { is_in_draft: had.is_in_draft || is_said, ..had }))
    }

    /// The ids of the snapshot that it is made from, after one, in order of their bytes.
    ///
    /// # Errors
    ///
    /// If they cannot be read.
    pub fn ids(&mut self, after: Option<&str>, most: usize) -> Result<Vec<String>, CorpusError> {
        let most = most.min(incoming::IDS_READ_MAX);
        either!(&mut self.half, draft => draft.ids(after, most))
    }

    /// Says what a document is. The last that is said of one counts.
    ///
    /// Permissions that narrow are in force when it is written, those that widen when the draft is
    /// published: until then an old text serves.
    ///
    /// # Errors
    ///
    /// If it is beyond a bound or not well formed: then nothing is said of it.
    pub fn put(&mut self, mut incoming: Incoming) -> Result<(), CorpusError> {
        incoming.facts.source.clone_from(&self.source().name);
        incoming.facts.tenant.clone_from(&self.source().tenant);
        incoming::check(&incoming)?;
        if let Some(Said::Is(before)) = self.gathered.remove(&incoming.facts.id) {
            incoming.permissions = incoming.permissions.or(before.permissions);
        }
        self.gathered_bytes = self.gathered_bytes.saturating_add(incoming.text.len());
        self.gathered.insert(incoming.facts.id.clone(), Said::Is(Box::new(incoming)));
        self.flush_if_full()
    }

    /// Says that a document is as it was, as was seen at that time: as this draft has it, if it
    /// does, else as it serves.
    ///
    /// # Errors
    ///
    /// If neither has it.
    pub fn keep(&mut self, id: &str, confirmed: Micros) -> Result<(), CorpusError> {
        if let Some(Said::Is(incoming)) = self.gathered.get_mut(id) {
            incoming.facts.confirmed = confirmed;
            return Ok(());
        }
        if self.had(id)?.is_none() {
            let (name, id) = (self.source().name.clone(), id.to_owned());
            return Err(CorpusError::NotThere { name, id });
        }
        self.gathered.insert(id.to_owned(), Said::IsAsItWas(confirmed));
        self.flush_if_full()
    }

    /// Says that a document is gone: from search when the draft is published. (To hide it at once,
    /// [permit](Self::permit) that nothing is known of it.)
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn remove(&mut self, id: &str) -> Result<(), CorpusError> {
        incoming::check_place(id)?;
        self.gathered.insert(id.to_owned(), Said::IsGone);
        self.flush_if_full()
    }

    /// Says to whom folders and documents are shared: in force when it returns, also in the
    /// snapshot that serves.
    ///
    /// # Errors
    ///
    /// If something is beyond a bound: then nothing of it is in force.
    pub fn permit(&mut self, changes: &[(String, Permissions)]) -> Result<Revision, CorpusError> {
        check_changes(changes)?;
        // What was said before of one of them does not come after.
        self.flush()?;
        either!(&mut self.half, draft => draft.permit(changes))
    }

    /// Writes what is gathered: it is there when the gate crashes.
    ///
    /// # Errors
    ///
    /// If it cannot be written. It stays gathered, and can be written again.
    pub fn flush(&mut self) -> Result<(), CorpusError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let mut vectors = Vectors::new();
        for (id, said) in &self.gathered {
            let Said::Is(incoming) = said else { continue };
            vectors.insert(id.clone(), vectors_of(&*self.embedder, incoming)?);
        }
        let gathered = &self.gathered;
        either!(&mut self.half, draft => draft.write(gathered, &vectors))?;
        self.gathered.clear();
        self.gathered_bytes = 0;
        Ok(())
    }

    /// How much it has: as if it were published now.
    ///
    /// # Errors
    ///
    /// If it cannot be written or read.
    pub fn tally(&mut self) -> Result<Tally, CorpusError> {
        self.flush()?;
        either!(&mut self.half, draft => draft.tally())
    }

    /// Has it serve, from when this returns. `report` says how good it is.
    ///
    /// # Errors
    ///
    /// If it cannot be written, or there is too much for one gate: then the last one serves on, and
    /// the draft stays open.
    pub fn publish(mut self, report: &str, now: Micros) -> Result<Snapshot, CorpusError> {
        self.flush()?;
        check_report(&self.source().name, report)?;
        either!(self.half, draft => draft.publish(report, now))
    }

    /// Has it never serve. It is kept to be looked at, and the last one serves on.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn quarantine(mut self, report: &str, now: Micros) -> Result<Snapshot, CorpusError> {
        self.flush()?;
        check_report(&self.source().name, report)?;
        either!(self.half, draft => draft.quarantine(report, now))
    }

    /// Gives it up.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn discard(self) -> Result<(), CorpusError> {
        either!(self.half, draft => draft.discard())
    }

    fn flush_if_full(&mut self) -> Result<(), CorpusError> {
        let is_full =
            self.gathered.len() >= BUFFERED_MAX || self.gathered_bytes >= BUFFERED_BYTES_MAX;
        if is_full { self.flush() } else { Ok(()) }
    }
}

/// The vectors of a document's chunks.
fn vectors_of(embedder: &dyn Embedder, incoming: &Incoming) -> Result<OfChunks, CorpusError> {
    let pieces = incoming.pieces.iter();
    let texts = pieces.map(|(from, to)| incoming.text.get(*from..*to).unwrap_or_default());
    let vectors: Result<_, _> = texts.map(|text| embedder.embed(text)).collect();
    vectors.map_err(CorpusError::Embedding)
}
