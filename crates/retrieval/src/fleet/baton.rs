//! Batons of a fleet: each a session that holds a lock for as long as it lives.

use super::session::{Given, Session, column};
use super::{FleetCorpus, Held, find_source};
use crate::corpus::{CorpusError, SourceRun};
use lockgate_types::{Digest, Micros};
use sqlx::postgres::PgRow;
use std::sync::Arc;

/// The name space of advisory locks for sources that are run.
const RUNS: i32 = 0x7275_6e73;
/// That of having vectors made.
const VECTORS: i32 = 0x7665_6374;

/// A baton. Whoever drops it closes its session, and so lets go of the lock.
pub(crate) struct FleetBaton {
    held: Arc<Held>,
    session: Session,
    source: String,
    told: i64,
    last: Option<SourceRun>,
}

impl FleetCorpus {
    pub(crate) fn take_baton(&self, source: &str) -> Result<Option<FleetBaton>, CorpusError> {
        self.take(RUNS, source)
    }

    pub(crate) fn take_baton_to_embed(&self) -> Result<Option<FleetBaton>, CorpusError> {
        self.take(VECTORS, "")
    }

    fn take(&self, space: i32, source: &str) -> Result<Option<FleetBaton>, CorpusError> {
        let sessions = &self.held.sessions;
        let got = sessions.with_kept(|session| {
            let take = format!("SELECT pg_try_advisory_lock({space}, hashtext($1))");
            let row = session.row(&take, vec![Given::text(source)])?;
            row.map_or(Ok(false), |row| column(&row, 0))
        })?;
        let Some(mut session) = got else { return Ok(None) };
        let told = match find_source(&mut session, source)? {
            Some(of) => super::draft::told_times(&mut session, of.number)?,
            None => 0,
        };
        let last = session.row(&format!("{RUN} WHERE r.source = $1"), vec![Given::text(source)])?;
        let last = last.as_ref().map(run_row).transpose()?;
        let (held, source) = (Arc::clone(&self.held), source.to_owned());
        Ok(Some(FleetBaton { held, session, source, told, last }))
    }

    pub(crate) fn runs(&self) -> Result<Vec<SourceRun>, CorpusError> {
        self.held
            .sessions
            .search(|session| session.rows(RUN, vec![])?.iter().map(run_row).collect())
    }
}

impl FleetBaton {
    pub(crate) const fn last(&self) -> Option<&SourceRun> {
        self.last.as_ref()
    }

    pub(crate) const fn told(&self) -> i64 {
        self.told
    }

    pub(crate) fn begin(&mut self, declaration: Digest, now: Micros) -> Result<(), CorpusError> {
        let insert = "INSERT INTO run (source, begun, failures, declaration)
            VALUES ($1, $2, 0, ($3::bytea[])[1])
            ON CONFLICT (source) DO UPDATE SET begun = excluded.begun, ended = NULL,
                declaration = excluded.declaration";
        let declaration = Given::Blobs(vec![declaration.as_bytes().to_vec()]);
        let given = vec![Given::text(&self.source), Given::Int(now.0), declaration];
        self.session.execute(insert, given).map(drop)
    }

    /// `failures`: what becomes of their count, as an expression.
    pub(crate) fn end(self, failures: &'static str, now: Micros) -> Result<(), CorpusError> {
        let Self { held, mut session, source, .. } = self;
        let update = format!("UPDATE run SET ended = $2, failures = {failures} WHERE source = $1");
        session.execute(&update, vec![Given::Text(source), Given::Int(now.0)])?;
        held.sessions.give_back(session);
        Ok(())
    }
}

/// The runs, with who has the baton and whether anything is there to be told of.
const RUN: &str = "SELECT r.source, r.begun, r.ended, r.failures, r.declaration,
        EXISTS (SELECT 1 FROM pg_locks l WHERE l.locktype = 'advisory' AND l.granted
            AND l.classid::bigint = 1920298611 AND l.objsubid = 2
            AND l.objid::bigint = (hashtext(r.source)::bigint & 4294967295)
            AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())),
        EXISTS (SELECT 1 FROM source s WHERE s.name = r.source)
    FROM run r";

fn run_row(row: &PgRow) -> Result<SourceRun, CorpusError> {
    Ok(SourceRun {
        source: column(row, 0)?,
        begun: Micros(column(row, 1)?),
        ended: column::<Option<i64>>(row, 2)?.map(Micros),
        failures: u32::try_from(column::<i64>(row, 3)?).unwrap_or(0),
        declaration: column::<Option<Vec<u8>>>(row, 4)?.map(super::read::digest),
        is_under_way: column(row, 5)?,
        is_known: column(row, 6)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runs_are_looked_for_under_their_own_name() {
        assert!(RUN.contains(&format!("= {RUNS} ")));
    }
}
