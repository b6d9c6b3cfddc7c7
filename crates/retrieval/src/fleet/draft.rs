//! A snapshot under way, in a fleet: as [`crate::corpus::Draft`].
//!
//! It has a session of its own, which holds the source's lock: in the whole fleet one has a source
//! in hand, and one that is gone has it no more. Each batch is one transaction, what is told of
//! permissions and the documents together.

use super::audience::{self, Told};
use super::session::{Given, Session, column};
use super::write::{self, Writing};
use super::{
    Held, check_changes, check_told, filter::can_be, find_source, known_source, natural, publish,
    tell, unheard_of, whole,
};
use crate::corpus::{
    Access, BUFFERED_BYTES_MAX, BUFFERED_MAX, CorpusError, Had, IDS_READ_MAX, Incoming, Listing,
    OPEN, Permissions, SOURCES_MAX, Snapshot, SourceOf, SourceRow, check, check_name, check_place,
    vectors_of,
};
use crate::index::key::Key;
use crate::relation::{Layer, Revision, WAITING, narrower};
use lockgate_types::{Digest, Micros};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A snapshot under way.
pub struct FleetDraft {
    held: Arc<Held>,
    session: Session,
    source: SourceRow,
    snapshot: u64,
    is_resumed: bool,
    now: Micros,
    gathered: BTreeMap<String, Said>,
    gathered_bytes: usize,
}

/// What is said of a document.
pub(super) enum Said {
    Is(Box<Incoming>),
    IsAsItWas(Micros),
    IsGone,
}

impl FleetDraft {
    pub(super) fn begin(
        held: &Arc<Held>,
        of: &SourceOf,
        listing: Listing,
        now: Micros,
    ) -> Result<Self, CorpusError> {
        for name in [&of.name, &of.tenant] {
            check_name(name)?;
            if !can_be(name) {
                return Err(unheard_of(name));
            }
        }
        let closed = || CorpusError::fleet("beginning a draft")(sqlx::Error::PoolClosed);
        let mut session = held.sessions.lend()?.keep().ok_or_else(closed)?;
        let source = session.change(|session| written(session, of))?;
        if !session.take_draft(source.number)? {
            return Err(CorpusError::DraftInUse { name: of.name.clone() });
        }
        let (snapshot, is_resumed) =
            session.change(|session| open(session, &of.name, listing, now))?;
        let (held, gathered) = (Arc::clone(held), BTreeMap::new());
        let (source, gathered_bytes) = (source, 0);
        Ok(Self { held, session, source, snapshot, is_resumed, now, gathered, gathered_bytes })
    }

    /// Its number within its source.
    pub const fn snapshot(&self) -> u64 {
        self.snapshot
    }

    /// Whether it goes on with one that was left open.
    pub const fn is_resumed(&self) -> bool {
        self.is_resumed
    }

