//! What documents have fed: which calls have shown them, and what the sessions that they were shown
//! to did next.
//!
//! Nothing is kept twice. What a call said and brought is in its record; here is only which calls
//! they are. Names of documents stand here derived under the data key, since those of an index of
//! somebody else's are nowhere else in the clear. What comes after is kept for as long as an answer
//! can be cited, and only of sessions that were shown something: others cost nothing.

use crate::approval::call_id;
use crate::db::{DbError, Row, values};
use crate::effect_key::Name;
use crate::error::StoreError;
use crate::job::Conclusion;
use crate::later::Table;
use crate::payload::Prepared;
use crate::permit::OpenCall;
use crate::reading::parse;
use crate::store::Store;
use crate::writer::Writer;
use lockgate_types::{CallId, Json, JsonLimits, Micros, SessionId, Tenant};
use std::collections::BTreeSet;

/// Documents of one answer that are kept. An answer has fewer: at most fifty pieces, each with the
/// sixteen fields and the record that may be joined to it.
pub const SHOWN_MAX: usize = 1024;
/// Calls that one read of uses gives.
pub const USES_READ_MAX: u32 = 64;
/// Changes, and refusals, of one session that one read gives: the first of each.
pub const FOLLOWED_READ_MAX: u32 = 32;
/// Calls of one kind of one session that are counted.
pub const FOLLOWED_COUNTED_MAX: u32 = 10_000;
/// How long what a session does is kept as what a document fed: for as long as what it was shown
/// can be cited.
const FOLLOWED_FOR_US: i64 = 48 * 60 * 60 * 1_000_000;
/// How long it is kept which calls have shown a document, and what followed.
pub const USES_KEPT_US: i64 = 90 * 24 * 60 * 60 * 1_000_000;
/// Rows of each kind that are deleted in one go.
const SWEEP_MAX: u32 = 512;

/// A document, by the names that the bundle and its source have for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShownDocument {
    /// The source.
    pub source: String,
    /// Its id there.
    pub id: String,
}

/// What a call of a session that was shown something is to whoever asks what that has fed. The
/// numbers stand in the database and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FollowedKind {
    Read = 0,
    Change = 1,
    Refused = 2,
}

/// What a session did that was shown something.
#[derive(Clone, Debug, Default)]
pub struct FollowedCalls {
    /// Its calls, as far as they are counted: reads, changes that were let out, and what was not.
    pub counts: [u32; 3],
    /// The first changes, and the first that were not let out, in order.
    pub calls: Vec<LoggedCall>,
}

/// A document, as it stands in the database.
pub(crate) struct ShownName {
    source: Name,
    document: Name,
}

/// A call as the log has it: its intent, or refusal, and its outcome.
#[derive(Clone, Debug)]
pub struct LoggedCall {
    /// Which.
    pub call: CallId,
    /// When it was decided; of a use, when it was answered.
    pub at: Micros,
    /// The entry that says what was decided.
    pub decided: Json,
    /// The entry that says what came of it. `None`: it is under way, or was refused.
    pub outcome: Option<Json>,
}

/// What a document, or all of a source, was used by.
#[derive(Clone, Debug)]
pub struct WhichUses {
    /// Whose source.
    pub tenant: Tenant,
    /// The source.
    pub source: String,
    /// The document. `None`: all of them.
    pub document: Option<String>,
    /// Those before that one. `None`: the newest.
    pub before: Option<(Micros, CallId)>,
}

impl WhichUses {
    /// Whether the question is about this document.
    pub fn has(&self, source: &str, id: &str) -> bool {
        self.source == source && self.document.as_deref().is_none_or(|asked| asked == id)
    }
}

const SHOWN: Table = Table {
    name: "shown",
    insert: "INSERT INTO shown (source, at, call, document) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT DO NOTHING",
    insert_many: "INSERT INTO shown (source, at, call, document)
        SELECT * FROM unnest($1::bytea[], $2::bigint[], $3::text[], $4::bytea[])
        ON CONFLICT DO NOTHING",
};

const FOLLOWED: Table = Table {
    name: "followed",
    insert: "INSERT INTO followed (session, kind, at, call) VALUES (?1, ?2, ?3, ?4)
        ON CONFLICT DO NOTHING",
    insert_many: "INSERT INTO followed (session, kind, at, call)
        SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::text[])
        ON CONFLICT DO NOTHING",
};

impl Store {
    /// The documents of an answer, as they stand in the database.
    pub(crate) fn names_of_shown(
        &self,
        tenant: &Tenant,
        shown: &BTreeSet<ShownDocument>,
    ) -> Vec<ShownName> {
        let name = |it: &ShownDocument| ShownName {
            source: self.name_of_source(tenant, &it.source),
            document: self.name_of_document(tenant, &it.source, &it.id),
        };
        shown.iter().take(SHOWN_MAX).map(name).collect()
    }

    fn name_of_source(&self, tenant: &Tenant, source: &str) -> Name {
        self.derive(&["shown source", tenant.as_str(), source])
    }

    fn name_of_document(&self, tenant: &Tenant, source: &str, id: &str) -> Name {
        self.derive(&["shown document", tenant.as_str(), source, id])
    }

    /// The calls whose answers have shown a document, or anything of a source, newest first.
    pub async fn uses(&self, which: &WhichUses, max: u32) -> Result<Vec<LoggedCall>, StoreError> {
        let WhichUses { tenant, source, document, before } = which;
        let (column, name) = match document {
            Some(id) => ("document", self.name_of_document(tenant, source, id)),
            None => ("source", self.name_of_source(tenant, source)),
        };
        let before = before.as_ref().map(|(at, call)| (at.0, call.as_str().to_owned()));
        let (at, call) = before.unwrap_or((i64::MAX, String::new()));
        let max = max.min(USES_READ_MAX);
        self.read_aside(move |db| {
            let select = format!(
                "SELECT DISTINCT at, call FROM shown WHERE {column} = ?1 AND (at, call) < (?2, ?3)
                 ORDER BY at DESC, call DESC LIMIT ?4"
            );
            let select = logged(&select, "u.at DESC, u.call DESC");
            let found = db.rows(&select, values![&name, at, &call, max], LoggedRow::read);
            found.map_err(failed())?.into_iter().map(LoggedRow::parse).collect()
        })
        .await
    }

