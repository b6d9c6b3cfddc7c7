//! What people do with sources: keep snapshots, go back to one, share what a source has beside what
//! it says itself, forget it. Each by a call that was decided and recorded.

use crate::Kernel;
use crate::port::Refusal;
use lockgate_core::declare;
use lockgate_retrieval::corpus::{
    Corpus, CorpusError, Difference, Permissions, Snapshot, SnapshotState,
};
use lockgate_retrieval::relation::Layer;
use lockgate_store::{RunOfSource, SourceVerdict};
use lockgate_types::document::Reader;
use lockgate_types::{CallId, Code, Digest};
use std::collections::BTreeSet;

/// What somebody says of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// It is shown to these.
    Share,
    /// It is kept from these, whatever is shared.
    Withhold,
    /// Neither is said of them any longer.
    Unshare,
}

/// To whom people have shared a place, and from whom they keep it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceReaders {
    /// The folder or document.
    pub place: String,
    /// To whom it is shared.
    pub readers: BTreeSet<Reader>,
    /// From whom it is kept.
    pub denied: BTreeSet<Reader>,
}

impl Kernel {
    /// The snapshots of a source, the newest first.
    pub async fn source_snapshots(&self, name: &str) -> Result<Vec<Snapshot>, Refusal> {
        self.declared_source(name)?;
        let name = name.to_owned();
        self.ask_corpus(move |corpus| corpus.snapshots(&name)).await
    }

    /// In what one snapshot of a source differs from another.
    pub async fn compare_source(
        &self,
        name: &str,
        (from, to): (u64, u64),
    ) -> Result<Difference, Refusal> {
        self.declared_source(name)?;
        let name = name.to_owned();
        self.ask_corpus(move |corpus| corpus.compare(&name, from, to)).await
    }

    /// Keeps a snapshot, by a name if there is one.
    pub async fn pin_source(
        &self,
        name: &str,
        snapshot: u64,
        called: Option<String>,
    ) -> Result<(), Refusal> {
        self.declared_source(name)?;
        let name = name.to_owned();
        let pin = move |corpus: &Corpus| {
            corpus.pin(&name, snapshot)?;
            match &called {
                Some(called) => corpus.name_snapshot(&name, snapshot, Some(called)),
                None => Ok(()),
            }
        };
        self.ask_corpus(pin).await
    }

    /// Does not keep it any longer. One that a task names stays.
    pub async fn unpin_source(&self, name: &str, snapshot: u64) -> Result<(), Refusal> {
        self.declared_source(name)?;
        if self.named_snapshots(name).contains(&snapshot) {
            return Err(Refusal::of(Code::SnapshotNamed));
        }
        let name = name.to_owned();
        let unpin = move |corpus: &Corpus| {
            corpus.unpin(&name, snapshot)?;
            corpus.name_snapshot(&name, snapshot, None)
        };
        self.ask_corpus(unpin).await
    }

    /// Has what an old snapshot had serve again, as a new one. Permissions do not go back.
    pub async fn roll_back_source(
        &self,
        name: &str,
        snapshot: u64,
        by: &CallId,
    ) -> Result<Snapshot, Refusal> {
        let (_, tenant) = self.declared_source(name)?;
        let (of, now) = (name.to_owned(), self.parts.clock.now());
        let back = move |corpus: &Corpus| {
            let all = corpus.snapshots(&of)?;
            let found = all.into_iter().find(|it| it.number == snapshot);
            let report = found.map(|it| it.report).unwrap_or_default();
            corpus.roll_back(&of, snapshot, &report, now)
        };
        let made = self.ask_corpus(back).await?;
        let recorded = self.parts.store.note_source(RunOfSource {
            source: name.to_owned(),
            tenant,
            by: Some(by.clone()),
            verdict: SourceVerdict::RolledBack,
            snapshot: Some(made.number),
            counts: None,
            report: Some(Digest::of(made.report.as_bytes())),
        });
        match recorded {
            Ok(()) => Ok(made),
            Err(error) => Err(crate::refusal::not_recorded(&error)),
        }
    }

