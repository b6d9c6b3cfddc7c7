//! Runs as those see them who look after a gate, and how runs are ended: their own by those who
//! have opened them, any by those who may.

use super::{RUNS_READ_MAX, RunRow, SELECT, failed, row_of};
use crate::db::values;
use crate::error::StoreError;
use crate::store::Store;
use crate::writer::Writer;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Tenant};

impl Store {
    /// The runs of everybody, or of one tenant, the newest first, those before that one.
    pub async fn all_runs(
        &self,
        tenant: Option<&Tenant>,
        before: Option<&CallId>,
        max: u32,
    ) -> Result<Vec<RunRow>, StoreError> {
        let tenant = tenant.map(|tenant| tenant.as_str().to_owned());
        let before = before.map_or("~".to_owned(), |before| before.as_str().to_owned());
        self.read(move |writer| {
            let max = max.min(RUNS_READ_MAX);
            let found = match &tenant {
                Some(tenant) => {
                    let select =
                        format!("{SELECT} WHERE tenant = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3");
                    writer.db.rows(&select, values![tenant, &before, max], row_of)
                }
                None => {
                    let select = format!("{SELECT} WHERE id < ?1 ORDER BY id DESC LIMIT ?2");
                    writer.db.rows(&select, values![&before, max], row_of)
                }
            };
            found.map_err(failed())
        })
        .await
    }

    /// A run, whoever has opened it.
    pub async fn any_run(&self, run: &CallId) -> Result<Option<RunRow>, StoreError> {
        let run = run.clone();
        self.read(move |writer| {
            let select = format!("{SELECT} WHERE id = ?1");
            writer.db.row(&select, values![run.as_str()], row_of).map_err(failed())
        })
        .await
    }

    /// Has a run of this identity's own end, and those within it. `false`: there is none, or it is
    /// over.
    pub async fn cancel_run(
        &self,
        identity: &Identity,
        run: &CallId,
        by: &CallId,
    ) -> Result<bool, StoreError> {
        let (opener, run, by) = (self.opener(identity), run.clone(), by.clone());
        self.read(move |writer| writer.cancel_run(Some(&opener), &run, &by)).await
    }

    /// The same of anybody's.
    pub async fn cancel_any_run(&self, run: &CallId, by: &CallId) -> Result<bool, StoreError> {
        let (run, by) = (run.clone(), by.clone());
        self.read(move |writer| writer.cancel_run(None, &run, &by)).await
    }
}

impl Writer {
    fn cancel_run(
        &self,
        opener: Option<&[u8; 32]>,
        run: &CallId,
        by: &CallId,
    ) -> Result<bool, StoreError> {
        let cancel = "UPDATE run SET cancelled = ?2 WHERE (id = ?1 OR within = ?1)
            AND cancelled IS NULL AND phase IN ('open', 'parked')";
        let count = match opener {
            Some(opener) => {
                let own = format!("{cancel} AND opener = ?3");
                self.db.execute(&own, values![run.as_str(), by.as_str(), opener])
            }
            None => self.db.execute(cancel, values![run.as_str(), by.as_str()]),
        };
        count.map(|count| count > 0).map_err(failed())
    }
}
