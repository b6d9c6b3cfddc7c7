//! Which calls a session remembers, so that what it has seen can be folded again: after a restart,
//! and at another node.
//!
//! Nothing is kept twice. The words and results are in the payloads that calls leave anyway, sealed
//! under their subject's key, and mean nothing once that is destroyed. Here is only which calls
//! they are: a row for each, written with its intent where policies ask where values came from.

use crate::db::{Db, DbError, values};
use crate::error::StoreError;
use crate::later::Table;
use crate::payload::{Opened, held_against, is_search, unpack};
use crate::reading::{StoredPart, parse};
use crate::store::Store;
use crate::subject::Subject;
use crate::writer::Writer;
use lockgate_core::bundle::admin::RESERVED;
use lockgate_ledger::Kind;
use lockgate_types::call::Call;
use lockgate_types::facts::Facts;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Json, JsonLimits, Micros, SessionId};

/// Bytes of a result that is kept for the session to remember.
pub const RESULT_REMEMBERED_BYTES_MAX: usize = 64 * 1024;
/// Calls of one session that are folded again: those with words first, the newest of each.
pub const RECALLED_CALLS_MAX: u32 = 768;
/// Bytes of what these carried. What is older stays forgotten.
pub const RECALLED_BYTES_MAX: usize = 4 << 20;
/// Calls that one read brings.
const PAGE_CALLS: u32 = 16;
/// How long a session remembers what a call has brought, once it is not in memory any more: longer
/// than a session lasts that an application opens.
const REMEMBERED_FOR_US: i64 = 48 * 60 * 60 * 1_000_000;
/// The same of calls with what a person has said: without words, rules that ask what they are do
/// not hold.
const WORDS_REMEMBERED_FOR_US: i64 = 30 * 24 * 60 * 60 * 1_000_000;
/// Sessions that are looked through in one go for what is too old.
const SWEEP_MAX: u32 = 64;

/// Whether a call says what a person has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// It only brings something.
    Nothing = 0,
    /// It does: it is recalled before others.
    Words = 1,
}

/// A call that a session remembers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Which.
    pub call: CallId,
    /// Whether it has an outcome of its own.
    pub is_ended: bool,
}

/// What a call said and brought.
#[derive(Clone, Debug)]
pub struct Recalled {
    /// The call.
    pub call: Call,
    /// When it was decided.
    pub at: Micros,
    /// What the person has said with it.
    pub heard: Vec<String>,
    /// When it ended, and what was answered, if that is kept.
    pub ended: Option<(Micros, Option<Json>)>,
}

/// A row as it is read, still sealed.
struct Row {
    told: i64,
    at: i64,
    call: String,
    intent: (u64, Vec<u8>, Vec<u8>),
    outcome: Option<(u64, Vec<u8>, Option<Vec<u8>>)>,
}

/// Whether a session remembers what a call says, or what it will bring.
pub(crate) fn told_by(kind: Kind, facts: &Facts) -> Option<Told> {
    let brings_documents = kind == Kind::Intent && is_search(facts);
    let Some(flow) = facts.flow.as_ref() else {
        // Citations are held against what was found.
        return brings_documents.then_some(Told::Nothing);
    };
    if facts.call.upstream.as_str() == RESERVED {
        return None;
    }
    let brings = kind == Kind::Intent && facts.call.tool().is_some();
    match flow.heard.is_empty() {
        false => Some(Told::Words),
        true => brings.then_some(Told::Nothing),
    }
}

const REMEMBERED: Table = Table {
    name: "remembered",
    insert: "INSERT INTO remembered (session, told, at, call) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT DO NOTHING",
    insert_many: "INSERT INTO remembered (session, told, at, call)
        SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[])
        ON CONFLICT DO NOTHING",
};

/// Has a session remember a call, with the commit.
pub(crate) fn add(
    db: &Db,
    session: &str,
    told: Told,
    at: Micros,
    call: &CallId,
) -> Result<(), DbError> {
    db.add(&REMEMBERED, values![session, told as i64, at.0, call.as_str()])
}

impl Store {
    /// How often somebody was forgotten: what is held in memory of anybody's words since before is
    /// to be let go.
    pub fn forgotten(&self) -> u64 {
        self.memory().subjects.forgotten()
    }

    /// The calls that a session remembers, at most [`RECALLED_CALLS_MAX`]: those with words first,
    /// the newest of each.
    pub async fn remembered(&self, session: &SessionId) -> Result<Vec<Remembered>, StoreError> {
        let session = session.clone();
        self.read_aside(move |db| list(db, &session).map_err(failed())).await
    }

