//! Memos: what agents have written down for later, sealed under the key of the subject that they
//! did it for.
//!
//! The database knows a memo by a name derived under the subject's key, and when it ends. Whose it
//! is and in which scope, its key, who wrote it, what they had met: all of that is sealed with it,
//! so that nothing of it is left once the subject is erased. A memo whose time is over is never
//! given, swept or not.

use crate::db::{Db, DbError, Row, Touched, values};
use crate::error::StoreError;
use crate::store::Store;
use crate::subject::Subject;
use crate::writer::Writer;
use lockgate_types::identity::Identity;
use lockgate_types::label::Label;
use lockgate_types::{AgentId, CallId, Digest, Json, JsonLimits, Micros, Object, TaskName};
use std::sync::Arc;

/// Memos of all scopes that one subject may have.
pub const MEMOS_PER_SUBJECT_MAX: u32 = 10_000;
/// Memos that one page gives.
pub const MEMOS_READ_MAX: u32 = 64;
/// Memos of one scope that are read at once: no bundle lets there be more.
const SCOPE_MAX: u32 = 1000;
/// Memos forgotten in one go, of those whose time is over.
const SWEEP_MAX: u32 = 256;

/// What divides a memory besides tenant, environment and subject, which always do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoScope {
    /// The memory: an upstream of the bundle's.
    pub memory: String,
    /// The task, where each has its own. `Some(None)`: that of calls without one.
    pub task: Option<Option<TaskName>>,
    /// The agent, where each has its own.
    pub agent: Option<AgentId>,
}

/// What an agent has written down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memo {
    /// Its name for people, which says nothing.
    pub id: String,
    /// Where it is kept.
    pub scope: MemoScope,
    /// By what agents find it.
    pub key: String,
    /// What they want to know later.
    pub text: String,
    /// Who wrote it.
    pub agent: AgentId,
    /// By which call.
    pub call: CallId,
    /// Under which bundle.
    pub bundle: Digest,
    /// When.
    pub at: Micros,
    /// Until when it is kept.
    pub until: Micros,
    /// What whoever wrote it had met by then.
    pub label: Label,
    /// The person's call that has confirmed it, and when. `None`: nobody has.
    pub confirmed: Option<(CallId, Micros)>,
}

/// What is to be written down.
#[derive(Clone, Debug)]
pub struct NewMemo {
    /// By what it is to be found.
    pub key: String,
    /// What is to be known later.
    pub text: String,
    /// The call that asks for it. Of an attempt, that which first asked for the effect.
    pub call: CallId,
    /// Whether that is an attempt.
    pub is_attempt: bool,
    /// The bundle under which it was decided.
    pub bundle: Digest,
    /// How long it is kept, in microseconds.
    pub lasts_us: i64,
    /// What the session had met.
    pub label: Label,
    /// Memos that there may be in its scope.
    pub max: u32,
}

/// What became of writing something down.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noted {
    /// It is kept, until then.
    Kept(Micros),
    /// There is no room: so many may there be.
    Full(u32),
    /// The subject has been erased meanwhile.
    Nobody,
}

/// What became of confirming a memo.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirming {
    /// It is confirmed.
    Confirmed(Box<Memo>),
    /// There is no such memo.
    Unknown,
    /// Whoever wrote it does not confirm it.
    Own,
}

/// A page of a person's memos, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoPage {
    /// The memos.
    pub memos: Vec<Memo>,
    /// Where to go on, if there are more.
    pub next: Option<String>,
}

/// A memo as the database has it.
struct Kept {
    id: String,
    at: i64,
    sealed: Vec<u8>,
}

const SELECT: &str = "SELECT id, at, sealed FROM memo";

