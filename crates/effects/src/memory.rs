//! An upstream that is a memory of the gate's own: agents write memos there and read them later.
//!
//! Whose memory it is comes from who the permit was given to, and from nothing in the call: no
//! argument reaches another subject's, task's or agent's. What is written keeps the label of what
//! its session had met; what is read brings those labels along, so that whoever reads has met what
//! the writer had. `said` is how memos look to whoever reads them.

mod said;

use crate::bundled::{besides_tools, in_era};
use crate::exchange::{End, FarEnd};
use crate::perform::perform_here;
use crate::trouble::Trouble;
use crate::upstream::{Upstream, Way};
use crate::upstreams::Through;
use lockgate_core::World;
use lockgate_core::declare::{self, ScopeWord};
use lockgate_core::world::{Operation, Recollection};
use lockgate_store::{Asker, Memo, MemoScope, NewMemo, Noted, Store, StoreError};
use lockgate_types::call::Call;
use lockgate_types::decision::Decision;
use lockgate_types::flow::Author;
use lockgate_types::label::{Confidentiality, Integrity, Label};
use lockgate_types::{Code, Digest, Json, Object, OperationName};
use lockgate_wire::Era;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Memos that one answer has unless fewer are asked for.
const RECALLED_USUALLY: usize = 10;
/// Memos that one answer has at most.
const RECALLED_MAX: usize = 50;
/// Bytes of the texts of one answer. A single memo may have as many as a memo may. With what is
/// said about memos, and said twice, an answer is not too long for its session to remember.
const RECALLED_BYTES_MAX: usize = 12 * 1024;
/// Names of memos that one answer has.
const LISTED_MAX: usize = 200;

/// A memory of one bundle.
pub(crate) struct Memory {
    /// The bundle that described it: a call that was decided under another does not come here.
    pub(crate) bundle: Digest,
    plan: Plan,
}

/// What a bundle says of one memory.
pub(crate) struct Plan {
    declared: declare::Memory,
    tools: Vec<Json>,
    kinds: BTreeMap<OperationName, Recollection>,
}

/// What a call is performed with.
pub(crate) struct Hands {
    pub(crate) store: Option<Store>,
    pub(crate) asker: Option<Asker>,
    pub(crate) decision: Option<Decision>,
    pub(crate) era: Era,
}

impl Plan {
    pub(crate) fn new(world: &World, upstream: &str, declared: &declare::Memory) -> Self {
        let own = world.operations.iter().filter(|(_, it)| it.upstream.as_str() == upstream);
        let own = own.filter_map(|(name, it)| Some((name, it, it.recollection?)));
        let own: Vec<(&OperationName, &Operation, Recollection)> = own.collect();
        let tools = own.iter().map(|(_, it, kind)| said::tool(*kind, it, declared)).collect();
        let kinds = own.iter().map(|(name, _, kind)| ((*name).clone(), *kind)).collect();
        Self { declared: declared.clone(), tools, kinds }
    }
}

impl Memory {
    pub(crate) const fn new(bundle: Digest, plan: Plan) -> Self {
        Self { bundle, plan }
    }

    /// The definitions of the tools, as `tools/list` gives them.
    pub(crate) fn tools(&self) -> Vec<Json> {
        self.plan.tools.clone()
    }

    /// Which part of it is whoever's asks.
    fn scope(&self, memory: &str, asker: &Asker) -> MemoScope {
        let is_per = |word| self.plan.declared.per.contains(&word);
        MemoScope {
            memory: memory.to_owned(),
            task: is_per(ScopeWord::Task).then(|| asker.who.task.clone()),
            agent: is_per(ScopeWord::Agent).then(|| asker.who.agent.clone()),
        }
    }
}

/// Performs a call that a recorded decision allows, to its end.
pub(crate) async fn perform(
    upstream: Arc<Upstream>,
    call: Call,
    hands: Hands,
    through: Through,
    far: FarEnd,
) {
    perform_here(&upstream, through, &far, answer(&upstream, &call, hands)).await;
}

/// How it ends, and what whoever reads it meets.
type Answered = (End, Option<Label>);

