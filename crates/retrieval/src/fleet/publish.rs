//! From one snapshot that serves to the next: one transaction, at the end of which nobody searches.

use super::audience::{self, Told, next_revision, settle};
use super::session::{Given, Session, column, standing_still};
use super::{Held, known_source, natural, whole};
use crate::corpus::{
    CorpusError, OPEN, Permissions, REPORT_BYTES_MAX, Snapshot, SnapshotState, SourceRow,
};
use crate::relation::{Layer, WAITING};
use lockgate_types::Micros;

/// Has a draft serve.
pub(super) fn publish(
    session: &mut Session,
    source: &str,
    snapshot: u64,
    report: &str,
    now: Micros,
) -> Result<Snapshot, CorpusError> {
    if report.len() > REPORT_BYTES_MAX {
        let (id, what) = (source.to_owned(), "bytes of its report");
        return Err(CorpusError::Beyond { id, what, most: REPORT_BYTES_MAX });
    }
    let report = report.replace('\0', " ");
    session.change(|session| {
        let of = known_source(session, source)?;
        close_and_open(session, &of, snapshot)?;
        tell_what_waits(session, &of)?;
        finish(session, &of, snapshot, report, now)?;
        next_revision(session)?;
        let published = find(session, &of.name, snapshot)?;
        session.batch(&standing_still())?;
        Ok(published)
    })
}

/// Has a snapshot be kept and searched, or not any longer.
pub(super) fn set_pinned(
    held: &Held,
    source: &str,
    number: u64,
    is_pinned: bool,
) -> Result<(), CorpusError> {
    held.sessions.change(|session| {
        let found = find(session, source, number)?;
        if is_pinned && found.state != SnapshotState::Published {
            return Err(CorpusError::NotServable { name: source.to_owned(), number });
        }
        let of = known_source(session, source)?;
        let update = "UPDATE snapshot SET is_pinned = $3 = 1 WHERE source = $1 AND number = $2";
        let key = [of.number, whole(number), i64::from(is_pinned)].map(Given::Int);
        session.execute(update, key.into())?;
        session.batch(&standing_still())
    })
}

/// Ends what is changed, removed, or not mentioned where all was; begins what is new; says when
/// each was last seen to be so.
fn close_and_open(session: &mut Session, of: &SourceRow, snapshot: u64) -> Result<(), CorpusError> {
    let key = || vec![Given::Int(of.number), Given::Int(whole(snapshot)), Given::Int(OPEN)];
    let confirm = "UPDATE version v SET confirmed = d.confirmed FROM drafted d
        WHERE d.source = $1 AND d.snapshot = $2 AND d.version = v.number
            AND d.confirmed IS NOT NULL AND $3::bigint IS NOT NULL";
    session.execute(confirm, key())?;
    let close = "UPDATE valid a SET until = $2 FROM version v, drafted d
        WHERE a.source = $1 AND a.until = $3 AND v.number = a.version AND d.source = $1
            AND d.snapshot = $2 AND d.id = v.id AND d.version IS DISTINCT FROM v.number";
    session.execute(close, key())?;
    let close = "UPDATE valid a SET until = $2 FROM version v
        WHERE a.source = $1 AND a.until = $3 AND v.number = a.version
            AND (SELECT is_whole FROM snapshot WHERE source = $1 AND number = $2)
            AND NOT EXISTS (SELECT 1 FROM drafted d
                WHERE d.source = $1 AND d.snapshot = $2 AND d.id = v.id)";
    session.execute(close, key())?;
    let open = "INSERT INTO valid (version, source, since, until)
        SELECT d.version, $1, $2, $3 FROM drafted d
        WHERE d.source = $1 AND d.snapshot = $2 AND d.version IS NOT NULL
            AND NOT EXISTS (SELECT 1 FROM valid a WHERE a.version = d.version AND a.until = $3)";
    session.execute(open, key()).map(drop)
}

