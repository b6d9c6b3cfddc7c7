//! From a proposal to a permit: facts → decide → record, again if something moved meanwhile.

use crate::Kernel;
use crate::again::{self, Known, Waiting};
use crate::approve::{self, Before};
use crate::flow::Watched;
use crate::gather::CAUGHT_UP_WITHIN;
use crate::model::MadeOf;
use crate::plan::Planning;
use crate::port::{Answer, ClientPort, Refusal};
use crate::refusal::not_recorded;
use crate::retriever::Sifting;
use crate::reverse::{Origin, Within};
use crate::risk::Asked;
use lockgate_core::World;
use lockgate_core::caps::{self, Charge};
use lockgate_core::plan;
use lockgate_core::risk;
use lockgate_core::rule::{Allowed, Refused, Ruling, rule};
use lockgate_core::world::Class;
use lockgate_effects::Exchange;
use lockgate_store::{ApprovalRequest, CommitError, StoreError, Terms};
use lockgate_types::call::{Call, Effect};
use lockgate_types::decision::{Decision, Verdict};
use lockgate_types::facts::{Approval, Earlier, Exhausted, Facts, Standing};
use lockgate_types::{CallId, Code, Retry};
use std::sync::Arc;

/// How often a call is decided anew because its session changed meanwhile. Each round needs a
/// concurrent change of exposure, which only rises and has few levels.
pub(crate) const DECIDE_ROUNDS_MAX: u32 = 4;
/// When it is worth asking again where calls under way are in the way: nobody knows when one ends.
const ENDS_WITHIN_MS: i64 = 1000;

/// What the rounds of deciding one call have found out so far.
#[derive(Default)]
pub(crate) struct Found {
    rounds: u32,
    /// The same effect, asked for before.
    pub(crate) earlier: Option<Earlier>,
    /// Who had agreed to it then.
    pub(crate) agreed_then: Vec<Approval>,
    /// What has been agreed to and not used.
    agreed: Option<ApprovalRequest>,
    waiting: Option<Waiting>,
    /// Caps without room.
    exhausted: Vec<Exhausted>,
    /// What was found out for a call in two phases.
    planning: Planning,
    /// Whether the call became an attempt here, and was asked for as a call of its own.
    was_converted: bool,
}

/// What is noted of a call, for when its result is there.
pub(crate) struct Noted {
    /// What the result will be remembered as.
    pub(crate) watched: Option<Box<Watched>>,
    /// What is counted of it.
    pub(crate) asked: Option<Box<Asked>>,
    /// What a model's answer is made of.
    pub(crate) made_of: Option<Box<MadeOf>>,
    /// How what a retriever finds is looked through.
    pub(crate) sifting: Option<Sifting>,
}

/// How far a call came.
pub(crate) enum Admitted {
    /// It is on its way.
    Performed {
        decision: Box<Decision>,
        exchange: Exchange,
        noted: Noted,
        /// The call that first asked for the effect, if this is an attempt.
        attempt_of: Option<CallId>,
    },
    /// The effect was asked for before: this is what came of it. Or this is the plan for it.
    Answered(Answer),
}

/// What follows from a refusal.
enum Next {
    /// To decide again.
    Again(Box<Call>),
    /// To answer with a plan.
    Plan(Answer),
}

