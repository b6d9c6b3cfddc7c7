//! Trails: what has happened in a session, or to anybody of an isolation group, kept for a window.
//!
//! A trail is a set of tags, each with the call that brought it first and last. It only grows, and
//! forgets: so nodes of a fleet write to it without taking turns, and the database joins what they
//! write. A tag that is there is written again only when a sixteenth of the window has passed, so
//! that what happens over and over costs nothing. In a fleet memory holds what is known to be
//! written, which others may have added to; whoever decides reads the rows.

use crate::db::{Db, DbError, Row, values};
use crate::error::StoreError;
use crate::later::Table;
use crate::payload::Prepared;
use crate::writer::Writer;
use lockgate_types::history::{History, Passed, Step, TAGS_MAX};
use lockgate_types::label::Label;
use lockgate_types::{CallId, Micros, SessionId};
use lru::LruCache;
use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

/// In how many parts of the window a tag is written anew while it goes on happening. It is kept for
/// one part longer than the window, so that it is kept for the window in any case.
const PARTS: i64 = 16;
/// How long after its time a row is deleted: clocks of nodes differ.
const DELETED_AFTER_US: i64 = 60 * 60 * 1_000_000;
/// Rows deleted in one go.
const SWEEP_MAX: u32 = 256;

/// What has happened, under one name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trail(BTreeMap<String, Kept>);

/// A tag as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    first: Step,
    latest: Step,
    until: i64,
}

/// A trail as a batch sees it.
#[derive(Default)]
pub(crate) struct SeenTrail {
    trail: Arc<Trail>,
    /// Tags that are written with the commit.
    changed: BTreeSet<String>,
    /// Whether it is all there is, and not only what this node knows.
    is_whole: bool,
}

/// The trails in memory.
pub(crate) struct Trails {
    recent: Mutex<LruCache<String, Arc<Trail>>>,
    /// Whether others add to them.
    is_shared: bool,
}

impl Trail {
    fn live(&self, now: Micros) -> impl Iterator<Item = (&str, &Kept)> {
        self.0.iter().filter(move |(_, kept)| kept.until > now.0).map(|(tag, it)| (&**tag, it))
    }

    fn get(&self, tag: &str, now: Micros) -> Option<&Kept> {
        self.0.get(tag).filter(|kept| kept.until > now.0)
    }

    /// What was met, all together.
    pub(crate) fn label(&self, now: Micros) -> Label {
        let mut all = Label::default();
        for (tag, kept) in self.live(now) {
            let label = Label::of_tag(tag);
            let is_met = label != Label::default();
            all.absorb(Label { oldest: is_met.then_some(kept.first.at), ..label });
        }
        all
    }

    /// Whether it is known for long enough that something has happened.
    fn knows(&self, tag: &str, at: Micros, window_us: i64) -> bool {
        let until = at.0.saturating_add(window_us);
        self.0.get(tag).is_some_and(|kept| kept.until >= until)
    }

    /// Adds what has happened.
    fn add(&mut self, tag: &str, step: &Step, window_us: i64) {
        let at = step.at.0;
        let until = at.saturating_add(window_us).saturating_add(window_us / PARTS);
        match self.0.get_mut(tag) {
            Some(kept) if kept.until > at => {
                kept.latest = step.clone();
                kept.until = until;
            }
            Some(_) | None => {
                let kept = Kept { first: step.clone(), latest: step.clone(), until };
                self.0.insert(tag.to_owned(), kept);
                self.forget_beyond();
            }
        }
    }

    /// Only tags of many bundles within one window come to more.
    fn forget_beyond(&mut self) {
        while self.0.len() > TAGS_MAX {
            let oldest = self.0.iter().min_by_key(|(_, kept)| kept.until);
            let Some(tag) = oldest.map(|(tag, _)| tag.clone()) else { return };
            self.0.remove(&tag);
        }
    }

    /// What is asked for: whether it has happened here, or to anybody of the group.
    pub(crate) fn history<'a>(
        here: &Self,
        group: &Self,
        asked: impl Iterator<Item = &'a String>,
        now: Micros,
    ) -> BTreeMap<String, Option<Passed>> {
        let passed = |tag: &String| {
            let found = [here.get(tag, now), group.get(tag, now)];
            let all = || found.iter().flatten();
            let first = all().map(|kept| &kept.first).min()?.clone();
            let latest = all().map(|kept| &kept.latest).max()?.clone();
            let [is_here, _] = found.map(|kept| kept.is_some());
            Some(Passed { first, latest, is_here })
        };
        asked.map(|tag| (tag.clone(), passed(tag))).collect()
    }
}

