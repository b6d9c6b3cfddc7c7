//! What each change does to the database, within the transaction of its batch.
//!
//! An error ends the whole batch; what concerns one caller alone (its session moved, its call is
//! known already) is an answer, given before anything was written for it.

use crate::db::{DbError, values};
use crate::error::StoreError;
use crate::fault::Fault;
use crate::job::{Change, Conclusion, Met, Rejected, Written};
use crate::leaf::{self, Away, Concluded};
use crate::payload::Prepared;
use crate::permit::{IntentEntry, OpenCall, OutcomeRecord, OutcomeState, Receipt, TurnedAway};
use crate::remembered;
use crate::shard::Whose;
use crate::subject::Subject;
use crate::writer::Writer;
use crate::{fleet, session, subject};
use lockgate_types::call::Effect;
use lockgate_types::history::Step;
use lockgate_types::label::Label;
use lockgate_types::{CallId, Digest, Micros, SessionId, SubjectId, Tenant};
use std::sync::Arc;

/// Bytes of a listener's name, and of an issuer's, in an entry.
const NAME_CHARS_MAX: usize = 64;

type Applied = Result<Result<Written, Rejected>, StoreError>;

impl Writer {
    /// Makes one change. Changes are borrowed: if the batch fails, outcomes are written again.
    pub(crate) fn apply(&mut self, change: &Change) -> Applied {
        if let Some(tenant) = tenant_of(change)
            && let Some(tenant) = self.shards.tenant(Whose::Tenant(tenant))
        {
            match self.shard(tenant) {
                Ok(_) => {}
                Err(error @ StoreError::Database { .. }) => return Err(error),
                // A damaged log is the trouble of its tenant, not of the batch.
                Err(error) => return Ok(Err(Rejected::Failed(error))),
            }
        }
        match change {
            Change::Intent { prepared, .. } => self.intent(prepared),
            Change::Refusal(prepared) => self.refusal(prepared),
            Change::Repeat { prepared, label } => self.repeat(prepared, label),
            Change::Ask { prepared, question } => match self.is_known(&prepared.call)? {
                true => Ok(Err(known())),
                false => self.ask(prepared, question),
            },
            Change::Answer { call, answer, by } => self.answer(call, answer, by),
            Change::ClaimNotices { webhook, max } => self.claim_notices(webhook, *max),
            Change::Told { webhook, notice, told } => self.set_told(webhook, notice, told),
            Change::Hear { webhook, id, body } => self.hear(webhook, id, body),
            Change::AnswerHeard { webhook, id, answer } => self.set_heard(webhook, id, answer),
            Change::Switch { switch, is_on, by } => self.switch(switch, *is_on, by),
            Change::Resolve { call, state, means } => self.resolve(call, *state, means),
            Change::Conclude(conclusion) => self.conclude(conclusion),
            Change::Met(met) => self.meet(met),
            Change::SettleModes { ids, rules, at } => self.settle_modes(ids, rules, *at),
            Change::Inherit { id, base } => self.inherit(id, base),
            Change::SetMode(setting) => self.set_mode(setting),
            Change::Hold(holding) => self.hold_by_itself(holding),
            Change::Fold(folded) => self.fold(folded),
            Change::Subject { lookup } => self.subject(lookup),
            Change::Bundle { digest, files, count } => self.bundle(digest, files, *count),
            Change::Followed { digest, count } => {
                let now = self.now();
                let receipt = self.append(Whose::Node, &leaf::bundle(digest, *count, now), now)?;
                Ok(Ok(Written::Entry(receipt)))
            }
            Change::Breaker(turned) => self.breaker(turned),
            Change::Source(run) => self.source(run),
            Change::Canary(seen) => self.canary(seen),
            Change::Evaluation(evaluation) => self.evaluation(evaluation),
            Change::TurnedAway { turned, lookup } => self.turn_away(turned, lookup.as_ref()),
            Change::Slice(slice) => self.slice(slice),
            Change::Erase { issuer, subject } => self.erase(issuer, subject),
        }
    }