impl Store {
    /// Writes something down, in the place of what has the same key in the same scope.
    pub async fn note_memo(
        &self,
        identity: &Identity,
        scope: &MemoScope,
        new: NewMemo,
    ) -> Result<Noted, StoreError> {
        let subject = self.subject_of(identity).await?;
        let at = self.queue().now();
        let until = Micros(at.0.saturating_add(new.lasts_us));
        let (name, id) =
            (scope_name(&subject, identity, scope), id_of(&subject, identity, scope, &new.key));
        let (max, is_attempt) = (new.max, new.is_attempt);
        let memo = Memo {
            id,
            scope: scope.clone(),
            key: new.key,
            text: new.text,
            agent: identity.agent.clone(),
            call: new.call,
            bundle: new.bundle,
            at,
            until,
            label: new.label,
            confirmed: None,
        };
        let sealed = seal(&subject, identity, &memo)?;
        let (row, call, id) = (subject.row, memo.call, memo.id);
        self.read(move |writer| {
            let writing =
                Writing { row, scope: &name, id: &id, call: &call, at, until, sealed: &sealed };
            writer.within_memory(row, || writer.note_memo(&writing, is_attempt, max))
        })
        .await
    }

    /// All memos of a scope, the newest first.
    pub async fn memos_in(
        &self,
        identity: &Identity,
        scope: &MemoScope,
    ) -> Result<Vec<Memo>, StoreError> {
        let subject = self.subject_of(identity).await?;
        let (name, now) = (scope_name(&subject, identity, scope), self.queue().now());
        let found = self.read_aside(move |db| {
            let select = format!(
                "{SELECT} WHERE scope = ?1 AND until > ?2 ORDER BY at DESC, id DESC LIMIT ?3"
            );
            db.rows(&select, values![&name, now.0, SCOPE_MAX], kept).map_err(failed())
        });
        let found = found.await?;
        Ok(found.iter().filter_map(|it| open(&subject, identity, it, now)).collect())
    }

    /// Deletes the memo of that key. `false`: there is none. An attempt deletes nothing that was
    /// written since.
    pub async fn forget_memo(
        &self,
        identity: &Identity,
        scope: &MemoScope,
        key: &str,
        attempt_of: Option<&CallId>,
    ) -> Result<bool, StoreError> {
        let subject = self.subject_of(identity).await?;
        let (id, row) = (id_of(&subject, identity, scope, key), subject.row);
        let first = attempt_of.cloned();
        self.read(move |writer| {
            writer.within_memory(row, || writer.forget_memo(&id, first.as_ref()))
        })
        .await
    }

    /// Memos of a person's own, of every scope in this tenant and environment, the newest first.
    pub async fn memos_of(
        &self,
        identity: &Identity,
        after: Option<&str>,
        max: u32,
    ) -> Result<MemoPage, StoreError> {
        let subject = self.subject_of(identity).await?;
        let (row, now) = (subject.row, self.queue().now());
        let (at, id) = after.and_then(read_place).unwrap_or((i64::MAX, String::new()));
        let max = max.min(MEMOS_READ_MAX);
        let found = self.read_aside(move |db| {
            let select = format!(
                "{SELECT} WHERE subject = ?1 AND until > ?2 AND (at < ?3 OR (at = ?3 AND id < ?4))
                 ORDER BY at DESC, id DESC LIMIT ?5"
            );
            db.rows(&select, values![row, now.0, at, &id, max], kept).map_err(failed())
        });
        let found = found.await?;
        let is_full = found.len() >= usize::try_from(max).unwrap_or(usize::MAX);
        let next = found.last().filter(|_| is_full).map(|last| format!("{}-{}", last.at, last.id));
        let memos = found.iter().filter_map(|it| open(&subject, identity, it, now)).collect();
        Ok(MemoPage { memos, next })
    }

    /// A memo of a person's own.
    pub async fn memo(&self, identity: &Identity, id: &str) -> Result<Option<Memo>, StoreError> {
        let subject = self.subject_of(identity).await?;
        let found = self.own_memo(&subject, id).await?;
        Ok(found.and_then(|found| open(&subject, identity, &found, self.queue().now())))
    }

    /// Deletes a memo of a person's own. `false`: there is none.
    pub async fn forget_own_memo(&self, identity: &Identity, id: &str) -> Result<bool, StoreError> {
        let Some(memo) = self.memo(identity, id).await? else { return Ok(false) };
        self.read(move |writer| {
            let delete = "DELETE FROM memo WHERE id = ?1";
            writer.db.execute(delete, values![&memo.id]).map(|rows| rows > 0).map_err(failed())
        })
        .await
    }

