//! How sources stand, for whoever looks after them.

use super::manage::is_published;
use super::{Ended, SourceReaders, Standing};
use crate::Kernel;
use crate::port::Refusal;
use lockgate_core::declare;
use lockgate_retrieval::corpus::{Corpus, CorpusError, Snapshot};
use lockgate_retrieval::ingest::Progress;
use lockgate_types::{Code, Micros, Tenant};
use std::sync::Arc;
use tokio::sync::watch;

/// A source, as it is declared and as it stands.
#[derive(Clone, Debug)]
pub struct SourceView {
    /// What the bundle calls it.
    pub name: String,
    /// Whose it is.
    pub tenant: Tenant,
    /// What is declared of it.
    pub declared: Arc<declare::Source>,
    /// The snapshot that serves.
    pub serving: Option<Snapshot>,
    /// The one that was published or quarantined last.
    pub newest: Option<Snapshot>,
    /// Snapshots that tasks of the bundle name and that are not there.
    pub missing: Vec<u64>,
    /// What people have shared of it.
    pub people: Vec<SourceReaders>,
    /// Whether its documents are found by their words alone, since the fleet's database has no
    /// pgvector.
    pub is_by_words_alone: bool,
    /// How it stands in this process.
    pub standing: SourceStanding,
}

/// How a source stands in this process.
#[derive(Clone, Debug, Default)]
pub struct SourceStanding {
    /// The run that was asked for, or was due, last. 0: none yet.
    pub run: u64,
    /// When the one under way began, and how far it is.
    pub running: Option<(Micros, Progress)>,
    /// Since when another node of the fleet runs it.
    pub elsewhere: Option<Micros>,
    /// What became of the last one.
    pub last: Option<Arc<Ended>>,
    /// When the next one is due.
    pub due: Option<Micros>,
}

impl From<Standing> for SourceStanding {
    fn from(standing: Standing) -> Self {
        let Standing { number, running, elsewhere, last, due } = standing;
        Self { run: number, running, elsewhere, last, due }
    }
}

impl Kernel {
    /// The sources that the ruling bundle registers, of one tenant or of all.
    pub async fn sources(&self, tenant: Option<&str>) -> Result<Vec<SourceView>, Refusal> {
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let mut all = Vec::with_capacity(world.sources.len());
        for name in world.sources.keys() {
            let view = self.source(name).await?;
            if tenant.is_none_or(|tenant| tenant == view.tenant.as_str()) {
                all.push(view);
            }
        }
        Ok(all)
    }

    /// One of them.
    pub async fn source(&self, name: &str) -> Result<SourceView, Refusal> {
        let (declared, tenant) = self.declared_source(name)?;
        let of = name.to_owned();
        let (snapshots, people, is_by_words_alone) = self
            .ask_corpus(move |corpus| {
                let people = Self::said_by_people(corpus, &of)?;
                Ok((snapshots(corpus, &of)?, people, corpus.lacks_vectors()))
            })
            .await?;
        let named = self.named_snapshots(name).into_iter();
        let missing = named.filter(|number| !is_published(&snapshots, *number)).collect();
        let standing = self.standing(name).map(|standing| standing.borrow().clone());
        Ok(SourceView {
            name: name.to_owned(),
            tenant,
            declared,
            serving: snapshots.iter().find(|it| it.is_serving).cloned(),
            newest: snapshots.into_iter().find(|it| it.ended.is_some()),
            missing,
            people,
            is_by_words_alone,
            standing: standing.unwrap_or_default().into(),
        })
    }

    /// Whose a source is, as policies may want to know of a call about it. `None`: the bundle
    /// registers none of that name.
    pub fn tenant_of_source(&self, name: &str) -> Option<Tenant> {
        self.declared_source(name).ok().map(|(_, tenant)| tenant)
    }

    /// Follows runs of a source.
    pub fn follow_source(&self, name: &str) -> Result<FollowedSource, Refusal> {
        self.declared_source(name)?;
        let standing = self.standing(name).ok_or_else(|| Refusal::of(Code::NoSuchSource))?;
        Ok(FollowedSource { standing, is_first: true })
    }
}

/// Runs of a source, as somebody follows them.
pub struct FollowedSource {
    standing: watch::Receiver<Standing>,
    is_first: bool,
}

impl FollowedSource {
    /// How it stands now, and then each time that this has changed. `None`: nothing changes any
    /// more.
    pub async fn next(&mut self) -> Option<SourceStanding> {
        if !std::mem::take(&mut self.is_first) {
            self.standing.changed().await.ok()?;
        }
        Some(self.standing.borrow_and_update().clone().into())
    }
}

/// The snapshots of a source; none of one that was never run.
fn snapshots(corpus: &Corpus, name: &str) -> Result<Vec<Snapshot>, CorpusError> {
    match corpus.snapshots(name) {
        Err(CorpusError::NoSuchSource { .. }) => Ok(Vec::new()),
        other => other,
    }
}
