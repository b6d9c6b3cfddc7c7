//! Asking again: repeats are answered from the record, what is in doubt is found out (I5).
//!
//! The store lets one call have the permit for an effect. Another that asks for the same waits for
//! its outcome and is answered with it. What is in doubt is sent again with its key, looked up, or
//! left to a person, as the operation's class says; each attempt is a call of its own, decided by
//! what rules now, with an intent and an outcome of its own.

use crate::Kernel;
use crate::label::Labels;
use crate::obligation;
use crate::plan;
use crate::port::{Answer, ClientPort, Proposal, Refusal};
use crate::presence::presence;
use crate::refusal::not_recorded;
use crate::reverse::{Origin, Within};
use crate::words::Words;
use lockgate_core::World;
use lockgate_core::rule::Allowed;
use lockgate_core::world::{Class, Lookup, Place, Repeat};
use lockgate_store::{Doubt, Ended, Fault, Means, OutcomeState};
use lockgate_types::call::{Call, KEY_META, KEY_PREFIX};
use lockgate_types::decision::Decision;
use lockgate_types::label::Label;
use lockgate_types::{CallId, Code, Json, Micros, Object};
use lockgate_wire::{Era, RpcError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// The member of a result's `_meta` that says what became of the effect.
pub const EFFECT_META: &str = "dev.lockgate/effect";

/// How long an upstream is taken to remember a key: after that, a person has to find out.
const KEY_KEPT_US: i64 = 24 * 60 * 60 * 1_000_000;
/// Between two looks at an effect in doubt that nobody waits for, doubled each time.
const SETTLE_AFTER_US: i64 = 20 * 1_000_000;
const SETTLE_AFTER_MAX_US: i64 = 60 * 60 * 1_000_000;
/// Bytes of a key.
pub(crate) const KEY_BYTES_MAX: usize = 255;
/// How often what is in doubt is tried again within one call.
const ATTEMPTS_MAX: u32 = 4;
/// Between two attempts, doubled each time.
const ATTEMPT_AFTER: Duration = Duration::from_millis(50);
/// Between two looks at an effect that another call performs, doubled up to the second.
const LOOK_AFTER: Duration = Duration::from_millis(2);
const LOOK_AFTER_MAX: Duration = Duration::from_millis(64);
/// Effects in doubt that are taken up in one go.
const DOUBTS_MAX: u32 = 64;

/// Waits for an effect that another call performs, not for ever.
pub(crate) struct Waiting {
    until: Micros,
    pause: Duration,
}

impl Waiting {
    /// Not longer than the call itself could take.
    pub(crate) fn new(kernel: &Kernel, world: &World, call: &Call) -> Self {
        let upstream = world.gate.upstream.get(call.upstream.as_str());
        let timeout_ms = upstream.map_or(0, |upstream| upstream.timeout_ms);
        let until = kernel.clock().now().0.saturating_add(i64::from(timeout_ms) * 1000);
        Self { until: Micros(until), pause: LOOK_AFTER }
    }

    /// Lets a moment pass; whether to look again.
    pub(crate) async fn again(&mut self, kernel: &Kernel, client: &ClientPort) -> bool {
        if client.is_closed() || kernel.clock().now() > self.until {
            return false;
        }
        kernel.clock().wait(self.pause).await;
        self.pause = (self.pause * 2).min(LOOK_AFTER_MAX);
        true
    }
}

/// What is known about a call in doubt.
pub(crate) enum Known {
    /// It can be sent again.
    MayBeSent,
    /// It has been found out; ask the record.
    Settled,
    /// Nothing yet.
    Nothing,
}

/// What the bundle says about asking twice for this.
pub(crate) fn repeat_of<'a>(world: &'a World, call: &Call) -> Option<&'a Repeat> {
    world.operations.get(&call.operation)?.repeat.as_ref()
}

