//! What is answered about sources of documents.

use lockgate_kernel::{Snapshot, SnapshotState, SourceReaders, SourceStanding, SourceView};
use lockgate_types::document::Reader;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// The sources there are.
#[derive(Serialize, JsonSchema)]
pub(crate) struct All {
    pub(super) sources: Vec<One>,
}

/// A source.
#[derive(Serialize, JsonSchema)]
pub(crate) struct One {
    /// What the bundle calls it.
    pub(super) source: String,
    /// Whose it is.
    pub(super) tenant: String,
    /// Who answers for it.
    pub(super) owner: String,
    /// What it is, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    /// What its documents may be used for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) terms: Option<String>,
    /// Who has agreed that it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) signed_off_by: Option<String>,
    /// `public`, `internal`, `confidential` or `restricted`: at least.
    pub(super) classification: &'static str,
    /// Whether the source itself says who may see what.
    pub(super) synced: bool,
    /// Seconds between two runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refresh_s: Option<u32>,
    /// Days for which snapshots are kept that serve no more.
    pub(super) retention_days: u32,
    /// The snapshot that serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) serving: Option<OneSnapshot>,
    /// The one that was published or quarantined last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) newest: Option<OneSnapshot>,
    /// Snapshots that tasks name and that are not there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) missing: Vec<u64>,
    /// Whether its documents are found by their words alone, since the fleet's database has no
    /// pgvector.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) words_alone: bool,
    /// How it stands at this node.
    pub(super) standing: Standing,
}

/// How a source stands at this node.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Standing {
    /// The run that was asked for, or was due, last; 0 if none was since the gate has started.
    pub(super) run: u64,
    /// The one under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) running: Option<Running>,
    /// Since when another node of the fleet runs it, in microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) elsewhere: Option<i64>,
    /// What became of the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last: Option<Last>,
    /// When the next one is due, in microseconds since 1970; absent if it is run by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) due: Option<i64>,
}

/// A run under way.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Running {
    /// When it began, in microseconds since 1970.
    pub(super) begun: i64,
    /// Documents that were listed.
    pub(super) listed: u64,
    /// Documents that were looked at.
    pub(super) done: u64,
    /// Documents that are as they were.
    pub(super) kept: u64,
    /// Documents that could not be read.
    pub(super) refused: u64,
    /// Documents that were left out, since they give orders.
    pub(super) withheld: u64,
    /// Bytes that were fetched.
    pub(super) bytes: u64,
}

/// A run that is over.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Last {
    /// Which.
    pub(super) run: u64,
    /// When it began, in microseconds since 1970.
    pub(super) begun: i64,
    /// When it ended.
    pub(super) ended: i64,
    /// `published`, `quarantined` or `failed`.
    pub(super) verdict: &'static str,
    /// The snapshot that it made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) snapshot: Option<u64>,
    /// Documents in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) documents: Option<u64>,
    /// Why it has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<&'static str>,
    /// The same in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
}

/// A snapshot.
#[derive(Serialize, JsonSchema)]
pub(crate) struct OneSnapshot {
    /// Its number within the source.
    pub(super) snapshot: u64,
    /// What people call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    /// `draft`, `published` or `quarantined`.
    pub(super) state: &'static str,
    /// Whether it is the one that serves.
    pub(super) serving: bool,
    /// Whether it is kept, and searched by tasks that name it.
    pub(super) pinned: bool,
    /// When it was begun, in microseconds since 1970.
    pub(super) begun: i64,
    /// When it was published or quarantined.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ended: Option<i64>,
    /// Documents in it.
    pub(super) documents: u64,
    /// Chunks of them.
    pub(super) chunks: u64,
}

/// A source, with what its last run has found and what people have shared.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Shown {
    #[serde(flatten)]
    pub(super) one: One,
    /// What people have said of its places, beside the source and the bundle.
    pub(super) people: Vec<Said>,
    /// The quality report of the newest snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) report: Option<Value>,
}

/// The snapshots of a source.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Snapshots {
    /// The newest first.
    pub(super) snapshots: Vec<OneSnapshot>,
}