/// Puts in force what waited for the draft to be published.
fn tell_what_waits(session: &mut Session, of: &SourceRow) -> Result<(), CorpusError> {
    let query = "SELECT place FROM told WHERE source = $1 AND layer = $2";
    let waiting = || vec![Given::Int(of.number), Given::Int(WAITING)];
    let rows = session.rows(query, waiting())?;
    let places: Vec<String> = rows.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?;
    let told =
        Told::read(session, places.iter().map(|place| (of.number, place.clone())).collect())?;
    let changes: Vec<(String, Permissions)> =
        places.iter().map(|place| (place.clone(), told.of(of.number, place, WAITING))).collect();
    audience::write(session, of.number, Layer::Synced.number(), &changes)?;
    session.execute("DELETE FROM told WHERE source = $1 AND layer = $2", waiting())?;
    settle(session, of, &places)
}

fn finish(
    session: &mut Session,
    of: &SourceRow,
    snapshot: u64,
    report: String,
    now: Micros,
) -> Result<(), CorpusError> {
    let key = || vec![Given::Int(of.number), Given::Int(whole(snapshot))];
    session.execute("DELETE FROM drafted WHERE source = $1 AND snapshot = $2", key())?;
    let update = "UPDATE snapshot SET state = 'published', ended = $3, report = $4,
            (documents, chunks) = (SELECT count(*), coalesce(sum(v.chunks), 0)::bigint
                FROM valid a JOIN version v ON v.number = a.version
                WHERE a.source = $1 AND a.until = $5)
        WHERE source = $1 AND number = $2";
    let rest = [Given::Int(now.0), Given::Text(report), Given::Int(OPEN)];
    session.execute(update, key().into_iter().chain(rest).collect())?;
    let update = "UPDATE source SET serving = $2, newest = greatest(newest, $2) WHERE number = $1";
    session.execute(update, key()).map(drop)
}

/// Gives up a draft. What only it had goes with it.
pub(super) fn forget_draft(
    session: &mut Session,
    source: i64,
    snapshot: u64,
) -> Result<(), CorpusError> {
    let key = || vec![Given::Int(source), Given::Int(whole(snapshot))];
    let forget = "DELETE FROM told WHERE source = $1 AND layer = $2";
    session.execute(forget, vec![Given::Int(source), Given::Int(WAITING)])?;
    let delete = "DELETE FROM drafted WHERE source = $1 AND snapshot = $2 RETURNING version";
    let rows = session.rows(delete, key())?;
    let versions: Vec<Option<i64>> =
        rows.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?;
    super::write::delete_unused(session, versions.into_iter().flatten().collect())?;
    let delete = "DELETE FROM snapshot WHERE source = $1 AND number = $2 AND state = 'draft'";
    session.execute(delete, key()).map(drop)
}

fn find(session: &mut Session, source: &str, number: u64) -> Result<Snapshot, CorpusError> {
    let of = known_source(session, source)?;
    let query = "SELECT state, is_pinned, begun, ended, report, documents, chunks FROM snapshot
        WHERE source = $1 AND number = $2";
    let row = session.row(query, vec![Given::Int(of.number), Given::Int(whole(number))])?;
    let missing = || CorpusError::NoSuchSnapshot { name: source.to_owned(), number };
    let row = row.ok_or_else(missing)?;
    let state: String = column(&row, 0)?;
    Ok(Snapshot {
        source: of.name,
        number,
        name: None,
        state: match state.as_str() {
            "published" => SnapshotState::Published,
            _ => SnapshotState::Draft,
        },
        is_serving: of.serving == Some(number),
        is_pinned: column(&row, 1)?,
        begun: Micros(column(&row, 2)?),
        ended: column::<Option<i64>>(&row, 3)?.map(Micros),
        report: column(&row, 4)?,
        documents: natural(column(&row, 5)?),
        chunks: natural(column(&row, 6)?),
    })
}
