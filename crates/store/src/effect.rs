//! Effects and their keys: what was asked for before is not done again (I5).
//!
//! A key names one effect: as the caller gave it, or derived from the arguments. It is scoped to
//! tenant, environment, subject, agent and operation, and stands in the database as a value derived
//! under the subject's key, which says nothing once that is destroyed. A key is taken in the
//! transaction of the intent, so that of two calls with one key, one gets a permit. What came of
//! the effect is in the record of its call; how it stands is read from there.

use crate::db::{DbError, values};
use crate::effect_key::{EffectKey, Name};
use crate::error::StoreError;
use crate::fault::Fault;
use crate::job::{Conclusion, Rejected, Written};
use crate::leaf::{self, Resolved};
use crate::permit::{OpenCall, OutcomeState, Receipt};
use crate::shard::tenant_of;
use crate::writer::Writer;
use lockgate_types::facts::{Earlier, Standing};
use lockgate_types::{CallId, Digest, Micros, Tenant};

/// Keys looked at in one go for those whose time is over.
const SWEEP_MAX: u32 = 256;

/// An effect of which nobody knows whether it happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The call that first asked for it.
    pub call: CallId,
    /// Its intent.
    pub intent: u64,
    /// The outcome that says so.
    pub outcome: u64,
}

/// How it became known what came of an effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Means {
    /// It was sent again with its key, by this call.
    Attempt(CallId),
    /// It was looked up, by this call.
    Lookup(CallId),
    /// A person found out.
    Person,
}

impl Means {
    /// The word in records.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Attempt(_) => "attempt",
            Self::Lookup(_) => "lookup",
            Self::Person => "person",
        }
    }

    /// The call by which it became known.
    pub const fn call(&self) -> Option<&CallId> {
        match self {
            Self::Attempt(call) | Self::Lookup(call) => Some(call),
            Self::Person => None,
        }
    }
}

impl Writer {
    /// What stands in the way of an intent: the same effect, asked for before. The same call ids in
    /// one key mean that this is the attempt which the other waits for.
    pub(crate) fn earlier(
        &self,
        key: &EffectKey,
        now: Micros,
    ) -> Result<Option<Blocked>, StoreError> {
        let Some((row, state)) = self.effect(&key.name)? else {
            // An attempt is at something that is in doubt, or at nothing.
            return Ok(key.attempt_of.as_ref().map(|_| Blocked::Settled));
        };
        // A key whose call is not there: nobody can know.
        let missing = || StoreError::corrupt(None, "an effect's call is missing");
        let state = state.ok_or_else(missing)?;
        if state != State::InDoubt && key.attempt_of.as_ref() == Some(&row.call) {
            return Ok(Some(Blocked::Settled));
        }
        let is_over = row.until < now;
        let standing = match state {
            State::Open => return Ok(Some(Blocked::UnderWay)),
            State::InDoubt if key.attempt_of.as_ref() == Some(&row.call) => return Ok(None),
            State::InDoubt if row.arguments == key.arguments => Standing::InDoubt,
            State::Ended if is_over => return Ok(None),
            State::Ended if row.arguments == key.arguments => Standing::Ended,
            State::InDoubt | State::Ended => Standing::OtherArguments,
        };
        Ok(Some(Blocked::Stands(Earlier { call: row.call, standing })))
    }

    /// What a key belongs to, and how that call stands, in one look: another node may end it
    /// between two.
    fn effect(&self, name: &Name) -> Result<Option<(EffectRow, Option<State>)>, StoreError> {
        let select = "SELECT effect.arguments, effect.call, effect.until, call.id IS NULL,
                call.outcome IS NULL, EXISTS (SELECT 1 FROM doubt WHERE doubt.call = effect.call)
            FROM effect LEFT JOIN call ON call.id = effect.call WHERE effect.key = ?1";
        let found = self.db.row(select, values![name], |row| {
            let (is_missing, is_doubted): (bool, bool) = (row.get(3)?, row.get(5)?);
            let is_open = row.get(4)?;
            let state = (!is_missing).then(|| State::of(is_open, is_doubted));
            Ok((row.get(0)?, row.get::<String>(1)?, row.get(2)?, state))
        });
        let found = found.map_err(StoreError::database("looking for an effect"))?;
        let Some((arguments, call, until, state)): Option<(Name, String, i64, _)> = found else {
            return Ok(None);
        };
        let row = EffectRow { arguments, call: call_id(&call)?, until: Micros(until) };
        Ok(Some((row, state)))
    }

