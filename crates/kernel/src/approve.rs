//! Approvals: a call that needs a person waits as a request, and is made once when everybody who
//! has to has agreed.
//!
//! What is agreed to is one exact proposal. It is decided again, by what rules then, when somebody
//! agrees, and when the call is made; so is the right of those who agreed.

use crate::Kernel;
use crate::again;
use crate::port::{PENDING, Refusal, Waits};
use crate::refusal::{explain, not_recorded};
use lockgate_core::bundle::admin::STANDS_IN;
use lockgate_core::caps::{self, FOR_THE_CAP};
use lockgate_core::evidence::evidence;
use lockgate_core::rule::{Refused, Ruling, rule};
use lockgate_core::{World, decide};
use lockgate_store::{ApprovalAnswer, ApprovalRequest, Blocked, Scopes, StoreError};
use lockgate_types::decision::Verdict;
use lockgate_types::evidence::{BreakerSeen, CapUse, Risk};
use lockgate_types::facts::{Approval, Earlier, Facts};
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Code, Json, Micros, Retry};
use std::sync::Arc;

/// When a caller may look again whether somebody has agreed.
pub(crate) const LOOK_AGAIN_MS: u32 = 5000;

/// Whether an effect was asked for before.
pub(crate) enum Before {
    Never,
    UnderWay,
    /// How it stands, and who had agreed.
    Stands(Earlier, Vec<Approval>),
}

/// A requirement, read: `2 of group:finance`.
struct Requirement<'a> {
    /// How many have to agree.
    quorum: usize,
    /// `group:…`, `role:…`, `user:…`; anything else is for policies alone.
    who: &'a str,
}

impl<'a> Requirement<'a> {
    fn read(text: &'a str) -> Self {
        let text = text.split_once(FOR_THE_CAP).map_or(text, |(who, _)| who);
        let counted = text.split_once(" of ").and_then(|(count, who)| {
            let quorum = count.parse().ok().filter(|count| *count > 0)?;
            Some(Self { quorum, who: who.trim() })
        });
        counted.unwrap_or(Self { quorum: 1, who: text })
    }

    fn admits(&self, approver: &Identity) -> bool {
        match self.who.split_once(':') {
            Some(("group", name)) => {
                approver.subject_groups.iter().any(|group| group.as_str() == name)
            }
            Some(("role", name)) => approver.subject_roles.iter().any(|role| role.as_str() == name),
            Some(("user", name)) => approver.subject.as_str() == name,
            // What cannot be read admits nobody.
            Some(_) => false,
            None => true,
        }
    }
}

impl Kernel {
    /// What has been agreed to for exactly this call, if it still holds. `tried`: what was not
    /// enough by the rules of now.
    pub(crate) async fn agreed(
        &self,
        world: &World,
        facts: &Facts,
        tried: Option<ApprovalRequest>,
    ) -> Result<Option<ApprovalRequest>, Refusal> {
        let store = &self.parts.store;
        let given = match tried {
            Some(_) => None,
            None => store.given_for(facts).await.map_err(|error| not_recorded(&error))?,
        };
        let Some(request) = given else {
            if let Some(tried) = tried {
                self.supersede(&tried, &facts.call.id).await?;
            }
            return Ok(None);
        };
        for given in &request.given {
            if !self.still_may(world, &given.by).await? {
                self.supersede(&request, &facts.call.id).await?;
                return Ok(None);
            }
        }
        Ok(Some(request))
    }

    async fn supersede(&self, request: &ApprovalRequest, by: &CallId) -> Result<(), Refusal> {
        let superseded = ApprovalAnswer::Supersede;
        let answered = self.parts.store.answer_approval(&request.call, superseded, by).await;
        answered.map(drop).map_err(|error| not_recorded(&error))
    }

    /// How the effect stands that a call asks for which needs a person, if it was asked for before:
    /// who agreed to it then need not agree to its answer.
    pub(crate) async fn asked_before(
        &self,
        world: &World,
        facts: &Facts,
    ) -> Result<Before, Refusal> {
        let repeat = again::repeat_of(world, &facts.call);
        let window_us = repeat.and_then(|repeat| again::window_us(repeat, &facts.call));
        let Some(window_us) = window_us else { return Ok(Before::Never) };
        let standing = self.parts.store.standing(facts, window_us).await;
        match standing.map_err(|error| not_recorded(&error))? {
            None => Ok(Before::Never),
            Some(Blocked::UnderWay) => Ok(Before::UnderWay),
            Some(Blocked::Settled) => Ok(Before::Never),
            Some(Blocked::Stands(earlier)) => {
                let approvals = self.approvals_of(&earlier.call).await?;
                Ok(Before::Stands(earlier, approvals))
            }
        }
    }

