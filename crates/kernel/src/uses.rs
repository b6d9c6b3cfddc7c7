//! What documents have fed, for whoever has to find out after one turned out to be wrong: which
//! calls have shown it, in which sessions, and what these did next.
//!
//! All of it is read from the record. Who a subject is stays behind its pseudonym: the trace of a
//! call says it, to those who may read that.

use crate::Kernel;
use crate::library::said::cited;
use crate::port::Refusal;
use crate::refusal::not_recorded;
use lockgate_core::World;
use lockgate_core::retrieve::cite::claims;
use lockgate_store::{
    Ended, FOLLOWED_READ_MAX, LoggedCall, ShownDocument, USES_READ_MAX, WhichUses,
};
use lockgate_types::facts::Mode;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Code, Json, Micros, OperationName, SessionId};
use std::collections::{BTreeMap, BTreeSet};

/// Calls of one session that are told one by one; of the others only how many there are.
pub const USES_SHOWN_MAX: usize = 32;

/// Calls that have shown a document, or something of a source, by the sessions in which they did.
#[derive(Clone, Debug, Default)]
pub struct Uses {
    /// The sessions, that of the newest use first.
    pub sessions: Vec<FedSession>,
    /// Before which use to go on. `None`: there are no more.
    pub next: Option<(Micros, CallId)>,
}

/// A session that was shown something.
#[derive(Clone, Debug)]
pub struct FedSession {
    /// Which.
    pub id: SessionId,
    /// How it stands now.
    pub mode: Mode,
    /// The calls that have shown it something, newest first.
    pub uses: Vec<Use>,
    /// What it did since the first of them, in order: all but reads that succeeded, at most
    /// [`USES_SHOWN_MAX`].
    pub followed: Vec<Followed>,
    /// Calls since then.
    pub calls: usize,
    /// Of these, changes that were let out.
    pub changes: usize,
    /// Of these, calls that were refused or wait for somebody.
    pub refused: usize,
    /// Whether there were more calls than were looked at, or are told.
    pub is_cut: bool,
}

/// A call that has shown something.
#[derive(Clone, Debug)]
pub struct Use {
    /// The call, as the log has it.
    pub logged: LoggedCall,
    /// The documents, `<source>/<id>`. `None`: its answer was erased, or not kept.
    pub documents: Option<BTreeSet<String>>,
}

/// A call of a session that was shown something.
#[derive(Clone, Debug)]
pub struct Followed {
    /// The call, as the log has it.
    pub logged: LoggedCall,
    /// Whether it cites what the question is about.
    pub cites: bool,
}

/// The documents that an answer has shown, as the record keeps them.
pub(crate) fn shown(
    operation: &OperationName,
    world: Option<&World>,
    result: &Json,
) -> BTreeSet<ShownDocument> {
    let names = cited(operation, world, result).into_iter();
    let names = names.filter_map(|name| name.split_once('/'));
    names.map(|(source, id)| ShownDocument { source: source.into(), id: id.into() }).collect()
}

impl Kernel {
    /// What a document, or all of a source, has fed. `identity`: whose tenant it is if the bundle
    /// registers no source of that name.
    pub async fn uses_of(
        &self,
        identity: &Identity,
        (source, document): (&str, Option<&str>),
        before: Option<(Micros, CallId)>,
        max: u32,
    ) -> Result<Uses, Refusal> {
        let tenant = self.tenant_of_source(source);
        let which = WhichUses {
            tenant: tenant.unwrap_or_else(|| identity.tenant.clone()),
            source: source.to_owned(),
            document: document.map(str::to_owned),
            before,
        };
        let max = max.min(USES_READ_MAX);
        let found = self.parts.store.uses(&which, max).await;
        let found = found.map_err(|error| not_recorded(&error))?;
        let is_full = u32::try_from(found.len()).unwrap_or(u32::MAX) >= max;
        let next = found.last().filter(|_| is_full).map(|last| (last.at, last.call.clone()));
        let mut by_session: BTreeMap<SessionId, Vec<Use>> = BTreeMap::new();
        let mut order = Vec::new();
        for logged in found {
            let id = logged.decided.get("session").and_then(Json::as_str).unwrap_or_default();
            let id = SessionId::new(id).map_err(|_| Refusal::of(Code::LedgerCorrupt))?;
            let documents = self.documents_of(&logged.call, &which).await?;
            if !by_session.contains_key(&id) {
                order.push(id.clone());
            }
            by_session.entry(id).or_default().push(Use { logged, documents });
        }
        let mut sessions = Vec::with_capacity(order.len());
        for id in order {
            let uses = by_session.remove(&id).unwrap_or_default();
            sessions.push(self.fed(id, uses, &which).await?);
        }
        Ok(Uses { sessions, next })
    }