    fn intent(&mut self, prepared: &Prepared) -> Applied {
        let mut state = self.session(&prepared.before.id)?;
        let is_ruling = self.ruling()?.is_none_or(|ruling| ruling == prepared.bundle);
        // A node that cannot read the rules of now still records whom it has stopped.
        if !(is_ruling || prepared.throws)
            || !session::still_holds(&prepared.before, &state)
            || self.has_happened_since(prepared)?
        {
            return Ok(Err(Rejected::Moved));
        }
        if let Some((tenant, mode)) = &prepared.posture
            && self.session(tenant)?.mode != *mode
        {
            return Ok(Err(Rejected::Moved));
        }
        let taken = match self.room(&prepared.reservations)? {
            Ok(taken) => taken,
            Err(full) => {
                // What was asked for before takes nothing: that comes first.
                if let Some(key) = &prepared.key
                    && let Some(blocked) = self.earlier(key, prepared.at)?
                {
                    return Ok(Err(Rejected::Blocked(blocked)));
                }
                return Ok(Err(Rejected::Exhausted(full)));
            }
        };
        if let Some((request, proposal)) = &prepared.approval
            && !self.is_given(request, proposal)?
        {
            return Ok(Err(Rejected::Moved));
        }
        let faults = self.options.faults;
        // The last that can say no but for the call itself. From here on everything is written.
        if let Some(key) = &prepared.key
            && !faults.is(Fault::TakesKeyLate)
            && let Some(blocked) = self.take_key(key, &prepared.call, prepared.at)?
        {
            return Ok(Err(Rejected::Blocked(blocked)));
        }
        let Some(receipt) = self.decided(prepared, None)? else {
            self.return_key(prepared.key.as_ref(), &prepared.call)?;
            return Ok(Err(known()));
        };
        if let Some((request, _)) = &prepared.approval {
            self.spend(request, &prepared.call, &prepared.tenant)?;
        }
        if !faults.is(Fault::ReservesLate) {
            self.reserve(&prepared.call, &prepared.reservations, &taken)?;
        }
        if prepared.effect != Effect::Read {
            // From here on it may happen: what must not come after it is decided on that.
            if let Some(history) = &prepared.history {
                let step = Step { at: prepared.at, call: prepared.call.clone() };
                self.remember(history, &prepared.before.id, history.counts.iter(), &step)?;
            }
            state.writes = state.writes.saturating_add(1);
            self.set_session(state);
        }
        Ok(Ok(Written::Intended { receipt, taken }))
    }

    /// A decided call that is over as it is recorded: a refusal, or a repeat.
    fn refusal(&mut self, prepared: &Prepared) -> Applied {
        let refused = self.decided_at_once(prepared)?;
        Ok(refused.map(Written::Entry).ok_or_else(known))
    }

    /// The same of a call that is known to be new.
    pub(crate) fn refused(&mut self, prepared: &Prepared) -> Result<Receipt, StoreError> {
        let rule = "a call is decided once";
        self.decided_at_once(prepared)?.ok_or(StoreError::Broken { rule })
    }

    fn decided_at_once(&mut self, prepared: &Prepared) -> Result<Option<Receipt>, StoreError> {
        let decided = self.decided(prepared, Some(self.next_place()))?;
        if let (Some(_), Some(raise)) = (&decided, &prepared.raise) {
            let who = (&*prepared.who, &*prepared.subject);
            self.hold(&prepared.before.id, who, raise, (&prepared.call, prepared.at))?;
        }
        Ok(decided)
    }

    /// The row, entry and parts of a decided call. `None`, and nothing is written: the call is
    /// known already.
    fn decided(
        &mut self,
        prepared: &Prepared,
        outcome: Option<u64>,
    ) -> Result<Option<Receipt>, StoreError> {
        let failed = || StoreError::database::<DbError>("writing a call");
        let place = self.next_place();
        if !self.insert_call(prepared, place, outcome).map_err(failed())? {
            return Ok(None);
        }
        let whose = Whose::Tenant(&prepared.tenant);
        let receipt = self.append(whose, &prepared.leaf, prepared.at)?;
        self.insert_parts(prepared, place).map_err(failed())?;
        if let Some(told) = prepared.told {
            let (session, at) = (prepared.before.id.as_str(), prepared.at);
            remembered::add(&self.db, session, told, at, &prepared.call).map_err(failed())?;
        }
        self.follow(prepared).map_err(failed())?;
        Ok(Some(receipt))
    }

