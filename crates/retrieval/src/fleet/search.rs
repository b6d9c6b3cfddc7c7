//! A question to a fleet's corpus: in one state of the database from its first statement to its
//! last, beside which no change of permissions comes into force.

use super::filter::Condition;
use super::rank::{Asked, Named, Permitted};
use super::session::{Given, Session, column};
use super::{FleetCorpus, Held, audience, natural, read, whole};
use crate::corpus::{CorpusError, Found, Texts, can_be};
use crate::index::DOCUMENTS_INDEXED_MAX;
use crate::index::key::Key;
use crate::search::near_equal::Shown;
use crate::search::{
    Answer, COUNTED_MAX, Count, Counts, DECIDED_MAX, Hit, JOINED_MAX, Joined, Query, RANKED_MAX,
    Within, fingerprint, provenance, understood,
};
use lockgate_core::retrieve::filter::Filter;
use lockgate_types::document::DocumentFacts;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// Chunks, or documents, that are read at once.
const READ_AT_ONCE: usize = 32;

impl FleetCorpus {
    pub(crate) fn search(
        &self,
        query: &Query<'_>,
        decide: &mut dyn FnMut(&DocumentFacts) -> bool,
    ) -> Result<Answer, CorpusError> {
        let held = &*self.held;
        let (words, vector) = understood(&held.options, query)?;
        let vector = vector.filter(|_| held.has_vectors);
        let vector = vector.as_deref().map(|vector| (held.embedder, vector));
        let asked = Asked { words: &words, vector };
        held.sessions.search(|session| {
            let as_of = audience::revision(session)?;
            let scope = Scope::of(session, &query.within)?;
            let mut decider = Decider::new(&scope, decide);
            let permitted = match query.within.filter {
                Some(filter) => scope.permitted(session, filter)?,
                None => one_by_one(session, &asked, &mut decider)?,
            };
            let ranked = asked.fused(session, &permitted, RANKED_MAX)?;
            let hits = hits(session, &permitted, ranked, query.top, &mut decider)?;
            let disagreements = decider.counted(held, query.within.filter);
            let is_complete = query.within.filter.is_some();
            Ok(Answer { hits, as_of, is_complete, disagreements })
        })
    }

    pub(crate) fn count_by_tag(
        &self,
        within: &Within<'_>,
        group_min: u64,
        decide: &mut dyn FnMut(&DocumentFacts) -> bool,
    ) -> Result<Counts, CorpusError> {
        self.held.sessions.search(|session| {
            let as_of = audience::revision(session)?;
            let scope = Scope::of(session, within)?;
            let everything = Filter::everything();
            let candidates = scope.permitted(session, within.filter.unwrap_or(&everything))?;
            if candidates.versions.len() > COUNTED_MAX {
                return Err(CorpusError::TooManyToCount { most: COUNTED_MAX });
            }
            let mut decider = Decider::new(&scope, decide);
            let mut counts: BTreeMap<String, u64> = BTreeMap::new();
            for some in candidates.versions.chunks(READ_AT_ONCE * 16) {
                decider.read(session, some.iter().copied())?;
                for version in some {
                    let Some(found) = decider.allowed(*version)? else { continue };
                    for tag in found.facts.tags {
                        *counts.entry(tag).or_default() += 1;
                    }
                }
            }
            decider.counted(&self.held, within.filter);
            let told = |count| match count < group_min {
                true => Count::TooFew,
                false => Count::Exactly(count),
            };
            let by_tag = counts.into_iter().map(|(tag, count)| (tag, told(count))).collect();
            Ok(Counts { by_tag, as_of })
        })
    }

    pub(crate) fn disagreements(&self) -> u64 {
        self.held.disagreements.load(Ordering::Relaxed)
    }

    pub(crate) fn plans(&self, query: &Query<'_>) -> Result<Vec<String>, CorpusError> {
        let held = &*self.held;
        let (words, vector) = understood(&held.options, query)?;
        let vector = vector.as_deref().filter(|_| held.has_vectors);
        let vector = vector.map(|vector| (held.embedder, vector));
        let asked = Asked { words: &words, vector };
        held.sessions.search(|session| {
            let scope = Scope::of(session, &query.within)?;
            let nothing = Filter::nothing();
            let permitted = scope.permitted(session, query.within.filter.unwrap_or(&nothing))?;
            let mut plans = Vec::new();
            for statement in asked.statements(&permitted, RANKED_MAX) {
                // Without what the statement is given, which would be all that may be seen.
                let explain = format!("EXPLAIN (COSTS OFF) {}", statement.text);
                let rows = session.rows(&explain, statement.given)?;
                let lines: Result<Vec<String>, _> = rows.iter().map(|row| column(row, 0)).collect();
                plans.push(lines?.join("\n"));
            }
            Ok(plans)
        })
    }
}

