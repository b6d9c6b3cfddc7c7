//! Snapshots, as a fleet has them.

use super::audience::next_revision;
use super::session::{Given, Session, column, standing_still};
use super::write::{delete_unused, delete_versions};
use super::{FleetCorpus, known_source, natural, publish, whole};
use crate::corpus::{
    COMPARED_MAX, CorpusError, Difference, SNAPSHOTS_READ_MAX, Snapshot, SnapshotState, SourceRow,
    no_such_snapshot, servable,
};
use lockgate_types::Micros;
use sqlx::postgres::PgRow;

/// Versions, or audiences, that are deleted in one transaction.
const DELETED_AT_ONCE_MAX: usize = 1000;

impl FleetCorpus {
    pub(crate) fn snapshots(&self, source: &str) -> Result<Vec<Snapshot>, CorpusError> {
        self.held.sessions.search(|session| {
            let of = known_source(session, source)?;
            let query = format!("{SNAPSHOT} WHERE source = $1 ORDER BY number DESC LIMIT $2");
            let given = [of.number, whole(SNAPSHOTS_READ_MAX as u64)].map(Given::Int);
            session.rows(&query, given.into())?.iter().map(|row| snapshot_row(row, &of)).collect()
        })
    }

    pub(crate) fn compare(
        &self,
        source: &str,
        from: u64,
        to: u64,
    ) -> Result<Difference, CorpusError> {
        self.held.sessions.search(|session| {
            let of = known_source(session, source)?;
            for number in [from, to] {
                servable(find(session, &of, number)?)?;
            }
            let changed = "SELECT a.id FROM a JOIN b ON b.id = a.id AND b.number <> a.number";
            let only = "SELECT a.id FROM a WHERE NOT EXISTS (SELECT 1 FROM b WHERE b.id = a.id)";
            let added = different(session, of.number, (to, from), only)?;
            let changed = different(session, of.number, (to, from), changed)?;
            let removed = different(session, of.number, (from, to), only)?;
            Ok(Difference::of(added, changed, removed))
        })
    }

    pub(crate) fn name_snapshot(
        &self,
        source: &str,
        number: u64,
        name: Option<&str>,
    ) -> Result<(), CorpusError> {
        self.held.sessions.change(|session| {
            let of = known_source(session, source)?;
            let update = "UPDATE snapshot SET name = $3 WHERE source = $1 AND number = $2";
            let name = Given::MaybeText(name.map(str::to_owned));
            let given = vec![Given::Int(of.number), Given::Int(whole(number)), name];
            match session.execute(update, given)? {
                0 => Err(no_such_snapshot(source, number)),
                _ => Ok(()),
            }
        })
    }

    pub(crate) fn pin(&self, source: &str, number: u64) -> Result<(), CorpusError> {
        self.held.sessions.change(|session| {
            let of = known_source(session, source)?;
            servable(find(session, &of, number)?)?;
            set_pinned(session, &of, number, true)
        })
    }

    pub(crate) fn unpin(&self, source: &str, number: u64) -> Result<(), CorpusError> {
        self.held.sessions.change(|session| {
            let of = known_source(session, source)?;
            find(session, &of, number)?;
            set_pinned(session, &of, number, false)
        })
    }

    pub(crate) fn roll_back(
        &self,
        source: &str,
        to: u64,
        report: &str,
        now: Micros,
    ) -> Result<Snapshot, CorpusError> {
        self.in_hand(source, |session, of| {
            servable(find(session, of, to)?)?;
            publish::roll_back(session, of, to, report, now)
        })
    }

    pub(crate) fn retain(&self, source: &str, keep: usize) -> Result<u64, CorpusError> {
        let (of, dropped) = self.held.sessions.change(|session| {
            let of = known_source(session, source)?;
            let dropped = drop_snapshots(session, of.number, keep)?;
            Ok((of, dropped))
        })?;
        self.delete_orphans(of.number)?;
        Ok(dropped)
    }

