//! Answers of models that somebody has approved, to be given again when no model answers.
//!
//! A row says which recorded call it is, and is found by a name that only holders of the data key
//! can compute: of the prompt, and of what whoever asked may do. The answer itself stays where it
//! was recorded, under its subject's key, and is gone with it.

use crate::approval::call_id;
use crate::db::{DbError, Row, values};
use crate::error::StoreError;
use crate::store::Store;
use crate::writer::Writer;
use lockgate_types::{CallId, Digest, Micros, Tenant};

/// Answers that are kept at once.
pub const KEPT_ANSWERS_MAX: u32 = 10_000;
/// Answers that one read gives.
pub const KEPT_ANSWERS_READ_MAX: u32 = 256;
/// Answers that are forgotten in one go.
const SWEEP_MAX: u32 = 64;

/// What a kept answer is for.
#[derive(Clone, Copy, Debug)]
pub struct AnswerTo<'a> {
    /// Whose.
    pub tenant: &'a Tenant,
    /// What the prompt is known by.
    pub prompt: &'a Digest,
    /// What whoever asks may do.
    pub rights: &'a Digest,
}

/// An answer that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptAnswer {
    /// The call that it was the answer to.
    pub call: CallId,
    /// Whose.
    pub tenant: Tenant,
    /// The call to the admin API by which somebody has approved it.
    pub by: CallId,
    /// When they did.
    pub at: Micros,
    /// Until when it holds.
    pub until: Micros,
}

const SELECT: &str = "SELECT call, tenant, by_call, at, until FROM kept_answer";

impl Store {
    fn name_of_answer(&self, to: &AnswerTo<'_>) -> [u8; 32] {
        let (prompt, rights) = (to.prompt.to_string(), to.rights.to_string());
        self.memory().subjects.derive(&["answer", to.tenant.as_str(), &prompt, &rights])
    }

    /// Keeps an answer, in place of another to the same. `false`: as many are kept as can be.
    pub async fn keep_answer(
        &self,
        to: AnswerTo<'_>,
        kept: KeptAnswer,
    ) -> Result<bool, StoreError> {
        let name = self.name_of_answer(&to);
        self.read(move |writer| {
            let count = "SELECT count(*) FROM kept_answer WHERE name <> ?1";
            let count: Option<u32> =
                writer.db.row(count, values![&name], |row| row.get(0)).map_err(failed())?;
            if count.unwrap_or_default() >= KEPT_ANSWERS_MAX {
                return Ok(false);
            }
            let keep = "INSERT INTO kept_answer (name, call, tenant, by_call, at, until)
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                        ON CONFLICT (name) DO UPDATE SET call = excluded.call,
                        by_call = excluded.by_call, at = excluded.at, until = excluded.until";
            let KeptAnswer { call, tenant, by, at, until } = &kept;
            let given = values![&name, call.as_str(), tenant.as_str(), by.as_str(), at.0, until.0];
            writer.db.execute(keep, given).map_err(failed())?;
            Ok(true)
        })
        .await
    }

    /// The answer that is kept for exactly this, if it still holds.
    pub async fn kept_answer(&self, to: AnswerTo<'_>) -> Result<Option<KeptAnswer>, StoreError> {
        let name = self.name_of_answer(&to);
        self.read(move |writer| {
            let select = format!("{SELECT} WHERE name = ?1 AND until > ?2");
            let given = values![&name, writer.now().0];
            writer.db.row(&select, given, row_of).map_err(failed())
        })
        .await
    }

    /// Answers that are kept, those first that end first.
    pub async fn kept_answers(&self, max: u32) -> Result<Vec<KeptAnswer>, StoreError> {
        self.read(move |writer| {
            let select = format!("{SELECT} WHERE until > ?1 ORDER BY until, call LIMIT ?2");
            let given = values![writer.now().0, max.min(KEPT_ANSWERS_READ_MAX)];
            writer.db.rows(&select, given, row_of).map_err(failed())
        })
        .await
    }

    /// Forgets the answer to a call. `false`: it is not kept.
    pub async fn forget_answer(&self, call: &CallId) -> Result<bool, StoreError> {
        let call = call.clone();
        self.read(move |writer| {
            let delete = "DELETE FROM kept_answer WHERE call = ?1";
            let deleted = writer.db.execute(delete, values![call.as_str()]).map_err(failed())?;
            Ok(deleted > 0)
        })
        .await
    }
}

impl Writer {
    /// Forgets answers whose time is over, a few at a time.
    pub(crate) fn sweep_kept_answers(&self, now: Micros) -> Result<(), DbError> {
        let delete = "DELETE FROM kept_answer WHERE name IN
            (SELECT name FROM kept_answer WHERE until <= ?1 LIMIT ?2)";
        self.db.execute(delete, values![now.0, SWEEP_MAX]).map(drop)
    }
}

fn row_of(row: &Row<'_>) -> Result<KeptAnswer, DbError> {
    let call = |at| row.get::<String>(at).and_then(|id| call_id(&id).map_err(|_| DbError::Column));
    Ok(KeptAnswer {
        call: call(0)?,
        tenant: Tenant::new(&row.get::<String>(1)?).map_err(|_| DbError::Column)?,
        by: call(2)?,
        at: Micros(row.get(3)?),
        until: Micros(row.get(4)?),
    })
}

fn failed() -> impl FnOnce(DbError) -> StoreError {
    StoreError::database::<DbError>("using answers that are kept")
}
