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
use lockgate_retrieval::corpus::Corpus;
use lockgate_store::{
    Ended, FOLLOWED_COUNTED_MAX, FOLLOWED_READ_MAX, FollowedCalls, LoggedCall, ShownDocument,
    USES_READ_MAX, WhichUses,
};
use lockgate_types::facts::Mode;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Code, Json, Micros, OperationName, SessionId};
use std::collections::{BTreeMap, BTreeSet};

/// Calls that have shown a document, or something of a source, by the sessions in which they did.
#[derive(Clone, Debug, Default)]
pub struct Uses {
    /// The id of the document. `None`: all of the source.
    pub document: Option<String>,
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
    /// The first changes since the first of them, and the first calls that were refused or wait for
    /// somebody: at most [`FOLLOWED_READ_MAX`] of each, in order.
    pub followed: Vec<Followed>,
    /// Reads since then. This and what follows is counted up to [`FOLLOWED_COUNTED_MAX`].
    pub reads: u32,
    /// Changes that were let out.
    pub changes: u32,
    /// Calls that were refused, or wait for somebody.
    pub refused: u32,
    /// Whether there were more than are told, or counted.
    pub is_cut: bool,
}

/// A call that has shown something.
#[derive(Clone, Debug)]
pub struct Use {
    /// The call, as the log has it.
    pub logged: LoggedCall,
    /// The documents, `<source>/<id>`. `None`: its answer was erased, not kept, or is of an
    /// operation that the bundle does not know any more.
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
        let is_first = before.is_none();
        let mut which = WhichUses {
            tenant: tenant.unwrap_or_else(|| identity.tenant.clone()),
            source: source.to_owned(),
            document: document.map(str::to_owned),
            before,
        };
        let max = max.min(USES_READ_MAX);
        let uses = async |which: &WhichUses| {
            let found = self.parts.store.uses(which, max).await;
            found.map_err(|error| not_recorded(&error))
        };
        let mut found = uses(&which).await?;
        if found.is_empty() && is_first {
            // As answers name it: with its source.
            let id = document.and_then(|name| name.strip_prefix(source)?.strip_prefix('/'));
            if let Some(id) = id.filter(|id| !id.is_empty()) {
                let named = WhichUses { document: Some(id.to_owned()), ..which.clone() };
                found = uses(&named).await?;
                which = if found.is_empty() { which } else { named };
            }
        }
        if found.is_empty() && is_first {
            self.is_known(&which).await?;
        }
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
        Ok(Uses { document: which.document, sessions, next })
    }

    /// That nobody was shown something is said of what there is alone: a name that is misspelt
    /// would be told the same.
    async fn is_known(&self, which: &WhichUses) -> Result<(), Refusal> {
        let (declared, _) = self.declared_source(&which.source)?;
        let Some(id) = which.document.clone() else { return Ok(()) };
        if declared.connector.retriever.is_some() {
            // What others have is not known here.
            return Ok(());
        }
        let of = which.source.clone();
        let id = id.strip_prefix(&format!("{of}/")).map(str::to_owned).into_iter().chain([id]);
        let ids: Vec<String> = id.collect();
        let is_there = move |corpus: &Corpus| {
            let mut found = false;
            for id in &ids {
                found |= corpus.has_place(&of, id)?;
            }
            Ok(found)
        };
        match self.ask_corpus(is_there).await? {
            true => Ok(()),
            false => Err(Refusal::of(Code::NoSuchPlace)),
        }
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
        let named: BTreeSet<String> = named.map(|it| format!("{}/{}", it.source, it.id)).collect();
        // Something was shown: where nothing is named, the bundle of now cannot read it any more.
        Ok(Some(named).filter(|named| !named.is_empty()))
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
        let FollowedCalls { counts, calls } =
            store.followed(&id, from).await.map_err(|error| not_recorded(&error))?;
        let kept = store.kept_session(&id).await.map_err(|error| not_recorded(&error))?;
        let mode = kept.map_or(Mode::Normal, |state| state.mode);
        let mut followed = Vec::with_capacity(calls.len());
        for logged in calls {
            let cites = self.cites(&logged, which).await?;
            followed.push(Followed { logged, cites });
        }
        let [reads, changes, refused] = counts;
        let is_cut = changes > FOLLOWED_READ_MAX
            || refused > FOLLOWED_READ_MAX
            || counts.iter().any(|count| *count >= FOLLOWED_COUNTED_MAX);
        Ok(FedSession { id, mode, uses, followed, reads, changes, refused, is_cut })
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

fn text<'j>(leaf: &'j Json, name: &str) -> &'j str {
    leaf.get(name).and_then(Json::as_str).unwrap_or_default()
}
