//! Results of behaviour tests: each an entry of its tenant's log, and a row by which the newest one
//! of an entry of the registry is found.

use crate::db::{DbError, Row, values};
use crate::error::StoreError;
use crate::job::{Change, Rejected, Written};
use crate::leaf;
use crate::permit::Receipt;
use crate::shard::Whose;
use crate::store::{Store, entry};
use crate::writer::Writer;
use lockgate_types::evaluated::Evaluated;
use lockgate_types::{CallId, Digest, Micros, Tenant};

/// Results of one suite and one entry of the registry that can be listed. Older ones are in the
/// log.
pub const EVALUATIONS_KEPT_MAX: u32 = 256;
/// Results that one read gives.
pub const EVALUATIONS_READ_MAX: u32 = 256;

/// A result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// What decisions see of it. Its call is the one that handed it in, and holds the report.
    pub seen: Evaluated,
    /// Whose call it was.
    pub tenant: Tenant,
    /// The entry of the registry.
    pub entry: String,
    /// Its version.
    pub version: String,
    /// The bundle under which it was handed in.
    pub bundle: Digest,
    /// The digest of the report that was handed in.
    pub report: Digest,
    /// Calls that the report names.
    pub calls: u32,
    /// What it came to, in JSON.
    pub summary: String,
}

/// Which results: of that entry and suite, if these are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WhichEvaluations {
    /// The entry.
    pub entry: Option<String>,
    /// The suite.
    pub suite: Option<String>,
}

const SELECT: &str = "SELECT call, tenant, entry, version, suite, digest, of_entry, bundle, report,
                             calls, passed, percent, at, summary FROM evaluation";

impl Store {
    /// Records a result.
    pub async fn record_evaluation(&self, evaluation: Evaluation) -> Result<Receipt, StoreError> {
        entry(self.write(Change::Evaluation(Box::new(evaluation))).await)
    }

    /// Results, the newest first.
    pub async fn evaluations(
        &self,
        which: WhichEvaluations,
        max: u32,
    ) -> Result<Vec<Evaluation>, StoreError> {
        self.read(move |writer| {
            let select = format!(
                "{SELECT} WHERE (?1 = '' OR entry = ?1) AND (?2 = '' OR suite = ?2)
                 ORDER BY at DESC, call DESC LIMIT ?3"
            );
            let WhichEvaluations { entry, suite } = which;
            let (entry, suite) = (entry.unwrap_or_default(), suite.unwrap_or_default());
            let given = values![&entry, &suite, max.min(EVALUATIONS_READ_MAX)];
            writer.db.rows(&select, given, row_of).map_err(failed())
        })
        .await
    }

    /// The newest result of each of these suites, of an entry each.
    pub async fn newest_evaluations(
        &self,
        of: Vec<(String, String)>,
    ) -> Result<Vec<(String, Evaluated)>, StoreError> {
        self.read(move |writer| {
            let select = format!(
                "{SELECT} WHERE entry = ?1 AND suite = ?2 ORDER BY at DESC, call DESC LIMIT 1"
            );
            let mut newest = Vec::new();
            for (entry, suite) in of {
                let found = writer.db.row(&select, values![&entry, &suite], row_of);
                let found: Option<Evaluation> = found.map_err(failed())?;
                newest.extend(found.map(|found| (entry, found.seen)));
            }
            Ok(newest)
        })
        .await
    }
}

impl Writer {
    /// Writes a result, within the transaction of its batch.
    pub(crate) fn evaluation(
        &mut self,
        evaluation: &Evaluation,
    ) -> Result<Result<Written, Rejected>, StoreError> {
        let seen = &evaluation.seen;
        let leaf = leaf::evaluation(evaluation, seen.at);
        let receipt = self.append(Whose::Tenant(&evaluation.tenant), &leaf, seen.at)?;
        let insert =
            "INSERT INTO evaluation (call, tenant, entry, version, suite, digest, of_entry,
                          bundle, report, calls, passed, percent, at, summary)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)";
        let given = values![
            seen.call.as_str(),
            evaluation.tenant.as_str(),
            &evaluation.entry,
            &evaluation.version,
            &seen.suite,
            seen.digest.as_bytes().as_slice(),
            seen.of.as_bytes().as_slice(),
            evaluation.bundle.as_bytes().as_slice(),
            evaluation.report.as_bytes().as_slice(),
            evaluation.calls,
            u32::from(seen.is_passed),
            seen.percent,
            seen.at.0,
            &evaluation.summary,
        ];
        self.db.execute(insert, given).map_err(failed())?;
        let delete = "DELETE FROM evaluation WHERE entry = ?1 AND suite = ?2 AND call NOT IN (
                          SELECT call FROM evaluation WHERE entry = ?1 AND suite = ?2
                          ORDER BY at DESC, call DESC LIMIT ?3)";
        let given = values![&evaluation.entry, &seen.suite, EVALUATIONS_KEPT_MAX];
        self.db.execute(delete, given).map_err(failed())?;
        Ok(Ok(Written::Entry(receipt)))
    }
}

fn row_of(row: &Row<'_>) -> Result<Evaluation, DbError> {
    let text = |at| row.get::<String>(at);
    let digest = |at| row.get::<[u8; 32]>(at).map(Digest::from_bytes);
    Ok(Evaluation {
        seen: Evaluated {
            suite: text(4)?,
            digest: digest(5)?,
            of: digest(6)?,
            is_passed: row.get::<u32>(10)? != 0,
            percent: row.get(11)?,
            at: Micros(row.get(12)?),
            call: CallId::new(&text(0)?).map_err(|_| DbError::Column)?,
        },
        tenant: Tenant::new(&text(1)?).map_err(|_| DbError::Column)?,
        entry: text(2)?,
        version: text(3)?,
        bundle: digest(7)?,
        report: digest(8)?,
        calls: row.get(9)?,
        summary: text(13)?,
    })
}

fn failed() -> impl FnOnce(DbError) -> StoreError {
    StoreError::database::<DbError>("using results of evaluations")
}