    /// What those calls said and brought, each part held against its entry. Newest last.
    pub async fn recall(
        &self,
        identity: &Identity,
        session: &SessionId,
    ) -> Result<Vec<Recalled>, StoreError> {
        let subject = self.subject_of(identity).await?;
        let mut from = (2, i64::MAX, String::new());
        let (mut recalled, mut bytes) = (Vec::new(), 0_usize);
        let calls_max = usize::try_from(RECALLED_CALLS_MAX).unwrap_or(usize::MAX);
        while recalled.len() < calls_max && bytes < RECALLED_BYTES_MAX {
            let (session, after) = (session.clone(), from.clone());
            let page =
                self.read_aside(move |db| read(db, &session, &after).map_err(failed())).await?;
            let Some(last) = page.last() else { break };
            let is_last = page.len() < usize::try_from(PAGE_CALLS).unwrap_or(usize::MAX);
            from = (last.told, last.at, last.call.clone());
            for row in page {
                bytes = bytes.saturating_add(row.bytes());
                recalled.extend(open(&subject, &row)?);
            }
            if is_last {
                break;
            }
        }
        recalled.reverse();
        Ok(recalled)
    }
}

fn failed() -> impl FnOnce(DbError) -> StoreError {
    StoreError::database("reading what a session remembers")
}

fn list(db: &Db, session: &SessionId) -> Result<Vec<Remembered>, DbError> {
    let select = "SELECT call.id, call.outcome IS NOT NULL AND call.outcome <> call.intent
        FROM remembered JOIN call ON call.id = remembered.call
        WHERE session = ?1 ORDER BY told DESC, at DESC, remembered.call DESC LIMIT ?2";
    db.rows(select, values![session.as_str(), RECALLED_CALLS_MAX], |row| {
        let id: String = row.get(0)?;
        let call = CallId::new(&id).map_err(|_| DbError::Column)?;
        Ok(Remembered { call, is_ended: row.get(1)? })
    })
}

fn read(
    db: &Db,
    session: &SessionId,
    (told, at, call): &(i64, i64, String),
) -> Result<Vec<Row>, DbError> {
    let select =
        "SELECT r.told, r.at, r.call, call.intent, i.leaf, p.sealed, o.ix, o.leaf, q.sealed
        FROM remembered r JOIN call ON call.id = r.call
        JOIN entry i ON i.ix = call.intent JOIN payload p ON p.ix = call.intent
        LEFT JOIN entry o ON o.ix = call.outcome AND call.outcome <> call.intent
        LEFT JOIN payload q ON q.ix = o.ix
        WHERE r.session = ?1 AND (r.told, r.at, r.call) < (?2, ?3, ?4)
        ORDER BY r.told DESC, r.at DESC, r.call DESC LIMIT ?5";
    db.rows(select, values![session.as_str(), *told, *at, call, PAGE_CALLS], |row| {
        let outcome: Option<u64> = row.get(6)?;
        Ok(Row {
            told: row.get(0)?,
            at: row.get(1)?,
            call: row.get(2)?,
            intent: (row.get(3)?, row.get(4)?, row.get(5)?),
            outcome: match outcome {
                Some(place) => Some((place, row.get(7)?, row.get(8)?)),
                None => None,
            },
        })
    })
}

impl Row {
    fn bytes(&self) -> usize {
        let outcome = self
            .outcome
            .as_ref()
            .map_or(0, |(_, leaf, sealed)| leaf.len() + sealed.as_ref().map_or(0, Vec::len));
        self.intent.1.len() + self.intent.2.len() + outcome
    }
}

/// What a row says. `None`: this version cannot read the call.
fn open(subject: &Subject, row: &Row) -> Result<Option<Recalled>, StoreError> {
    let (place, leaf, sealed) = &row.intent;
    let entry = parse(*place, leaf)?;
    let parts = parts(subject, &row.call, (*place, leaf), sealed)?;
    let Some(call) = part(&parts, "call").as_ref().and_then(Call::from_json) else {
        return Ok(None);
    };
    let moment = part(&parts, "moment");
    let heard = moment.as_ref().and_then(|moment| moment.at(&["flow", "heard"])?.as_array());
    let heard = heard.unwrap_or_default().iter().filter_map(Json::as_str).map(str::to_owned);
    let ended = match &row.outcome {
        None => None,
        Some((place, leaf, sealed)) => {
            let entry = parse(*place, leaf)?;
            let is_error = entry.members().get("error").and_then(Json::as_bool) == Some(true);
            let result = match sealed.as_ref().filter(|_| !is_error) {
                Some(sealed) => {
                    part(&self::parts(subject, &row.call, (*place, leaf), sealed)?, "result")
                }
                None => None,
            };
            Some((entry.time(), result))
        }
    };
    Ok(Some(Recalled { at: entry.time(), heard: heard.collect(), ended, call }))
}

