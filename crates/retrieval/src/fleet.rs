//! The corpus of a fleet: in PostgreSQL, searched by every gate of it.
//!
//! It says what the [embedded](crate::embedded) corpus says, to the same questions: snapshots that
//! serve or are pinned, permissions as they were told last, words and vectors counted and compared
//! within what may be seen, and each document decided once more that is returned. What may be seen
//! is found out first, by the database; without pgvector there are words alone.

mod audience;
mod baton;
mod draft;
mod filter;
mod place;
mod publish;
mod rank;
mod read;
mod schema;
mod search;
mod session;
mod snapshot;
mod write;

pub(crate) use baton::FleetBaton;
pub(crate) use draft::FleetDraft;

use crate::corpus::{
    Access, ChunkNumber, CorpusError, Listing, Options, Permissions, SourceOf, SourceRow, can_be,
};
use crate::relation::{self, Layer, Revision};
use audience::Told;
use lockgate_types::Micros;
use lockgate_types::label::Confidentiality;
use session::{Given, Session, Sessions, column, standing_still};
use sqlx::postgres::{PgConnectOptions, PgRow};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A handle on it.
#[derive(Clone)]
pub(crate) struct FleetCorpus {
    held: Arc<Held>,
}

/// What handles share.
struct Held {
    sessions: Sessions,
    options: Options,
    embedder: i64,
    has_vectors: bool,
    disagreements: AtomicU64,
}

impl FleetCorpus {
    pub(crate) fn open(address: PgConnectOptions, options: Options) -> Result<Self, CorpusError> {
        let sessions = Sessions::new(address);
        let (has_vectors, embedder) = sessions.with(|session| {
            let has_vectors = schema::prepare(session)?;
            Ok((has_vectors, schema::embedder(session, options.embedder.name())?))
        })?;
        let disagreements = AtomicU64::new(0);
        let held = Held { sessions, options, embedder, has_vectors, disagreements };
        let corpus = Self { held: Arc::new(held) };
        corpus.delete_dropped()?;
        Ok(corpus)
    }

    pub(crate) fn options(&self) -> &Options {
        &self.held.options
    }

    pub(crate) fn has_vectors(&self) -> bool {
        self.held.has_vectors
    }

    /// `told`: how often it had been told who may see what when the source was listed.
    pub(crate) fn begin(
        &self,
        source: &SourceOf,
        listing: Listing,
        now: Micros,
        told: Option<i64>,
    ) -> Result<FleetDraft, CorpusError> {
        FleetDraft::begin(&self.held, source, listing, (now, told))
    }

    /// When this returns it is in force in every gate, and no answer is under way that was made
    /// before.
    pub(crate) fn permit(
        &self,
        source: &str,
        layer: Layer,
        changes: &[(String, Permissions)],
    ) -> Result<Revision, CorpusError> {
        self.held.sessions.change(|session| {
            let source = known_source(session, source)?;
            if layer == Layer::Synced {
                // Who has listed the source before this does not tell it afterwards.
                let update = "UPDATE source SET told = told + 1 WHERE number = $1";
                session.execute(update, vec![Given::Int(source.number)])?;
            }
            tell(session, &source, layer, changes)
        })
    }

    pub(crate) fn unembedded(
        &self,
        most: usize,
        ceiling: Confidentiality,
    ) -> Result<Vec<(ChunkNumber, String)>, CorpusError> {
        if !self.held.has_vectors {
            return Ok(Vec::new());
        }
        let embedder = self.held.embedder;
        self.held.sessions.search(|session| read::unembedded(session, embedder, most, ceiling))
    }

    /// Writes vectors of length one.
    pub(crate) fn embed(&self, units: &[(ChunkNumber, Vec<f32>)]) -> Result<(), CorpusError> {
        if !self.held.has_vectors {
            return Ok(());
        }
        let embedder = self.held.embedder;
        self.held.sessions.change(|session| write::vectors(session, embedder, units))
    }

    pub(crate) fn revision(&self) -> Result<Revision, CorpusError> {
        self.held.sessions.search(audience::revision)
    }
}

/// Tells in the definition and in what searches look at; searches wait for the end of it. What is
/// told as it was changes nothing, and nobody waits for it.
fn tell(
    session: &mut Session,
    source: &SourceRow,
    layer: Layer,
    changes: &[(String, Permissions)],
) -> Result<Revision, CorpusError> {
    // Of a place that is told of twice, the last counts.
    let last: BTreeMap<String, Permissions> = changes.iter().cloned().collect();
    let places = last.keys().map(|place| (source.number, place.clone())).collect();
    let before = Told::read(session, places)?;
    let was = |place: &str, layer| before.of(source.number, place, layer);
    let waits = |place: &str| {
        layer == Layer::Synced && was(place, relation::WAITING) != Permissions::Unknown
    };
    let changes: Vec<(String, Permissions)> = last
        .into_iter()
        .filter(|(place, new)| was(place, layer.number()) != *new || waits(place))
        .collect();
    if changes.is_empty() {
        return audience::revision(session);
    }
    let places: Vec<String> = changes.iter().map(|(place, _)| place.clone()).collect();
    audience::write(session, source.number, layer.number(), &changes)?;
    if layer == Layer::Synced {
        // What was said of them before does not come after.
        let delete = "DELETE FROM told WHERE source = $1 AND place = ANY($2) AND layer = $3";
        let waiting = Given::Int(relation::WAITING);
        let given = vec![Given::Int(source.number), Given::Texts(places.clone()), waiting];
        session.execute(delete, given)?;
    }
    audience::settle(session, source, &places)?;
    let revision = audience::next_revision(session)?;
    session.batch(&standing_still())?;
    Ok(revision)
}

const SOURCE: &str = "SELECT number, name, tenant, is_synced, serving, newest FROM source";

/// The source, if anybody knows it.
fn find_source(session: &mut Session, name: &str) -> Result<Option<SourceRow>, CorpusError> {
    if !can_be(name) {
        return Ok(None);
    }
    let row = session.row(&format!("{SOURCE} WHERE name = $1"), vec![Given::text(name)])?;
    row.as_ref().map(source_row).transpose()
}

fn source_row(row: &PgRow) -> Result<SourceRow, CorpusError> {
    Ok(SourceRow {
        number: column(row, 0)?,
        name: column(row, 1)?,
        tenant: column(row, 2)?,
        access: access(column(row, 3)?),
        serving: column::<Option<i64>>(row, 4)?.map(natural),
        newest: natural(column(row, 5)?),
    })
}

fn known_source(session: &mut Session, name: &str) -> Result<SourceRow, CorpusError> {
    let found = find_source(session, name)?;
    found.ok_or_else(|| CorpusError::NoSuchSource { name: name.to_owned() })
}

const fn access(is_synced: bool) -> Access {
    if is_synced { Access::Synced } else { Access::Declared }
}

/// A number that was written as one that is not negative.
fn natural(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

/// Numbers of snapshots, bytes and words are bounded far below 63 bits.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