    /// A person says that a memo of theirs is right, by that call, as it is now: one that was
    /// written meanwhile is not confirmed.
    pub async fn confirm_memo(
        &self,
        identity: &Identity,
        id: &str,
        by: &CallId,
    ) -> Result<Confirming, StoreError> {
        let Some(memo) = self.memo(identity, id).await? else { return Ok(Confirming::Unknown) };
        if memo.agent == identity.agent {
            return Ok(Confirming::Own);
        }
        let subject = self.subject_of(identity).await?;
        let memo = Memo { confirmed: Some((by.clone(), self.queue().now())), ..memo };
        let sealed = seal(&subject, identity, &memo)?;
        let (id, call) = (memo.id.clone(), memo.call.clone());
        let confirmed = self.read(move |writer| {
            let update = "UPDATE memo SET sealed = ?3 WHERE id = ?1 AND call = ?2";
            let done = writer.db.execute(update, values![&id, call.as_str(), &sealed]);
            done.map(|rows| rows > 0).map_err(failed())
        });
        Ok(match confirmed.await? {
            true => Confirming::Confirmed(Box::new(memo)),
            false => Confirming::Unknown,
        })
    }

    async fn own_memo(&self, subject: &Arc<Subject>, id: &str) -> Result<Option<Kept>, StoreError> {
        let (row, id, now) = (subject.row, id.to_owned(), self.queue().now());
        self.read_aside(move |db| {
            let select = format!("{SELECT} WHERE id = ?1 AND subject = ?2 AND until > ?3");
            db.row(&select, values![&id, row, now.0], kept).map_err(failed())
        })
        .await
    }
}

/// A memo that is about to be written.
struct Writing<'a> {
    row: i64,
    scope: &'a [u8; 32],
    id: &'a str,
    call: &'a CallId,
    at: Micros,
    until: Micros,
    sealed: &'a [u8],
}

impl Writer {
    /// One transaction about a subject's memos: of a fleet's nodes one after the other.
    fn within_memory<T>(
        &self,
        row: i64,
        write: impl FnOnce() -> Result<T, DbError>,
    ) -> Result<T, StoreError> {
        let mut touched = Touched::default();
        touched.add("memo", &row.to_be_bytes());
        self.db.begin(&touched).map_err(failed())?;
        match write().and_then(|written| self.db.commit().map(|()| written)) {
            Ok(written) => Ok(written),
            Err(error) => {
                self.db.roll_back();
                Err(failed()(error))
            }
        }
    }

    fn note_memo(&self, memo: &Writing<'_>, is_attempt: bool, max: u32) -> Result<Noted, DbError> {
        let Writing { row, scope, id, call, at, until, sealed } = *memo;
        if !self.db.exists("SELECT 1 FROM subject WHERE id = ?1", values![row])? {
            return Ok(Noted::Nobody);
        }
        let there = "SELECT call, until FROM memo WHERE id = ?1";
        let there = self
            .db
            .row(there, values![id], |found| Ok((found.get::<String>(0)?, found.get::<i64>(1)?)))?;
        match &there {
            // What an attempt would write is there, or something newer is.
            Some((known, until)) if is_attempt && known.as_str() >= call.as_str() => {
                return Ok(Noted::Kept(Micros(*until)));
            }
            Some((_, until)) if *until > at.0 => {}
            // Whose time is over is none that there is.
            Some(_) | None => {
                let count = |of: &str, given: &[crate::db::Value<'_>]| {
                    let count = format!("SELECT COUNT(*) FROM memo WHERE {of} AND until > ?2");
                    let count = self.db.row(&count, given, |found| found.get::<i64>(0))?;
                    Ok::<_, DbError>(count.unwrap_or(0))
                };
                if count("scope = ?1", values![scope, at.0])? >= i64::from(max) {
                    return Ok(Noted::Full(max));
                }
                let all_max = MEMOS_PER_SUBJECT_MAX;
                if count("subject = ?1", values![row, at.0])? >= i64::from(all_max) {
                    return Ok(Noted::Full(all_max));
                }
            }
        }
        let write = "INSERT INTO memo (id, scope, subject, call, at, until, sealed)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
            ON CONFLICT (id) DO UPDATE SET call = excluded.call, at = excluded.at,
                until = excluded.until, sealed = excluded.sealed";
        let given = values![id, scope, row, call.as_str(), at.0, until.0, sealed];
        self.db.execute(write, given)?;
        Ok(Noted::Kept(until))
    }