async fn answer(upstream: &Upstream, call: &Call, hands: Hands) -> Result<Answered, Trouble> {
    let Hands { store: Some(store), asker: Some(asker), decision: Some(decision), era } = hands
    else {
        return Err(Trouble::before(Code::InvariantBroken, "no decision about a memory"));
    };
    let Way::Memory(memory) = &upstream.way else {
        return Err(Trouble::before(Code::InvariantBroken, "it is no memory"));
    };
    if memory.bundle != decision.bundle {
        let detail = "another bundle describes the memory by now";
        return Err(Trouble::before(Code::FactsMoved, detail));
    }
    if call.method != "tools/call" {
        return Ok((besides_tools(&call.method), None));
    }
    let Some(kind) = memory.plan.kinds.get(&call.operation) else {
        return Err(Trouble::before(Code::UnknownName, "a memory has no such tool"));
    };
    let scope = memory.scope(upstream.name.as_str(), &asker);
    let asked = Asking { call, memory, store, asker, bundle: decision.bundle, scope };
    let (result, met) = match kind {
        Recollection::Remember => asked.remember().await?,
        Recollection::Recall => asked.recall().await?,
        Recollection::List => asked.list().await?,
        Recollection::Forget => asked.forget().await?,
    };
    Ok((End::Result(in_era(result, era)), met))
}

/// What is asked of a memory.
struct Asking<'a> {
    call: &'a Call,
    memory: &'a Memory,
    store: Store,
    asker: Asker,
    bundle: Digest,
    scope: MemoScope,
}

/// A result, and what whoever reads it meets.
type Told = (Object, Option<Label>);

impl Asking<'_> {
    fn text(&self, name: &str) -> &str {
        let given = self.call.arguments().and_then(|arguments| arguments.get(name));
        given.and_then(Json::as_str).unwrap_or_default()
    }

    async fn remember(&self) -> Result<Told, Trouble> {
        let declared = &self.memory.plan.declared;
        let (key, text) = (self.text("key"), self.text("text"));
        let max = usize::try_from(declared.entry_bytes_max).unwrap_or(usize::MAX);
        if text.len() > max {
            let detail = format!("{} bytes, and a memo has at most {max}", text.len());
            return Err(Trouble::before(Code::MemoTooLarge, detail));
        }
        let new = NewMemo {
            key: key.to_owned(),
            text: text.to_owned(),
            call: self.call.attempt_of.as_ref().unwrap_or(&self.call.id).clone(),
            is_attempt: self.call.attempt_of.is_some(),
            bundle: self.bundle,
            lasts_us: i64::from(declared.ttl_s).saturating_mul(1_000_000),
            label: written_under(&self.asker, self.call),
            max: declared.entries_max,
        };
        let noted = self.store.note_memo(&self.asker.who, &self.scope, new).await;
        match noted.map_err(|error| unsure(&error))? {
            Noted::Kept(until) => Ok((said::remembered(key, until), None)),
            Noted::Full(max) => {
                let detail = format!("it has {max} memos");
                Err(Trouble::before(Code::MemoryFull, detail))
            }
            Noted::Nobody => Err(Trouble::before(Code::PayloadErased, "the subject is erased")),
        }
    }

    async fn recall(&self) -> Result<Told, Trouble> {
        let words = words(self.text("words"));
        let limit = self.call.arguments().and_then(|arguments| arguments.get("limit"));
        let limit = limit.and_then(Json::as_i64).and_then(|limit| usize::try_from(limit).ok());
        let limit = limit.unwrap_or(RECALLED_USUALLY).min(RECALLED_MAX);
        let mut room = RECALLED_BYTES_MAX;
        let (mut found, mut is_whole) = (Vec::new(), true);
        let all = self.memos(self.text("prefix")).await?;
        for memo in all.into_iter().filter(|memo| has_all(memo, &words)) {
            let fits = found.is_empty() || memo.text.len() <= room;
            if found.len() >= limit || !fits {
                is_whole = false;
                break;
            }
            room = room.saturating_sub(memo.text.len());
            found.push(memo);
        }
        Ok((said::recalled(&found, is_whole), met(&found)))
    }

    async fn list(&self) -> Result<Told, Trouble> {
        let mut all = self.memos(self.text("prefix")).await?;
        let is_whole = all.len() <= LISTED_MAX;
        all.truncate(LISTED_MAX);
        // Names are words of whoever wrote them.
        Ok((said::listed(&all, is_whole), met(&all)))
    }

    async fn forget(&self) -> Result<Told, Trouble> {
        let (key, first) = (self.text("key"), self.call.attempt_of.as_ref());
        let forgotten = self.store.forget_memo(&self.asker.who, &self.scope, key, first).await;
        Ok((said::forgotten(key, forgotten.map_err(|error| unsure(&error))?), None))
    }

    async fn memos(&self, prefix: &str) -> Result<Vec<Memo>, Trouble> {
        let found = self.store.memos_in(&self.asker.who, &self.scope).await;
        let mut found = found.map_err(|error| Trouble::before(error.code(), error.to_string()))?;
        found.retain(|memo| memo.key.starts_with(prefix));
        Ok(found)
    }
}