    /// `false`: it is there already. Whoever writes first needs no look.
    fn insert_call(
        &self,
        prepared: &Prepared,
        intent: u64,
        outcome: Option<u64>,
    ) -> Result<bool, DbError> {
        let insert = "INSERT INTO call (id, intent, outcome, effect, within, key)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO NOTHING";
        let given = values![
            prepared.call.as_str(),
            intent,
            outcome,
            prepared.effect.as_str(),
            prepared.within.as_ref().map(CallId::as_str),
            prepared.key.as_ref().map(|key| key.name.as_slice()),
        ];
        self.db.execute(insert, given).map(|rows| rows > 0)
    }

    fn is_known(&self, call: &CallId) -> Result<bool, StoreError> {
        let found = self.db.exists("SELECT 1 FROM call WHERE id = ?1", values![call.as_str()]);
        found.map_err(StoreError::database("looking for a call"))
    }

    fn conclude(&mut self, conclusion: &Conclusion) -> Applied {
        let open = &*conclusion.open;
        let next = self.next_place();
        let intent = match &open.intent {
            IntentEntry::Durable(receipt) => self.end_call(&open.call, next)?.then_some(*receipt),
            // The outcome takes the place after the intent's.
            IntentEntry::Shared(prepared) => {
                self.decided(prepared, Some(next.saturating_add(1)))?
            }
        };
        let Some(intent) = intent else { return Ok(Err(known())) };
        let receipt = self.outcome(conclusion, &intent)?;
        self.take_late(open, conclusion.record.at)?;
        self.settle_caps(open, conclusion.record.never_left)?;
        if open.effect != Effect::Read {
            self.settle_key(open, conclusion, &receipt)?;
        }
        self.expose(&open.session, &conclusion.record.label)?;
        self.keep_shown(conclusion)?;
        self.remember_outcome(open, &conclusion.record)?;
        if let Some(raise) = &open.raise {
            let who = (&*open.who, &*open.subject);
            self.hold(&open.session, who, raise, (&open.call, conclusion.record.at))?;
        }
        Ok(Ok(Written::Entry(receipt)))
    }

    /// What has happened by a call, as far as its intent has not said so: what came back, and of a
    /// read that it succeeded.
    fn remember_outcome(
        &mut self,
        open: &OpenCall,
        record: &OutcomeRecord,
    ) -> Result<(), StoreError> {
        let Some(history) = &open.history else { return Ok(()) };
        let mut tags = record.label.tags();
        if open.effect == Effect::Read && record.state == OutcomeState::Succeeded {
            tags.extend(history.counts.iter().cloned());
        }
        let step = Step { at: record.at, call: open.call.clone() };
        self.remember(history, &open.session, tags.iter(), &step)
    }

    /// Takes what the intent should have taken: by mistake.
    fn take_late(&self, open: &OpenCall, at: Micros) -> Result<(), StoreError> {
        if self.options.faults.is(Fault::ReservesLate) {
            let taken: Vec<i64> = open.reservations.iter().map(|it| it.amount).collect();
            self.reserve(&open.call, &open.reservations, &taken)?;
        }
        if self.options.faults.is(Fault::TakesKeyLate)
            && let Some(key) = &open.key
        {
            self.take_key(key, &open.call, at)?;
        }
        Ok(())
    }

    fn outcome(
        &mut self,
        conclusion: &Conclusion,
        intent: &Receipt,
    ) -> Result<Receipt, StoreError> {
        let Conclusion { open, record, result, bytes, .. } = conclusion;
        let concluded = Concluded {
            call: &open.call,
            session: &open.session,
            subject: &open.subject.pseudonym,
            intent,
            result: result.as_ref().map(|result| result.commitment),
            bytes: *bytes,
        };
        let whose = Whose::Tenant(&open.tenant);
        let receipt = self.append(whose, &leaf::outcome(&concluded, record), record.at)?;
        let place = receipt.place;
        if let Some(result) = result {
            let written = self.insert_payload(place, open.subject.row, &result.sealed);
            written.map_err(StoreError::database("writing an outcome"))?;
        }
        Ok(receipt)
    }

