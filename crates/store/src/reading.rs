//! Reading the record: small bounded jobs that the committer runs between transactions.
//!
//! What is read back is held against what was logged: a payload that does not match its commitment
//! is an error that names the entry, never an answer.

use crate::db::{DbError, Row, Value, values};
use crate::effect::Doubt;
use crate::error::StoreError;
use crate::keys::SealingKey;
use crate::payload::{Sealed, committed, held_against, unpack};
use crate::shard::tenant_of;
use crate::store::Store;
use crate::writer::Writer;
use lockgate_ledger::{Entry, Kind};
use lockgate_types::facts::Facts;
use lockgate_types::{CallId, Digest, Json, JsonLimits, Micros, Tenant};
use std::collections::{BTreeSet, HashMap, VecDeque};

/// Entries that one read gives.
pub const ENTRIES_READ_MAX: u32 = 1024;
/// Entries that one read of records goes through.
pub const RECORDS_READ_MAX: u32 = 512;
/// Effects in doubt that one read gives.
pub const DOUBTS_READ_MAX: u32 = 256;
/// Calls that one trace follows.
pub const TRACE_CALLS_MAX: usize = 256;

/// An entry as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEntry {
    /// Its index in the order of all entries of its node; of another node's entry, its place. In
    /// the node's own log that is the index there, until the first entry of another tenant.
    pub index: u64,
    /// Its index in its log; of another node's, after the number of that node.
    pub at: u64,
    /// The tenant whose log it stands in; `None`: the node's own.
    pub tenant: Option<Tenant>,
    /// Its leaf hash.
    pub hash: Digest,
    /// Its bytes.
    pub leaf: Vec<u8>,
}

/// What an entry carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Nothing.
    None,
    /// It was erased on purpose. The entry and its proof remain.
    Erased,
    /// These parts, each held against its commitment.
    Present(Vec<StoredPart>),
}

/// A part of what an entry carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPart {
    /// `identity`, `call` or `call_digest`, `moment`, `decision`, `result` or `result_digest`.
    pub name: &'static str,
    /// Its bytes: canonical JSON, but for the digests, and `result`, which is as it was
    /// answered.
    pub bytes: Vec<u8>,
}

/// A decided call, for replay and export.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its entry, in the order of all entries of its node.
    pub index: u64,
    /// [`Kind::Intent`], [`Kind::Refusal`] or [`Kind::Repeat`].
    pub kind: Kind,
    /// When it was decided.
    pub at: Micros,
    /// The call.
    pub call: CallId,
    /// The bundle that ruled.
    pub bundle: Digest,
    /// What was decided from, and the decision; `None` if it was erased, or the call not kept.
    pub recorded: Option<Recorded>,
    /// Whether the call was refused and too large to be kept.
    pub is_too_large: bool,
}

/// What a call was decided from, and the decision, as canonical bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// The identity.
    pub identity: Vec<u8>,
    /// The call.
    pub call: Vec<u8>,
    /// All the rest.
    pub moment: Vec<u8>,
    /// The decision: the bytes that replay compares.
    pub decision: Vec<u8>,
}

impl Recorded {
    /// The facts, read back; `None` if this version cannot read them.
    pub fn facts(&self) -> Option<Facts> {
        let json = |bytes: &[u8]| Json::parse(bytes, &JsonLimits::OWN).ok();
        Facts::from_parts(&json(&self.identity)?, &json(&self.call)?, &json(&self.moment)?)
    }
}

/// What came of a call, for who asks for the same effect again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// What was answered, as it was answered.
    Result(Json),
    /// The protocol error that was answered, as recorded.
    Error(Json),
    /// It had been in doubt, and became known without an answer of its own.
    Resolved {
        /// Whether it happened.
        has_happened: bool,
        /// `lookup` or `person`.
        means: String,
    },
    /// The record says that it ended, and no longer what was answered.
    Unreadable,
}