impl Kernel {
    /// Facts → decide → record, again if the session or the bundle moved, until there is a permit,
    /// a refusal, or the answer of an earlier call.
    pub(crate) async fn admit(
        &self,
        origin: &mut Origin,
        mut call: Call,
        client: &ClientPort,
    ) -> Result<Admitted, Refusal> {
        let mut found = Found::default();
        while found.rounds < DECIDE_ROUNDS_MAX {
            found.rounds += 1;
            origin.within = Some(Within::of(&call));
            let (world, mut facts) = self.gather(origin, call).await?;
            self.gather_plan(&world, origin, &mut facts, &mut found.planning).await?;
            facts.earlier = found.earlier.take();
            facts.exhausted.clone_from(&found.exhausted);
            let approval = found.agreed.take();
            facts.approvals = match (&approval, &facts.call.attempt_of) {
                (Some(request), _) => approve::as_facts(request),
                // Who agreed to the effect agreed to attempts at it.
                (None, Some(first)) => Box::pin(self.approvals_of(&first.clone())).await?,
                (None, None) => std::mem::take(&mut found.agreed_then),
            };
            let mut allowed = match rule(&world, facts) {
                Ruling::Allowed(allowed) => allowed,
                Ruling::Refused(refused) => {
                    let rules = (&*world, &*origin, client);
                    match Box::pin(self.reconsider(refused, approval, rules, &mut found)).await? {
                        Next::Again(again) => call = *again,
                        Next::Plan(plan) => return Ok(Admitted::Answered(plan)),
                    }
                    continue;
                }
            };
            match allowed.facts().earlier.clone() {
                Some(Earlier { call: first, standing: Standing::Ended }) => {
                    self.notice_repeat(&world, &mut allowed);
                    let answer = Box::pin(self.replay(allowed, &first, origin.caller.era)).await?;
                    return Ok(Admitted::Answered(answer));
                }
                Some(known) if allowed.facts().call.attempt_of.is_none() => {
                    let taken_up = self.take_up(&world, origin, allowed, &known.call);
                    call = Box::pin(taken_up).await?;
                    found.was_converted = call.attempt_of.is_some();
                    found.earlier = found.was_converted.then_some(known);
                    continue;
                }
                Some(_) | None => {}
            }
            let decision = Box::new(allowed.decision().clone());
            let attempt_of = allowed.facts().call.attempt_of.clone();
            let noted = self.noted(&world, origin, allowed.facts());
            match self.dispatch(&world, allowed, approval.as_ref(), (origin, client)).await {
                Ok(Some(exchange)) => {
                    return Ok(Admitted::Performed { decision, exchange, noted, attempt_of });
                }
                // The store has recorded that the permit was not used. Nobody is there to be told.
                Ok(None) => return Err(Refusal::of(Code::UpstreamTruncated)),
                Err(CommitError::Moved(facts)) => {
                    let moved = self.moved_on(&world, origin, *facts, &found);
                    call = Box::pin(moved).await?;
                }
                Err(CommitError::Repeats(facts)) => {
                    (call, found.earlier) = (facts.call, facts.earlier);
                }
                Err(CommitError::Exhausted(facts)) => {
                    (call, found.exhausted) = (facts.call, facts.exhausted);
                    found.agreed = approval;
                }
                Err(CommitError::UnderWay(facts)) => {
                    let waiting = (&*world, &*origin, client);
                    Box::pin(self.wait_for_it(&mut found, waiting, &facts)).await?;
                    call = facts.call;
                }
                Err(CommitError::Failed(error)) => return Err(not_recorded(&error)),
            }
        }
        Err(Box::pin(self.undecided(&origin.identity, Refusal::of(Code::FactsMoved))).await)
    }

    fn noted(&self, world: &Arc<World>, origin: &Origin, facts: &Facts) -> Noted {
        let mut asked = self.asked(world, facts);
        if let Some(asked) = &mut asked {
            asked.probe.clone_from(&origin.aside.probe);
        }
        let (made_of, sifting) = (MadeOf::of(facts), Sifting::of(world, facts));
        Noted { watched: self.watched(world, facts), asked, made_of, sifting }
    }

    /// What to do about a call that is refused: to decide again if it asks for an approval that was
    /// given, or for an effect that was agreed to or planned before; to offer a plan; else to say
    /// so.
    async fn reconsider(
        &self,
        refused: Refused,
        tried: Option<ApprovalRequest>,
        (world, origin, client): (&World, &Origin, &ClientPort),
        found: &mut Found,
    ) -> Result<Next, Refusal> {
        if code_of(&refused) == Some(Code::UpstreamBroken) {
            let left = self.left_alone(refused, (world, origin, client), found);
            let call = Box::pin(left).await?;
            return Ok(Next::Again(Box::new(call)));
        }
        if plan::is_proposal(world, refused.facts()) {
            let considered = self.consider_proposal(refused, tried, (world, origin), found);
            return Box::pin(considered).await;
        }
        let is_plan_refused = code_of(&refused) == Some(Code::PlanRefused);
        let is_unsettled = refused.decision().verdict == Verdict::RequireApproval;
        // Nobody is asked again about what is in doubt.
        if !(is_unsettled || is_plan_refused) || refused.facts().call.attempt_of.is_some() {
            return Err(self.say_no(refused).await);
        }
        let is_known = refused.facts().earlier.is_some();
        match self.asked_before(world, refused.facts()).await? {
            Before::Stands(earlier, _)
                if is_plan_refused && earlier.standing == Standing::OtherArguments =>
            {
                return Err(self.refuse(refused).await);
            }
            Before::Stands(earlier, approvals) if !is_known => {
                (found.earlier, found.agreed_then) = (Some(earlier), approvals);
            }
            Before::UnderWay => {
                self.wait_for_it(found, (world, origin, client), refused.facts()).await?;
            }
            Before::Stands(..) | Before::Never if is_plan_refused => {
                return Err(self.refuse(refused).await);
            }
            Before::Stands(..) | Before::Never => {
                found.agreed = self.agreed(world, refused.facts(), tried).await?;
                if found.agreed.is_none() {
                    return Err(Box::pin(self.ask_anew(world, origin, refused)).await);
                }
            }
        }
        Ok(Next::Again(Box::new(refused.into_parts().1.call)))
    }