    fn forget_memo(&self, id: &str, attempt_of: Option<&CallId>) -> Result<bool, DbError> {
        let select = "SELECT call FROM memo WHERE id = ?1 AND until > ?2";
        let there = self.db.row(select, values![id, self.now().0], |row| row.get::<String>(0))?;
        let is_newer = |call: &String| attempt_of.is_some_and(|it| call.as_str() >= it.as_str());
        if there.as_ref().is_none_or(is_newer) {
            return Ok(false);
        }
        self.db.execute("DELETE FROM memo WHERE id = ?1", values![id]).map(|rows| rows > 0)
    }

    /// Forgets memos whose time is over, a few at a time.
    pub(crate) fn sweep_memos(&self, now: Micros) -> Result<(), DbError> {
        sweep(&self.db, now)
    }
}

fn sweep(db: &Db, now: Micros) -> Result<(), DbError> {
    let delete = "DELETE FROM memo WHERE id IN
        (SELECT id FROM memo WHERE until <= ?1 ORDER BY until LIMIT ?2)";
    db.execute(delete, values![now.0, SWEEP_MAX]).map(drop)
}

fn kept(row: &Row<'_>) -> Result<Kept, DbError> {
    Ok(Kept { id: row.get(0)?, at: row.get(1)?, sealed: row.get(2)? })
}

/// Where a page ends.
fn read_place(text: &str) -> Option<(i64, String)> {
    let (at, id) = text.split_once('-')?;
    Some((at.parse().ok()?, id.to_owned()))
}

/// What the database calls a scope of a subject's.
fn scope_name(subject: &Subject, identity: &Identity, scope: &MemoScope) -> [u8; 32] {
    subject.key.derive(&names("memos", identity, scope, "").each_ref().map(String::as_str))
}

/// What everybody calls a memo.
fn id_of(subject: &Subject, identity: &Identity, scope: &MemoScope, key: &str) -> String {
    let name = names("memo", identity, scope, key);
    let name = subject.key.derive(&name.each_ref().map(String::as_str));
    let short = name.first_chunk::<16>().copied().unwrap_or_default();
    format!("m_{}", hex::encode(short))
}

/// Whatever tells memos apart. What does not divide the memory is told from what is not there.
fn names(of: &str, identity: &Identity, scope: &MemoScope, key: &str) -> [String; 9] {
    let part = |is_divided: bool, text: &str| match is_divided {
        true => format!("={text}"),
        false => "-".to_owned(),
    };
    let task = scope.task.as_ref();
    let agent = scope.agent.as_ref();
    let task_name = task.and_then(Option::as_ref).map_or("", TaskName::as_str);
    [
        of.to_owned(),
        identity.tenant.as_str().to_owned(),
        identity.environment.as_str().to_owned(),
        identity.issuer.clone(),
        identity.subject.as_str().to_owned(),
        scope.memory.clone(),
        part(task.is_some(), task_name),
        part(agent.is_some(), agent.map_or("", AgentId::as_str)),
        key.to_owned(),
    ]
}