/// Some records, and where to go on.
#[derive(Clone, Debug)]
pub struct Records {
    /// In the order in which they were written.
    pub records: Vec<Record>,
    /// The first entry that was not looked at.
    pub next: u64,
    /// Entries of this node, in all its logs.
    pub size: u64,
}

/// Everything recorded about a call and the calls made within it.
#[derive(Clone, Debug)]
pub struct Trace {
    /// In the order in which they were written.
    pub entries: Vec<TraceEntry>,
    /// Whether there were more calls within than a trace follows.
    pub is_cut: bool,
}

/// An entry of a trace.
#[derive(Clone, Debug)]
pub struct TraceEntry {
    /// Its index in its log; of an entry in another node's log, after the number of that node.
    pub index: u64,
    /// The tenant whose log it stands in; `None`: the node's own.
    pub tenant: Option<Tenant>,
    /// Its leaf hash.
    pub hash: Digest,
    /// The entry.
    pub leaf: Json,
    /// What it carried.
    pub payload: Payload,
}

impl Store {
    /// Entries from an index on, at most [`ENTRIES_READ_MAX`].
    pub async fn entries(&self, from: u64, max: u32) -> Result<Vec<StoredEntry>, StoreError> {
        self.read(move |writer| {
            writer.entries(from, max.min(ENTRIES_READ_MAX)).map_err(failed("reading entries"))
        })
        .await
    }

    /// Decided calls among the entries from an index on. At most `max` entries, and
    /// [`RECORDS_READ_MAX`], are looked at; go on at `next` until it is `size`.
    pub async fn records(&self, from: u64, max: u32) -> Result<Records, StoreError> {
        self.read(move |writer| writer.records(from, max.min(RECORDS_READ_MAX))).await
    }

    /// Everything about a call; `None` if there is no such call.
    pub async fn trace(&self, call: &CallId) -> Result<Option<Trace>, StoreError> {
        let call = call.clone();
        self.read(move |writer| writer.trace(&call)).await
    }

    /// An entry by its place, which may be in another node's log.
    pub async fn entry_at(&self, place: u64) -> Result<StoredEntry, StoreError> {
        self.read(move |writer| writer.entry(place)).await
    }

    /// What a call was decided from; `None` if there is no such call, or it was erased.
    pub async fn facts_of(&self, call: &CallId) -> Result<Option<Facts>, StoreError> {
        let call = call.clone();
        self.read(move |writer| writer.facts_of(&call)).await
    }

    /// When the outcome of a call was first recorded; `None` if it has none.
    pub async fn concluded_at(&self, call: &CallId) -> Result<Option<Micros>, StoreError> {
        let call = call.clone();
        self.read(move |writer| writer.concluded_at(&call)).await
    }

    /// What came of a call that has ended, or is in doubt; `None` if there is no such call, or it
    /// is under way.
    pub async fn ended(&self, call: &CallId) -> Result<Option<Ended>, StoreError> {
        let call = call.clone();
        self.read(move |writer| writer.ended(&call)).await
    }

    /// Effects in doubt whose outcome stands after an entry, oldest first.
    pub async fn doubts(&self, after: u64, max: u32) -> Result<Vec<Doubt>, StoreError> {
        self.read(move |writer| writer.doubts(after, max.min(DOUBTS_READ_MAX))).await
    }
}

fn failed(during: &'static str) -> impl FnOnce(DbError) -> StoreError {
    StoreError::database(during)
}

/// Keys of subjects, by row; `None` for erased ones.
type Keys = HashMap<i64, Option<SealingKey>>;

impl Writer {
    /// Entries of this node, of all its logs.
    fn entries(&self, from: u64, max: u32) -> Result<Vec<StoredEntry>, DbError> {
        let select = "SELECT ix, hash, leaf, at, shard.tenant FROM entry
            LEFT JOIN shard ON shard.number = entry.shard
            WHERE ix >= ?1 AND ix < ?2 ORDER BY ix LIMIT ?3";
        let given = values![self.db.place(from), self.db.end(), max];
        self.db.rows(select, given, |row| {
            let entry = self.stored(row)?;
            Ok(StoredEntry { index: self.db.index(entry.index), ..entry })
        })
    }