impl Trails {
    pub(crate) fn new(max: NonZeroUsize, is_shared: bool) -> Self {
        Self { recent: Mutex::new(LruCache::new(max)), is_shared }
    }

    /// All of a trail; `None` if the database has to be asked.
    pub(crate) fn whole(&self, name: &str) -> Option<Arc<Trail>> {
        if self.is_shared { None } else { self.known(name) }
    }

    /// What is known of a trail.
    fn known(&self, name: &str) -> Option<Arc<Trail>> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.get(name).cloned()
    }

    fn put(&self, name: String, trail: Arc<Trail>) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.put(name, trail);
    }
}

/// The columns of a trail's rows, as [`read`] takes them.
pub(crate) const COLUMNS: &str = "name, tag, first_call, latest_call, first_at, latest_at, until";

/// Reads trails; those without rows are empty.
pub(crate) fn load<'a>(
    db: &Db,
    names: impl IntoIterator<Item = &'a str>,
) -> Result<BTreeMap<String, Trail>, DbError> {
    let select = format!(
        "SELECT {COLUMNS} FROM exposure WHERE name = ?1 ORDER BY until DESC LIMIT {TAGS_MAX}"
    );
    let mut trails = BTreeMap::new();
    for name in names {
        let mut trail = Trail::default();
        for (_, tag, kept) in db.rows(&select, values![name], |row| read(row, 0))? {
            trail.0.insert(tag, kept);
        }
        trails.insert(name.to_owned(), trail);
    }
    Ok(trails)
}

/// Adds a row that was read to the trail it belongs to.
pub(crate) fn gather(
    trails: &mut BTreeMap<String, Trail>,
    row: &Row<'_>,
    from: usize,
) -> Result<(), DbError> {
    let (name, tag, kept) = read(row, from)?;
    let trail = trails.entry(name).or_default();
    trail.0.insert(tag, kept);
    trail.forget_beyond();
    Ok(())
}

fn read(row: &Row<'_>, from: usize) -> Result<(String, String, Kept), DbError> {
    let step = |call: usize, at: usize| {
        let id: String = row.get(from + call)?;
        let call = CallId::new(&id).map_err(|_| DbError::Column)?;
        Ok::<_, DbError>(Step { at: Micros(row.get(from + at)?), call })
    };
    let kept = Kept { first: step(2, 4)?, latest: step(3, 5)?, until: row.get(from + 6)? };
    Ok((row.get(from)?, row.get(from + 1)?, kept))
}

/// Rows are joined by the database: the earlier first, the later last. One whose time was over
/// begins anew.
macro_rules! joined {
    ($rows:literal) => {
        concat!(
            "INSERT INTO exposure
                (name, tag, first_call, first_at, latest_call, latest_at, until) ",
            $rows,
            " ON CONFLICT (name, tag) DO UPDATE SET
            first_call = CASE WHEN exposure.until <= excluded.first_at
                OR excluded.first_at < exposure.first_at
                THEN excluded.first_call ELSE exposure.first_call END,
            first_at = CASE WHEN exposure.until <= excluded.first_at
                OR excluded.first_at < exposure.first_at
                THEN excluded.first_at ELSE exposure.first_at END,
            latest_call = CASE WHEN excluded.latest_at >= exposure.latest_at
                THEN excluded.latest_call ELSE exposure.latest_call END,
            latest_at = CASE WHEN excluded.latest_at >= exposure.latest_at
                THEN excluded.latest_at ELSE exposure.latest_at END,
            until = CASE WHEN excluded.until >= exposure.until
                THEN excluded.until ELSE exposure.until END"
        )
    };
}

const EXPOSURE: Table = Table {
    name: "exposure",
    insert: joined!("VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)"),
    insert_many: joined!(
        "SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[],
            $6::bigint[], $7::bigint[])"
    ),
};

impl Writer {
    /// All of a trail, as it will be when this transaction is durable.
    pub(crate) fn trail(&mut self, name: &str) -> Result<Arc<Trail>, StoreError> {
        if let Some(seen) = self.batch.trails.get(name).filter(|seen| seen.is_whole) {
            return Ok(Arc::clone(&seen.trail));
        }
        if let Some(trail) = self.memory.trails.whole(name) {
            return Ok(trail);
        }
        let found = load(&self.db, [name]).map_err(StoreError::database("reading a trail"))?;
        let trail = Arc::new(found.into_values().next().unwrap_or_default());
        self.memory.trails.put(name.to_owned(), Arc::clone(&trail));
        Ok(trail)
    }