fn parts(
    subject: &Subject,
    call: &str,
    (place, leaf): (u64, &[u8]),
    sealed: &[u8],
) -> Result<Vec<StoredPart>, StoreError> {
    let damaged =
        || StoreError::corrupt(Some(place), format!("entry {place}: its payload does not open"));
    let plain = subject.key.open(call.as_bytes(), sealed).ok_or_else(damaged)?;
    let opened: Vec<Opened> = unpack(&plain).ok_or_else(damaged)?;
    held_against(place, &parse(place, leaf)?, opened)
}

fn part(parts: &[StoredPart], name: &str) -> Option<Json> {
    let part = parts.iter().find(|part| part.name == name)?;
    Json::parse(&part.bytes, &JsonLimits::OWN).ok()
}

impl Writer {
    /// Forgets what is too old, of a few sessions at a time, in their order. Gives where to go on.
    pub(crate) fn sweep_remembered(&self, from: &str, now: Micros) -> Result<String, DbError> {
        sweep(&self.db, from, now)
    }
}

fn sweep(db: &Db, from: &str, now: Micros) -> Result<String, DbError> {
    let select = "SELECT DISTINCT session FROM remembered WHERE session > ?1
        ORDER BY session LIMIT ?2";
    let sessions: Vec<String> = db.rows(select, values![from, SWEEP_MAX], |row| row.get(0))?;
    let Some(last) = sessions.into_iter().next_back() else { return Ok(String::new()) };
    let delete = "DELETE FROM remembered WHERE session > ?1 AND session <= ?2
        AND (at < ?3 OR (told = 0 AND at < ?4))";
    let words = now.0.saturating_sub(WORDS_REMEMBERED_FOR_US);
    let results = now.0.saturating_sub(REMEMBERED_FOR_US);
    db.execute(delete, values![from, &last, words, results])?;
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Db {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        db.execute_batch(crate::schema::V1).unwrap();
        db.execute_batch(crate::schema::V7_WORDS).unwrap();
        Db::sqlite(db)
    }

    fn call(number: i64) -> CallId {
        CallId::new(&format!("{number:032x}")).unwrap()
    }

    fn listed(db: &Db, session: &str) -> Vec<(i64, bool)> {
        let found = list(db, &SessionId::new(session).unwrap()).unwrap();
        let number = |id: &CallId| i64::from_str_radix(id.as_str(), 16).unwrap();
        found.iter().map(|it| (number(&it.call), it.is_ended)).collect()
    }

    #[test]
    fn calls_with_words_come_first_and_are_kept_for_longer() {
        let db = database();
        let calls = [
            (1_i64, Told::Words, 0, Some(2_u64)),
            (3, Told::Nothing, 10, Some(4)),
            (5, Told::Nothing, REMEMBERED_FOR_US, None),
            // A refusal is its own outcome.
            (7, Told::Words, REMEMBERED_FOR_US, Some(7)),
        ];
        for (number, told, at, outcome) in calls {
            let insert = "INSERT INTO call (id, intent, outcome, effect) VALUES (?1, ?2, ?3, 'x')";
            let id = call(number);
            let given = values![id.as_str(), number, outcome];
            db.execute(insert, given).unwrap();
            add(&db, "s_1", told, Micros(at), &id).unwrap();
            // Again, as an outcome that is written again would.
            add(&db, "s_1", told, Micros(at), &id).unwrap();
        }
        add(&db, "s_2", Told::Nothing, Micros(0), &call(3)).unwrap();
        assert_eq!(listed(&db, "s_1"), [(7, false), (1, true), (5, false), (3, true)]);
        assert_eq!(listed(&db, "s_2"), [(3, true)]);
        assert_eq!(listed(&db, "s_3"), []);

        assert_eq!(sweep(&db, "", Micros(REMEMBERED_FOR_US)).unwrap(), "s_2");
        assert_eq!(listed(&db, "s_1").len(), 4);
        let later = Micros(REMEMBERED_FOR_US + 11);
        assert_eq!(sweep(&db, "s_1", later).unwrap(), "s_2");
        assert_eq!(listed(&db, "s_2"), []);
        assert_eq!(sweep(&db, "s_1", later).unwrap(), "", "that was the last");
        sweep(&db, "", later).unwrap();
        assert_eq!(listed(&db, "s_1"), [(7, false), (1, true), (5, false)]);
        sweep(&db, "", Micros(WORDS_REMEMBERED_FOR_US + 1)).unwrap();
        assert_eq!(listed(&db, "s_1"), [(7, false)]);
    }
}
