//! Journals of runs: what has happened in each, in order, sealed under the key of the subject that
//! it acts for.
//!
//! An entry is added once, at its number, by whoever drives the run, and names the recorded call
//! that it is bound to. Driving is a lease: of a fleet's nodes one has a run, and one that has lost
//! it writes nothing more. In an embedded database an entry is written in the order of everything
//! else, so that it is on disk before the intent of whatever follows from it.

mod begin;
mod oversee;

pub use begin::{RUN_KEY_US, RunKey};

use crate::db::{DbError, Row, Touched, values};
use crate::error::StoreError;
use crate::store::Store;
use crate::writer::Writer;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Micros};

/// Runs that one opener may have under way.
pub const RUNS_OPEN_MAX: u32 = 256;
/// Runs that one read gives.
pub const RUNS_READ_MAX: u32 = 256;
/// Entries that one read gives.
pub const RUN_ENTRIES_READ_MAX: u32 = 256;

/// How far a run is, as far as it has to be known without reading its journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunPhase {
    /// Somebody drives it, or has to.
    Open,
    /// It waits.
    Parked,
    /// It has ended with an answer.
    Finished,
    /// It was stopped.
    Stopped,
}

/// What is known of a run without reading its journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunRow {
    /// The run: the call by which it was started.
    pub id: CallId,
    /// Its task.
    pub task: String,
    /// How far it is.
    pub phase: RunPhase,
    /// How many entries its journal has.
    pub entries: u32,
    /// When it began.
    pub since: Micros,
    /// When the newest entry was.
    pub at: Micros,
    /// The run within which it was started.
    pub within: Option<CallId>,
    /// The call that wants it to end.
    pub cancelled_by: Option<CallId>,
}

/// A run that begins.
#[derive(Clone, Debug)]
pub struct NewRun {
    /// The call by which it was started.
    pub id: CallId,
    /// Its task.
    pub task: String,
    /// The run within which it was started, and which call of that one it is: of the same there is
    /// one run.
    pub within: Option<(CallId, String)>,
    /// The key under which it is asked for: of the same there is one run.
    pub key: Option<RunKey>,
    /// When.
    pub at: Micros,
    /// The first entries of its journal.
    pub entries: Vec<NewEntry>,
}

/// An entry that is added.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// The word of its kind.
    pub kind: &'static str,
    /// The recorded call that it is bound to.
    pub call: Option<CallId>,
    /// When.
    pub at: Micros,
    /// What it says.
    pub body: Vec<u8>,
}

/// What has begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// The run.
    New,
    /// Another that was begun for the very same.
    Known(CallId),
    /// Nothing: something else was asked for under its key.
    OtherInput,
    /// Nothing: too many are under way.
    TooMany,
}

/// How a run stands once an entry is added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How far it is.
    pub phase: RunPhase,
    /// Until when it waits at most.
    pub due: Micros,
    /// The request for approval or the run that it waits for.
    pub waits_for: Option<CallId>,
}

/// Who drives runs, and until when it has them without saying so again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Driver {
    /// A name that no other process has.
    pub name: String,
    /// Until when.
    pub until: Micros,
}

impl RunPhase {
    /// The word in the database and in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Parked => "parked",
            Self::Finished => "finished",
            Self::Stopped => "stopped",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        let all = [Self::Open, Self::Parked, Self::Finished, Self::Stopped];
        all.into_iter().find(|phase| phase.as_str() == word)
    }

    /// Whether nothing follows.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Finished | Self::Stopped)
    }
}

impl Store {
    /// Adds an entry at its number. `false`: the driver does not have the run any more, or the
    /// number is taken; nothing was added.
    pub async fn add_run_entry(
        &self,
        identity: &Identity,
        (run, driver): (&CallId, &Driver),
        (number, entry): (u32, NewEntry),
        standing: Standing,
    ) -> Result<bool, StoreError> {
        let entries = [entry];
        let sealed = self.sealed(identity, run, (number.., &entries)).await?;
        let (run, driver, [entry]) = (run.clone(), driver.clone(), entries);
        self.read(move |writer| {
            let Some((number, sealed)) = sealed.into_iter().next() else { return Ok(false) };
            writer.add_run_entry((&run, &driver), (number, &entry, &sealed), &standing)
        })
        .await
    }

    /// A run of this identity's own. Of anybody else's nothing is said.
    pub async fn run(
        &self,
        identity: &Identity,
        run: &CallId,
    ) -> Result<Option<RunRow>, StoreError> {
        let (opener, run) = (self.opener(identity), run.clone());
        self.read(move |writer| {
            let select = format!("{SELECT} WHERE id = ?1 AND opener = ?2");
            let found = writer.db.row(&select, values![run.as_str(), &opener], row_of);
            found.map_err(failed())
        })
        .await
    }