    /// What others may have added to trails, as this transaction finds it.
    pub(crate) fn see_trails(&mut self, trails: BTreeMap<String, Trail>) {
        let seen = trails.into_iter().map(|(name, trail)| {
            let trail = Arc::new(trail);
            (name, SeenTrail { trail, changed: BTreeSet::new(), is_whole: true })
        });
        self.batch.trails.extend(seen);
    }

    /// Whether more has happened than a decision knew of, among what it asked for.
    pub(crate) fn has_happened_since(&mut self, prepared: &Prepared) -> Result<bool, StoreError> {
        let Some(history) = &prepared.history else { return Ok(false) };
        let now = self.now();
        let here = self.trail(prepared.before.id.as_str())?;
        let group = self.trail(&history.group)?;
        if !prepared.before.exposure.covers(&group.label(now)) {
            return Ok(true);
        }
        let is_new = |(tag, passed): (&String, &Option<Passed>)| match passed {
            None => here.get(tag, now).is_some() || group.get(tag, now).is_some(),
            Some(passed) => !passed.is_here && here.get(tag, now).is_some(),
        };
        Ok(history.tags.iter().any(is_new))
    }

    /// Adds what has happened to the trails of its session and its group, with the commit.
    pub(crate) fn remember<'a>(
        &mut self,
        history: &History,
        session: &SessionId,
        tags: impl Iterator<Item = &'a String> + Clone,
        step: &Step,
    ) -> Result<(), StoreError> {
        for name in [session.as_str(), &history.group] {
            self.note(name, tags.clone(), step, history.window_us)?;
        }
        Ok(())
    }

    fn note<'a>(
        &mut self,
        name: &str,
        tags: impl Iterator<Item = &'a String>,
        step: &Step,
        window_us: i64,
    ) -> Result<(), StoreError> {
        let mut seen = match self.batch.trails.remove(name) {
            Some(seen) => seen,
            // What others have written the database joins.
            None if self.memory.trails.is_shared => {
                let trail = self.memory.trails.known(name).unwrap_or_default();
                SeenTrail { trail, ..SeenTrail::default() }
            }
            None => {
                let trail = self.trail(name)?;
                SeenTrail { trail, is_whole: true, ..SeenTrail::default() }
            }
        };
        for tag in tags {
            if !seen.trail.knows(tag, step.at, window_us) {
                Arc::make_mut(&mut seen.trail).add(tag, step, window_us);
                seen.changed.insert(tag.clone());
            }
        }
        self.batch.trails.insert(name.to_owned(), seen);
        Ok(())
    }

    /// Writes what has been added, in order: so that nodes that write the same rows wait for each
    /// other, and never in a circle.
    pub(crate) fn save_trails(&self) -> Result<(), DbError> {
        for (name, seen) in &self.batch.trails {
            for tag in &seen.changed {
                let Some(Kept { first, latest, until }) = seen.trail.0.get(tag) else { continue };
                let given = values![
                    name,
                    tag,
                    first.call.as_str(),
                    first.at.0,
                    latest.call.as_str(),
                    latest.at.0,
                    *until
                ];
                self.db.add(&EXPOSURE, given)?;
            }
        }
        Ok(())
    }

    /// What was written is what is known from here on.
    pub(crate) fn publish_trails(&mut self) {
        for (name, seen) in std::mem::take(&mut self.batch.trails) {
            self.memory.trails.put(name, seen.trail);
        }
    }

    /// Forgets what happened too long ago, a little at a time.
    pub(crate) fn sweep_trails(&self, now: Micros) -> Result<(), DbError> {
        let delete = "DELETE FROM exposure WHERE (name, tag) IN
            (SELECT name, tag FROM exposure WHERE until < ?1 ORDER BY until LIMIT ?2)";
        let before = now.0.saturating_sub(DELETED_AFTER_US);
        self.db.execute(delete, values![before, SWEEP_MAX]).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: i64 = 1600;

    impl Trail {
        fn note(&mut self, tag: &str, step: &Step, window_us: i64) -> bool {
            let is_new = !self.knows(tag, step.at, window_us);
            if is_new {
                self.add(tag, step, window_us);
            }
            is_new
        }
    }

    fn step(at: i64) -> Step {
        Step { at: Micros(at), call: CallId::new(&format!("c{at}")).unwrap() }
    }

    fn db() -> Db {
        let db = rusqlite::Connection::open_in_memory().unwrap();
        db.execute_batch(crate::schema::V1).unwrap();
        db.execute_batch(crate::schema::V5_EXPOSURE).unwrap();
        Db::sqlite(db)
    }

    fn write(db: &Db, name: &str, tag: &str, kept: &Kept) {
        let Kept { first, latest, until } = kept;
        let (first_call, latest_call) = (first.call.as_str(), latest.call.as_str());
        let given = values![name, tag, first_call, first.at.0, latest_call, latest.at.0, *until];
        db.add(&EXPOSURE, given).unwrap();
    }

    #[test]
    fn what_goes_on_happening_is_written_now_and_then_and_kept_for_the_window() {
        let mut trail = Trail::default();
        assert!(trail.note("origin:anyone", &step(0), WINDOW));
        let written: Vec<i64> =
            (1..=1000).filter(|at| trail.note("origin:anyone", &step(*at), WINDOW)).collect();
        assert!(written.len() <= 16, "{written:?}");
        // Last seen at 1000: there for the window, and at most one part of it longer.
        assert!(trail.get("origin:anyone", Micros(1000 + WINDOW - 1)).is_some());
        assert!(trail.get("origin:anyone", Micros(1000 + WINDOW + WINDOW / PARTS)).is_none());
        assert_eq!(trail.0["origin:anyone"].first, step(0));
        // What was forgotten begins anew.
        assert!(trail.note("origin:anyone", &step(9000), WINDOW));
        assert_eq!(trail.0["origin:anyone"].first, step(9000));
    }

    #[test]
    fn a_trail_has_a_bound_and_forgets_what_ends_first() {
        let mut trail = Trail::default();
        for at in 0..=TAGS_MAX {
            let at = i64::try_from(at).unwrap();
            trail.note(&format!("a/{at}"), &step(at), WINDOW);
        }
        assert_eq!(trail.0.len(), TAGS_MAX);
        assert!(!trail.0.contains_key("a/0"));
    }

    #[test]
    fn the_database_joins_what_nodes_write_in_any_order() {
        let early = Kept { first: step(10), latest: step(10), until: 2000 };
        let late = Kept { first: step(50), latest: step(70), until: 2100 };
        let joined = Kept { first: step(10), latest: step(70), until: 2100 };
        for order in [[&early, &late], [&late, &early]] {
            let db = db();
            order.iter().for_each(|kept| write(&db, "g_1", "origin:anyone", kept));
            let found = load(&db, ["g_1", "g_2"]).unwrap();
            assert_eq!(found["g_1"].0["origin:anyone"], joined);
            assert_eq!(found["g_2"], Trail::default());
        }
        let db = db();
        write(&db, "g_1", "origin:anyone", &early);
        let anew = Kept { first: step(3000), latest: step(3000), until: 5000 };
        write(&db, "g_1", "origin:anyone", &anew);
        assert_eq!(load(&db, ["g_1"]).unwrap()["g_1"].0["origin:anyone"], anew);
    }

    #[test]
    fn what_is_asked_for_is_joined_and_what_was_not_is_left_out() {
        let (mut here, mut group) = (Trail::default(), Trail::default());
        here.note("a/x", &step(20), WINDOW);
        group.note("a/x", &step(10), WINDOW);
        group.note("origin:anyone", &step(30), WINDOW);
        group.note("a/secret", &step(40), WINDOW);
        let asked = ["a/x", "origin:anyone", "a/never"].map(str::to_owned);
        let found = Trail::history(&here, &group, asked.iter(), Micros(100));
        let of = |tag: &str| found[tag].as_ref().map(|it| (it.first.at.0, it.is_here));
        assert_eq!(of("a/x"), Some((10, true)));
        assert_eq!(of("origin:anyone"), Some((30, false)));
        assert_eq!(of("a/never"), None);
        assert_eq!(found.len(), 3);
        let label = group.label(Micros(100));
        assert_eq!(label.oldest, Some(Micros(30)));
        assert_eq!(label.tags(), ["origin:anyone"]);
        assert_eq!(group.label(Micros(99_999)), Label::default());
    }
}