    fn stored(&self, row: &Row<'_>) -> Result<StoredEntry, DbError> {
        let place = row.get(0)?;
        Ok(StoredEntry {
            index: place,
            at: self.db.reference(place, row.get(3)?),
            tenant: tenant_of(row.get(4)?)?,
            hash: Digest::from_bytes(row.get(1)?),
            leaf: row.get(2)?,
        })
    }

    /// An entry of any node's, by its place.
    fn entry(&self, place: u64) -> Result<StoredEntry, StoreError> {
        let select = "SELECT ix, hash, leaf, at, shard.tenant FROM entry
            LEFT JOIN shard ON shard.number = entry.shard WHERE ix = ?1";
        let found = self.db.row(select, values![place], |row| self.stored(row));
        let missing = || StoreError::corrupt(Some(place), format!("entry {place} is missing"));
        found.map_err(failed("reading an entry"))?.ok_or_else(missing)
    }

    fn records(&self, from: u64, max: u32) -> Result<Records, StoreError> {
        let entries = self.entries(from, max).map_err(failed("reading entries"))?;
        let next = entries.last().map_or(from, |entry| entry.index.saturating_add(1));
        let mut keys = Keys::new();
        let mut records = Vec::new();
        for StoredEntry { index, leaf, .. } in entries {
            let entry = parse(index, &leaf)?;
            if matches!(entry.kind(), Kind::Intent | Kind::Refusal | Kind::Repeat) {
                let place = self.db.place(index);
                records.push(Record { index, ..self.record(place, &entry, &mut keys)? });
            }
        }
        Ok(Records { records, next, size: self.shards.next })
    }