    /// Says something of a folder, a document or a field beside what its source says. It is in
    /// force when this returns. Gives what people have said of the place by then.
    pub async fn share_source(
        &self,
        name: &str,
        place: &str,
        (sharing, readers): (Sharing, BTreeSet<Reader>),
    ) -> Result<SourceReaders, Refusal> {
        let (declared, _) = self.declared_source(name)?;
        if sharing == Sharing::Share && !is_field_or_has_none(&declared, place) {
            return Err(Refusal::of(Code::FieldsWouldShow));
        }
        let (name, place) = (name.to_owned(), place.to_owned());
        let said = self.ask_corpus(move |corpus| {
            let mut said = SourceReaders { place: place.clone(), ..SourceReaders::default() };
            let mut change = |told| {
                said = said_of(place.clone(), told);
                readers.iter().for_each(|reader| said.say(sharing, reader.clone()));
                said.permissions()
            };
            Ok(corpus.say(&name, &place, &mut change)?.map(|_| said))
        });
        said.await?.ok_or_else(|| Refusal::of(Code::NoSuchPlace))
    }

    /// Forgets what the corpus has of a source: snapshots, pins, what people have shared. It may be
    /// one that the bundle registers no more.
    pub async fn forget_source(&self, name: &str) -> Result<(), Refusal> {
        let of = name.to_owned();
        let state = self.bringing()?.state.clone();
        self.ask_corpus(move |corpus| {
            corpus.drop_source(&of)?;
            // What runs have seen is of no use without it, and does no harm.
            if let Ok(file) = super::drive::seen_at(&state, &of) {
                let _ = std::fs::remove_file(file);
            }
            Ok(())
        })
        .await?;
        // What is declared is looked at as if it were new.
        self.parts.sources.desks().remove(name);
        self.parts.sources.wake.notify_one();
        Ok(())
    }

    /// What people have said of the places of a source.
    pub(super) fn said_by_people(
        corpus: &Corpus,
        name: &str,
    ) -> Result<Vec<SourceReaders>, CorpusError> {
        match corpus.all_told(name, Layer::Declared) {
            Ok(all) => Ok(all.into_iter().map(|(place, told)| said_of(place, told)).collect()),
            Err(CorpusError::NoSuchSource { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// Whether a share of a place reaches no field with readers of its own, other than the place.
fn is_field_or_has_none(declared: &declare::Source, place: &str) -> bool {
    let mut own = declared.fields.iter().filter(|(_, field)| field.readers.is_some());
    let field = place.rsplit_once('#').map(|(_, field)| field);
    own.clone().next().is_none() || own.any(|(name, _)| field == Some(name.as_str()))
}

fn said_of(place: String, told: Permissions) -> SourceReaders {
    let (readers, denied) = match told {
        Permissions::Unknown => (BTreeSet::new(), BTreeSet::new()),
        Permissions::Inherits { shares, denials } | Permissions::Alone { shares, denials } => {
            (shares, denials)
        }
    };
    SourceReaders { place, readers, denied }
}

impl SourceReaders {
    fn say(&mut self, sharing: Sharing, reader: Reader) {
        self.readers.remove(&reader);
        self.denied.remove(&reader);
        match sharing {
            Sharing::Share => self.readers.insert(reader),
            Sharing::Withhold => self.denied.insert(reader),
            Sharing::Unshare => false,
        };
    }

    fn permissions(&self) -> Permissions {
        match self.readers.is_empty() && self.denied.is_empty() {
            true => Permissions::Unknown,
            false => {
                Permissions::Inherits { shares: self.readers.clone(), denials: self.denied.clone() }
            }
        }
    }
}

/// Whether a snapshot is one that can serve.
pub(super) fn is_published(snapshots: &[Snapshot], number: u64) -> bool {
    let is = |it: &&Snapshot| it.number == number && it.state == SnapshotState::Published;
    snapshots.iter().any(|it| is(&it))
}
