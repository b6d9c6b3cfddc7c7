//! Calls of operations of the gate's own that no client makes: decided, refused for as long as
//! somebody has to agree and nobody has, kept as a request for approval meanwhile, and recorded.

use crate::Kernel;
use crate::admit::DECIDE_ROUNDS_MAX;
use crate::approve::as_facts;
use crate::port::Refusal;
use crate::refusal::{not_concluded, not_recorded};
use crate::reverse::Origin;
use lockgate_core::rule::{Ruling, rule};
use lockgate_store::{ApprovalRequest, CommitError, OutcomeRecord, OutcomeState, Spent, Terms};
use lockgate_types::call::{Call, Effect};
use lockgate_types::decision::Verdict;
use lockgate_types::label::Label;
use lockgate_types::{Code, Json};
use std::collections::BTreeSet;

/// A call of the gate's own that was let out.
pub(crate) struct LetOut {
    pub(crate) spent: Spent,
    pub(crate) effect: Effect,
    /// What was agreed to for it, and is used up.
    pub(crate) given: Option<ApprovalRequest>,
    pub(crate) started: i64,
}

impl Kernel {
    /// Decides a call of the gate's own, and records that it is let out. Refused, it waits for
    /// people where they could agree.
    pub(crate) async fn let_out(&self, origin: &Origin, mut call: Call) -> Result<LetOut, Refusal> {
        let mut given = None;
        for _ in 0..DECIDE_ROUNDS_MAX {
            let started = self.parts.clock.now().0;
            let (world, mut facts) = self.gather(origin, call).await?;
            facts.approvals = given.as_ref().map(as_facts).unwrap_or_default();
            let allowed = match rule(&world, facts) {
                Ruling::Allowed(allowed) => allowed,
                Ruling::Refused(refused) => {
                    if refused.decision().verdict != Verdict::RequireApproval {
                        return Err(self.refuse(refused).await);
                    }
                    given = self.agreed(&world, refused.facts(), given.take()).await?;
                    if given.is_none() {
                        return Err(Box::pin(self.ask_anew(&world, origin, refused)).await);
                    }
                    call = refused.into_parts().1.call;
                    continue;
                }
            };
            let approval = given.as_ref().map(|request: &ApprovalRequest| request.call.clone());
            let effect = allowed.decision().effect;
            let terms = Terms { approval, ..Terms::default() };
            match self.parts.store.commit(allowed, terms).await {
                Ok(permit) => {
                    let spent = permit.spend().2;
                    return Ok(LetOut { spent, effect, given, started });
                }
                Err(CommitError::Moved(facts)) => (call, given) = (self.moved(*facts).await, None),
                Err(CommitError::Failed(error)) => return Err(not_recorded(&error)),
                Err(
                    CommitError::Repeats(_) | CommitError::UnderWay(_) | CommitError::Exhausted(_),
                ) => return Err(Refusal::of(Code::InvariantBroken)),
            }
        }
        Err(self.undecided(&origin.identity, Refusal::of(Code::FactsMoved)).await)
    }

    /// Records what such a call came to, and that its session has met it.
    pub(crate) async fn concluded(
        &self,
        (spent, effect, started): (Spent, Effect, i64),
        result: Json,
        label: Label,
    ) -> Result<(), Refusal> {
        let at = self.parts.clock.now();
        let outcome = OutcomeRecord {
            state: OutcomeState::Succeeded,
            at,
            code: None,
            keep_all: false,
            result: Some(result.to_bytes()),
            label,
            duration_us: at.0.saturating_sub(started),
            redactions: 0,
            is_error: false,
            has_asked: false,
            never_left: false,
            answer: None,
            shown: BTreeSet::new(),
        };
        let concluded = self.parts.store.conclude(spent, outcome).await;
        concluded.map(drop).map_err(|error| not_concluded(&error, effect))
    }
}