/// In what a snapshot differs from an earlier one.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Compared {
    /// Documents that only the later has.
    pub(super) added: Vec<String>,
    /// Documents that are otherwise.
    pub(super) changed: Vec<String>,
    /// Documents that only the earlier has.
    pub(super) removed: Vec<String>,
    /// Whether all are named.
    pub(super) whole: bool,
}

/// What was asked for.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Begun {
    /// The source.
    pub(super) source: String,
    /// The run; absent if only who may see what was told, which has happened by now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) run: Option<u64>,
}

/// What people have said of a place.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Said {
    /// The folder or document.
    pub(super) place: String,
    /// To whom it is shared.
    pub(super) readers: Vec<String>,
    /// From whom it is kept.
    pub(super) denied: Vec<String>,
}

/// What was done.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Done {
    /// The source.
    pub(super) source: String,
    /// The snapshot that it is about, or that serves now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) snapshot: Option<u64>,
}

/// A source whose old snapshot serves again.
#[derive(Serialize, JsonSchema)]
pub(crate) struct RolledBack {
    /// The source.
    pub(super) source: String,
    /// The snapshot that serves now.
    pub(super) snapshot: u64,
    /// When the next run is due, in microseconds since 1970: it brings in anew what the source has
    /// by then. Absent if it is run by hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) due: Option<i64>,
}

impl One {
    pub(super) fn of(view: SourceView) -> Self {
        let declared = &view.declared;
        let level = lockgate_core::retrieve::source::classification(declared, None);
        Self {
            tenant: view.tenant.as_str().to_owned(),
            owner: declared.owner.clone(),
            description: declared.description.clone(),
            terms: declared.terms.clone(),
            signed_off_by: declared.signed_off_by.clone(),
            classification: level.as_str(),
            synced: declared.permissions.synced,
            refresh_s: declared.refresh_s,
            retention_days: declared.retention_days,
            serving: view.serving.map(OneSnapshot::of),
            newest: view.newest.map(OneSnapshot::of),
            missing: view.missing,
            words_alone: view.is_by_words_alone,
            standing: Standing::of(&view.standing),
            source: view.name,
        }
    }
}

impl OneSnapshot {
    pub(super) fn of(snapshot: Snapshot) -> Self {
        Self {
            snapshot: snapshot.number,
            name: snapshot.name,
            state: match snapshot.state {
                SnapshotState::Draft => "draft",
                SnapshotState::Published => "published",
                SnapshotState::Quarantined => "quarantined",
            },
            serving: snapshot.is_serving,
            pinned: snapshot.is_pinned,
            begun: snapshot.begun.0,
            ended: snapshot.ended.map(|ended| ended.0),
            documents: snapshot.documents,
            chunks: snapshot.chunks,
        }
    }
}

impl Standing {
    pub(super) fn of(standing: &SourceStanding) -> Self {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let running = standing.running.map(|(begun, progress)| Running {
            begun: begun.0,
            listed: count(progress.listed),
            done: count(progress.done),
            kept: count(progress.kept),
            refused: count(progress.refused),
            withheld: count(progress.withheld),
            bytes: progress.bytes,
        });
        let last = standing.last.as_deref().map(|ended| Last {
            run: ended.number,
            begun: ended.begun.0,
            ended: ended.ended.0,
            verdict: ended.verdict,
            snapshot: ended.snapshot,
            documents: ended.documents,
            code: ended.failed.as_ref().map(|(code, _)| code.as_str()),
            reason: ended.failed.as_ref().map(|(_, why)| why.clone()),
        });
        let elsewhere = standing.elsewhere.map(|begun| begun.0);
        let due = standing.due.map(|due| due.0);
        Self { run: standing.run, running, elsewhere, last, due }
    }
}

impl Said {
    pub(super) fn of(said: SourceReaders) -> Self {
        let texts = |all: &BTreeSet<Reader>| all.iter().map(Reader::to_text).collect();
        Self { readers: texts(&said.readers), denied: texts(&said.denied), place: said.place }
    }
}