/// What may be looked at at all: of the tenant, and of what the task allows.
struct Scope {
    /// The number of each source, its name, and the snapshot that is searched.
    snapshots: Vec<(i64, String, u64)>,
}

impl Scope {
    fn of(session: &mut Session, within: &Within<'_>) -> Result<Self, CorpusError> {
        let mut snapshots = Vec::new();
        if !can_be(within.tenant) {
            return Ok(Self { snapshots });
        }
        let query = "SELECT s.number, s.name, n.number, n.number = s.serving
            FROM source s JOIN snapshot n ON n.source = s.number AND n.state = 'published'
                AND (n.is_pinned OR n.number = s.serving)
            WHERE s.tenant = $1";
        for row in session.rows(query, vec![Given::Text(within.tenant.to_owned())])? {
            let (name, snapshot): (String, u64) = (column(&row, 1)?, natural(column(&row, 2)?));
            let is_asked_for = match within.sources.map(|sources| sources.get(&name)) {
                None | Some(Some(None)) => column(&row, 3)?,
                Some(Some(Some(pinned))) => *pinned == snapshot,
                Some(None) => false,
            };
            if is_asked_for {
                snapshots.push((column(&row, 0)?, name, snapshot));
            }
        }
        Ok(Self { snapshots })
    }

    /// The documents that a filter lets through: found out before anything is looked for.
    fn permitted(&self, session: &mut Session, filter: &Filter) -> Result<Permitted, CorpusError> {
        let sources = self.snapshots.iter().map(|(source, ..)| *source).collect();
        let snapshots = self.snapshots.iter().map(|(.., number)| whole(*number)).collect();
        let condition = Condition::of(filter, vec![Given::Ints(sources), Given::Ints(snapshots)])?;
        let query = format!(
            "SELECT coalesce(array_agg(v.number ORDER BY v.number), '{{}}'),
                 coalesce(sum(v.chunks), 0)::bigint, coalesce(sum(v.words), 0)::bigint
             FROM unnest($1::bigint[], $2::bigint[]) AS o(source, snapshot)
             JOIN source s ON s.number = o.source
             JOIN valid a ON a.source = o.source AND a.since <= o.snapshot AND o.snapshot < a.until
             JOIN version v ON v.number = a.version
             WHERE {}",
            condition.text
        );
        let Some(row) = session.row(&query, condition.given)? else {
            return Ok(Permitted::default());
        };
        let versions: Vec<i64> = column(&row, 0)?;
        if versions.len() > DOCUMENTS_INDEXED_MAX {
            let (what, most) = ("documents that may be seen", DOCUMENTS_INDEXED_MAX);
            return Err(CorpusError::Full { what, most });
        }
        let (chunks, words) = (column(&row, 1)?, column(&row, 2)?);
        Ok(Permitted { versions, chunks, words })
    }

    fn snapshot(&self, source: &str) -> u64 {
        let found = self.snapshots.iter().find(|(_, name, _)| name == source);
        found.map_or(0, |(.., number)| *number)
    }

    fn source(&self, name: &str) -> i64 {
        let found = self.snapshots.iter().find(|(_, of, _)| of == name);
        found.map_or(0, |(number, ..)| *number)
    }
}

/// Decides each document once for one question.
struct Decider<'a> {
    scope: &'a Scope,
    decide: &'a mut dyn FnMut(&DocumentFacts) -> bool,
    read: BTreeMap<i64, Found>,
    decided: BTreeMap<i64, bool>,
}

impl<'a> Decider<'a> {
    fn new(scope: &'a Scope, decide: &'a mut dyn FnMut(&DocumentFacts) -> bool) -> Self {
        Self { scope, decide, read: BTreeMap::new(), decided: BTreeMap::new() }
    }

    /// Reads what was not read yet.
    fn read(
        &mut self,
        session: &mut Session,
        versions: impl Iterator<Item = i64>,
    ) -> Result<(), CorpusError> {
        let new: Vec<i64> = versions.filter(|version| !self.read.contains_key(version)).collect();
        if !new.is_empty() {
            self.read.extend(read::found(session, new)?);
        }
        Ok(())
    }