    /// What a session that was shown something did from some moment on. Reading the record and
    /// other work of the gate's own is not among it.
    pub async fn followed(
        &self,
        session: &SessionId,
        from: Micros,
    ) -> Result<FollowedCalls, StoreError> {
        let session = session.clone();
        self.read_aside(move |db| {
            let mut found = FollowedCalls::default();
            let count = "SELECT count(*) FROM (SELECT 1 AS one FROM followed
                WHERE session = ?1 AND kind = ?2 AND at >= ?3 LIMIT ?4) AS counted";
            for (kind, counted) in (0_i64..).zip(&mut found.counts) {
                let given = values![session.as_str(), kind, from.0, FOLLOWED_COUNTED_MAX];
                let row = db.row(count, given, |row| row.get(0)).map_err(failed())?;
                *counted = row.unwrap_or_default();
            }
            let select = logged(
                "SELECT at, call FROM followed WHERE session = ?1 AND kind = ?2 AND at >= ?3
                 ORDER BY at, call LIMIT ?4",
                "u.at, u.call",
            );
            for kind in [FollowedKind::Change, FollowedKind::Refused] {
                let given = values![session.as_str(), kind as i64, from.0, FOLLOWED_READ_MAX];
                let rows = db.rows(&select, given, LoggedRow::read).map_err(failed())?;
                for row in rows {
                    found.calls.push(row.parse()?);
                }
            }
            found.calls.sort_by(|a, b| (a.at, &a.call).cmp(&(b.at, &b.call)));
            Ok(found)
        })
        .await
    }
}

fn failed() -> impl FnOnce(DbError) -> StoreError {
    StoreError::database("reading what documents have fed")
}

/// Calls with their entries, of those that a query names. A refusal is its own outcome.
fn logged(calls: &str, order: &str) -> String {
    format!(
        "SELECT u.at, u.call, call.intent, i.leaf, o.ix, o.leaf FROM ({calls}) u
         JOIN call ON call.id = u.call JOIN entry i ON i.ix = call.intent
         LEFT JOIN entry o ON o.ix = call.outcome AND call.outcome <> call.intent ORDER BY {order}"
    )
}

/// A row as it is read.
struct LoggedRow {
    at: i64,
    call: String,
    decided: (u64, Vec<u8>),
    outcome: Option<(u64, Vec<u8>)>,
}

impl LoggedRow {
    fn read(row: &Row<'_>) -> Result<Self, DbError> {
        let outcome: Option<u64> = row.get(4)?;
        let outcome = match outcome {
            Some(place) => Some((place, row.get(5)?)),
            None => None,
        };
        Ok(Self {
            at: row.get(0)?,
            call: row.get(1)?,
            decided: (row.get(2)?, row.get(3)?),
            outcome,
        })
    }

    fn parse(self) -> Result<LoggedCall, StoreError> {
        let json = |(place, leaf): (u64, Vec<u8>)| {
            parse(place, &leaf)?;
            Json::parse(&leaf, &JsonLimits::OWN)
                .map_err(|error| StoreError::corrupt(Some(place), error))
        };
        Ok(LoggedCall {
            call: call_id(&self.call)?,
            at: Micros(self.at),
            decided: json(self.decided)?,
            outcome: self.outcome.map(json).transpose()?,
        })
    }
}

impl Writer {
    /// Keeps what an answer has shown, and that its session is followed from here on.
    pub(crate) fn keep_shown(&mut self, conclusion: &Conclusion) -> Result<(), StoreError> {
        let Conclusion { open, record, shown, .. } = conclusion;
        if shown.is_empty() {
            return Ok(());
        }
        let OpenCall { call, session, .. } = &**open;
        for ShownName { source, document } in shown {
            let added = self.db.add(&SHOWN, values![source, record.at.0, call.as_str(), document]);
            added.map_err(StoreError::database("writing what was shown"))?;
        }
        let mut state = self.session(session)?;
        state.fed = Some(Micros(record.at.0.saturating_add(FOLLOWED_FOR_US)));
        self.set_session(state);
        Ok(())
    }

    /// Keeps a call as one of a session that was shown something.
    pub(crate) fn follow(&self, prepared: &Prepared) -> Result<(), DbError> {
        let Some(kind) = prepared.followed else { return Ok(()) };
        let session = prepared.before.id.as_str();
        let given = values![session, kind as i64, prepared.at.0, prepared.call.as_str()];
        self.db.add(&FOLLOWED, given)
    }

    /// Forgets what was shown, and what followed, too long ago: a little at a time.
    pub(crate) fn sweep_uses(&self, now: Micros) -> Result<(), DbError> {
        let before = now.0.saturating_sub(USES_KEPT_US);
        let shown = "DELETE FROM shown WHERE (source, at, call, document) IN
            (SELECT source, at, call, document FROM shown WHERE at < ?1 ORDER BY at LIMIT ?2)";
        self.db.execute(shown, values![before, SWEEP_MAX])?;
        let followed = "DELETE FROM followed WHERE (session, kind, at, call) IN
            (SELECT session, kind, at, call FROM followed WHERE at < ?1 ORDER BY at LIMIT ?2)";
        self.db.execute(followed, values![before, SWEEP_MAX]).map(drop)
    }
}