    /// What is there of a document: in this draft, or else in the snapshot that it is made from.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn had(&mut self, id: &str) -> Result<Option<Had>, CorpusError> {
        if let Some(Said::Is(incoming)) = self.gathered.get(id) {
            let (fingerprint, changed) = (incoming.fingerprint, incoming.facts.changed);
            return Ok(Some(Had { fingerprint, changed, is_in_draft: true }));
        }
        if !can_be(id) {
            return Ok(None);
        }
        let query = "SELECT v.fingerprint, v.changed, d.id IS NOT NULL
            FROM (SELECT 1) one
            LEFT JOIN drafted d ON d.source = $1 AND d.snapshot = $2 AND d.id = $3
            JOIN version v ON v.number = coalesce(d.version, (SELECT o.number FROM version o
                JOIN valid a ON a.version = o.number AND a.until = $4
                WHERE o.source = $1 AND o.id = $3))";
        let snapshot = Given::Int(whole(self.snapshot));
        let (source, id_given) = (Given::Int(self.source.number), Given::Text(id.to_owned()));
        let given = vec![source, snapshot, id_given, Given::Int(OPEN)];
        let Some(row) = self.session.row(query, given)? else { return Ok(None) };
        let fingerprint = digest(column(&row, 0)?);
        let is_in_draft = column(&row, 2)? || self.gathered.contains_key(id);
        Ok(Some(Had { fingerprint, changed: Micros(column(&row, 1)?), is_in_draft }))
    }

    /// The ids of the snapshot that it is made from, after one, in order of their bytes.
    ///
    /// # Errors
    ///
    /// If the database fails.
    pub fn ids(&mut self, after: Option<&str>, most: usize) -> Result<Vec<String>, CorpusError> {
        let query = "SELECT v.id FROM version v JOIN valid a ON a.version = v.number
            WHERE v.source = $1 AND a.until = $2 AND ($3 IS NULL OR v.id COLLATE \"C\" > $3)
            ORDER BY v.id COLLATE \"C\" LIMIT $4";
        let most = whole(most.min(IDS_READ_MAX) as u64);
        let after = Given::MaybeText(after.map(|after| after.replace('\0', "")));
        let given = vec![Given::Int(self.source.number), Given::Int(OPEN), after, Given::Int(most)];
        self.session.rows(query, given)?.iter().map(|row| column(row, 0)).collect()
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
        incoming.facts.source.clone_from(&self.source.name);
        incoming.facts.tenant.clone_from(&self.source.tenant);
        check(&incoming)?;
        write::check(&incoming)?;
        incoming.permissions.iter().try_for_each(|told| check_told(&incoming.facts.id, told))?;
        if let Some(Said::Is(before)) = self.gathered.remove(&incoming.facts.id) {
            incoming.permissions = incoming.permissions.or(before.permissions);
        }
        self.gathered_bytes = self.gathered_bytes.saturating_add(incoming.text.len());
        self.gathered.insert(incoming.facts.id.clone(), Said::Is(Box::new(incoming)));
        self.flush_if_full()
    }

    /// Says that a document is as it was, as was seen at that time.
    ///
    /// # Errors
    ///
    /// If the snapshot that the draft is made from does not have it.
    pub fn keep(&mut self, id: &str, confirmed: Micros) -> Result<(), CorpusError> {
        if !can_be(id) {
            return Err(unheard_of(id));
        }
        let there = write::serving(&mut self.session, self.source.number, vec![id.to_owned()])?;
        if there.is_empty() {
            let (name, id) = (self.source.name.clone(), id.to_owned());
            return Err(CorpusError::NotThere { name, id });
        }
        self.gathered.insert(id.to_owned(), Said::IsAsItWas(confirmed));
        self.flush_if_full()
    }

    /// Says that a document is gone: from search when the draft is published.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn remove(&mut self, id: &str) -> Result<(), CorpusError> {
        check_place(id)?;
        if !can_be(id) {
            return Err(unheard_of(id));
        }
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
        let Self { session, source, .. } = self;
        session.change(|session| tell(session, source, Layer::Synced, changes))
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
        let mut vectors = BTreeMap::new();
        for (id, said) in &self.gathered {
            if let Said::Is(incoming) = said {
                let embedder = &*self.held.options.embedder;
                vectors.insert(id.as_str(), vectors_of(embedder, incoming)?);
            }
        }
        let writing = Writing {
            source: &self.source,
            snapshot: self.snapshot,
            said: &self.gathered,
            vectors: self.held.has_vectors.then_some(vectors),
            embedder: self.held.embedder,
            stemming: self.held.options.stemming,
            now: self.now,
        };
        self.session.change(|session| {
            permit_gathered(session, &self.source, &self.gathered)?;
            writing.write(session)
        })?;
        self.gathered.clear();
        self.gathered_bytes = 0;
        Ok(())
    }

    /// Has it serve, from when this returns. `report` says how good it is.
    ///
    /// # Errors
    ///
    /// If it cannot be written: then the last one serves on, and the draft stays open.
    pub fn publish(mut self, report: &str, now: Micros) -> Result<Snapshot, CorpusError> {
        self.flush()?;
        let Self { session, source, snapshot, .. } = &mut self;
        publish::publish(session, &source.name, *snapshot, report, now)
    }

    /// Gives it up.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn discard(mut self) -> Result<(), CorpusError> {
        let (source, snapshot) = (self.source.number, self.snapshot);
        self.session.change(|session| publish::forget_draft(session, source, snapshot))
    }

    fn flush_if_full(&mut self) -> Result<(), CorpusError> {
        let is_full =
            self.gathered.len() >= BUFFERED_MAX || self.gathered_bytes >= BUFFERED_BYTES_MAX;
        if is_full { self.flush() } else { Ok(()) }
    }
}

/// What takes away is in force at once, what gives waits where an old text serves.
fn permit_gathered(
    session: &mut Session,
    source: &SourceRow,
    gathered: &BTreeMap<String, Said>,
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

/// A digest that was written.
pub(super) fn digest(bytes: Vec<u8>) -> Digest {
    Digest::from_bytes(<[u8; 32]>::try_from(bytes).unwrap_or_default())
}