    /// Who had agreed to a call when it was decided.
    pub(crate) async fn approvals_of(&self, call: &CallId) -> Result<Vec<Approval>, Refusal> {
        Ok(self.facts_of(call).await?.map(|then| then.approvals).unwrap_or_default())
    }

    /// Whether what somebody did through the admin API would be allowed to them now.
    pub(crate) async fn still_may(&self, world: &World, by: &CallId) -> Result<bool, Refusal> {
        let Some(facts) = self.facts_of(by).await? else { return Ok(false) };
        Ok(decide(world, &self.as_of_now(facts)).verdict == Verdict::Allow)
    }

    /// Facts of then, as they would be now. How fresh a sign-in was is a matter of then: who had
    /// just signed in when they agreed need not be there again when it is used.
    fn as_of_now(&self, mut facts: Facts) -> Facts {
        facts.switches = self.parts.store.switches_about(&Scopes::of(&facts));
        let now = self.parts.clock.now();
        let passed_s = now.0 / 1_000_000 - facts.now.0 / 1_000_000;
        if let Some(at) = facts.identity.authentication.at {
            let identity = Arc::make_mut(&mut facts.identity);
            identity.authentication.at = Some(at.saturating_add(passed_s));
        }
        facts.now = now;
        facts
    }

    /// What a call was decided from; `None` if that was erased, or there is no such call.
    pub(crate) async fn facts_of(&self, call: &CallId) -> Result<Option<Facts>, Refusal> {
        self.parts.store.facts_of(call).await.map_err(|error| not_recorded(&error))
    }

    /// Has a refused call wait until somebody agrees, and says so.
    /// `shown`: what a preview shows that was made for it.
    pub(crate) async fn ask_people(
        &self,
        world: &World,
        refused: Refused,
        shown: Option<&Json>,
    ) -> Refusal {
        let refused = match self.with_all_that_is_missing(world, refused).await {
            Ok(refused) => refused,
            Err(refusal) => return refusal,
        };
        let mut refusal = explain(refused.decision());
        let lasts_us = i64::from(world.gate.limits.approval_ms).saturating_mul(1000);
        let expires = Micros(self.parts.clock.now().0.saturating_add(lasts_us));
        let risk = match self.risk_of(world, refused.facts()).await {
            Ok(risk) => risk,
            Err(error) => return not_recorded(&error),
        };
        let evidence = evidence(world, refused.decision(), refused.facts(), shown, risk);
        let requirements = refused.decision().approvals.clone();
        match self.parts.store.ask(refused, &evidence, expires).await {
            Ok((call, expires_at)) => {
                refusal.approval = Some(Box::new(Waits {
                    url: world.gate.approval_page(&call),
                    call,
                    state: PENDING,
                    expires_at,
                    operation: evidence.operation,
                    requirements,
                    look_again_ms: LOOK_AGAIN_MS,
                }));
                refusal.retry = Retry::AfterMs(LOOK_AGAIN_MS);
                refusal
            }
            Err(error) => not_recorded(&error),
        }
    }

    /// What is known of the risk of a call that waits for somebody.
    async fn risk_of(&self, world: &World, facts: &Facts) -> Result<Risk, StoreError> {
        // What a cap cannot add up is refused before anybody is asked.
        let charges = caps::charges(world, facts).unwrap_or_default();
        let taken = self.parts.store.used(&charges).await?;
        let caps = charges.into_iter().zip(taken).map(|(charge, used)| CapUse {
            cap: charge.cap,
            amount: charge.amount,
            used,
            max: charge.max,
            resets_at: charge.until.resets_at(),
        });
        let health = self.parts.upstreams.health().into_iter();
        let mine = health.filter(|health| health.upstream == facts.call.upstream);
        let breakers = mine.flat_map(|health| health.breakers).map(|standing| BreakerSeen {
            operation: standing.operation.map(|operation| operation.to_string()),
            state: standing.state.as_str(),
            cause: standing.cause,
        });
        let history = self.parts.store.asked_lately(facts).await?;
        Ok(Risk { caps: caps.collect(), breakers: breakers.collect(), history })
    }

