//! A snapshot under way, in a fleet.
//!
//! It has a session of its own, which holds the source's lock: in the whole fleet one has a source
//! in hand, and one that is gone has it no more. Each batch is one transaction, what is told of
//! permissions and the documents together. What was listed before somebody else has told who may
//! see what is not written: it may be older than what was told.

use super::audience::{self, Told};
use super::session::{Given, Session, column};
use super::write::Writing;
use super::{Held, find_source, known_source, natural, publish, read, tell, whole};
use crate::corpus::{
    Access, CorpusError, Gathered, Had, Listing, Permissions, SOURCES_MAX, Said, Snapshot,
    SourceOf, SourceRow, Tally, Vectors,
};
use crate::index::key::Key;
use crate::relation::{Layer, Revision, WAITING, narrower};
use lockgate_types::Micros;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A snapshot under way.
pub(crate) struct FleetDraft {
    held: Arc<Held>,
    session: Session,
    source: SourceRow,
    snapshot: u64,
    is_resumed: bool,
    now: Micros,
    /// How often it had been told who may see what when the source was listed.
    told: i64,
}

impl FleetDraft {
    pub(super) fn begin(
        held: &Arc<Held>,
        of: &SourceOf,
        listing: Listing,
        (now, told): (Micros, Option<i64>),
    ) -> Result<Self, CorpusError> {
        let mut session = held.sessions.give()?;
        let source = session.change(|session| written(session, of))?;
        if !session.take_draft(source.number)? {
            return Err(CorpusError::DraftInUse { name: of.name.clone() });
        }
        let opened = session.change(|session| {
            let now_told = told_times(session, source.number)?;
            let (snapshot, is_resumed) = open(session, &of.name, listing, now)?;
            Ok((snapshot, is_resumed, now_told))
        });
        let (snapshot, is_resumed, now_told) = opened?;
        let (held, told) = (Arc::clone(held), told.unwrap_or(now_told));
        Ok(Self { held, session, source, snapshot, is_resumed, now, told })
    }

    pub(crate) const fn source(&self) -> &SourceRow {
        &self.source
    }

    pub(crate) const fn snapshot(&self) -> u64 {
        self.snapshot
    }

    pub(crate) const fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    pub(crate) fn had(&mut self, id: &str) -> Result<Option<Had>, CorpusError> {
        read::had(&mut self.session, (self.source.number, self.snapshot), id)
    }