    /// The document, which was read, if it may be seen.
    fn allowed(&mut self, version: i64) -> Result<Option<Found>, CorpusError> {
        let missing = || CorpusError::Damaged { what: "a document that serves is missing" };
        let found = self.read.get(&version).ok_or_else(missing)?;
        let decide = &mut self.decide;
        let is_allowed = self.decided.entry(version).or_insert_with(|| decide(&found.facts));
        Ok(is_allowed.then(|| found.clone()))
    }

    /// How many were refused that a filter had let through: counted, and given back.
    fn counted(&self, held: &Held, filter: Option<&Filter>) -> u64 {
        let refused = self.decided.values().filter(|is_allowed| !**is_allowed).count() as u64;
        let disagreements = if filter.is_some() { refused } else { 0 };
        held.disagreements.fetch_add(disagreements, Ordering::Relaxed);
        disagreements
    }
}

/// The documents that are allowed, of as many as may be decided: all, if there are no more, or else
/// the most promising.
fn one_by_one(
    session: &mut Session,
    asked: &Asked<'_>,
    decider: &mut Decider<'_>,
) -> Result<Permitted, CorpusError> {
    let all = decider.scope.permitted(session, &Filter::everything())?;
    let candidates = match all.versions.len() > DECIDED_MAX {
        false => all.versions,
        true => promising(session, asked, &all)?,
    };
    let mut versions = Vec::new();
    for some in candidates.chunks(READ_AT_ONCE * 16) {
        decider.read(session, some.iter().copied())?;
        for version in some {
            if decider.allowed(*version)?.is_some() {
                versions.push(*version);
            }
        }
    }
    versions.sort_unstable();
    let query = "SELECT coalesce(sum(chunks), 0)::bigint, coalesce(sum(words), 0)::bigint
        FROM version WHERE number = ANY($1)";
    let row = session.row(query, vec![Given::Ints(versions.clone())])?;
    let (chunks, words) =
        row.map_or(Ok((0, 0)), |row| Ok::<_, CorpusError>((column(&row, 0)?, column(&row, 1)?)))?;
    Ok(Permitted { versions, chunks, words })
}

fn promising(
    session: &mut Session,
    asked: &Asked<'_>,
    all: &Permitted,
) -> Result<Vec<i64>, CorpusError> {
    let mut versions = Vec::new();
    for (Named { version, .. }, _) in asked.fused(session, all, DECIDED_MAX)? {
        if versions.len() < DECIDED_MAX && !versions.contains(&version) {
            versions.push(version);
        }
    }
    Ok(versions)
}

/// The first of what was ranked that is decided once more, and says something of its own.
fn hits(
    session: &mut Session,
    permitted: &Permitted,
    ranked: Vec<(Named, u64)>,
    top: usize,
    decider: &mut Decider<'_>,
) -> Result<Vec<Hit>, CorpusError> {
    let mut taken: Vec<(Found, Texts, u64)> = Vec::new();
    let mut shown = Shown::default();
    for some in ranked.chunks(READ_AT_ONCE) {
        if taken.len() >= top {
            break;
        }
        decider.read(session, some.iter().map(|(named, _)| named.version))?;
        let chunks = some.iter().map(|(named, _)| named.chunk).collect();
        let mut texts = read::texts(session, chunks)?;
        for (Named { chunk, version, .. }, score) in some {
            if taken.len() >= top {
                break;
            }
            let Some(found) = decider.allowed(*version)? else { continue };
            let missing = CorpusError::Damaged { what: "a chunk that serves is missing" };
            let text = texts.remove(chunk).ok_or(missing)?;
            if shown.adds(*version, &text) {
                taken.push((found, text, *score));
            }
        }
    }
    let mut joined = joined(session, permitted, &taken, decider)?.into_iter();
    let hit = |(found, text, score): (Found, Texts, u64)| {
        let (field_of, fields) = joined.next().unwrap_or_default();
        let permissions = fingerprint(&found.facts);
        let snapshot = decider.scope.snapshot(&found.facts.source);
        let provenance = provenance(found, &text, snapshot);
        Hit { provenance, text: text.text, score, permissions, field_of, fields }
    };
    Ok(taken.into_iter().map(hit).collect())
}

/// What is joined to a chunk: the document that its own is a field of, and the fields of its own.
type Beside = (Option<Joined>, Vec<Joined>);

