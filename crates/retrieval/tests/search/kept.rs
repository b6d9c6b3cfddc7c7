//! A corpus to test, in a file or in PostgreSQL: by the same calls.

use lockgate_retrieval::corpus::{
    Corpus, CorpusError, Draft, Incoming, Listing, Permissions, Snapshot, SourceOf,
};
use lockgate_retrieval::fleet::{FleetCorpus, FleetDraft};
use lockgate_retrieval::relation::{Layer, Revision};
use lockgate_retrieval::search::Searched;
use lockgate_types::Micros;

/// A corpus.
#[derive(Clone)]
#[allow(dead_code, reason = "each test program has some of them")]
pub(crate) enum Kept {
    Embedded(Corpus),
    Fleet(FleetCorpus),
}

/// A draft of one.
#[allow(dead_code, reason = "each test program has some of them")]
pub(crate) enum KeptDraft {
    Embedded(Draft),
    Fleet(Box<FleetDraft>),
}

impl Kept {
    pub(crate) fn asked(&self) -> &dyn Searched {
        match self {
            Self::Embedded(corpus) => corpus,
            Self::Fleet(corpus) => corpus,
        }
    }

    pub(crate) fn begin(
        &self,
        of: &SourceOf,
        listing: Listing,
        now: Micros,
    ) -> Result<KeptDraft, CorpusError> {
        match self {
            Self::Embedded(corpus) => corpus.begin(of, listing, now).map(KeptDraft::Embedded),
            Self::Fleet(corpus) => {
                corpus.begin(of, listing, now).map(|draft| KeptDraft::Fleet(Box::new(draft)))
            }
        }
    }

    pub(crate) fn permit(
        &self,
        source: &str,
        layer: Layer,
        changes: &[(String, Permissions)],
    ) -> Result<Revision, CorpusError> {
        match self {
            Self::Embedded(corpus) => corpus.permit(source, layer, changes),
            Self::Fleet(corpus) => corpus.permit(source, layer, changes),
        }
    }
}

#[allow(dead_code, reason = "each test program calls some of it")]
impl KeptDraft {
    pub(crate) fn put(&mut self, incoming: Incoming) -> Result<(), CorpusError> {
        match self {
            Self::Embedded(draft) => draft.put(incoming),
            Self::Fleet(draft) => draft.put(incoming),
        }
    }

    pub(crate) fn remove(&mut self, id: &str) -> Result<(), CorpusError> {
        match self {
            Self::Embedded(draft) => draft.remove(id),
            Self::Fleet(draft) => draft.remove(id),
        }
    }

    pub(crate) fn permit(
        &mut self,
        changes: &[(String, Permissions)],
    ) -> Result<Revision, CorpusError> {
        match self {
            Self::Embedded(draft) => draft.permit(changes),
            Self::Fleet(draft) => draft.permit(changes),
        }
    }

    pub(crate) fn flush(&mut self) -> Result<(), CorpusError> {
        match self {
            Self::Embedded(draft) => draft.flush(),
            Self::Fleet(draft) => draft.flush(),
        }
    }

    pub(crate) fn publish(self, report: &str, now: Micros) -> Result<Snapshot, CorpusError> {
        match self {
            Self::Embedded(draft) => draft.publish(report, now),
            Self::Fleet(draft) => draft.publish(report, now),
        }
    }
}
