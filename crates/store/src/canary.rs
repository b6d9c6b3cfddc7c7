//! Models that are tried out: how each stands, for all nodes that count it, and in the log what
//! became of it.
//!
//! What answers were like is counted where the stage is kept, in one transaction: nodes of a fleet
//! have one stage and one window, and it is taken back once. A restart gives none of them anything
//! that was taken away.

use crate::db::{DbError, values};
use crate::error::StoreError;
use crate::job::{Change, Rejected, Written};
use crate::leaf;
use crate::shard::Whose;
use crate::store::{self, Store};
use crate::writer::Writer;
use lockgate_core::canary::{Canary, Guard, Rules, Stage, Tally};
use lockgate_types::{Digest, Json, JsonLimits, Micros, Object};
use std::collections::BTreeMap;

/// Under which name a node has kept those that it counted by itself: from before they were shared.
const KEPT: &str = "canaries";
/// Canaries that are kept. Beyond, those that were counted longest ago begin anew.
pub const CANARIES_KEPT_MAX: u32 = 1000;

/// Answers of a canary that were counted.
#[derive(Clone, Debug)]
pub struct CanarySeen {
    /// The entry in whose place it is tried.
    pub model: String,
    /// The entry that is tried.
    pub canary: String,
    /// What it is known by.
    pub key: Digest,
    /// When it is taken back, and when it gets everything.
    pub rules: Rules,
    /// What the answers were like: none, where time has merely passed.
    pub answers: Tally,
    /// When.
    pub at: Micros,
}

/// A canary that changed its stage.
#[derive(Clone, Debug)]
pub(crate) struct CanaryMoved<'a> {
    pub(crate) model: &'a str,
    pub(crate) canary: &'a str,
    /// How it stood.
    pub(crate) was: Stage,
    /// How it stands.
    pub(crate) stage: Stage,
    /// What it was taken back for.
    pub(crate) guard: Option<Guard>,
    /// What the window that decided it has counted.
    pub(crate) tally: Tally,
}

impl Store {
    /// Counts answers of a canary, and says how it stands now. What becomes of it is recorded with
    /// them.
    pub async fn observe_canary(&self, seen: CanarySeen) -> Result<Canary, StoreError> {
        match self.write(Change::Canary(Box::new(seen))).await {
            Ok(Written::Canary(canary)) => Ok(*canary),
            Ok(_) => Err(store::unexpected()),
            Err(rejected) => Err(store::failed(rejected)),
        }
    }

    /// How the canaries stand that are known by these.
    pub async fn canaries(
        &self,
        keys: Vec<Digest>,
    ) -> Result<BTreeMap<Digest, Canary>, StoreError> {
        self.read(move |writer| {
            let found = keys.into_iter().map(|key| Ok((key, writer.canary_of(&key)?)));
            let found: Vec<(Digest, Option<Canary>)> = found.collect::<Result<_, StoreError>>()?;
            Ok(found.into_iter().filter_map(|(key, canary)| Some((key, canary?))).collect())
        })
        .await
    }
}

impl Writer {
    /// Counts answers of a canary, within the transaction of its batch.
    pub(crate) fn canary(
        &mut self,
        seen: &CanarySeen,
    ) -> Result<Result<Written, Rejected>, StoreError> {
        let known = self.canary_of(&seen.key)?;
        let is_new = known.is_none();
        let mut canary = known.unwrap_or_else(|| Canary::new(seen.at));
        let (was, mut tally) = (canary.stage(), canary.tally());
        tally.add(seen.answers);
        if let Some(changed) = canary.observe(&seen.rules, seen.answers, seen.at) {
            let (model, tried, stage) = (&*seen.model, &*seen.canary, changed.stage);
            let guard = changed.breach.map(|breach| breach.guard);
            let moved = CanaryMoved { model, canary: tried, was, stage, guard, tally };
            let now = self.now();
            self.append(Whose::Node, &leaf::canary(&moved, now), now)?;
        }
        let set = "INSERT INTO canary (name, state, at) VALUES (?1, ?2, ?3)
                   ON CONFLICT (name) DO UPDATE SET state = excluded.state, at = excluded.at";
        let state = canary.to_json().to_string();
        let given = values![seen.key.as_bytes().as_slice(), &state, seen.at.0];
        self.db.execute(set, given).map_err(failed())?;
        if is_new {
            let forget = "DELETE FROM canary WHERE name NOT IN
                          (SELECT name FROM canary ORDER BY at DESC LIMIT ?1)";
            self.db.execute(forget, values![CANARIES_KEPT_MAX]).map_err(failed())?;
        }
        Ok(Ok(Written::Canary(Box::new(canary))))
    }

    /// How a canary stands. What cannot be read is none, and begins anew.
    fn canary_of(&self, key: &Digest) -> Result<Option<Canary>, StoreError> {
        let select = "SELECT state FROM canary WHERE name = ?1";
        let given = values![key.as_bytes().as_slice()];
        let found: Option<String> =
            self.db.row(select, given, |row| row.get(0)).map_err(failed())?;
        if let Some(state) = found {
            let state = Json::parse(state.as_bytes(), &JsonLimits::OWN).ok();
            return Ok(state.as_ref().and_then(Canary::from_json));
        }
        let kept = self.db.meta(&self.db.own(KEPT)).map_err(failed())?;
        let kept = kept.and_then(|bytes| Json::parse(&bytes, &JsonLimits::OWN).ok());
        let kept = kept.as_ref().and_then(Json::as_object);
        Ok(kept.and_then(|kept: &Object| Canary::from_json(kept.get(&key.to_string())?)))
    }
}

fn failed() -> impl FnOnce(DbError) -> StoreError {
    StoreError::database::<DbError>("using what is known of canaries")
}
