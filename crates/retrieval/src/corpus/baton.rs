//! Who has the baton of a source, and when it was run last.
//!
//! A gate alone knows that by itself. In a fleet it is in the database: one node has the baton, and
//! one that is gone has it no more.

use super::{Corpus, CorpusError, Kept};
use crate::fleet::FleetBaton;
use lockgate_types::{Digest, Micros};

/// The run of a source that is under way in a fleet, or was last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceRun {
    /// The source.
    pub source: String,
    /// When it was begun.
    pub begun: Micros,
    /// When it came to its end. `None`: it is under way, or whoever had it has left it.
    pub ended: Option<Micros>,
    /// Whether somebody has the baton.
    pub is_under_way: bool,
    /// Runs that have failed since the last one that has not.
    pub failures: u32,
    /// Under which declaration.
    pub declaration: Option<Digest>,
    /// Whether the corpus has anything of the source that could be told of.
    pub is_known: bool,
}

/// The baton of a source: who has it runs the source. Whoever drops it lets go of it: another may
/// go on where the run was.
pub struct Baton(Option<Box<FleetBaton>>);

impl Baton {
    /// The run of before. `None`: there was none, or there is no fleet.
    pub fn last(&self) -> Option<&SourceRun> {
        self.0.as_ref()?.last()
    }

    /// Says in a fleet that a run is under way, under that declaration.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn begin(&mut self, declaration: Digest, now: Micros) -> Result<(), CorpusError> {
        self.0.as_mut().map_or(Ok(()), |baton| baton.begin(declaration, now))
    }

    /// Says in a fleet that the run has come to its end.
    ///
    /// # Errors
    ///
    /// If it cannot be written: then another node goes on with the run.
    pub fn end(self, now: Micros) -> Result<(), CorpusError> {
        self.0.map_or(Ok(()), |baton| baton.end("0", now))
    }

    /// Says in a fleet that the run has failed.
    ///
    /// # Errors
    ///
    /// As [`end`](Self::end).
    pub fn fail(self, now: Micros) -> Result<(), CorpusError> {
        self.0.map_or(Ok(()), |baton| baton.end("failures + 1", now))
    }

    /// How often it had been told who may see what when the baton was taken.
    pub(super) fn told(&self) -> Option<i64> {
        self.0.as_ref().map(|baton| baton.told())
    }
}

impl Corpus {
    /// Takes the baton of a source. `None`: another node has it.
    ///
    /// # Errors
    ///
    /// If a fleet's database fails.
    pub fn take_baton(&self, source: &str) -> Result<Option<Baton>, CorpusError> {
        match &self.0 {
            Kept::Embedded(_) => Ok(Some(Baton(None))),
            Kept::Fleet(half) => Ok(half.take_baton(source)?.map(|it| Baton(Some(Box::new(it))))),
        }
    }

    /// Takes the baton to have vectors made. `None`: another node has it.
    ///
    /// # Errors
    ///
    /// If a fleet's database fails.
    pub fn take_baton_to_embed(&self) -> Result<Option<Baton>, CorpusError> {
        match &self.0 {
            Kept::Embedded(_) => Ok(Some(Baton(None))),
            Kept::Fleet(half) => {
                Ok(half.take_baton_to_embed()?.map(|it| Baton(Some(Box::new(it)))))
            }
        }
    }

    /// The runs of a fleet, of each source the last. Of a gate alone there are none.
    ///
    /// # Errors
    ///
    /// If a fleet's database fails.
    pub fn runs(&self) -> Result<Vec<SourceRun>, CorpusError> {
        match &self.0 {
            Kept::Embedded(_) => Ok(Vec::new()),
            Kept::Fleet(half) => half.runs(),
        }
    }
}