/// What a memo carries: all that its session had met. An attempt at an effect in doubt is made by
/// the gate, in no session of the writer's: what that one had met is not known here, so it counts
/// as the worst.
fn written_under(asker: &Asker, call: &Call) -> Label {
    let mut label = asker.met.clone();
    if call.attempt_of.is_some() {
        label.absorb(Label::of(Author::Anyone, Confidentiality::Restricted));
    }
    label
}

/// What whoever reads memos meets: all that their writers had met, and words of theirs, which are
/// no fact because somebody has written them down.
fn met(memos: &[Memo]) -> Option<Label> {
    let labels = memos.iter().map(known_label);
    let all = labels.reduce(|mut all, label| {
        all.absorb(label);
        all
    });
    all.map(|mut all| {
        all.absorb(Label::of(Author::Tenant, Confidentiality::Public));
        all
    })
}

/// What a memo brings along. One that a person has confirmed is a person's words, and still as
/// confidential as what they are about.
fn known_label(memo: &Memo) -> Label {
    let mut label = memo.label.clone();
    // It was true then, at best.
    label.absorb(Label { oldest: Some(memo.at), ..Label::default() });
    match memo.confirmed {
        None => label,
        Some(_) => {
            Label { integrity: Integrity::Untrusted, origins: [Author::Tenant].into(), ..label }
        }
    }
}

/// A write of which nobody knows whether it happened, unless it certainly did not.
fn unsure(error: &StoreError) -> Trouble {
    let trouble = match error {
        StoreError::Overloaded { .. } | StoreError::Closed => Trouble::before,
        _ => Trouble::after,
    };
    trouble(error.code(), error.to_string())
}

/// The words that are looked for, in small letters.
fn words(text: &str) -> Vec<String> {
    let words = text.split_whitespace().map(str::to_lowercase);
    words.collect()
}

fn has_all(memo: &Memo, words: &[String]) -> bool {
    let text = memo.text.to_lowercase();
    words.iter().all(|word| text.contains(word.as_str()) || memo.key.contains(word.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::call::Direction;
    use lockgate_types::identity::Identity;
    use lockgate_types::{CallId, UpstreamName};

    fn asker() -> Asker {
        let who = Identity {
            issuer: "dev".to_owned(),
            subject: "alice".parse().unwrap(),
            agent: "bot".parse().unwrap(),
            tenant: "default".parse().unwrap(),
            environment: "dev".parse().unwrap(),
            task: None,
            subject_groups: Default::default(),
            subject_roles: Default::default(),
            authentication: Default::default(),
            own: Default::default(),
            agent_groups: Default::default(),
        };
        let met = Label::of(Author::System, Confidentiality::Internal);
        Asker { who: Arc::new(who), met, facts: None }
    }

    #[test]
    fn what_the_gate_writes_again_by_itself_counts_as_the_worst() {
        let id = CallId::new("00000000000000000000000000000001").unwrap();
        let upstream = UpstreamName::new("notes").unwrap();
        let params = Object::new().with("name", "remember").with("arguments", Object::new());
        let call = Call::new(id.clone(), upstream, Direction::ToUpstream, "tools/call", params);
        let call = call.unwrap();
        assert_eq!(written_under(&asker(), &call), asker().met);
        let again = written_under(&asker(), &Call { attempt_of: Some(id), ..call });
        assert!(again.covers(&asker().met));
        assert_eq!(again.confidentiality, Confidentiality::Restricted);
        assert!(again.origins.contains(&Author::Anyone), "{again:?}");
    }
}