    pub(crate) fn ids(
        &mut self,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<String>, CorpusError> {
        read::ids(&mut self.session, self.source.number, after, most)
    }

    pub(crate) fn permit(
        &mut self,
        changes: &[(String, Permissions)],
    ) -> Result<Revision, CorpusError> {
        self.change(|session, source| tell(session, source, Layer::Synced, changes))
    }

    /// Writes what is gathered.
    pub(crate) fn write(
        &mut self,
        gathered: &Gathered,
        vectors: &Vectors,
    ) -> Result<(), CorpusError> {
        let held = Arc::clone(&self.held);
        let (snapshot, now) = (self.snapshot, self.now);
        self.change(|session, source| {
            permit_gathered(session, source, gathered)?;
            let writing = Writing {
                source,
                snapshot,
                said: gathered,
                vectors: held.has_vectors.then_some(vectors),
                embedder: held.embedder,
                stemming: held.options.stemming,
                now,
            };
            writing.write(session)
        })
    }

    pub(crate) fn tally(&mut self) -> Result<Tally, CorpusError> {
        read::tally(&mut self.session, self.source.number, self.snapshot)
    }

    pub(crate) fn publish(mut self, report: &str, now: Micros) -> Result<Snapshot, CorpusError> {
        let snapshot = self.snapshot;
        self.change(|session, source| {
            publish::publish(session, &source.name, snapshot, report, now)
        })
    }

    pub(crate) fn quarantine(mut self, report: &str, now: Micros) -> Result<Snapshot, CorpusError> {
        let Self { session, source, snapshot, .. } = &mut self;
        session.change(|session| publish::quarantine(session, &source.name, *snapshot, report, now))
    }

    pub(crate) fn discard(mut self) -> Result<(), CorpusError> {
        let (source, snapshot) = (self.source.number, self.snapshot);
        self.session.change(|session| publish::forget_draft(session, source, snapshot))
    }

    /// Changes what the draft has, unless somebody else has told who may see what.
    fn change<T>(
        &mut self,
        work: impl FnOnce(&mut Session, &SourceRow) -> Result<T, CorpusError>,
    ) -> Result<T, CorpusError> {
        let Self { session, source, told, .. } = self;
        session.change(|session| {
            if told_times(session, source.number)? != *told {
                return Err(CorpusError::ToldAnew { name: source.name.clone() });
            }
            work(session, source)
        })
    }
}

impl Drop for FleetDraft {
    fn drop(&mut self) {
        // Who asks for the source once this is gone may have it. Else the server lets go of it in
        // its own time.
        let _ = self.session.unlock();
    }
}

/// How often it was told who may see what of a source, other than by drafts.
pub(super) fn told_times(session: &mut Session, source: i64) -> Result<i64, CorpusError> {
    let query = "SELECT told FROM source WHERE number = $1";
    let row = session.row(query, vec![Given::Int(source)])?;
    row.map_or(Ok(0), |row| column(&row, 0))
}

/// What takes away is in force at once, what gives waits where an old text serves.
fn permit_gathered(
    session: &mut Session,
    source: &SourceRow,
    gathered: &Gathered,
) -> Result<(), CorpusError> {
    let mut told = BTreeMap::new();
    for (id, said) in gathered {
        if let Said::Is(incoming) = said {
            told.extend(incoming.permissions.as_ref().map(|permissions| (id, permissions)));
        }
    }
    let places = told.keys().map(|id| (source.number, (*id).clone())).collect();
    let old = Told::read(session, places)?;
    let published = published(session, source, told.keys().map(|id| (*id).clone()).collect())?;
    let (mut at_once, mut waiting) = (Vec::new(), Vec::new());
    let told_again: Vec<String> = told.keys().map(|id| (*id).clone()).collect();
    for (id, new) in told {
        let old = old.of(source.number, id, Layer::Synced.number());
        let is_published = published.contains(id);
        let now = if is_published { narrower(source.access, &old, new) } else { new.clone() };
        if now != *new {
            waiting.push((id.clone(), new.clone()));
        }
        if now != old {
            at_once.push((id.clone(), now));
        }
    }
    if !at_once.is_empty() {
        tell(session, source, Layer::Synced, &at_once)?;
    }
    // What the draft said of them before does not wait any longer.
    let said = told_again.into_iter().map(|id| (id, Permissions::Unknown)).collect::<Vec<_>>();
    audience::write(session, source.number, WAITING, &said)?;
    audience::write(session, source.number, WAITING, &waiting)
}

/// Which of these are in a published snapshot, or have something beneath them that may be.
fn published(
    session: &mut Session,
    source: &SourceRow,
    ids: Vec<String>,
) -> Result<BTreeSet<String>, CorpusError> {
    let keys = ids.iter().map(|id| Key::within(source.number, id).bytes()).collect();
    let query = "SELECT DISTINCT v.id FROM version v JOIN valid a ON a.version = v.number
            WHERE v.source = $1 AND v.id = ANY($2)
        UNION SELECT p.id FROM unnest($2::text[], $3::bytea[]) AS p(id, key)
            JOIN lies l ON l.place = p.key";
    let given = vec![Given::Int(source.number), Given::Texts(ids), Given::Blobs(keys)];
    session.rows(query, given)?.iter().map(|row| column(row, 0)).collect()
}

/// The source, which is written down if nobody knew it.
fn written(session: &mut Session, of: &SourceOf) -> Result<SourceRow, CorpusError> {
    if let Some(known) = find_source(session, &of.name)? {
        let is_same = known.tenant == of.tenant && known.access == of.access;
        let differs = || CorpusError::SourceDiffers { name: of.name.clone() };
        return if is_same { Ok(known) } else { Err(differs()) };
    }
    let count = session.row("SELECT count(*) FROM source", vec![])?;
    let count: i64 = count.map_or(Ok(0), |row| column(&row, 0))?;
    if count >= whole(SOURCES_MAX as u64) {
        return Err(CorpusError::Full { what: "sources", most: SOURCES_MAX });
    }
    let insert = "INSERT INTO source (name, tenant, is_synced, newest) VALUES ($1, $2, $3 = 1, 0)";
    let is_synced = Given::Int(i64::from(of.access == Access::Synced));
    let names = [of.name.clone(), of.tenant.clone()].map(Given::Text);
    session.execute(insert, names.into_iter().chain([is_synced]).collect())?;
    known_source(session, &of.name)
}

/// The draft that is open, or a new one.
fn open(
    session: &mut Session,
    name: &str,
    listing: Listing,
    now: Micros,
) -> Result<(u64, bool), CorpusError> {
    let source = known_source(session, name)?;
    let query = "SELECT number FROM snapshot WHERE source = $1 AND state = 'draft'";
    let found = session.row(query, vec![Given::Int(source.number)])?;
    let found = found.map(|row| column(&row, 0).map(natural)).transpose()?;
    let number = found.unwrap_or_else(|| source.newest.saturating_add(1));
    let insert = "INSERT INTO snapshot (source, number, state, is_whole, is_pinned, begun, report,
            documents, chunks)
        VALUES ($1, $2, 'draft', $3 = 1, false, $4, '', 0, 0)
        ON CONFLICT (source, number) DO UPDATE SET is_whole = excluded.is_whole";
    let is_whole = i64::from(listing == Listing::Whole);
    let given = [source.number, whole(number), is_whole, now.0].map(Given::Int);
    session.execute(insert, given.into())?;
    let update = "UPDATE source SET newest = $2 WHERE number = $1";
    session.execute(update, [source.number, whole(number)].map(Given::Int).into())?;
    Ok((number, found.is_some()))
}