/// Of each, the document that it is a field of, and its fields, as far as they may be seen.
fn joined(
    session: &mut Session,
    permitted: &Permitted,
    taken: &[(Found, Texts, u64)],
    decider: &mut Decider<'_>,
) -> Result<Vec<Beside>, CorpusError> {
    let around = around(session, permitted, taken, decider.scope)?;
    let beneath = beneath(session, permitted, taken, decider.scope)?;
    let all: Vec<i64> = around.iter().chain(&beneath).map(|(_, version)| *version).collect();
    let mut joined: Vec<Beside> = Vec::new();
    joined.resize_with(taken.len(), Default::default);
    if all.is_empty() {
        return Ok(joined);
    }
    decider.read(session, all.iter().copied())?;
    let texts = read::beginnings(session, all)?;
    let mut join = |version: i64| -> Result<Option<Joined>, CorpusError> {
        let Some(found) = decider.allowed(version)? else { return Ok(None) };
        let text = texts.get(&version).cloned().unwrap_or_default();
        Ok(Some(Joined { document: found.facts, title: found.title, text }))
    };
    for (at, version) in around {
        if let (Some(document), Some((field_of, _))) = (join(version)?, joined.get_mut(at)) {
            *field_of = Some(document);
        }
    }
    for (at, version) in beneath {
        if let (Some(field), Some((_, fields))) = (join(version)?, joined.get_mut(at)) {
            fields.push(field);
        }
    }
    joined
        .iter_mut()
        .for_each(|(_, fields)| fields.sort_by(|a, b| a.document.id.cmp(&b.document.id)));
    Ok(joined)
}

/// The documents that these are fields of, as places among them and versions.
fn around(
    session: &mut Session,
    permitted: &Permitted,
    taken: &[(Found, Texts, u64)],
    scope: &Scope,
) -> Result<Vec<(usize, i64)>, CorpusError> {
    let (mut places, mut sources, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    for (at, (found, ..)) in (0_i64..).zip(taken) {
        if let Some(around) = found.facts.folders.last() {
            places.push(at);
            sources.push(scope.source(&found.facts.source));
            ids.push(around.clone());
        }
    }
    let query = "SELECT f.at, v.number
        FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS f(at, source, id)
        JOIN version v ON v.source = f.source AND v.id = f.id";
    let rows =
        session.rows(query, vec![Given::Ints(places), Given::Ints(sources), Given::Texts(ids)])?;
    let pairs: Vec<(i64, i64)> = rows
        .iter()
        .map(|row| Ok((column(row, 0)?, column(row, 1)?)))
        .collect::<Result<_, CorpusError>>()?;
    let pairs = pairs.into_iter().filter(|(_, version)| permitted.has(*version));
    Ok(pairs.filter_map(|(at, version)| Some((usize::try_from(at).ok()?, version))).collect())
}

/// The fields of these: the first by their ids.
fn beneath(
    session: &mut Session,
    permitted: &Permitted,
    taken: &[(Found, Texts, u64)],
    scope: &Scope,
) -> Result<Vec<(usize, i64)>, CorpusError> {
    let key = |(found, ..): &(Found, Texts, u64)| {
        Key::within(scope.source(&found.facts.source), &found.facts.id).bytes()
    };
    let keys: Vec<Vec<u8>> = taken.iter().map(key).collect();
    // Most have none: then what may be seen is not handed over for it.
    let some = "SELECT EXISTS (SELECT 1 FROM lies WHERE place = ANY($1))";
    let row = session.row(some, vec![Given::Blobs(keys.clone())])?;
    if !row.map_or(Ok(false), |row| column(&row, 0))? {
        return Ok(Vec::new());
    }
    let query = "SELECT d.at, f.number FROM unnest($1::bytea[]) WITH ORDINALITY AS d(key, at)
        CROSS JOIN LATERAL (SELECT v.number FROM lies l JOIN version v ON v.audience = l.audience
            WHERE l.place = d.key AND v.number = ANY($2) ORDER BY v.id COLLATE \"C\" LIMIT $3) f";
    let most = Given::Int(whole(JOINED_MAX as u64));
    let given = vec![Given::Blobs(keys), Given::Ints(permitted.versions.clone()), most];
    let rows = session.rows(query, given)?;
    let pair = |row| {
        let at = usize::try_from(column::<i64>(row, 0)?).unwrap_or(0);
        Ok((at.saturating_sub(1), column(row, 1)?))
    };
    rows.iter().map(pair).collect()
}
