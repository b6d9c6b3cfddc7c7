//! How risky sessions and tenants are: part of a session's row, changed in the transaction of the
//! record that causes it, so that no restart and no other node knows less of it (I6).
//!
//! A tenant has a row among the sessions, under a name that no session has: what holds for the one
//! holds for the other. A mode that changes is an entry of its own.

use crate::db::{DbError, Row, values};
use crate::error::StoreError;
use crate::job::{Change, Rejected, Written};
use crate::leaf::{self, Turn};
use crate::session::{self, COLUMNS, SessionKey};
use crate::shard::Whose as WhoseLog;
use crate::store::{Store, failed, unexpected};
use crate::subject::Subject;
use crate::writer::Writer;
use lockgate_core::risk::baseline::{Baseline, Window};
use lockgate_core::risk::{self, Event, Raise, Rules, Scope};
use lockgate_types::facts::{Mode, SessionState};
use lockgate_types::identity::Identity;
use lockgate_types::risk::Whose;
use lockgate_types::{CallId, Json, JsonLimits, Micros, SessionId, Tenant};
use std::sync::Arc;

/// Sessions that one read gives.
pub const RISKS_READ_MAX: u32 = 256;
/// What the rows of tenants begin with. Ids of sessions begin with `s_`.
const TENANT: &str = "tenant:";
/// Baselines forgotten in one go, of those that nobody added to.
const SWEEP_MAX: u32 = 256;

/// A mode that a person sets.
pub(crate) struct Setting {
    pub(crate) id: SessionId,
    pub(crate) to: Mode,
    pub(crate) direction: Direction,
    pub(crate) rules: Option<Arc<Rules>>,
    /// The call to the admin API: who, and why. Or the one that has shown what tightens it.
    pub(crate) by: CallId,
    /// What has been shown: then nobody has set it. `None`: a person has.
    pub(crate) shown: Option<String>,
    pub(crate) at: Micros,
}

/// Which way a person means to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Less is asked.
    Loosen,
    /// More is.
    Tighten,
}

/// What became of a mode that a person set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModeSet {
    /// As it was.
    pub was: Mode,
    /// As it is: the same, if it was not to go that way.
    pub now: Mode,
}

/// Something that is held against a tenant, and comes of no call.
#[derive(Debug)]
pub(crate) struct HeldAgainst {
    pub(crate) tenant: SessionId,
    pub(crate) raise: Raise,
}

/// A window that is over, to be added to what is usual.
pub(crate) struct Folded {
    key: [u8; 32],
    /// Whose it is; 0: nobody's alone.
    subject: i64,
    window: Window,
    until: Micros,
}

impl Folded {
    pub(crate) const fn key(&self) -> &[u8; 32] {
        &self.key
    }
}