    /// The runs of this identity's own, the newest first, those before that one.
    pub async fn runs(
        &self,
        identity: &Identity,
        before: Option<&CallId>,
        max: u32,
    ) -> Result<Vec<RunRow>, StoreError> {
        let opener = self.opener(identity);
        let before = before.map_or("~".to_owned(), |before| before.as_str().to_owned());
        self.read(move |writer| {
            let select =
                format!("{SELECT} WHERE opener = ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3");
            let given = values![&opener, &before, max.min(RUNS_READ_MAX)];
            writer.db.rows(&select, given, row_of).map_err(failed())
        })
        .await
    }

    /// Entries of a run's journal, from a number on. `None`: they cannot be read any more.
    pub async fn run_entries(
        &self,
        identity: &Identity,
        run: &CallId,
        from: u32,
    ) -> Result<Option<Vec<Vec<u8>>>, StoreError> {
        let asked = run.clone();
        let read = move |writer: &mut Writer| {
            let select = "SELECT number, sealed FROM run_entry WHERE run = ?1 AND number >= ?2
                          ORDER BY number LIMIT ?3";
            let given = values![asked.as_str(), from, RUN_ENTRIES_READ_MAX];
            let found = writer.db.rows(select, given, |row| Ok((row.get::<u32>(0)?, row.get(1)?)));
            found.map_err(failed())
        };
        let found: Vec<(u32, Vec<u8>)> = self.read(read).await?;
        let subject = self.subject_of(identity).await?;
        let mut entries = Vec::with_capacity(found.len());
        for ((number, sealed), expected) in found.into_iter().zip(from..) {
            let opened = subject.key.open(&bound_to(run, number), &sealed);
            match opened.filter(|_| number == expected) {
                Some(opened) => entries.push(opened.to_vec()),
                None => return Ok(None),
            }
        }
        Ok(Some(entries))
    }

    /// Takes runs that nobody drives and that have something to do, up to so many.
    pub async fn claim_runs(&self, driver: &Driver, max: u32) -> Result<Vec<CallId>, StoreError> {
        let driver = driver.clone();
        self.read(move |writer| writer.claim_runs(&driver, max)).await
    }

    /// Says that a run is still driven. Gives whether it is, and who wants it to end.
    pub async fn hold_run(
        &self,
        run: &CallId,
        driver: &Driver,
    ) -> Result<Option<Option<CallId>>, StoreError> {
        let (run, driver) = (run.clone(), driver.clone());
        self.read(move |writer| {
            let hold = "UPDATE run SET held_until = ?3 WHERE id = ?1 AND holder = ?2";
            let given = values![run.as_str(), &driver.name, driver.until.0];
            if writer.db.execute(hold, given).map_err(failed())? == 0 {
                return Ok(None);
            }
            let select = "SELECT cancelled FROM run WHERE id = ?1";
            let found = writer.db.row(select, values![run.as_str()], |row| row.get(0));
            let found: Option<String> = found.map_err(failed())?.flatten();
            Ok(Some(found.and_then(|call| CallId::new(&call).ok())))
        })
        .await
    }

    /// Leaves a run to whoever takes it up.
    pub async fn leave_run(&self, run: &CallId, driver: &Driver) -> Result<(), StoreError> {
        let (run, name) = (run.clone(), driver.name.clone());
        self.read(move |writer| {
            let leave = "UPDATE run SET holder = '', held_until = 0 WHERE id = ?1 AND holder = ?2";
            let left = writer.db.execute(leave, values![run.as_str(), &name]);
            left.map(drop).map_err(failed())
        })
        .await
    }

    /// Ends a run whose journal cannot be read any more: nothing can be added to it.
    pub async fn end_run(&self, run: &CallId) -> Result<(), StoreError> {
        let run = run.clone();
        self.read(move |writer| {
            let end = "UPDATE run SET phase = 'stopped', holder = '' WHERE id = ?1";
            writer.db.execute(end, values![run.as_str()]).map(drop).map_err(failed())
        })
        .await
    }

    /// What the database calls whoever opens runs.
    fn opener(&self, identity: &Identity) -> [u8; 32] {
        let of = [
            "run",
            identity.tenant.as_str(),
            identity.environment.as_str(),
            &identity.issuer,
            identity.subject.as_str(),
            identity.agent.as_str(),
        ];
        self.memory().subjects.derive(&of)
    }

    async fn sealed(
        &self,
        identity: &Identity,
        run: &CallId,
        (numbers, entries): (std::ops::RangeFrom<u32>, &[NewEntry]),
    ) -> Result<Vec<(u32, Vec<u8>)>, StoreError> {
        let subject = self.subject_of(identity).await?;
        let entries = numbers.zip(entries);
        let seal = |(number, entry): (u32, &NewEntry)| {
            let sealed = subject.key.seal(&bound_to(run, number), &entry.body)?;
            Ok((number, sealed))
        };
        entries.map(seal).collect()
    }
}