/// Reads the caller's key, and fills in the one for the upstream where it is part of what is
/// decided.
pub(crate) fn name_effect(
    world: &World,
    call: &mut Call,
    given: Option<String>,
) -> Result<(), Code> {
    let Some(repeat) = repeat_of(world, call) else { return Ok(()) };
    let in_meta = call.params.get("_meta").and_then(|meta| meta.get(KEY_META));
    // A plan is the key of what it offers.
    let plan = plan::given(call);
    let argument = match &repeat.place {
        Some(Place::Argument(name)) if plan.is_none() => {
            call.arguments().and_then(|given| given.get(name))
        }
        _ => None,
    };
    let key = match (in_meta, argument, given) {
        (Some(key), _, _) => Some(key.as_str().ok_or(Code::KeyMalformed)?.to_owned()),
        (None, _, Some(key)) => Some(key),
        // What is not text is for the schema to refuse.
        (None, Some(key), None) => key.as_str().map(str::to_owned),
        (None, None, None) => plan.map(|plan| plan.to_text()),
    };
    let is_key = |key: &String| {
        (1..=KEY_BYTES_MAX).contains(&key.len())
            && key.bytes().all(|byte| byte.is_ascii_graphic())
            // The gate's own begin so.
            && !key.starts_with(KEY_PREFIX)
    };
    if !key.as_ref().is_none_or(is_key) {
        return Err(Code::KeyMalformed);
    }
    call.key = key;
    let own = call.effect_key();
    match &repeat.place {
        Some(Place::Argument(name)) => {
            if let Some(arguments) = member(&mut call.params, "arguments")
                && arguments.get(name).is_none_or(|given| *given == Json::Null)
            {
                arguments.set(name.as_str(), own);
            }
        }
        Some(Place::Meta(name)) => {
            if let Some(meta) = member(&mut call.params, "_meta") {
                meta.set(name.as_str(), own);
            }
        }
        Some(Place::Header(name)) => call.key_header = Some(name.clone()),
        None => {}
    }
    Ok(())
}

/// What a call was sent with as its key, at the place where one is taken now. `None`: nothing that
/// the upstream could know it by.
fn sent_key(repeat: &Repeat, call: &Call) -> Option<String> {
    let text = |value: Option<&Json>| value.and_then(Json::as_str).map(str::to_owned);
    match repeat.place.as_ref()? {
        Place::Argument(name) => text(call.arguments()?.get(name)),
        Place::Meta(name) => text(call.params.get("_meta")?.get(name)),
        Place::Header(name) => (call.key_header.as_ref() == Some(name)).then(|| call.effect_key()),
    }
}

/// A member that is an object, made if it is not there. `None`: it is there and no object.
pub(crate) fn member<'a>(params: &'a mut Object, name: &str) -> Option<&'a mut Object> {
    if !params.contains(name) {
        params.set(name, Object::new());
    }
    params.get_mut(name).and_then(Json::as_object_mut)
}

/// Makes a call an attempt at the effect that another first asked for.
pub(crate) fn attempt(world: &World, call: &mut Call, first: &CallId) {
    let before = call.effect_key();
    call.attempt_of = Some(first.clone());
    replace_key(world, call, before);
}

/// Puts the call's own key where another of the gate's stands.
pub(crate) fn replace_key(world: &World, call: &mut Call, before: String) {
    let (before, own) = (Json::from(before), call.effect_key());
    let (holder, name) = match repeat_of(world, call).and_then(|repeat| repeat.place.clone()) {
        Some(Place::Argument(name)) => ("arguments", name),
        Some(Place::Meta(name)) => ("_meta", name),
        Some(Place::Header(_)) | None => return,
    };
    if let Some(holder) = member(&mut call.params, holder)
        && holder.get(&name) == Some(&before)
    {
        holder.set(name.as_str(), own);
    }
}