    /// The documents in question that a call has shown.
    async fn documents_of(
        &self,
        call: &CallId,
        which: &WhichUses,
    ) -> Result<Option<BTreeSet<String>>, Refusal> {
        let Some(facts) = self.facts_of(call).await? else { return Ok(None) };
        let ended = self.parts.store.ended(call).await.map_err(|error| not_recorded(&error))?;
        let Some(Ended::Result(result)) = ended else { return Ok(None) };
        let all = shown(&facts.call.operation, self.world().as_deref(), &result);
        let is_asked_for = |it: &ShownDocument| which.has(&it.source, &it.id);
        let named = all.into_iter().filter(is_asked_for);
        Ok(Some(named.map(|it| format!("{}/{}", it.source, it.id)).collect()))
    }

    /// What a session did since it was first shown something.
    async fn fed(
        &self,
        id: SessionId,
        uses: Vec<Use>,
        which: &WhichUses,
    ) -> Result<FedSession, Refusal> {
        let store = &self.parts.store;
        let from = uses.iter().map(|it| it.logged.at).min().unwrap_or(Micros(0));
        let calls = store.followed(&id, from, FOLLOWED_READ_MAX).await;
        let calls = calls.map_err(|error| not_recorded(&error))?;
        let kept = store.kept_session(&id).await.map_err(|error| not_recorded(&error))?;
        let mode = kept.map_or(Mode::Normal, |state| state.mode);
        let is_full = u32::try_from(calls.len()).unwrap_or(u32::MAX) >= FOLLOWED_READ_MAX;
        let count = calls.len();
        let mut session = FedSession {
            id,
            mode,
            uses,
            followed: Vec::new(),
            calls: count,
            changes: 0,
            refused: 0,
            is_cut: is_full,
        };
        for logged in calls {
            let is_refused = !is_let_out(&logged);
            let is_read = text(&logged.decided, "effect") == "read";
            session.refused += usize::from(is_refused);
            session.changes += usize::from(!is_refused && !is_read);
            if is_read && has_succeeded(&logged) {
                continue;
            }
            if session.followed.len() < USES_SHOWN_MAX {
                let cites = self.cites(&logged, which).await?;
                session.followed.push(Followed { logged, cites });
            } else {
                session.is_cut = true;
            }
        }
        Ok(session)
    }

    /// Whether a call cites what the question is about.
    async fn cites(&self, logged: &LoggedCall, which: &WhichUses) -> Result<bool, Refusal> {
        let Some(world) = self.world() else { return Ok(false) };
        let Ok(operation) = OperationName::new(text(&logged.decided, "operation")) else {
            return Ok(false);
        };
        let Some(cite) = world.operations.get(&operation).and_then(|it| it.cite.as_ref()) else {
            return Ok(false);
        };
        let Some(facts) = self.facts_of(&logged.call).await? else { return Ok(false) };
        let claims = claims(cite, facts.call.arguments()).unwrap_or_default();
        Ok(claims.iter().any(|claim| which.has(&claim.source, &claim.id)))
    }
}

/// Whether a call was let out of the gate, or answered with what another came to.
fn is_let_out(logged: &LoggedCall) -> bool {
    text(&logged.decided, "verdict") == "allow"
}

fn has_succeeded(logged: &LoggedCall) -> bool {
    let outcome = logged.outcome.as_ref();
    is_let_out(logged) && outcome.is_none_or(|outcome| text(outcome, "state") == "succeeded")
}

fn text<'j>(leaf: &'j Json, name: &str) -> &'j str {
    leaf.get(name).and_then(Json::as_str).unwrap_or_default()
}