    fn record(&self, index: u64, entry: &Entry, keys: &mut Keys) -> Result<Record, StoreError> {
        let damaged = |name: &str| {
            StoreError::corrupt(Some(index), format!("entry {index} has no readable `{name}`"))
        };
        let text = |name: &str| entry.members().get(name).and_then(Json::as_str);
        let call = text("call").and_then(|call| CallId::new(call).ok());
        let bundle = text("bundle").and_then(|bundle| bundle.parse().ok());
        let is_digest = |part: &StoredPart| part.name == Sealed::CallDigest.as_str();
        let mut is_too_large = false;
        let recorded = match self.payload(index, entry, keys)? {
            Payload::Erased => None,
            Payload::Present(parts) if parts.iter().any(is_digest) => {
                is_too_large = true;
                None
            }
            Payload::None => return Err(damaged("commitments")),
            Payload::Present(mut parts) => {
                let mut take = |name: &'static str| {
                    let at = parts.iter().position(|part| part.name == name);
                    at.map(|at| parts.swap_remove(at).bytes).ok_or_else(|| damaged(name))
                };
                Some(Recorded {
                    identity: take("identity")?,
                    call: take("call")?,
                    moment: take("moment")?,
                    decision: take("decision")?,
                })
            }
        };
        Ok(Record {
            index,
            kind: entry.kind(),
            at: entry.time(),
            call: call.ok_or_else(|| damaged("call"))?,
            bundle: bundle.ok_or_else(|| damaged("bundle"))?,
            recorded,
            is_too_large,
        })
    }

    /// What an entry carried, every part held against its commitment in the entry.
    fn payload(&self, index: u64, entry: &Entry, keys: &mut Keys) -> Result<Payload, StoreError> {
        if entry.members().get("commitments").is_none() {
            return Ok(Payload::None);
        }
        let damaged =
            |what: &str| StoreError::corrupt(Some(index), format!("entry {index}: {what}"));
        let select = "SELECT subject, sealed FROM payload WHERE ix = ?1";
        let row = self.sealed_row(select, values![index])?;
        let (subject, sealed) = row.ok_or_else(|| damaged("its payload is missing"))?;
        let Some(key) = self.key_of(subject, keys)? else { return Ok(Payload::Erased) };

        let call = entry.members().get("call").and_then(Json::as_str).unwrap_or_default();
        let plain = key.open(call.as_bytes(), &sealed);
        let plain = plain.ok_or_else(|| damaged("its payload does not open"))?;
        let mut opened = unpack(&plain).ok_or_else(|| damaged("its payload is no pack"))?;
        if let Some(identity) = committed(entry, "identity") {
            let select = "SELECT subject, sealed FROM identity WHERE commitment = ?1";
            let row = self.sealed_row(select, values![identity.digest().as_bytes()])?;
            let (_, sealed) = row.ok_or_else(|| damaged("its identity is missing"))?;
            let plain = key.open(identity.digest().as_bytes(), &sealed);
            let plain = plain.ok_or_else(|| damaged("its identity does not open"))?;
            opened.extend(unpack(&plain).ok_or_else(|| damaged("its identity is no pack"))?);
        }
        held_against(index, entry, opened).map(Payload::Present)
    }

    fn sealed_row(
        &self,
        select: &str,
        given: &[Value<'_>],
    ) -> Result<Option<(i64, Vec<u8>)>, StoreError> {
        let found = self.db.row(select, given, |row| Ok((row.get(0)?, row.get(1)?)));
        found.map_err(failed("reading a payload"))
    }

    fn key_of<'a>(
        &self,
        subject: i64,
        keys: &'a mut Keys,
    ) -> Result<Option<&'a SealingKey>, StoreError> {
        use std::collections::hash_map::Entry as Slot;
        let vacant = match keys.entry(subject) {
            Slot::Occupied(known) => return Ok(known.into_mut().as_ref()),
            Slot::Vacant(vacant) => vacant,
        };
        let select = "SELECT lookup, wrapped FROM subject WHERE id = ?1";
        let found: Option<(Vec<u8>, Vec<u8>)> = self
            .db
            .row(select, values![subject], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(failed("reading a subject"))?;
        let key = match found {
            None => None,
            Some((lookup, wrapped)) => {
                Some(SealingKey::new(&*self.memory.subjects.unwrap_key(&lookup, &wrapped)?)?)
            }
        };
        Ok(vacant.insert(key).as_ref())
    }

    fn trace(&self, call: &CallId) -> Result<Option<Trace>, StoreError> {
        let reading = || failed("reading a trace");
        let mut pending = VecDeque::from([call.as_str().to_owned()]);
        let mut seen = BTreeSet::new();
        let mut places = BTreeSet::new();
        let mut is_cut = false;
        while let Some(id) = pending.pop_front() {
            if seen.len() >= TRACE_CALLS_MAX {
                is_cut = true;
                break;
            }
            let Some((intent, outcome)) = self.places(&id).map_err(reading())? else { continue };
            places.insert(intent);
            places.extend(outcome);
            if let Some(outcome) = outcome {
                places.extend(self.resolves(outcome)?);
            }
            let within = self.calls_within(&id).map_err(reading())?;
            seen.insert(id);
            pending.extend(within.into_iter().filter(|id| !seen.contains(id)));
        }
        if places.is_empty() {
            return Ok(None);
        }
        let mut keys = Keys::new();
        let mut entries = Vec::with_capacity(places.len());
        let mut times = Vec::with_capacity(places.len());
        for index in places {
            let stored = self.entry(index)?;
            let entry = parse(index, &stored.leaf)?;
            let payload = self.payload(index, &entry, &mut keys)?;
            let leaf = Json::parse(&stored.leaf, &JsonLimits::OWN)
                .map_err(|error| StoreError::corrupt(Some(index), error))?;
            times.push(entry.time());
            let StoredEntry { at: index, tenant, hash, .. } = stored;
            entries.push(TraceEntry { index, tenant, hash, leaf, payload });
        }
        if self.db.shared().is_some() {
            // Of several logs, which have no order but that of their clocks.
            let mut ordered: Vec<_> = times.into_iter().zip(entries).collect();
            ordered.sort_by_key(|(time, _)| *time);
            entries = ordered.into_iter().map(|(_, entry)| entry).collect();
        }
        Ok(Some(Trace { entries, is_cut }))
    }

    /// The outcome that a resolution is about, if the entry is one.
    fn resolves(&self, index: u64) -> Result<Option<u64>, StoreError> {
        let stored = self.entry(index)?;
        let entry = parse(index, &stored.leaf)?;
        let parent = entry.members().get("parent").filter(|_| entry.kind() == Kind::Resolution);
        let parent = parent.and_then(|parent| parent.get("index")?.as_i64());
        let parent = parent.and_then(|parent| u64::try_from(parent).ok());
        parent.map(|parent| self.place_of(index, stored.tenant.as_ref(), parent)).transpose()
    }

    fn facts_of(&self, call: &CallId) -> Result<Option<Facts>, StoreError> {
        let places = self.places(call.as_str()).map_err(failed("looking for a call"))?;
        let Some((place, _)) = places else { return Ok(None) };
        let entry = parse(place, &self.entry(place)?.leaf)?;
        let record = self.record(place, &entry, &mut Keys::new())?;
        Ok(record.recorded.and_then(|recorded| recorded.facts()))
    }

    fn concluded_at(&self, call: &CallId) -> Result<Option<Micros>, StoreError> {
        let places = self.places(call.as_str()).map_err(failed("looking for a call"))?;
        let Some((_, Some(place))) = places else { return Ok(None) };
        let first = self.resolves(place)?.unwrap_or(place);
        Ok(Some(parse(first, &self.entry(first)?.leaf)?.time()))
    }

    fn ended(&self, call: &CallId) -> Result<Option<Ended>, StoreError> {
        let places = self.places(call.as_str()).map_err(failed("looking for a call"))?;
        let Some((_, Some(index))) = places else { return Ok(None) };
        let entry = parse(index, &self.entry(index)?.leaf)?;
        let text = |name: &str| entry.members().get(name).and_then(Json::as_str);
        if entry.kind() == Kind::Resolution {
            let by_call = text("by_call").and_then(|call| CallId::new(call).ok());
            return match (text("by"), by_call) {
                (Some("attempt"), Some(attempt)) if attempt != *call => self.ended(&attempt),
                (Some(means), _) => Ok(Some(Ended::Resolved {
                    has_happened: text("state") == Some("succeeded"),
                    means: means.to_owned(),
                })),
                (None, _) => Ok(Some(Ended::Unreadable)),
            };
        }
        let Payload::Present(parts) = self.payload(index, &entry, &mut Keys::new())? else {
            return Ok(Some(Ended::Unreadable));
        };
        let result = parts.iter().find(|part| part.name == "result");
        let result = result.and_then(|part| Json::parse(&part.bytes, &JsonLimits::OWN).ok());
        let is_error = entry.members().get("error").and_then(Json::as_bool) == Some(true);
        Ok(Some(match result {
            Some(error) if is_error => Ended::Error(error),
            Some(result) => Ended::Result(result),
            None => Ended::Unreadable,
        }))
    }

    fn places(&self, id: &str) -> Result<Option<(u64, Option<u64>)>, DbError> {
        let select = "SELECT intent, outcome FROM call WHERE id = ?1";
        self.db.row(select, values![id], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    fn calls_within(&self, id: &str) -> Result<Vec<String>, DbError> {
        let select = "SELECT id FROM call WHERE within = ?1 ORDER BY intent LIMIT ?2";
        let max = u32::try_from(TRACE_CALLS_MAX).unwrap_or(u32::MAX);
        self.db.rows(select, values![id, max], |row| row.get(0))
    }
}

pub(crate) fn parse(index: u64, leaf: &[u8]) -> Result<Entry, StoreError> {
    let parsed = Entry::parse(leaf);
    parsed
        .map(|(_, entry)| entry)
        .map_err(|error| StoreError::corrupt(Some(index), format!("entry {index}: {error}")))
}