    /// What to do about the first of two phases: to look what it would do, to see whether somebody
    /// has agreed, and to offer the plan.
    async fn consider_proposal(
        &self,
        refused: Refused,
        tried: Option<ApprovalRequest>,
        (world, origin): (&World, &Origin),
        found: &mut Found,
    ) -> Result<Next, Refusal> {
        if refused.decision().verdict == Verdict::Deny {
            return Err(self.say_no(refused).await);
        }
        if found.planning.lacks_preview(world, refused.facts()) {
            found.rounds -= 1;
            let preview = self.preview(world, origin, refused.facts()).await;
            found.planning.shown(preview);
            return Ok(Next::Again(Box::new(refused.into_parts().1.call)));
        }
        if refused.decision().verdict == Verdict::RequireApproval {
            found.agreed = self.agreed(world, refused.facts(), tried).await?;
            if found.agreed.is_some() {
                return Ok(Next::Again(Box::new(refused.into_parts().1.call)));
            }
        }
        let plan =
            Box::pin(self.propose(world, refused, &found.planning, origin.caller.era)).await?;
        Ok(Next::Plan(plan))
    }

    pub(crate) async fn say_no(&self, refused: Refused) -> Refusal {
        let (resets_in, loosens_in) = (resets_in(refused.facts()), loosens_in(refused.facts()));
        let mut refusal = self.refuse(refused).await;
        if refusal.code == Code::CapReached {
            refusal.retry = resets_in.map_or(refusal.retry, Retry::AfterMs);
        }
        if refusal.code == Code::ModeForbids {
            refusal.retry = loosens_in.map_or(refusal.retry, Retry::AfterMs);
        }
        refusal
    }

    /// Lets a moment pass in which another call may end that performs the same effect. Does not
    /// count as a round.
    pub(crate) async fn wait_for_it(
        &self,
        found: &mut Found,
        (world, origin, client): (&World, &Origin, &ClientPort),
        facts: &Facts,
    ) -> Result<(), Refusal> {
        let waiting = &mut found.waiting;
        let waiting = waiting.get_or_insert_with(|| Waiting::new(self, world, &facts.call));
        if waiting.again(self, client).await {
            found.rounds -= 1;
            return Ok(());
        }
        Err(self.undecided(&origin.identity, Refusal::of(Code::EffectUnderWay)).await)
    }

    /// What to do about an effect in doubt that is asked for again: the call as an attempt at it,
    /// or as it was, if the record knows more now.
    async fn take_up(
        &self,
        world: &World,
        origin: &Origin,
        allowed: Allowed,
        first: &CallId,
    ) -> Result<Call, Refusal> {
        let (_, facts) = allowed.into_parts();
        let mut call = facts.call;
        let began = self.facts_of(first).await?;
        let known = match &began {
            Some(began) => self.find_out(world, origin, &began.call).await?,
            None => Known::Nothing,
        };
        match known {
            Known::MayBeSent => again::attempt(world, &mut call, first),
            Known::Settled => {}
            Known::Nothing => {
                let doubt = again::in_doubt(first);
                return Err(self.undecided(&origin.identity, doubt).await);
            }
        }
        Ok(call)
    }

    /// A call to be decided again, and as what: something was recorded meanwhile.
    async fn moved_on(
        &self,
        world: &World,
        origin: &Origin,
        facts: Facts,
        found: &Found,
    ) -> Result<Call, Refusal> {
        let call = self.moved(facts).await;
        match call.attempt_of.is_some() {
            true => self.not_an_attempt(world, origin, call, found).await,
            false => Ok(call),
        }
    }

    /// A call whose first is no longer in doubt: as it was asked for, if somebody asked; else
    /// nothing.
    async fn not_an_attempt(
        &self,
        world: &World,
        origin: &Origin,
        mut call: Call,
        found: &Found,
    ) -> Result<Call, Refusal> {
        if !found.was_converted {
            let doubt = Refusal::of(Code::OutcomeInDoubt);
            return Err(self.undecided(&origin.identity, doubt).await);
        }
        let before = call.effect_key();
        call.attempt_of = None;
        again::replace_key(world, &mut call, before);
        Ok(call)
    }

    /// Whether the gate itself can find out what became of this, if it comes to be in doubt.
    pub(crate) fn may_be_found_out(&self, call: &Call) -> bool {
        let Some(world) = self.world() else { return false };
        let repeat = again::repeat_of(&world, call);
        repeat.is_some_and(|repeat| !matches!(repeat.class, Class::Opaque))
    }

