//! The corpus of a fleet: in PostgreSQL, searched by every gate of it.
//!
//! A search sees what one of the [embedded](crate::corpus::Corpus) corpus sees, by the same
//! questions and answers: snapshots that serve or are pinned, permissions as they were told last,
//! words and vectors counted and compared within what may be seen, and each document decided once
//! more that is returned. What may be seen is found out first, by the database; without pgvector
//! there are words alone. Calls wait for the database: not to be made, nor the corpus dropped,
//! where something else waits on the same thread.

mod audience;
mod draft;
mod filter;
mod publish;
mod rank;
mod read;
mod schema;
mod search;
mod session;
mod write;

pub use draft::FleetDraft;
pub use schema::SCHEMA;
pub use session::SESSIONS_MAX;

use crate::corpus::{
    Access, ChunkNumber, CorpusError, EMBEDDED_AT_ONCE_MAX, Listing, Options, Permissions,
    SourceOf, SourceRow, TOLD_AT_ONCE_MAX, check_place,
};
use crate::relation::{self, Layer, Revision};
use filter::can_be;
use lockgate_types::Micros;
use lockgate_types::document::Reader;
use session::{Given, Session, Sessions, column, standing_still};
use sqlx::postgres::PgConnectOptions;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// A handle on the corpus of a fleet.
#[derive(Clone)]
pub struct FleetCorpus {
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
    /// Opens the corpus, making the tables that are missing. Whether the connection is encrypted,
    /// and to whom, is for whoever gives the address to see to.
    ///
    /// # Errors
    ///
    /// If the database cannot be used, or a newer program has written it.
    pub fn open(address: PgConnectOptions, options: Options) -> Result<Self, CorpusError> {
        let sessions = Sessions::new(address);
        let (has_vectors, embedder) = sessions.with(|session| {
            let has_vectors = schema::prepare(session)?;
            Ok((has_vectors, schema::embedder(session, options.embedder.name())?))
        })?;
        let disagreements = AtomicU64::new(0);
        let held = Held { sessions, options, embedder, has_vectors, disagreements };
        Ok(Self { held: Arc::new(held) })
    }

    /// Whether vectors are kept and compared. `false`: the database has no pgvector, and what is
    /// found is found by its words.
    pub fn has_vectors(&self) -> bool {
        self.held.has_vectors
    }

    /// A draft of the source's next snapshot: the one that was left open, or a new one. In the
    /// whole fleet one has it in hand.
    ///
    /// # Errors
    ///
    /// If another is in use, or the source is another tenant's.
    pub fn begin(
        &self,
        source: &SourceOf,
        listing: Listing,
        now: Micros,
    ) -> Result<FleetDraft, CorpusError> {
        FleetDraft::begin(&self.held, source, listing, now)
    }

    /// Writes down what is told of folders (by their whole path) and documents (by their id). When
    /// this returns it is in force in every gate, and no answer is under way that was made before.
    ///
    /// # Errors
    ///
    /// If something is beyond a bound, or the database fails: then nothing of it is in force.
    pub fn permit(
        &self,
        source: &str,
        layer: Layer,
        changes: &[(String, Permissions)],
    ) -> Result<Revision, CorpusError> {
        check_changes(changes)?;
        self.held.sessions.change(|session| {
            let source = known_source(session, source)?;
            tell(session, &source, layer, changes)
        })
    }

    /// Keeps a published snapshot, and has tasks search it that ask for it.
    ///
    /// # Errors
    ///
    /// If it is not there or was never published.
    pub fn pin(&self, source: &str, number: u64) -> Result<(), CorpusError> {
        publish::set_pinned(&self.held, source, number, true)
    }

    /// Lets a snapshot go its way with the others.
    ///
    /// # Errors
    ///
    /// If there is no such snapshot.
    pub fn unpin(&self, source: &str, number: u64) -> Result<(), CorpusError> {
        publish::set_pinned(&self.held, source, number, false)
    }