impl Kernel {
    /// Answers a call with what came of an earlier one: decided by today's rules, met by today's
    /// obligations, recorded as a repeat, performed by nobody.
    pub(crate) async fn replay(
        &self,
        allowed: Allowed,
        first: &CallId,
        era: Era,
    ) -> Result<Answer, Refusal> {
        let store = &self.parts.store;
        let decision = allowed.decision().clone();
        let ended = store.ended(first).await.map_err(|error| not_recorded(&error))?;
        let how = plan::how_again(&allowed.facts().call);
        let unreadable = || Refusal {
            reason: format!("the call {first} has ended, and its answer cannot be read"),
            ..Refusal::of(Code::PayloadErased)
        };
        let answer = match ended {
            Some(Ended::Result(result)) => {
                Ok(Answer::Result(mark(in_era(met(result, &decision), era), first, &how)))
            }
            Some(Ended::Error(error)) => RpcError::from_json(error)
                .map(|mut error| {
                    obligation::on_error(&decision.obligations, &mut error);
                    Answer::Error(error)
                })
                .ok_or_else(unreadable),
            Some(Ended::Resolved { has_happened, means }) => {
                Ok(Answer::Result(in_era(resolved(first, has_happened, &means), era)))
            }
            Some(Ended::Unreadable) | None => Err(unreadable()),
        };
        // What is read again is met again.
        let (world, at) = (self.world(), self.parts.clock.now());
        let operation = allowed.facts().call.operation.clone();
        let labels = Labels { world: world.as_deref(), operation: &operation };
        let label = match &answer {
            Ok(Answer::Result(result)) => labels.result(result, at),
            Ok(Answer::Error(error)) => labels.error(error, at),
            Ok(Answer::Refused(_)) | Err(_) => Label::default(),
        };
        store.repeat(allowed, label).await.map_err(|error| not_recorded(&error))?;
        answer
    }

    /// Finds out what can be found out about an effect in doubt: by what the bundle says now, and
    /// by what was sent then.
    pub(crate) async fn find_out(
        &self,
        world: &World,
        origin: &Origin,
        first: &Call,
    ) -> Result<Known, Refusal> {
        let Some(repeat) = repeat_of(world, first) else { return Ok(Known::Nothing) };
        let resends_opaque = self.parts.store.faults().is(Fault::ResendsOpaque);
        if matches!(repeat.class, Class::Opaque) && resends_opaque {
            return Ok(Known::MayBeSent);
        }
        // What was sent without a key nobody can send again, or look up.
        let Some(key) = sent_key(repeat, first) else { return Ok(Known::Nothing) };
        match &repeat.class {
            Class::Idempotent => Ok(Known::MayBeSent),
            Class::Queryable(lookup) => self.look_up(origin, first, key, lookup).await,
            Class::Opaque => Ok(Known::Nothing),
        }
    }

    /// Asks the upstream whether an effect is there. Before it can no longer appear, only its
    /// presence says something.
    async fn look_up(
        &self,
        origin: &Origin,
        first: &Call,
        reference: String,
        lookup: &Lookup,
    ) -> Result<Known, Refusal> {
        let left_at = self.concluded_at(&first.id).await?;
        let asked_at = self.parts.clock.now();
        let arguments = Object::new().with(lookup.argument.as_str(), reference);
        let params = Object::new().with("name", lookup.tool.as_str()).with("arguments", arguments);
        let client = nobody();
        let proposal = Proposal {
            identity: Arc::clone(&origin.identity),
            session: origin.session.clone(),
            caller: Arc::clone(&origin.caller),
            presented: origin.presented.clone(),
            upstream: origin.upstream.clone(),
            method: "tools/call".to_owned(),
            params,
            words: Words::default(),
            traceparent: first.traceparent.clone(),
            key: None,
            model: None,
            client,
        };
        let reply = self.call_within(proposal, Some(Within::of(first))).await;
        let Answer::Result(result) = reply.answer else { return Ok(Known::Nothing) };
        let is_settled = asked_at.0.saturating_sub(left_at.0) > lookup.settles_us
            || self.parts.store.faults().is(Fault::BelievesAbsence);
        let state = match presence(&result, &lookup.found, lookup.missing_status) {
            Some(true) => OutcomeState::Succeeded,
            Some(false) if is_settled => OutcomeState::Failed,
            Some(false) | None => return Ok(Known::Nothing),
        };
        let settled = self.parts.store.resolve(&first.id, state, Means::Lookup(reply.call)).await;
        // Somebody else was faster: the record says what it is, to who asks next.
        let is_ours = settled.map_err(|error| not_recorded(&error))?.is_some();
        Ok(if is_ours { Known::Settled } else { Known::Nothing })
    }