fn seal(subject: &Subject, identity: &Identity, memo: &Memo) -> Result<Vec<u8>, StoreError> {
    let task = memo.scope.task.as_ref();
    let scope = Object::new()
        .with_some("agent", memo.scope.agent.as_ref().map(AgentId::as_str))
        .with("memory", memo.scope.memory.as_str())
        .with("of_task", task.is_some())
        .with_some("task", task.and_then(Option::as_ref).map(TaskName::as_str));
    let confirmed = memo
        .confirmed
        .as_ref()
        .map(|(call, at)| Object::new().with("at", at.0).with("call", call.as_str()));
    let body = Object::new()
        .with("agent", memo.agent.as_str())
        .with("at", memo.at.0)
        .with("bundle", memo.bundle.to_string())
        .with("call", memo.call.as_str())
        .with_some("confirmed", confirmed)
        .with("environment", identity.environment.as_str())
        .with("key", memo.key.as_str())
        .with("label", memo.label.to_json())
        .with("scope", scope)
        .with("tenant", identity.tenant.as_str())
        .with("text", memo.text.as_str())
        .with("until", memo.until.0);
    subject.key.seal(&bound_to(&memo.id), &Json::from(body).to_canonical())
}

/// A memo, if it is this subject's in this tenant and environment, and its time is not over. One
/// that cannot be read is none: a label that says nothing must not pass for a clean one.
fn open(subject: &Subject, identity: &Identity, kept: &Kept, now: Micros) -> Option<Memo> {
    let opened = subject.key.open(&bound_to(&kept.id), &kept.sealed)?;
    let body = Json::parse(&opened, &JsonLimits::OWN).ok()?;
    let text = |name: &str| body.get(name)?.as_str();
    let number = |name: &str| Some(Micros(body.get(name)?.as_i64()?));
    let is_here = text("tenant")? == identity.tenant.as_str()
        && text("environment")? == identity.environment.as_str();
    let until = number("until")?;
    if !is_here || until <= now {
        return None;
    }
    let scope = body.get("scope")?;
    let within = |name: &str| scope.get(name).and_then(Json::as_str);
    let task = match within("task") {
        Some(task) => Some(TaskName::new(task).ok()?),
        None => None,
    };
    let confirmed = match body.get("confirmed") {
        Some(said) => {
            let call = CallId::new(said.get("call")?.as_str()?).ok()?;
            Some((call, Micros(said.get("at")?.as_i64()?)))
        }
        None => None,
    };
    Some(Memo {
        id: kept.id.clone(),
        scope: MemoScope {
            memory: within("memory")?.to_owned(),
            task: (scope.get("of_task")?.as_bool()?).then_some(task),
            agent: match within("agent") {
                Some(agent) => Some(AgentId::new(agent).ok()?),
                None => None,
            },
        },
        key: text("key")?.to_owned(),
        text: text("text")?.to_owned(),
        agent: AgentId::new(text("agent")?).ok()?,
        call: CallId::new(text("call")?).ok()?,
        bundle: text("bundle")?.parse().ok()?,
        at: number("at")?,
        until,
        label: Label::from_json(body.get("label")?)?,
        confirmed,
    })
}

fn bound_to(id: &str) -> Vec<u8> {
    format!("memo {id}").into_bytes()
}

fn failed() -> impl FnOnce(DbError) -> StoreError {
    StoreError::database("reading or writing memos")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_is_swept_a_few_at_a_time() {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        db.execute_batch(crate::schema::V9_MEMOS).unwrap();
        let db = Db::sqlite(db);
        let all = i64::from(SWEEP_MAX) + 10;
        for until in 1..=all {
            let insert = "INSERT INTO memo (id, scope, subject, call, at, until, sealed)
                VALUES (?1, ?2, 1, 'c', 0, ?3, ?2)";
            let (id, nothing) = (format!("m_{until}"), [0_u8]);
            db.execute(insert, values![&id, nothing.as_slice(), until]).unwrap();
        }
        let oldest = || {
            let select = "SELECT MIN(until), COUNT(*) FROM memo";
            let found = db.row(select, &[], |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?)));
            found.unwrap().unwrap()
        };
        sweep(&db, Micros(3)).unwrap();
        assert_eq!(oldest(), (4, all - 3), "what ends now has ended");
        sweep(&db, Micros(all)).unwrap();
        assert_eq!(oldest(), (all - 6, 7));
    }
}