    /// Gives an open call its outcome; `false`: it is not open.
    fn end_call(&self, call: &CallId, outcome: u64) -> Result<bool, StoreError> {
        let update = "UPDATE call SET outcome = ?2 WHERE id = ?1 AND outcome IS NULL";
        let ended = self.db.execute(update, values![call.as_str(), outcome]);
        ended.map(|rows| rows > 0).map_err(StoreError::database("ending a call"))
    }

    /// What came of an earlier call is answered again: the session meets it too.
    fn repeat(&mut self, prepared: &Prepared, label: &Label) -> Applied {
        let answered = self.refusal(prepared)?;
        if answered.is_ok() {
            self.expose(&prepared.before.id, label)?;
            if let Some(history) = &prepared.history {
                let step = Step { at: prepared.at, call: prepared.call.clone() };
                self.remember(history, &prepared.before.id, label.tags().iter(), &step)?;
            }
        }
        Ok(answered)
    }

    /// What was met on the way.
    fn meet(&mut self, met: &Met) -> Applied {
        self.expose(&met.session, &met.label)?;
        if let Some(history) = &met.history {
            self.remember(history, &met.session, met.label.tags().iter(), &met.step)?;
        }
        Ok(Ok(Written::Nothing))
    }

    /// What came back joins what the session was exposed to.
    fn expose(&mut self, session: &SessionId, label: &Label) -> Result<(), StoreError> {
        let mut state = self.session(session)?;
        let exposure = state.exposure.join(label);
        if exposure == state.exposure {
            return Ok(());
        }
        state.exposure = exposure;
        state.revision = state.revision.saturating_add(1);
        self.set_session(state);
        Ok(())
    }

    fn subject(&mut self, lookup: &[u8; 32]) -> Applied {
        match subject::find(&self.db, &self.memory.subjects, lookup) {
            Ok(None) => {}
            Ok(Some(subject)) => return Ok(Ok(Written::Subject(Arc::new(subject)))),
            Err(error @ StoreError::Database { .. }) => return Err(error),
            // A damaged row is the trouble of this subject, not of the batch.
            Err(error) => return Ok(Err(Rejected::Failed(error))),
        }
        let new = self.memory.subjects.invent(lookup)?;
        let insert = "INSERT INTO subject (lookup, pseudonym, wrapped) VALUES (?1, ?2, ?3)
                      RETURNING id";
        let row = self
            .db
            .row(insert, values![lookup, &new.pseudonym, &new.wrapped], |row| row.get(0))
            .map_err(StoreError::database("writing a subject"))?;
        let row = row.ok_or(StoreError::Broken { rule: "a row that is written has a number" })?;
        let subject = Subject::new(row, new.pseudonym, &new.key)?;
        Ok(Ok(Written::Subject(Arc::new(subject))))
    }

    fn bundle(&mut self, digest: &Digest, files: &[u8], count: usize) -> Applied {
        let insert = "INSERT INTO bundle (digest, files) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        self.db
            .execute(insert, values![digest.as_bytes(), files])
            .map_err(StoreError::database("writing a bundle"))?;
        let now = self.now();
        let receipt = self.append(Whose::Node, &leaf::bundle(digest, count, now), now)?;
        self.set_ruling(*digest);
        fleet::publish(&self.db, digest)?;
        self.tell();
        Ok(Ok(Written::Entry(receipt)))
    }