    /// When the gate gave up on a call: nothing of it leaves after that.
    async fn concluded_at(&self, call: &CallId) -> Result<Micros, Refusal> {
        let at = self.parts.store.concluded_at(call).await;
        Ok(at.map_err(|error| not_recorded(&error))?.unwrap_or(Micros(i64::MAX)))
    }

    /// Goes after an effect that is in doubt. `None`: it still is, or nobody waits for it to be
    /// done anew.
    pub(crate) async fn go_after(
        &self,
        origin: &Origin,
        first: &Call,
        client: &ClientPort,
        is_awaited: bool,
    ) -> Option<Answer> {
        let mut began = match &first.attempt_of {
            Some(began) => self.facts_of(began).await.ok()??.call,
            None => first.clone(),
        };
        let mut pause = ATTEMPT_AFTER;
        for _ in 0..ATTEMPTS_MAX {
            self.parts.clock.wait(pause).await;
            pause *= 2;
            let world = self.world()?;
            let mut call = began.clone();
            call.id = self.parts.clock.mint();
            Within::mark(Some(&Within::of(first)), &mut call);
            match self.find_out(&world, origin, &began).await.ok()? {
                Known::MayBeSent => attempt(&world, &mut call, &began.id),
                Known::Settled => {
                    let ended = self.parts.store.ended(&began.id).await.ok()?;
                    if let Some(Ended::Resolved { has_happened: true, means }) = ended {
                        let result = resolved(&began.id, true, &means);
                        return Some(Answer::Result(in_era(result, origin.caller.era)));
                    }
                    if !is_awaited {
                        return None;
                    }
                    // It is known not to have happened: the way is free, for another effect.
                    replace_key(&world, &mut call, began.effect_key());
                    began = call.clone();
                }
                Known::Nothing => continue,
            }
            match Box::pin(self.pass(origin.clone(), call, client.clone())).await {
                Ok(passed) if passed.is_in_doubt => {}
                Ok(passed) => return Some(passed.answer),
                Err(refusal) if refusal.code == Code::OutcomeInDoubt => {}
                Err(_) => return None,
            }
        }
        None
    }

    /// Takes up effects in doubt that can be found out without a person, for those who asked for
    /// them and by what rules now. Gives how many are in doubt afterwards.
    pub async fn settle_doubts(&self) -> usize {
        let (mut after, mut seen) = (0, BTreeSet::new());
        loop {
            let Ok(doubts) = self.parts.store.doubts(after, DOUBTS_MAX).await else { break };
            let Some(last) = doubts.last() else { break };
            after = last.outcome;
            for doubt in doubts {
                if self.is_due(&doubt.call) {
                    self.settle_doubt(&doubt).await;
                }
                seen.insert(doubt.call);
            }
        }
        self.settling().retain(|call, _| seen.contains(call));
        let left = self.parts.store.doubts(0, DOUBTS_MAX).await;
        left.map_or(seen.len(), |left| left.len())
    }

    fn settling(&self) -> MutexGuard<'_, BTreeMap<CallId, Settling>> {
        self.parts.settling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it is time to look at an effect again.
    fn is_due(&self, call: &CallId) -> bool {
        let now = self.parts.clock.now().0;
        let mut settling = self.settling();
        let due = settling.entry(call.clone()).or_default();
        if due.not_before > now {
            return false;
        }
        due.pause_us = due.pause_us.saturating_mul(2).clamp(SETTLE_AFTER_US, SETTLE_AFTER_MAX_US);
        due.not_before = now.saturating_add(due.pause_us);
        true
    }