    /// How a call stands; `None` if there is none of that id.
    fn state_of(&self, call: &CallId) -> Result<Option<State>, StoreError> {
        let select = "SELECT outcome IS NULL, EXISTS (SELECT 1 FROM doubt WHERE call = ?1)
                      FROM call WHERE id = ?1";
        let found: Option<(bool, bool)> = self
            .db
            .row(select, values![call.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
            .map_err(StoreError::database("looking for a call"))?;
        Ok(found.map(|(is_open, is_doubted)| State::of(is_open, is_doubted)))
    }

    /// Takes the key for a call, if nobody has it: whoever writes first has it, and needs no look.
    fn take_free(&self, key: &EffectKey, call: &CallId) -> Result<bool, StoreError> {
        let insert = "INSERT INTO effect (key, arguments, call, until)
                      VALUES (?1, ?2, ?3, ?4) ON CONFLICT (key) DO NOTHING";
        self.write_key(insert, key, call).map(|rows| rows > 0)
    }

    /// Takes the key for a call, or says what stands in the way.
    pub(crate) fn take_key(
        &self,
        key: &EffectKey,
        call: &CallId,
        now: Micros,
    ) -> Result<Option<Blocked>, StoreError> {
        if key.attempt_of.is_none() && self.take_free(key, call)? {
            return Ok(None);
        }
        let blocked = self.earlier(key, now)?;
        if blocked.is_none() {
            let insert = "INSERT INTO effect (key, arguments, call, until)
                          VALUES (?1, ?2, ?3, ?4)
                          ON CONFLICT (key) DO UPDATE SET arguments = excluded.arguments,
                              call = excluded.call, until = excluded.until";
            self.write_key(insert, key, call)?;
        }
        Ok(blocked)
    }

    fn write_key(&self, insert: &str, key: &EffectKey, call: &CallId) -> Result<usize, StoreError> {
        self.db
            .execute(insert, values![&key.name, &key.arguments, call.as_str(), key.until.0])
            .map_err(StoreError::database("writing an effect"))
    }

    /// What an outcome means for the key of its call.
    pub(crate) fn settle_key(
        &mut self,
        open: &OpenCall,
        conclusion: &Conclusion,
        outcome: &Receipt,
    ) -> Result<(), StoreError> {
        let record = &conclusion.record;
        let key = open.key.as_ref();
        let first = key.and_then(|key| key.attempt_of.as_ref());
        match (record.state, first) {
            (OutcomeState::InDoubt, None) => {
                self.doubt(&open.call, outcome.place)?;
            }
            // The first call stays the one in doubt: that an attempt has failed says nothing of
            // what was sent before it.
            (OutcomeState::Failed, Some(first))
                if self.options.faults.is(Fault::BelievesFailure) =>
            {
                let means = Means::Attempt(open.call.clone());
                self.resolved(first, OutcomeState::Failed, &means, record.at)?;
                self.release(key, &open.call)?;
            }
            (OutcomeState::InDoubt | OutcomeState::Failed, Some(first)) => {
                self.give_back(key, first)?;
            }
            (OutcomeState::Failed, None) if record.never_left => self.release(key, &open.call)?,
            // Who asked without a key and was told that it failed asks anew.
            (OutcomeState::Failed, None) if !key.is_some_and(|key| key.is_given) => {
                self.release(key, &open.call)?;
            }
            (OutcomeState::Failed, None) => {}
            // Who was asked on the way is asked again: that is no blind retry.
            (OutcomeState::Succeeded, None)
                if record.has_asked && !key.is_some_and(|key| key.is_given) =>
            {
                self.release(key, &open.call)?;
            }
            (state, Some(first)) => {
                let means = Means::Attempt(open.call.clone());
                self.resolved(first, state, &means, record.at)?;
            }
            (OutcomeState::Succeeded | OutcomeState::Truncated, None) => {}
        }
        Ok(())
    }

    fn doubt(&self, call: &CallId, outcome: u64) -> Result<(), StoreError> {
        let insert = "INSERT INTO doubt (call, outcome) VALUES (?1, ?2)
                      ON CONFLICT (call) DO UPDATE SET outcome = excluded.outcome";
        let written = self.db.execute(insert, values![call.as_str(), outcome]);
        written.map(drop).map_err(StoreError::database("writing a doubt"))
    }

    fn give_back(&self, key: Option<&EffectKey>, first: &CallId) -> Result<(), StoreError> {
        let Some(key) = key else { return Ok(()) };
        let update = "UPDATE effect SET call = ?2 WHERE key = ?1";
        let written = self.db.execute(update, values![&key.name, first.as_str()]);
        written.map(drop).map_err(StoreError::database("giving a key back"))
    }

    /// Undoes that a call has taken its key: what it was to try again for has it as before.
    pub(crate) fn return_key(
        &self,
        key: Option<&EffectKey>,
        call: &CallId,
    ) -> Result<(), StoreError> {
        match key.and_then(|key| key.attempt_of.as_ref()) {
            Some(first) => self.give_back(key, first),
            None => self.release(key, call),
        }
    }

    fn release(&self, key: Option<&EffectKey>, call: &CallId) -> Result<(), StoreError> {
        let Some(key) = key else { return Ok(()) };
        self.release_name(&key.name, call)
    }

    fn release_name(&self, name: &[u8], call: &CallId) -> Result<(), StoreError> {
        let delete = "DELETE FROM effect WHERE key = ?1 AND call = ?2";
        let written = self.db.execute(delete, values![name, call.as_str()]);
        written.map(drop).map_err(StoreError::database("releasing a key"))
    }

    /// An open call of a gate that ended: in doubt from now on, or the call that it tried again for
    /// still is.
    pub(crate) fn doubt_after_restart(
        &self,
        call: &CallId,
        first: Option<&CallId>,
        outcome: u64,
    ) -> Result<(), StoreError> {
        let Some(first) = first else { return self.doubt(call, outcome) };
        let update = "UPDATE effect SET call = ?2 WHERE call = ?1";
        let written = self.db.execute(update, values![call.as_str(), first.as_str()]);
        written.map(drop).map_err(StoreError::database("giving a key back"))
    }

    /// Records what became of an effect in doubt, and ends the doubt.
    pub(crate) fn resolve(
        &mut self,
        call: &CallId,
        state: OutcomeState,
        means: &Means,
    ) -> Result<Result<Written, Rejected>, StoreError> {
        let (is_doubted, now) = (self.state_of(call)? == Some(State::InDoubt), self.now());
        let is_under_way = is_doubted && self.is_attempted(call)?;
        if !is_doubted || is_under_way {
            return Ok(Ok(Written::Nothing));
        }
        match self.resolved(call, state, means, now) {
            Ok(receipt) => Ok(Ok(Written::Entry(receipt))),
            // A damaged log is the trouble of its tenant, and was looked at before anything else.
            Err(error @ StoreError::Corrupt { .. }) => Ok(Err(Rejected::Failed(error))),
            Err(error) => Err(error),
        }
    }

    /// Whether another call has the key of this one: an attempt is under way.
    fn is_attempted(&self, call: &CallId) -> Result<bool, StoreError> {
        let select = "SELECT 1 FROM call JOIN effect ON effect.key = call.key
                      WHERE call.id = ?1 AND effect.call <> ?1";
        let found = self.db.exists(select, values![call.as_str()]);
        found.map_err(StoreError::database("looking for an attempt"))
    }

    fn resolved(
        &mut self,
        call: &CallId,
        state: OutcomeState,
        means: &Means,
        at: Micros,
    ) -> Result<Receipt, StoreError> {
        let failed = || StoreError::database::<DbError>("ending a doubt");
        let Doubted { outcome, tenant, key } = self.doubted(call)?;
        let resolved = Resolved { call, outcome: &outcome, state, means };
        let receipt = self.append(tenant.as_ref().into(), &leaf::resolution(&resolved, at), at)?;
        let end = || {
            let delete = "DELETE FROM doubt WHERE call = ?1";
            self.db.execute(delete, values![call.as_str()])?;
            let update = "UPDATE call SET outcome = ?2 WHERE id = ?1";
            self.db.execute(update, values![call.as_str(), receipt.place])
        };
        end().map_err(failed())?;
        if let Some(key) = key.filter(|_| state == OutcomeState::Failed) {
            self.release_name(&key, call)?;
        }
        Ok(receipt)
    }

    fn doubted(&self, call: &CallId) -> Result<Doubted, StoreError> {
        let select = "SELECT entry.ix, entry.hash, call.key, entry.at, shard.tenant FROM call
                      JOIN entry ON entry.ix = call.outcome
                      LEFT JOIN shard ON shard.number = entry.shard WHERE call.id = ?1";
        let found = self.db.row(select, values![call.as_str()], |row| {
            let place = row.get(0)?;
            let index = self.db.reference(place, row.get(3)?);
            let outcome = Receipt { index, leaf: Digest::from_bytes(row.get(1)?), place };
            Ok(Doubted { outcome, tenant: tenant_of(row.get(4)?)?, key: row.get(2)? })
        });
        let missing = || StoreError::corrupt(None, "the outcome of a call in doubt is missing");
        found.map_err(StoreError::database("reading a doubt"))?.ok_or_else(missing)
    }

    /// Effects in doubt, oldest first.
    pub(crate) fn doubts(&self, after: u64, max: u32) -> Result<Vec<Doubt>, StoreError> {
        let select = "SELECT doubt.call, call.intent, doubt.outcome FROM doubt
                      JOIN call ON call.id = doubt.call WHERE doubt.outcome > ?1
                      ORDER BY doubt.outcome LIMIT ?2";
        let rows: Vec<(String, u64, u64)> = self
            .db
            .rows(select, values![after, max], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
            .map_err(StoreError::database("reading doubts"))?;
        rows.into_iter()
            .map(|(call, intent, outcome)| Ok(Doubt { call: call_id(&call)?, intent, outcome }))
            .collect()
    }

    /// Forgets keys whose time is over, a few at a time, in the order of their names. Gives where
    /// to go on.
    pub(crate) fn sweep_keys(&self, from: &[u8], now: Micros) -> Result<Vec<u8>, DbError> {
        let select = "SELECT key FROM effect WHERE key > ?1 ORDER BY key LIMIT ?2";
        let keys: Vec<Vec<u8>> =
            self.db.rows(select, values![from, SWEEP_MAX], |row| row.get(0))?;
        let last = keys.into_iter().next_back();
        let Some(last) = last else { return Ok(Vec::new()) };
        // What is open or in doubt is kept, however old it is.
        let delete = "DELETE FROM effect WHERE key > ?1 AND key <= ?2 AND until < ?3
            AND EXISTS (SELECT 1 FROM call WHERE id = effect.call AND outcome IS NOT NULL)
            AND NOT EXISTS (SELECT 1 FROM doubt WHERE doubt.call = effect.call)";
        self.db.execute(delete, values![from, &last, now.0])?;
        Ok(last)
    }
}

/// A call in doubt.
struct Doubted {
    outcome: Receipt,
    /// In whose log that stands; `None`: in the node's own.
    tenant: Option<Tenant>,
    key: Option<Vec<u8>>,
}

struct EffectRow {
    arguments: Name,
    call: CallId,
    until: Micros,
}

/// What stands in the way of an effect: itself, asked for before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocked {
    /// The same effect is being performed.
    UnderWay,
    /// It was asked for before.
    Stands(Earlier),
    /// It is an attempt at what is no longer in doubt.
    Settled,
}

#[derive(PartialEq, Eq)]
enum State {
    Open,
    InDoubt,
    Ended,
}

impl State {
    const fn of(is_open: bool, is_doubted: bool) -> Self {
        match (is_open, is_doubted) {
            (true, _) => Self::Open,
            (false, true) => Self::InDoubt,
            (false, false) => Self::Ended,
        }
    }
}

fn call_id(text: &str) -> Result<CallId, StoreError> {
    CallId::new(text).map_err(|error| StoreError::corrupt(None, error))
}