/// Whose baseline it is.
#[derive(Clone, Copy, Debug)]
pub enum BaselineOf<'a> {
    /// What this subject does for this task, or for none.
    Subject(&'a Identity),
    /// What is done for this task, by anybody.
    Task(&'a Identity),
}

/// The row of a tenant.
pub fn tenant_row(tenant: &Tenant) -> Result<SessionId, StoreError> {
    let rule = "a tenant's name is part of an id";
    SessionId::new(&format!("{TENANT}{tenant}")).map_err(|_| StoreError::Broken { rule })
}

fn scope_of(id: &SessionId) -> (Scope, &str) {
    match id.as_str().strip_prefix(TENANT) {
        Some(tenant) => (Scope::Tenant, tenant),
        None => (Scope::Session, id.as_str()),
    }
}

/// What is held against an agent that acts for a subject, whatever the session: the row of the one
/// without an id. `None`: it is that one.
pub(crate) fn base_row(
    subject: &Subject,
    who: &Identity,
    session: &SessionId,
) -> Option<SessionId> {
    let key = SessionKey {
        tenant: who.tenant.clone(),
        environment: who.environment.clone(),
        issuer: who.issuer.clone(),
        subject: who.subject.clone(),
        agent: who.agent.clone(),
        id: None,
    };
    subject.session_id(&key).ok().filter(|base| base != session)
}

impl Store {
    /// A new session, with what is held against agent and subject already.
    pub(crate) async fn inherited(
        &self,
        session: SessionState,
        base: SessionId,
    ) -> Result<SessionState, StoreError> {
        let known = match self.memory().sessions.get(&base) {
            Some(known) => known,
            None => self.find(base.clone(), session.id.clone(), None).await?.session,
        };
        if known.risk.is_none() {
            return Ok(session);
        }
        match self.write(Change::Inherit { id: session.id, base }).await {
            Ok(Written::Settled(both)) => Ok(both.0),
            Ok(_) => Err(unexpected()),
            Err(rejected) => Err(failed(rejected)),
        }
    }

    /// Lets timers loosen what is due: of a session, of its tenant. Gives them as they are then.
    pub async fn settle_modes(
        &self,
        ids: [SessionId; 2],
        rules: &Arc<Rules>,
        at: Micros,
    ) -> Result<(SessionState, SessionState), StoreError> {
        let change = Change::SettleModes { ids, rules: Arc::clone(rules), at };
        match self.write(change).await {
            Ok(Written::Settled(both)) => Ok(*both),
            Ok(_) => Err(unexpected()),
            Err(rejected) => Err(failed(rejected)),
        }
    }

    /// Sets a mode, by a call to the admin API. In the other direction nothing changes.
    pub async fn set_mode(
        &self,
        id: SessionId,
        (direction, to): (Direction, Mode),
        rules: Option<Arc<Rules>>,
        (by, at): (&CallId, Micros),
    ) -> Result<ModeSet, StoreError> {
        self.write_mode(Setting { id, to, direction, rules, by: by.clone(), shown: None, at }).await
    }

    /// Tightens a session's mode because of what a call has shown, until a person loosens it. One
    /// that is as tight already is left as it is.
    pub async fn tighten(
        &self,
        id: SessionId,
        to: Mode,
        shown: String,
        rules: Option<Arc<Rules>>,
        (by, at): (&CallId, Micros),
    ) -> Result<ModeSet, StoreError> {
        let (direction, shown, by) = (Direction::Tighten, Some(shown), by.clone());
        self.write_mode(Setting { id, to, direction, rules, by, shown, at }).await
    }

    async fn write_mode(&self, setting: Setting) -> Result<ModeSet, StoreError> {
        match self.write(Change::SetMode(Box::new(setting))).await {
            Ok(Written::Set(set)) => Ok(set),
            Ok(_) => Err(unexpected()),
            Err(rejected) => Err(failed(rejected)),
        }
    }

    /// Sessions that something was ever held against, or whose mode a person set, those after this
    /// one in the order of their ids.
    pub async fn risky_sessions(
        &self,
        after: &str,
        max: u32,
    ) -> Result<Vec<SessionState>, StoreError> {
        let after = after.to_owned();
        self.read(move |writer| {
            let select = format!(
                "SELECT {COLUMNS} FROM session WHERE risk IS NOT NULL AND id > ?1
                 AND substr(id, 1, 7) <> '{TENANT}' ORDER BY id LIMIT ?2"
            );
            let given = values![&after, max.min(RISKS_READ_MAX)];
            let found = writer.db.rows(&select, given, session::read);
            found.map_err(StoreError::database("reading sessions"))
        })
        .await
    }

    /// A session by the id in records, or the row of a tenant. `None`: nothing is kept of it.
    pub async fn kept_session(&self, id: &SessionId) -> Result<Option<SessionState>, StoreError> {
        let id = id.clone();
        self.read(move |writer| {
            let select = format!("SELECT {COLUMNS} FROM session WHERE id = ?1");
            let found = writer.db.row(&select, values![id.as_str()], session::read);
            found.map_err(StoreError::database("reading a session"))
        })
        .await
    }

    /// What is usual, as far as it is known.
    pub async fn baseline(&self, of: BaselineOf<'_>) -> Result<Baseline, StoreError> {
        let key = self.baseline_key(of);
        self.read(move |writer| writer.baseline(&key)).await
    }

    /// Adds a window that is over to what is usual, and gives that.
    pub async fn fold_baseline(
        &self,
        of: BaselineOf<'_>,
        window: Window,
        until: Micros,
    ) -> Result<Baseline, StoreError> {
        let subject = match of {
            BaselineOf::Subject(identity) => self.subject_of(identity).await?.row,
            BaselineOf::Task(_) => 0,
        };
        let folded = Folded { key: self.baseline_key(of), subject, window, until };
        match self.write(Change::Fold(Box::new(folded))).await {
            Ok(Written::Folded(baseline)) => Ok(*baseline),
            Ok(_) => Err(unexpected()),
            Err(rejected) => Err(failed(rejected)),
        }
    }

    /// A number for a destination that says nothing of it.
    pub fn destination_number(&self, destination: &str) -> i64 {
        let name = self.memory().subjects.derive(&["destination", destination]);
        i64::from_be_bytes(name.first_chunk().copied().unwrap_or_default())
    }

    fn baseline_key(&self, of: BaselineOf<'_>) -> [u8; 32] {
        let task = |identity: &Identity| {
            identity.task.as_ref().map_or_else(String::new, ToString::to_string)
        };
        let subjects = &self.memory().subjects;
        match of {
            BaselineOf::Subject(it) => {
                let (tenant, environment) = (it.tenant.as_str(), it.environment.as_str());
                let subject = it.subject.as_str();
                let of = ["baseline", tenant, environment, &it.issuer, subject, &task(it)];
                subjects.derive(&of)
            }
            BaselineOf::Task(it) => {
                let (tenant, environment) = (it.tenant.as_str(), it.environment.as_str());
                subjects.derive(&["baseline of a task", tenant, environment, &task(it)])
            }
        }
    }
}

impl Writer {
    /// Holds what has happened against a session and its tenant, within the transaction of its
    /// batch.
    pub(crate) fn hold(
        &mut self,
        id: &SessionId,
        (who, subject): (&Identity, &Subject),
        raise: &Raise,
        (call, at): (&CallId, Micros),
    ) -> Result<(), StoreError> {
        let whose = Whose {
            agent: who.agent.to_string(),
            environment: who.environment.to_string(),
            subject: subject.pseudonym.clone(),
            tenant: who.tenant.to_string(),
        };
        if let Some(base) = base_row(subject, who, id) {
            self.raise(&base, Some(whose.clone()), raise, (Some(call), at))?;
        }
        self.raise(id, Some(whose), raise, (Some(call), at))?;
        if raise.rules.concerns_tenant(&raise.events) {
            self.raise(&tenant_row(&who.tenant)?, None, raise, (Some(call), at))?;
        }
        Ok(())
    }

    fn raise(
        &mut self,
        id: &SessionId,
        whose: Option<Whose>,
        raise: &Raise,
        (call, at): (Option<&CallId>, Micros),
    ) -> Result<(), StoreError> {
        let state = self.session(id)?;
        let (scope, _) = scope_of(id);
        let Raise { rules, events } = raise;
        let before = (state.mode, state.risk.as_deref());
        let Some((mode, mut risk)) = risk::raise(rules, scope, before, events, (call, at)) else {
            return Ok(());
        };
        risk.whose = whose.map(Arc::new).or(risk.whose);
        let score = risk::score(Some(rules.scale(scope)), &risk, at);
        let classes = risk.reasons.iter().map(|reason| reason.class.clone()).collect();
        let next = SessionState { mode, risk: Some(Arc::new(risk)), ..state.clone() };
        self.turn(&state, next, &Cause { means: "events", call, score, classes }, at)
    }

    /// A session begins with what is held against agent and subject.
    pub(crate) fn inherit(
        &mut self,
        id: &SessionId,
        base: &SessionId,
    ) -> Result<Result<Written, Rejected>, StoreError> {
        let (session, known) = (self.session(id)?, self.session(base)?);
        if session == session::fresh(id.clone()) {
            let (mode, risk) = (known.mode, known.risk.clone());
            let next = SessionState { mode, risk, ..session.clone() };
            let cause = Cause { means: "events", call: None, score: 0, classes: Vec::new() };
            let now = self.now();
            self.turn(&session, next, &cause, now)?;
        }
        let both = (self.session(id)?, self.session(base)?);
        Ok(Ok(Written::Settled(Box::new(both))))
    }

    /// Holds against a tenant what comes of no call.
    pub(crate) fn hold_against(&mut self, held: &HeldAgainst) -> Result<(), StoreError> {
        let now = self.now();
        self.raise(&held.tenant, None, &held.raise, (None, now))
    }

    /// Lets timers loosen what is due.
    pub(crate) fn settle_modes(
        &mut self,
        ids: &[SessionId; 2],
        rules: &Rules,
        now: Micros,
    ) -> Result<Result<Written, Rejected>, StoreError> {
        for id in ids {
            let state = self.session(id)?;
            let scale = rules.scale(scope_of(id).0);
            let due = state.risk.as_deref().and_then(|it| risk::settle(scale, state.mode, it, now));
            let Some((mode, risk)) = due else { continue };
            let score = risk::score(Some(scale), &risk, now);
            let next = SessionState { mode, risk: Some(Arc::new(risk)), ..state.clone() };
            let cause = Cause { means: "timer", call: None, score, classes: Vec::new() };
            self.turn(&state, next, &cause, now)?;
        }
        let [session, tenant] = ids;
        let both = (self.session(session)?, self.session(tenant)?);
        Ok(Ok(Written::Settled(Box::new(both))))
    }

    /// Sets a mode.
    pub(crate) fn set_mode(
        &mut self,
        setting: &Setting,
    ) -> Result<Result<Written, Rejected>, StoreError> {
        let Setting { id, to, direction, rules, by, shown, at } = setting;
        let state = self.session(id)?;
        let is_asked = match direction {
            Direction::Loosen => *to < state.mode,
            Direction::Tighten => *to > state.mode,
        };
        if !is_asked {
            let set = ModeSet { was: state.mode, now: state.mode };
            return Ok(Ok(Written::Set(set)));
        }
        let now = *at;
        let scale = rules.as_ref().map(|rules| rules.scale(scope_of(id).0));
        let (mode, mut risk) = risk::set(scale, (state.mode, state.risk.as_deref()), *to, now);
        if let Some(shown) = shown {
            risk::because(&mut risk, shown, by, now);
        }
        let score = risk::score(scale, &risk, now);
        let classes = risk.reasons.iter().map(|reason| reason.class.clone());
        let (means, classes) = match shown {
            Some(_) => ("events", classes.collect()),
            None => ("person", Vec::new()),
        };
        let next = SessionState { mode, risk: Some(Arc::new(risk)), ..state.clone() };
        let cause = Cause { means, call: Some(by), score, classes };
        self.turn(&state, next, &cause, now)?;
        Ok(Ok(Written::Set(ModeSet { was: state.mode, now: mode })))
    }

    /// The next state of a session or tenant, and an entry if the mode is another.
    fn turn(
        &mut self,
        before: &SessionState,
        mut next: SessionState,
        cause: &Cause<'_>,
        at: Micros,
    ) -> Result<(), StoreError> {
        if next.mode != before.mode {
            next.revision = before.revision.saturating_add(1);
            let (scope, name) = scope_of(&before.id);
            let turn = Turn {
                scope: scope.as_str(),
                name,
                was: before.mode,
                mode: next.mode,
                means: cause.means,
                call: cause.call,
                score: cause.score,
                classes: &cause.classes,
            };
            // In the log of the tenant whose session it is. Of one in which nobody has acted yet
            // that is not known.
            let tenant = match scope {
                Scope::Tenant => Some(name),
                Scope::Session => {
                    let whose = next.risk.as_ref().and_then(|risk| risk.whose.as_ref());
                    whose.map(|whose| whose.tenant.as_str())
                }
            };
            let tenant = tenant.and_then(|tenant| Tenant::new(tenant).ok());
            self.append(WhoseLog::from(tenant.as_ref()), &leaf::turn(&turn, at), at)?;
        }
        self.set_session(next);
        Ok(())
    }

    fn baseline(&self, key: &[u8; 32]) -> Result<Baseline, StoreError> {
        let select = "SELECT body FROM baseline WHERE key = ?1";
        let read = |row: &Row<'_>| row.get::<String>(0);
        let found = self.db.row(select, values![key], read).map_err(failed_baseline())?;
        // One that cannot be read is no reason to refuse anything: it begins anew.
        let json = found.and_then(|body| Json::parse(body.as_bytes(), &JsonLimits::OWN).ok());
        Ok(json.as_ref().and_then(Baseline::from_json).unwrap_or_default())
    }

    /// Adds a window to what is usual.
    pub(crate) fn fold(
        &mut self,
        folded: &Folded,
    ) -> Result<Result<Written, Rejected>, StoreError> {
        let Folded { key, subject, window, until } = folded;
        let mut baseline = self.baseline(key)?;
        baseline.fold(window);
        let body = baseline.to_json().to_string();
        let keep = "INSERT INTO baseline (key, subject, body, until) VALUES (?1, ?2, ?3, ?4)
            ON CONFLICT (key) DO UPDATE SET body = excluded.body, until = excluded.until";
        let kept = self.db.execute(keep, values![key, *subject, &body, until.0]);
        kept.map_err(failed_baseline())?;
        Ok(Ok(Written::Folded(Box::new(baseline))))
    }

    /// Forgets what nobody does any more, a little at a time.
    pub(crate) fn sweep_baselines(&self, now: Micros) -> Result<(), DbError> {
        let delete = "DELETE FROM baseline WHERE key IN
            (SELECT key FROM baseline WHERE until < ?1 ORDER BY until LIMIT ?2)";
        self.db.execute(delete, values![now.0, SWEEP_MAX]).map(drop)
    }
}

/// Why a mode changes.
struct Cause<'a> {
    means: &'static str,
    call: Option<&'a CallId>,
    score: i64,
    classes: Vec<String>,
}

/// The rows that holding something against a session touches beside its own.
pub(crate) fn touched(
    raise: &Raise,
    (who, subject): (&Identity, &Subject),
    session: &SessionId,
) -> impl Iterator<Item = SessionId> {
    let concerns_tenant = raise.rules.concerns_tenant(&raise.events);
    let tenant = concerns_tenant.then(|| tenant_row(&who.tenant).ok()).flatten();
    base_row(subject, who, session).into_iter().chain(tenant)
}

/// What a circuit breaker that opened is held against a tenant as.
pub(crate) fn of_breaker(tenant: &Tenant, rules: &Arc<Rules>) -> Result<HeldAgainst, StoreError> {
    let events = vec![Event::Happened(risk::Class::Upstream)];
    let raise = Raise { rules: Arc::clone(rules), events };
    Ok(HeldAgainst { tenant: tenant_row(tenant)?, raise })
}

fn failed_baseline() -> impl FnOnce(DbError) -> StoreError {
    StoreError::database("reading or writing what is usual")
}