    async fn settle_doubt(&self, doubt: &Doubt) {
        let Some(world) = self.world() else { return };
        // Erased: nobody can ask for it again, and nobody is told.
        let Ok(Some(facts)) = self.facts_of(&doubt.call).await else { return };
        let call = facts.call;
        let Some(repeat) = repeat_of(&world, &call) else { return };
        let age_us = self.parts.clock.now().0.saturating_sub(facts.now.0);
        let may_be_found_out = match repeat.class {
            Class::Idempotent => age_us < KEY_KEPT_US,
            Class::Queryable(_) => true,
            Class::Opaque => self.parts.store.faults().is(Fault::ResendsOpaque),
        };
        if !may_be_found_out {
            return;
        }
        let origin = Origin::gone(facts.identity, call.upstream.clone());
        // Who asked is told when it asks again.
        let _ = self.go_after(&origin, &call, &nobody(), false).await;
    }
}

/// When an effect in doubt is looked at again.
#[derive(Default)]
pub(crate) struct Settling {
    not_before: i64,
    pause_us: i64,
}

/// A client that hears everything and answers nothing.
pub(crate) fn nobody() -> ClientPort {
    let (client, mut heard) = mpsc::channel(1);
    tokio::spawn(async move { while heard.recv().await.is_some() {} });
    client
}

/// How long the same call is the same effect. `None`: there is nothing to remember, since nothing
/// is done about one in doubt either.
pub(crate) fn window_us(repeat: &Repeat, call: &Call) -> Option<i64> {
    let is_opaque = matches!(repeat.class, Class::Opaque);
    let is_forgotten = is_opaque && repeat.window_us == 0 && call.key.is_none();
    (!is_forgotten).then_some(repeat.window_us)
}

/// What is said where nothing can be found out yet.
pub(crate) fn in_doubt(first: &CallId) -> Refusal {
    let code = Code::OutcomeInDoubt;
    Refusal { reason: format!("{}: it was the call {first}", code.title()), ..Refusal::of(code) }
}

fn met(mut result: Json, decision: &Decision) -> Json {
    obligation::on_result(&decision.obligations, &mut result);
    result
}

/// A result as the caller's era has it: the first call may have come in the other.
pub(crate) fn in_era(mut result: Json, era: Era) -> Json {
    let Json::Object(members) = &mut result else { return result };
    match era {
        Era::Stateless if !members.contains("resultType") => {
            members.set("resultType", "complete");
        }
        Era::Sessions => drop(members.remove("resultType")),
        Era::Stateless => {}
    }
    result
}

/// Says that an answer is that of an earlier call, and how to ask for a second effect.
fn mark(mut result: Json, first: &CallId, how: &str) -> Json {
    let Json::Object(members) = &mut result else { return result };
    let said = Object::new()
        .with("state", "replayed")
        .with("call", first.as_str())
        .with("hint", format!("nothing was done now; for a second effect {how}"));
    if let Some(meta) = member(members, "_meta") {
        meta.set(EFFECT_META, said);
    }
    result
}

/// What is answered where only a lookup or a person knows.
fn resolved(first: &CallId, has_happened: bool, means: &str) -> Json {
    let what = if has_happened { "it has happened" } else { "it has not happened" };
    let text = format!("the effect of the call {first} was in doubt; {what} (by {means})");
    let said = Object::new()
        .with("state", if has_happened { "succeeded" } else { "failed" })
        .with("call", first.as_str())
        .with("by", means);
    let content = Object::new().with("type", "text").with("text", text);
    Object::new()
        .with("content", vec![Json::from(content)])
        .with("isError", !has_happened)
        .with("_meta", Object::new().with(EFFECT_META, said))
        .into()
}