const SELECT: &str = "SELECT id, task, phase, entries, since, at, within, cancelled FROM run";

impl Writer {
    fn write_run_entry(
        &self,
        run: &CallId,
        number: u32,
        entry: &NewEntry,
        sealed: &[u8],
    ) -> Result<(), DbError> {
        let insert = "INSERT INTO run_entry (run, number, at, kind, call, sealed)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let call = entry.call.as_ref().map(|call| call.as_str());
        let given = values![run.as_str(), number, entry.at.0, entry.kind, call, sealed];
        self.db.execute(insert, given).map(drop)
    }

    fn add_run_entry(
        &self,
        (run, driver): (&CallId, &Driver),
        (number, entry, sealed): (u32, &NewEntry, &[u8]),
        standing: &Standing,
    ) -> Result<bool, StoreError> {
        self.db.begin(&touched(run.as_str())).map_err(failed())?;
        let added = || -> Result<bool, DbError> {
            // Who drives it, and where it stands: one of two that both believe to loses here.
            let update = "UPDATE run SET entries = ?3 + 1, at = ?4, phase = ?5, due = ?6,
                    waits_for = ?7, held_until = ?8
                WHERE id = ?1 AND holder = ?2 AND entries = ?3";
            let waits_for = standing.waits_for.as_ref().map(|call| call.as_str());
            let (phase, until) = (standing.phase.as_str(), driver.until.0);
            let (id, due) = (run.as_str(), standing.due.0);
            let given = values![id, &driver.name, number, entry.at.0, phase, due, waits_for, until];
            if self.db.execute(update, given)? == 0 {
                return Ok(false);
            }
            self.write_run_entry(run, number, entry, sealed).map(|()| true)
        };
        match added() {
            Ok(true) => self.db.commit().map(|()| true).map_err(failed()),
            Ok(false) => {
                self.db.roll_back();
                Ok(false)
            }
            Err(error) => {
                self.db.roll_back();
                Err(failed()(error))
            }
        }
    }

    fn claim_runs(&self, driver: &Driver, max: u32) -> Result<Vec<CallId>, StoreError> {
        // What waits is looked at when its time has come, when a person has answered, when the run
        // within it is over, or when somebody wants it to end.
        let select = "SELECT id FROM run WHERE phase IN ('open', 'parked')
            AND (held_until <= ?1 OR (?4 = 1 AND holder <> ?2))
            AND (phase = 'open' OR due <= ?1 OR cancelled IS NOT NULL
                OR EXISTS (SELECT 1 FROM approval a
                           WHERE a.call = run.waits_for AND a.state <> 'pending')
                OR EXISTS (SELECT 1 FROM run c
                           WHERE c.id = run.waits_for AND c.phase IN ('finished', 'stopped')))
            ORDER BY id LIMIT ?3";
        let now = self.now().0;
        // Nobody else has an embedded database: who drove it before is gone.
        let is_alone = u32::from(self.db.embedded().is_some());
        let given = values![now, &driver.name, max, is_alone];
        let found = self.db.rows(select, given, |row| row.get(0));
        let found: Vec<String> = found.map_err(failed())?;
        let mut claimed = Vec::new();
        for id in found {
            let claim = "UPDATE run SET holder = ?2, held_until = ?3
                         WHERE id = ?1 AND (held_until <= ?4 OR (?5 = 1 AND holder <> ?2))";
            let given = values![&id, &driver.name, driver.until.0, now, is_alone];
            if self.db.execute(claim, given).map_err(failed())? == 1 {
                claimed.push(crate::approval::call_id(&id)?);
            }
        }
        Ok(claimed)
    }
}

fn row_of(row: &Row<'_>) -> Result<RunRow, DbError> {
    let call = |text: Option<String>| match text {
        Some(text) => CallId::new(&text).map(Some).map_err(|_| DbError::Column),
        None => Ok(None),
    };
    let phase: String = row.get(2)?;
    Ok(RunRow {
        id: call(Some(row.get(0)?))?.ok_or(DbError::Column)?,
        task: row.get(1)?,
        phase: RunPhase::from_word(&phase).ok_or(DbError::Column)?,
        entries: row.get(3)?,
        since: Micros(row.get(4)?),
        at: Micros(row.get(5)?),
        within: call(row.get(6)?)?,
        cancelled_by: call(row.get(7)?)?,
    })
}

fn touched(run: &str) -> Touched {
    let mut touched = Touched::default();
    touched.add("run", run.as_bytes());
    touched
}

fn bound_to(run: &CallId, number: u32) -> Vec<u8> {
    format!("run {run} {number}").into_bytes()
}

fn failed() -> impl FnOnce(DbError) -> StoreError {
    StoreError::database("reading or writing the journal of a run")
}