    fn turn_away(&mut self, turned: &TurnedAway, lookup: Option<&[u8; 32]>) -> Applied {
        let missed = match self.turned_away.admit(turned.at) {
            Ok(missed) => missed,
            Err(max) => {
                return Ok(Err(Rejected::Failed(StoreError::TurnedAwayTooMany { max })));
            }
        };
        let select = || {
            let Some(lookup) = lookup else { return Ok(None) };
            let select = "SELECT pseudonym FROM subject WHERE lookup = ?1";
            self.db.row(select, values![lookup], |row| row.get(0))
        };
        let subject: Option<String> =
            select().map_err(StoreError::database("reading a subject"))?;
        let short = |text: &str| text.chars().take(NAME_CHARS_MAX).collect::<String>();
        // A name of an issuer is configuration only if somebody of that issuer is known.
        let issuer = turned.who.as_ref().filter(|_| subject.is_some());
        let issuer = issuer.map(|(issuer, _)| short(issuer));
        let away = Away {
            code: turned.code,
            issuer: issuer.as_deref(),
            listener: &short(&turned.listener),
            subject: subject.as_deref(),
            missed,
            at: turned.at,
        };
        let receipt = self.append(Whose::Node, &leaf::turned_away(&away), turned.at)?;
        Ok(Ok(Written::Entry(receipt)))
    }

    fn erase(&mut self, issuer: &str, subject: &SubjectId) -> Applied {
        let lookup = self.memory.subjects.lookup(issuer, subject);
        let delete = || -> Result<Option<String>, DbError> {
            let select = "SELECT id, pseudonym FROM subject WHERE lookup = ?1";
            let found: Option<(i64, String)> =
                self.db.row(select, values![&lookup], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let Some((row, pseudonym)) = found else { return Ok(None) };
            self.db.execute("DELETE FROM subject WHERE id = ?1", values![row])?;
            self.db.execute("DELETE FROM identity WHERE subject = ?1", values![row])?;
            self.db.execute("DELETE FROM baseline WHERE subject = ?1", values![row])?;
            self.db.execute("DELETE FROM opened WHERE subject = ?1", values![row])?;
            self.db.execute("DELETE FROM memo WHERE subject = ?1", values![row])?;
            Ok(Some(pseudonym))
        };
        let erased = delete().map_err(StoreError::database("erasing a subject"))?;
        self.memory.subjects.forget(issuer, subject);
        let Some(pseudonym) = erased else { return Ok(Ok(Written::Nothing)) };
        self.upkeep.must_scrub = true;
        self.tell_of_erasure();
        let now = self.now();
        // A subject may have calls in several tenants.
        let receipt = self.append(Whose::Node, &leaf::erasure(&pseudonym, now), now)?;
        Ok(Ok(Written::Entry(receipt)))
    }
}

/// The tenant whose log a change writes to.
fn tenant_of(change: &Change) -> Option<&Tenant> {
    match change {
        Change::Intent { prepared, .. }
        | Change::Refusal(prepared)
        | Change::Repeat { prepared, .. }
        | Change::Ask { prepared, .. } => Some(&prepared.tenant),
        Change::Conclude(conclusion) => Some(&conclusion.open.tenant),
        Change::Evaluation(evaluation) => Some(&evaluation.tenant),
        Change::Source(run) => Some(&run.tenant),
        _ => None,
    }
}

fn known() -> Rejected {
    Rejected::Failed(StoreError::Broken { rule: "a call is decided once and concluded once" })
}

/// Once it is durable: an intent's receipt becomes an armed ticket.
pub(crate) fn settle(changes: &mut [Change], answers: &mut [Result<Written, Rejected>]) {
    for (change, answer) in changes.iter_mut().zip(answers) {
        if let (Change::Intent { prepared, ticket }, Ok(Written::Intended { receipt, taken })) =
            (change, &*answer)
            && let Some(mut ticket) = ticket.take()
        {
            let mut reservations = prepared.reservations.clone();
            for (reservation, amount) in reservations.iter_mut().zip(taken) {
                reservation.amount = *amount;
            }
            ticket.arm(OpenCall {
                call: prepared.call.clone(),
                session: prepared.before.id.clone(),
                tenant: prepared.tenant.clone(),
                subject: Arc::clone(&prepared.subject),
                effect: prepared.effect,
                intent: IntentEntry::Durable(*receipt),
                history: prepared.history.clone(),
                is_remembered: prepared.told.is_some(),
                key: prepared.key.clone(),
                reservations,
                who: Arc::clone(&prepared.who),
                met: prepared.before.exposure.clone(),
                facts: prepared.facts.clone(),
                raise: None,
            });
            *answer = Ok(Written::Admitted(ticket));
        }
    }
}
