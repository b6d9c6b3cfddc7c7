//! From one snapshot that serves to the next: one transaction, at the end of which nobody searches.

use super::audience::{self, Told, next_revision, settle};
use super::session::{Given, Session, column, standing_still};
use super::snapshot::find;
use super::{known_source, whole};
use crate::corpus::{CorpusError, OPEN, Permissions, Snapshot, SourceRow};
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
    let of = known_source(session, source)?;
    close_and_open(session, &of, snapshot)?;
    tell_what_waits(session, &of)?;
    finish(session, &of, snapshot, report, now)?;
    serves(session, &of, snapshot)
}

/// What serves from the end of the transaction on, at which nobody searches.
fn serves(session: &mut Session, of: &SourceRow, snapshot: u64) -> Result<Snapshot, CorpusError> {
    next_revision(session)?;
    let of = known_source(session, &of.name)?;
    let published = find(session, &of, snapshot)?;
    session.batch(&standing_still())?;
    Ok(published)
}

/// Has a draft never serve.
pub(super) fn quarantine(
    session: &mut Session,
    source: &str,
    snapshot: u64,
    report: &str,
    now: Micros,
) -> Result<Snapshot, CorpusError> {
    let of = known_source(session, source)?;
    forget_waiting(session, of.number)?;
    let update = "UPDATE snapshot SET state = 'quarantined', ended = $3, report = $4,
            (documents, chunks) = (SELECT count(*), coalesce(sum(v.chunks), 0)::bigint
                FROM drafted d JOIN version v ON v.number = d.version
                WHERE d.source = $1 AND d.snapshot = $2)
        WHERE source = $1 AND number = $2 AND state = 'draft'";
    let key = [of.number, whole(snapshot), now.0].map(Given::Int);
    session.execute(update, key.into_iter().chain([said(report)]).collect())?;
    find(session, &of, snapshot)
}

/// Has an old snapshot serve again, as a new one.
pub(super) fn roll_back(
    session: &mut Session,
    of: &SourceRow,
    to: u64,
    report: &str,
    now: Micros,
) -> Result<Snapshot, CorpusError> {
    let query = "SELECT number FROM snapshot WHERE source = $1 AND state = 'draft'";
    let rows = session.rows(query, vec![Given::Int(of.number)])?;
    for row in rows {
        forget_draft(session, of.number, super::natural(column(&row, 0)?))?;
    }
    let snapshot = of.newest.saturating_add(1);
    let insert = "INSERT INTO snapshot (source, number, state, is_whole, is_pinned, begun, report,
            documents, chunks) VALUES ($1, $2, 'published', true, false, $3, '', 0, 0)";
    session.execute(insert, [of.number, whole(snapshot), now.0].map(Given::Int).into())?;
    go_back(session, of, to, snapshot)?;
    finish(session, of, snapshot, report, now)?;
    serves(session, of, snapshot)
}

/// Has a new snapshot have what an old one had.
fn go_back(
    session: &mut Session,
    of: &SourceRow,
    to: u64,
    snapshot: u64,
) -> Result<(), CorpusError> {
    let key = || [of.number, whole(snapshot), OPEN, whole(to)].map(Given::Int).into();
    let close = "UPDATE valid a SET until = $2 WHERE a.source = $1 AND a.until = $3
        AND NOT EXISTS (SELECT 1 FROM valid o WHERE o.version = a.version
            AND o.since <= $4 AND $4 < o.until)";
    session.execute(close, key())?;
    let open = "INSERT INTO valid (version, source, since, until)
        SELECT o.version, $1, $2, $3 FROM valid o
        WHERE o.source = $1 AND o.since <= $4 AND $4 < o.until
            AND NOT EXISTS (SELECT 1 FROM valid a WHERE a.version = o.version AND a.until = $3)";
    session.execute(open, key()).map(drop)
}

/// PostgreSQL has no texts with a zero in them.
fn said(report: &str) -> Given {
    Given::Text(report.replace('\0', " "))
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
    report: &str,
    now: Micros,
) -> Result<(), CorpusError> {
    let key = || vec![Given::Int(of.number), Given::Int(whole(snapshot))];
    session.execute("DELETE FROM drafted WHERE source = $1 AND snapshot = $2", key())?;
    let update = "UPDATE snapshot SET state = 'published', ended = $3, report = $4,
            (documents, chunks) = (SELECT count(*), coalesce(sum(v.chunks), 0)::bigint
                FROM valid a JOIN version v ON v.number = a.version
                WHERE a.source = $1 AND a.until = $5)
        WHERE source = $1 AND number = $2";
    let rest = [Given::Int(now.0), said(report), Given::Int(OPEN)];
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
    forget_waiting(session, source)?;
    let delete = "DELETE FROM drafted WHERE source = $1 AND snapshot = $2 RETURNING version";
    let rows = session.rows(delete, key())?;
    let versions: Vec<Option<i64>> =
        rows.iter().map(|row| column(row, 0)).collect::<Result<_, _>>()?;
    super::write::delete_unused(session, versions.into_iter().flatten().collect())?;
    let delete = "DELETE FROM snapshot WHERE source = $1 AND number = $2 AND state = 'draft'";
    session.execute(delete, key()).map(drop)
}

/// What waits for the publication of a draft waits no longer.
fn forget_waiting(session: &mut Session, source: i64) -> Result<(), CorpusError> {
    let forget = "DELETE FROM told WHERE source = $1 AND layer = $2";
    session.execute(forget, [source, WAITING].map(Given::Int).into()).map(drop)
}