    /// A call to be decided again. If another bundle is taking over, once it rules.
    pub(crate) async fn moved(&self, facts: Facts) -> Call {
        drop(self.parts.adopting.lock().await);
        self.hear_of_bundle().await;
        facts.call
    }

    /// Waits until this node knows of the bundle that another of its fleet has just published: a
    /// write hears of it from the record before the node does.
    async fn hear_of_bundle(&self) {
        let Some(mut heard) = self.parts.store.ruling() else { return };
        let Ok(Some(ruling)) = self.parts.store.fleets_bundle().await else { return };
        let known = heard.wait_for(|known| *known == Some(ruling));
        // Else it is decided again all the same, and says what it finds.
        let _ = tokio::time::timeout(CAUGHT_UP_WITHIN, known).await;
    }

    /// Records the intent and lets the call out: the permit is the only way. `None`: the client is
    /// gone already.
    async fn dispatch(
        &self,
        world: &World,
        allowed: Allowed,
        approval: Option<&ApprovalRequest>,
        (origin, client): (&Origin, &ClientPort),
    ) -> Result<Option<Exchange>, CommitError> {
        let (allowed, watch) = self.enter(allowed)?;
        let charges = charges(world, &allowed).map_err(CommitError::Failed)?;
        let (caller, presented) = (Arc::clone(&origin.caller), origin.presented.clone());
        let is_free = approval.is_none() && charges.is_empty();
        if is_free && may_share_commit(world, allowed.facts(), allowed.decision()) {
            let permit = self.parts.store.admit_read(allowed)?;
            let upstreams = &self.parts.upstreams;
            return Ok(Some(upstreams.perform_read(permit, caller, presented, watch)));
        }
        let call = &allowed.facts().call;
        let repeat = again::repeat_of(world, call);
        let window_us = repeat.and_then(|repeat| again::window_us(repeat, call));
        let approval = approval.map(|request| request.call.clone());
        let terms = Terms { window_us, approval, charges };
        let permit = self.parts.store.commit(allowed, terms).await?;
        if client.is_closed() {
            return Ok(None);
        }
        Ok(Some(self.parts.upstreams.perform(permit, caller, presented, watch)))
    }
}

fn code_of(refused: &Refused) -> Option<Code> {
    refused.decision().denial.as_ref().map(|denial| denial.code)
}

/// What an allowed call takes of caps.
pub(crate) fn charges(world: &World, allowed: &Allowed) -> Result<Vec<Charge>, StoreError> {
    caps::charges(world, allowed.facts()).map_err(|_| {
        let rule = "what a cap cannot add up has been refused";
        StoreError::Broken { rule }
    })
}

/// Milliseconds until the last of the caps without room begins anew.
fn resets_in(facts: &Facts) -> Option<u32> {
    let left_ms = |exhausted: &Exhausted| match exhausted.resets_at {
        Some(at) => at.0.saturating_sub(facts.now.0).max(0).saturating_add(999) / 1000,
        None => ENDS_WITHIN_MS,
    };
    let left_ms = facts.exhausted.iter().map(left_ms).max()?;
    Some(u32::try_from(left_ms).unwrap_or(u32::MAX))
}

/// Milliseconds until a timer loosens the mode that holds. `None`: none does.
fn loosens_in(facts: &Facts) -> Option<u32> {
    let (seen, mode) = (facts.risk.as_ref()?, risk::mode(facts));
    let holding = [&seen.session, &seen.tenant].into_iter().filter(|it| it.mode == mode);
    let ends: Option<Vec<i64>> = holding.map(|it| it.loosens_at.map(|at| at.0)).collect();
    let left_us = ends?.into_iter().max()?.saturating_sub(facts.now.0).max(0);
    Some(u32::try_from(left_us.saturating_add(999) / 1000).unwrap_or(u32::MAX))
}

/// Only a read without a destination argument may share one commit with its outcome (design §3).
fn may_share_commit(world: &World, facts: &Facts, decision: &Decision) -> bool {
    let names_destination = match world.operations.get(&facts.call.operation) {
        Some(operation) => !operation.destination.is_empty(),
        None => true,
    };
    // A subscription has no reply in sight, and what it says is covered by its intent.
    let is_endless = facts.call.method == "subscriptions/listen";
    // Of a model's answer in events much is said before its end.
    let is_endless = is_endless || facts.call.model.as_ref().is_some_and(|asked| asked.stream);
    decision.effect == Effect::Read && !names_destination && !is_endless
}
