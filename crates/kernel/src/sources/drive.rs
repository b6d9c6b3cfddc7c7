//! What is done on a source's thread: a run, or telling who may see what.

use super::governed::declared_of;
use super::reach::Reach;
use super::{Reader, What, fleet, plan};
use crate::Kernel;
use lockgate_core::declare;
use lockgate_retrieval::connect::{Connector, Permissions, ROOT};
use lockgate_retrieval::corpus::{Baton, Corpus, CorpusError, Snapshot, SnapshotState};
use lockgate_retrieval::ingest::{
    DOCUMENT_WITHIN, IngestError, IntoCorpus, Means, PERMISSIONS_MAX, Parser, Progress, Seen, run,
};
use lockgate_retrieval::quality::Report;
use lockgate_retrieval::relation::Layer;
use lockgate_types::{Code, Micros, Tenant};
use std::collections::BTreeSet;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::runtime::Handle;

/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;

/// What a thread is told.
pub(super) struct Job {
    pub(super) kernel: Kernel,
    pub(super) runtime: Handle,
    pub(super) name: String,
    pub(super) declared: Arc<declare::Source>,
    pub(super) tenant: Tenant,
    pub(super) what: What,
    /// Whether somebody has asked for it: then it is no matter when it was run last.
    pub(super) is_asked: bool,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) progress: Box<dyn FnMut(&Progress) + Send>,
}

/// What it has come to.
pub(super) enum Came {
    /// Who may see what was told.
    Told,
    /// A run has come to its end.
    Run(Box<Report>),
    /// Another node of the fleet runs it.
    Elsewhere,
    /// Another node of the fleet has run it meanwhile: it is not due any more.
    NotDue,
}

/// Why it did not come to its end.
#[derive(Debug, thiserror::Error)]
pub(super) enum JobError {
    /// The run has failed.
    #[error("{0}")]
    Ingest(IngestError),
    /// The corpus cannot be used.
    #[error("{0}")]
    Corpus(CorpusError),
    /// This gate brings nothing in, or its corpus does not open.
    #[error("{why}")]
    Gate {
        /// The code.
        code: Code,
        /// What is wrong.
        why: String,
    },
}

impl JobError {
    pub(super) const fn code(&self) -> Code {
        match self {
            Self::Ingest(error) => error.code(),
            Self::Corpus(CorpusError::NoSuchSource { .. }) => Code::NoSuchSource,
            Self::Corpus(error) => error.code(),
            Self::Gate { code, .. } => *code,
        }
    }
}

impl JobError {
    /// Whether the run was only stopped, to be gone on with.
    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.code(), Code::RunStopped | Code::ToldAnew)
    }
}

impl From<IngestError> for JobError {
    fn from(error: IngestError) -> Self {
        Self::Ingest(error)
    }
}

impl From<CorpusError> for JobError {
    fn from(error: CorpusError) -> Self {
        Self::Corpus(error)
    }
}

impl Job {
    /// Does it.
    pub(super) fn perform(mut self) -> Result<Came, JobError> {
        let corpus = self
            .kernel
            .corpus()
            .map_err(|refusal| JobError::Gate { code: refusal.code, why: refusal.reason })?;
        match self.what {
            What::Told => {
                self.tell(&corpus)?;
                self.keep_named(&corpus)?;
                Ok(Came::Told)
            }
            What::Run(_) => self.run_with_baton(&corpus),
        }
    }

    /// Runs it, if nobody else in the fleet does.
    fn run_with_baton(&mut self, corpus: &Corpus) -> Result<Came, JobError> {
        let Some(mut baton) = corpus.take_baton(&self.name)? else { return Ok(Came::Elsewhere) };
        let declaration = plan::source(&self.name, &self.tenant, &self.declared).digest();
        let now = || self.kernel.clock().now();
        if let Some(last) = baton.last()
            && !self.is_asked
            && !fleet::is_due(last, declaration, &self.declared, now())
        {
            return Ok(Came::NotDue);
        }
        baton.begin(declaration, now())?;
        let came = self.run(corpus, &baton);
        let came = came.and_then(|report| {
            self.keep_named(corpus)?;
            self.retain(corpus)?;
            Ok(Came::Run(Box::new(report)))
        });
        let now = self.kernel.clock().now();
        let ended = match &came {
            Ok(_) => baton.end(now),
            // A draft of it is in somebody's hands who had no baton.
            Err(error) if error.code() == Code::DraftInUse && corpus.is_shared() => {
                return Ok(Came::Elsewhere);
            }
            // It is gone on with, here or at another node.
            Err(error) if error.is_stopped() => Ok(()),
            Err(_) => baton.fail(now),
        };
        if let Err(error) = ended {
            let source = self.name.as_str();
            tracing::warn!(source, %error, "that a run is over is not written down");
        }
        came
    }

    fn reach(&self) -> Result<(Reach, super::Bringing), JobError> {
        let bringing = self
            .kernel
            .bringing()
            .map_err(|refusal| JobError::Gate { code: refusal.code, why: refusal.reason })?;
        let clock = self.kernel.clock().clone();
        let reach = Reach {
            bringing: bringing.clone(),
            name: self.name.clone(),
            world: self.kernel.world(),
            upstreams: self.kernel.upstreams().clone(),
            runtime: self.runtime.clone(),
            stop: self.is_stopped(),
            now: Arc::new(move || clock.now()),
        };
        Ok((reach, bringing.clone()))
    }

