//! How runs begin: once for whoever asks under a key, once for each call of the run that they are
//! within, and so many at most.

use super::{Begun, NewRun, RUNS_OPEN_MAX, failed, touched};
use crate::db::{DbError, values};
use crate::error::StoreError;
use crate::store::Store;
use crate::writer::Writer;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Micros};

/// Microseconds for which a key names its run: as long as a client may come back that has not heard
/// the answer.
pub const RUN_KEY_US: i64 = 24 * 3600 * 1_000_000;
/// Keys that are forgotten at once.
const SWEEP_MAX: u32 = 256;

/// A key under which a run is asked for.
#[derive(Clone, Debug)]
pub struct RunKey {
    /// As whoever asks has chosen it: two that choose the same mean two runs.
    pub key: String,
    /// All that is asked for.
    pub asked: String,
}

/// The same, as the database has it.
struct Named {
    name: [u8; 32],
    asked: [u8; 32],
}

impl Store {
    /// Begins a run of this identity's.
    pub async fn begin_run(&self, identity: &Identity, run: NewRun) -> Result<Begun, StoreError> {
        let entries = self.sealed(identity, &run.id, (0_u32.., &run.entries)).await?;
        let opener = self.opener(identity);
        let whose = hex::encode(opener);
        let key = run.key.as_ref().map(|RunKey { key, asked }| Named {
            name: self.memory().subjects.derive(&["run key", &whose, key]),
            asked: self.memory().subjects.derive(&["run asked for", &whose, asked]),
        });
        let tenant = identity.tenant.as_str().to_owned();
        let whose = (opener, tenant);
        self.read(move |writer| writer.begin_run(&whose, (&run, key.as_ref()), &entries)).await
    }
}

impl Writer {
    fn begin_run(
        &self,
        whose: &([u8; 32], String),
        (run, key): (&NewRun, Option<&Named>),
        entries: &[(u32, Vec<u8>)],
    ) -> Result<Begun, StoreError> {
        let outer = run.within.as_ref().map(|(id, _)| id.as_str());
        let mut touched = touched(outer.unwrap_or(run.id.as_str()));
        if let Some(key) = key {
            touched.add("run key", &key.name);
        }
        self.db.begin(&touched).map_err(failed())?;
        let begun = self.write_run(whose, (run, key), entries);
        match &begun {
            Ok(Begun::New) => self.db.commit().map_err(failed())?,
            Ok(Begun::Known(_) | Begun::OtherInput | Begun::TooMany) | Err(_) => {
                self.db.roll_back();
            }
        }
        begun.map_err(failed())
    }

    fn write_run(
        &self,
        (opener, tenant): &([u8; 32], String),
        (run, key): (&NewRun, Option<&Named>),
        entries: &[(u32, Vec<u8>)],
    ) -> Result<Begun, DbError> {
        if let Some(known) = self.known_run(run, key)? {
            return Ok(known);
        }
        let open = "SELECT count(*) FROM run WHERE opener = ?1 AND phase IN ('open', 'parked')";
        let open = self.db.row(open, values![opener], |row| row.get::<u32>(0))?.unwrap_or(0);
        if open >= RUNS_OPEN_MAX {
            return Ok(Begun::TooMany);
        }
        let insert = "INSERT INTO run (id, opener, tenant, task, within, part, phase, entries,
                since, at, due, waits_for, holder, held_until, cancelled)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, 'open', ?7, ?8, ?8, 0, NULL, '', 0, NULL)";
        let within = run.within.as_ref().map(|(id, _)| id.as_str());
        let part = run.within.as_ref().map(|(_, part)| part.as_str());
        let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let (id, task) = (run.id.as_str(), &run.task);
        let given = values![id, opener, tenant, task, within, part, count, run.at.0];
        self.db.execute(insert, given)?;
        if let Some(key) = key {
            let insert = "INSERT INTO run_key (name, asked, run, until) VALUES (?1, ?2, ?3, ?4)
                ON CONFLICT (name) DO UPDATE SET asked = excluded.asked, run = excluded.run,
                    until = excluded.until";
            let until = run.at.0.saturating_add(RUN_KEY_US);
            self.db.execute(insert, values![&key.name, &key.asked, id, until])?;
        }
        for ((number, sealed), entry) in entries.iter().zip(&run.entries) {
            self.write_run_entry(&run.id, *number, entry, sealed)?;
        }
        Ok(Begun::New)
    }

    /// What was begun for the very same, or under the same key.
    fn known_run(&self, run: &NewRun, key: Option<&Named>) -> Result<Option<Begun>, DbError> {
        let known = |id: String| CallId::new(&id).map(Begun::Known).map_err(|_| DbError::Column);
        if let Some((within, part)) = &run.within {
            let select = "SELECT id FROM run WHERE within = ?1 AND part = ?2";
            let found = self.db.row(select, values![within.as_str(), part], |row| row.get(0))?;
            return found.map(known).transpose();
        }
        let Some(key) = key else { return Ok(None) };
        let select = "SELECT run, asked FROM run_key WHERE name = ?1 AND until > ?2";
        let found = self.db.row(select, values![&key.name, run.at.0], |row| {
            Ok((row.get::<String>(0)?, row.get::<Vec<u8>>(1)?))
        })?;
        match found {
            None => Ok(None),
            Some((id, asked)) if asked == key.asked => known(id).map(Some),
            Some(_) => Ok(Some(Begun::OtherInput)),
        }
    }

    /// Forgets keys whose time is over, a few at a time.
    pub(crate) fn sweep_run_keys(&self, now: Micros) -> Result<(), DbError> {
        let delete = "DELETE FROM run_key WHERE name IN
            (SELECT name FROM run_key WHERE until < ?1 ORDER BY until LIMIT ?2)";
        self.db.execute(delete, values![now.0, SWEEP_MAX]).map(drop)
    }
}