    pub(crate) fn drop_source(&self, source: &str) -> Result<(), CorpusError> {
        let of = self.in_hand(source, |session, of| {
            for table in ["valid", "drafted", "snapshot", "told"] {
                let delete = format!("DELETE FROM {table} WHERE source = $1");
                session.execute(&delete, vec![Given::Int(of.number)])?;
            }
            session.execute("DELETE FROM source WHERE number = $1", vec![Given::Int(of.number)])?;
            session.execute("DELETE FROM run WHERE source = $1", vec![Given::text(&of.name)])?;
            next_revision(session)?;
            session.batch(&standing_still())?;
            Ok(of.number)
        })?;
        self.delete_orphans(of)
    }

    pub(crate) fn discard_draft(&self, source: &str) -> Result<(), CorpusError> {
        self.in_hand(source, |session, of| {
            let query = "SELECT number FROM snapshot WHERE source = $1 AND state = 'draft'";
            for row in session.rows(query, vec![Given::Int(of.number)])? {
                publish::forget_draft(session, of.number, natural(column(&row, 0)?))?;
            }
            Ok(())
        })
    }

    /// Changes a source while nobody in the fleet has a draft of it in hand.
    fn in_hand<T>(
        &self,
        source: &str,
        work: impl FnOnce(&mut Session, &SourceRow) -> Result<T, CorpusError>,
    ) -> Result<T, CorpusError> {
        self.held.sessions.change(|session| {
            let of = known_source(session, source)?;
            match session.borrow_draft(of.number)? {
                true => work(session, &of),
                false => Err(CorpusError::DraftInUse { name: of.name }),
            }
        })
    }

    /// Deletes what is left of sources that were dropped, where dropping them was interrupted.
    pub(super) fn delete_dropped(&self) -> Result<(), CorpusError> {
        let dropped: Vec<i64> = self.held.sessions.search(|session| {
            let query = "SELECT DISTINCT v.source FROM version v
                WHERE NOT EXISTS (SELECT 1 FROM source s WHERE s.number = v.source)";
            session.rows(query, vec![])?.iter().map(|row| column(row, 0)).collect()
        })?;
        dropped.into_iter().try_for_each(|source| self.delete_orphans(source))
    }

    /// Deletes the versions of a source that nothing has any more, and the audiences that were
    /// theirs. Others wait for one piece at most.
    fn delete_orphans(&self, source: i64) -> Result<(), CorpusError> {
        while self.held.sessions.change(|session| delete_versions_of(session, source))? > 0 {}
        while self.held.sessions.change(|session| delete_audiences_of(session, source))? > 0 {}
        Ok(())
    }
}

/// Deletes some of the versions that nothing has any more. Gives back how many.
fn delete_versions_of(session: &mut Session, source: i64) -> Result<usize, CorpusError> {
    let query = "SELECT number FROM version v WHERE v.source = $1
            AND NOT EXISTS (SELECT 1 FROM valid a WHERE a.version = v.number)
            AND NOT EXISTS (SELECT 1 FROM drafted d WHERE d.version = v.number)
        LIMIT $2";
    let given = [source, whole(DELETED_AT_ONCE_MAX as u64)].map(Given::Int);
    let rows = session.rows(query, given.into())?;
    let orphans: Vec<i64> = rows.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?;
    delete_versions(session, orphans)?;
    Ok(rows.len())
}

/// Deletes some of the audiences that are no document's any more. Gives back how many.
fn delete_audiences_of(session: &mut Session, source: i64) -> Result<usize, CorpusError> {
    let delete = "DELETE FROM audience WHERE number IN (SELECT a.number FROM audience a
            WHERE a.source = $1
                AND NOT EXISTS (SELECT 1 FROM version v WHERE v.audience = a.number)
            LIMIT $2) RETURNING number";
    let given = [source, whole(DELETED_AT_ONCE_MAX as u64)].map(Given::Int);
    let rows = session.rows(delete, given.into())?;
    let gone: Vec<i64> = rows.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?;
    for table in ["lies", "heard"] {
        let delete = format!("DELETE FROM {table} WHERE audience = ANY($1)");
        session.execute(&delete, vec![Given::Ints(gone.clone())])?;
    }
    Ok(rows.len())
}