    /// Whether it is to stop: somebody has said so, or a switch is thrown.
    fn is_stopped(&self) -> Arc<dyn Fn() -> bool + Send + Sync> {
        let (kernel, tenant) = (self.kernel.clone(), self.tenant.clone());
        let stop = Arc::clone(&self.stop);
        Arc::new(move || stop.load(Ordering::Relaxed) || kernel.is_switched_off(&tenant))
    }

    fn run(&mut self, corpus: &Corpus, baton: &Baton) -> Result<Report, JobError> {
        let (reach, bringing) = self.reach()?;
        let source = plan::source(&self.name, &self.tenant, &self.declared);
        let of = plan::of(&self.name, &self.tenant, &self.declared);
        let mut seen = Seen::open(&seen_at(&bringing.state, &self.name)?)
            .map_err(|error| JobError::Ingest(IngestError::Seen(error)))?;
        if corpus.is_shared() {
            // What has been read since is known to whoever has read it.
            seen.forget_cursor().map_err(IngestError::Seen)?;
        }
        let mut connector = reach.connector(&self.declared).map_err(IngestError::Connect)?;
        let Reader { program, arguments, environment } = bringing.reader;
        let parser = Parser::new(program, arguments, DOCUMENT_WITHIN);
        let mut parser = parser.told(environment);
        let before = serving(corpus, &self.name)?;
        let before = before.and_then(|snapshot| Report::from_json(&snapshot.report).ok());
        let (kernel, stop) = (&self.kernel, self.is_stopped());
        let means = Means {
            connector: &mut connector,
            parser: &mut parser,
            destination: &mut IntoCorpus::with_baton(corpus.clone(), of, baton),
            seen: &mut seen,
            now: &|| kernel.clock().now(),
            progress: &mut self.progress,
            stop: &*stop,
        };
        Ok(run(&source, before.as_ref(), means)?)
    }

    /// Tells who may see what, of what the corpus knows of the source. It is in force when this
    /// returns.
    fn tell(&self, corpus: &Corpus) -> Result<(), JobError> {
        let synced = self.declared.permissions.synced;
        let changes = if synced { self.said_by_source()? } else { self.declared(corpus)? };
        for some in changes.chunks(PERMISSIONS_MAX) {
            corpus.permit(&self.name, Layer::Synced, some)?;
        }
        Ok(())
    }

    fn said_by_source(&self) -> Result<Vec<(String, Permissions)>, JobError> {
        let mut connector =
            self.reach()?.0.connector(&self.declared).map_err(IngestError::Connect)?;
        let listing = connector.list(None).map_err(IngestError::Connect)?;
        let entries = listing.entries.into_iter();
        let entries = entries.filter_map(|entry| Some((entry.id, entry.permissions?)));
        Ok(listing.folders.into_iter().chain(entries).collect())
    }

    /// What is declared needs no source: it holds also while that is away. What lies in folders
    /// that the corpus does not know yet is told with it.
    fn declared(&self, corpus: &Corpus) -> Result<Vec<(String, Permissions)>, JobError> {
        let mut folders: BTreeSet<String> = corpus.folders_told(&self.name)?.into_iter().collect();
        folders.insert(ROOT.to_owned());
        Ok(declared_of(&self.declared, folders))
    }

    /// Keeps the snapshots that tasks of the ruling bundle name. One that is not there is said to
    /// be missing where the source is shown.
    fn keep_named(&self, corpus: &Corpus) -> Result<(), JobError> {
        let named = self.kernel.named_snapshots(&self.name);
        if named.is_empty() {
            return Ok(());
        }
        for snapshot in corpus.snapshots(&self.name)? {
            let is_named = named.contains(&snapshot.number);
            if is_named && !snapshot.is_pinned && snapshot.state == SnapshotState::Published {
                corpus.pin(&self.name, snapshot.number)?;
            }
        }
        Ok(())
    }

    /// Drops snapshots that are older than the source keeps them.
    fn retain(&self, corpus: &Corpus) -> Result<(), JobError> {
        let kept_us = i64::from(self.declared.retention_days).saturating_mul(DAY_US);
        let since = Micros(self.kernel.clock().now().0.saturating_sub(kept_us));
        let snapshots = corpus.snapshots(&self.name)?;
        let young = |state: SnapshotState| {
            let is_young = |it: &&Snapshot| {
                let is_old_one = it.state == state && !it.is_serving && !it.is_pinned;
                is_old_one && it.ended.is_some_and(|ended| ended >= since)
            };
            snapshots.iter().filter(is_young).count()
        };
        let keep = young(SnapshotState::Published).max(young(SnapshotState::Quarantined));
        corpus.retain(&self.name, keep)?;
        Ok(())
    }
}

/// The snapshot that serves.
pub(super) fn serving(corpus: &Corpus, name: &str) -> Result<Option<Snapshot>, CorpusError> {
    match corpus.snapshots(name) {
        Ok(snapshots) => Ok(snapshots.into_iter().find(|snapshot| snapshot.is_serving)),
        Err(CorpusError::NoSuchSource { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The file of what runs have seen of a source, in a directory that is the gate's alone.
pub(super) fn seen_at(state: &Path, name: &str) -> Result<PathBuf, JobError> {
    let directory = state.join("sources");
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&directory);
    made.map_err(|error| JobError::Gate {
        code: Code::IngestStateBroken,
        why: format!("`{}` cannot be made: {error}", directory.display()),
    })?;
    Ok(directory.join(format!("{name}.db")))
}