    /// The refusal that names everything which has to be agreed to, also what was agreed to before
    /// and was not enough.
    async fn with_all_that_is_missing(
        &self,
        world: &World,
        refused: Refused,
    ) -> Result<Refused, Refusal> {
        if refused.facts().approvals.is_empty() {
            return Ok(refused);
        }
        let (_, mut facts) = refused.into_parts();
        facts.approvals.clear();
        match rule(world, facts) {
            Ruling::Refused(refused) if refused.decision().verdict == Verdict::RequireApproval => {
                Ok(refused)
            }
            Ruling::Refused(refused) => Err(self.refuse(refused).await),
            Ruling::Allowed(_) => Err(Refusal::of(Code::InvariantBroken)),
        }
    }

    /// Somebody agrees to a request, for one of its requirements. `by`: the call to the admin API,
    /// which policies have allowed. `answer`: what they have written, where that is what was asked
    /// for.
    pub async fn approve(
        &self,
        request: &CallId,
        (requirement, answer): (&str, &str),
        approver: &Identity,
        by: &CallId,
    ) -> Result<(), Refusal> {
        let facts = self.waiting(request).await?;
        let is_answer = facts.call.operation.as_str() == STANDS_IN;
        if is_answer && answer.trim().is_empty() {
            return Err(Refusal::of(Code::AnswerMissing));
        }
        let requester = &facts.identity;
        // Names are what policies go by, whoever vouches for them.
        let is_own = requester.subject == approver.subject || requester.agent == approver.agent;
        if is_own {
            return Err(Refusal::of(Code::SelfApproval));
        }
        let wanted = Requirement::read(requirement);
        if !wanted.admits(approver) {
            return Err(Refusal::of(Code::ApproverNotEligible));
        }
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let decision = decide(&world, &self.as_of_now(facts));
        if decision.verdict == Verdict::Deny {
            self.answer(request, ApprovalAnswer::Supersede, by).await?;
            return Err(explain(&decision));
        }
        let approver = self.parts.store.pseudonym(approver).await;
        let answer = ApprovalAnswer::Give {
            requirement: requirement.to_owned(),
            quorum: wanted.quorum,
            approver: approver.map_err(|error| not_recorded(&error))?,
        };
        self.answer(request, answer, by).await
    }

    /// Somebody does not agree.
    pub async fn reject(&self, request: &CallId, by: &CallId) -> Result<(), Refusal> {
        self.waiting(request).await?;
        self.answer(request, ApprovalAnswer::Deny, by).await
    }

    async fn waiting(&self, request: &CallId) -> Result<Facts, Refusal> {
        let found = self.parts.store.approval_request(request).await;
        let found = found.map_err(|error| not_recorded(&error))?;
        let found = found.ok_or_else(|| Refusal::of(Code::RecordNotFound))?;
        if !found.state.is_open() || found.expires <= self.parts.clock.now() {
            let state = match found.state.is_open() {
                true => "expired",
                false => found.state.as_str(),
            };
            let reason = format!("{}: it is {state}", Code::ApprovalClosed.title());
            return Err(Refusal { reason, ..Refusal::of(Code::ApprovalClosed) });
        }
        self.facts_of(request).await?.ok_or_else(|| Refusal::of(Code::PayloadErased))
    }

    async fn answer(
        &self,
        request: &CallId,
        answer: ApprovalAnswer,
        by: &CallId,
    ) -> Result<(), Refusal> {
        let answered = self.parts.store.answer_approval(request, answer, by).await;
        self.parts.answered.notify_waiters();
        match answered {
            Ok(true) => Ok(()),
            Ok(false) => Err(Refusal::of(Code::ApprovalClosed)),
            Err(error) => Err(not_recorded(&error)),
        }
    }
}

/// What was agreed to, as a decision sees it.
pub(crate) fn as_facts(request: &ApprovalRequest) -> Vec<Approval> {
    let given = request.given.iter().map(|given| Approval {
        requirement: given.requirement.clone(),
        approver: given.approver.clone(),
    });
    given.collect()
}