const SNAPSHOT: &str = "SELECT number, name, state, is_pinned, begun, ended, report, documents,
    chunks FROM snapshot";

/// A snapshot of a source.
pub(super) fn find(
    session: &mut Session,
    of: &SourceRow,
    number: u64,
) -> Result<Snapshot, CorpusError> {
    let query = format!("{SNAPSHOT} WHERE source = $1 AND number = $2");
    let row = session.row(&query, vec![Given::Int(of.number), Given::Int(whole(number))])?;
    snapshot_row(&row.ok_or_else(|| no_such_snapshot(&of.name, number))?, of)
}

fn snapshot_row(row: &PgRow, of: &SourceRow) -> Result<Snapshot, CorpusError> {
    let number = natural(column(row, 0)?);
    Ok(Snapshot {
        source: of.name.clone(),
        number,
        name: column(row, 1)?,
        state: SnapshotState::from_word(&column::<String>(row, 2)?),
        is_serving: of.serving == Some(number),
        is_pinned: column(row, 3)?,
        begun: Micros(column(row, 4)?),
        ended: column::<Option<i64>>(row, 5)?.map(Micros),
        report: column(row, 6)?,
        documents: natural(column(row, 7)?),
        chunks: natural(column(row, 8)?),
    })
}

/// Has a snapshot be kept and searched, or not any longer.
fn set_pinned(
    session: &mut Session,
    of: &SourceRow,
    number: u64,
    is_pinned: bool,
) -> Result<(), CorpusError> {
    let update = "UPDATE snapshot SET is_pinned = $3 = 1 WHERE source = $1 AND number = $2";
    let key = [of.number, whole(number), i64::from(is_pinned)].map(Given::Int);
    session.execute(update, key.into())?;
    session.batch(&standing_still())
}

fn different(
    session: &mut Session,
    source: i64,
    (a, b): (u64, u64),
    query: &str,
) -> Result<Vec<String>, CorpusError> {
    let of = |number: &str| {
        format!(
            "SELECT v.id, v.number FROM version v JOIN valid a ON a.version = v.number
             WHERE v.source = $1 AND a.since <= {number} AND {number} < a.until"
        )
    };
    let query = format!(
        "WITH a AS MATERIALIZED ({}), b AS MATERIALIZED ({}) {query}
         ORDER BY a.id COLLATE \"C\" LIMIT $4",
        of("$2"),
        of("$3")
    );
    let given = [source, whole(a), whole(b), whole(COMPARED_MAX as u64)].map(Given::Int);
    session.rows(&query, given.into())?.iter().map(|row| column(row, 0)).collect()
}

fn drop_snapshots(session: &mut Session, source: i64, keep: usize) -> Result<u64, CorpusError> {
    let mut dropped = 0;
    for state in ["published", "quarantined"] {
        let delete = "DELETE FROM snapshot WHERE source = $1 AND number IN (
                SELECT n.number FROM snapshot n WHERE n.source = $1 AND n.state = $2
                    AND NOT n.is_pinned AND n.number IS DISTINCT FROM
                        (SELECT serving FROM source WHERE number = $1)
                ORDER BY n.number DESC OFFSET $3)";
        let keep = Given::Int(whole(keep as u64));
        dropped += session.execute(delete, vec![Given::Int(source), Given::text(state), keep])?;
    }
    let delete = "DELETE FROM valid a WHERE a.source = $1 AND NOT EXISTS (SELECT 1 FROM snapshot n
        WHERE n.source = $1 AND n.state = 'published' AND a.since <= n.number
            AND n.number < a.until)";
    session.execute(delete, vec![Given::Int(source)])?;
    let delete =
        "DELETE FROM drafted d WHERE d.source = $1 AND NOT EXISTS (SELECT 1 FROM snapshot n
        WHERE n.source = $1 AND n.number = d.snapshot) RETURNING version";
    let rows = session.rows(delete, vec![Given::Int(source)])?;
    let versions: Vec<Option<i64>> =
        rows.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?;
    delete_unused(session, versions.into_iter().flatten().collect())?;
    Ok(dropped)
}