    /// Chunks of what serves and is pinned that have no vector of the present embedder, with their
    /// texts. Without pgvector there are none.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn unembedded(&self, most: usize) -> Result<Vec<(ChunkNumber, String)>, CorpusError> {
        if !self.held.has_vectors {
            return Ok(Vec::new());
        }
        let most = most.min(EMBEDDED_AT_ONCE_MAX);
        self.held.sessions.search(|session| read::unembedded(session, self.held.embedder, most))
    }

    /// Gives chunks their vectors. Those of chunks that are gone meanwhile are let go.
    ///
    /// # Errors
    ///
    /// If one is not a vector, or the database fails: then none is written.
    pub fn embed(&self, vectors: Vec<(ChunkNumber, Vec<f32>)>) -> Result<(), CorpusError> {
        let most = EMBEDDED_AT_ONCE_MAX;
        if vectors.len() > most {
            return Err(CorpusError::Full { what: "vectors at once", most });
        }
        let dimensions = self.held.options.embedder.dimensions();
        let given = |(chunk, vector): (ChunkNumber, _)| {
            Ok((chunk.0, crate::embed::given(vector, dimensions)?))
        };
        let units: Result<Vec<(i64, Vec<f32>)>, _> = vectors.into_iter().map(given).collect();
        let units = units.map_err(CorpusError::Embedding)?;
        match self.held.has_vectors {
            true => self
                .held
                .sessions
                .change(|session| write::vectors(session, self.held.embedder, &units)),
            false => Ok(()),
        }
    }

    /// How often permissions, or what serves, have changed.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn revision(&self) -> Result<Revision, CorpusError> {
        self.held.sessions.search(audience::revision)
    }
}

/// Tells in the definition and in what searches look at; searches wait for the end of it.
fn tell(
    session: &mut Session,
    source: &SourceRow,
    layer: Layer,
    changes: &[(String, Permissions)],
) -> Result<Revision, CorpusError> {
    audience::write(session, source.number, layer.number(), changes)?;
    if layer == Layer::Synced {
        // What was said of them before does not come after.
        let places = changes.iter().map(|(place, _)| place.clone()).collect();
        let delete = "DELETE FROM told WHERE source = $1 AND place = ANY($2) AND layer = $3";
        let waiting = Given::Int(relation::WAITING);
        let given = vec![Given::Int(source.number), Given::Texts(places), waiting];
        session.execute(delete, given)?;
    }
    let places: Vec<String> = changes.iter().map(|(place, _)| place.clone()).collect();
    audience::settle(session, source, &places)?;
    let revision = audience::next_revision(session)?;
    session.batch(&standing_still())?;
    Ok(revision)
}

/// Refuses what is beyond a bound, and what PostgreSQL cannot have.
fn check_changes(changes: &[(String, Permissions)]) -> Result<(), CorpusError> {
    if changes.len() > TOLD_AT_ONCE_MAX {
        return Err(CorpusError::Full { what: "changes at once", most: TOLD_AT_ONCE_MAX });
    }
    for (place, permissions) in changes {
        check_place(place)?;
        relation::check(place, permissions)?;
        check_told(place, permissions)?;
    }
    Ok(())
}

fn check_told(place: &str, permissions: &Permissions) -> Result<(), CorpusError> {
    let named = |reader: &Reader| match reader {
        Reader::Everyone => true,
        Reader::User(name) | Reader::Group(name) => can_be(name),
    };
    let readers = relation::parts(permissions);
    let mut readers =
        readers.into_iter().flat_map(|(_, shares, denials)| shares.iter().chain(denials));
    match can_be(place) && readers.all(named) {
        true => Ok(()),
        false => Err(unheard_of(place)),
    }
}

/// PostgreSQL has no texts with a zero in them.
fn unheard_of(id: &str) -> CorpusError {
    let id = id.chars().take(80).collect();
    CorpusError::Malformed { id, what: "a text of it has a character of number zero" }
}

/// The source, if anybody knows it.
fn find_source(session: &mut Session, name: &str) -> Result<Option<SourceRow>, CorpusError> {
    if !can_be(name) {
        return Ok(None);
    }
    let query = "SELECT number, name, tenant, is_synced, serving, newest FROM source
        WHERE name = $1";
    let row = session.row(query, vec![Given::Text(name.to_owned())])?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(SourceRow {
        number: column(&row, 0)?,
        name: column(&row, 1)?,
        tenant: column(&row, 2)?,
        access: access(column(&row, 3)?),
        serving: column::<Option<i64>>(&row, 4)?.map(natural),
        newest: natural(column(&row, 5)?),
    }))
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
