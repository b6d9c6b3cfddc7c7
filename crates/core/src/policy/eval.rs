//! Which policies hold for a call, for its agent and for its subject.
//!
//! The one place beneath Cedar's public API (`cedar-policy-core`, pinned): the public one walks
//! every policy it is given and clones what it finds. `policy_oracle` among the tests of `sim`
//! asserts that both give the same answers.

use super::index::{self, PrincipalKeys, ResourceKeys};
use super::{Action, Force, Policies, PolicyAt, Side, alone, slice};
use cedar_policy_core::ast::{
    Context, EntityUID, EntityUIDEntry, Expr, Literal, Request, SlotEnv, ValueKind,
};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use lockgate_types::OperationName;
use lockgate_types::facts::Facts;
use lockgate_types::identity::Identity;
use std::sync::Arc;

/// Which policies hold, on both sides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Legs {
    /// For the agent itself.
    pub agent: Leg,
    /// For the subject it acts for.
    pub subject: Leg,
    /// The arguments that policies could not be shown.
    pub unusable: Vec<String>,
}

/// Which policies hold, on one side. Each list is sorted by name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leg {
    /// Permits that hold.
    pub permits: Vec<PolicyAt>,
    /// Forbids that hold.
    pub forbids: Vec<PolicyAt>,
    /// Policies that could not be evaluated.
    pub failures: Vec<Failure>,
    /// Policies that speak about an argument they could not be shown.
    pub blind: Vec<PolicyAt>,
}

impl Legs {
    /// One of them.
    pub fn side(&self, side: Side) -> &Leg {
        match side {
            Side::Agent => &self.agent,
            Side::Subject => &self.subject,
        }
    }
}

impl Legs {
    pub(crate) const fn side_mut(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::Agent => &mut self.agent,
            Side::Subject => &mut self.subject,
        }
    }
}

/// A policy that could not be evaluated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Which.
    pub policy: PolicyAt,
    /// Why, for operators: it may contain values of arguments, so it stands in no decision.
    pub error: String,
}

/// Why no policy could be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unasked {
    /// The operation is not among those the policies were compiled for.
    NoAction,
    /// The argument that must name the resource does not.
    NoResource,
    /// An entity could not be built.
    NoEntity,
}

/// Whether bodies hold that do not speak about the principal: asked for one side, known for both.
pub(super) type Known = Vec<(PolicyAt, Result<bool, String>)>;

impl Policies {
    /// Which policies hold for these facts.
    pub fn legs(&self, facts: &Facts) -> Result<Legs, Unasked> {
        let action = self.actions.get(&facts.call.operation).ok_or(Unasked::NoAction)?;
        let resource = slice::resource_name(action, facts).ok_or(Unasked::NoResource)?;
        if !self.has_types(action) {
            return Err(Unasked::NoEntity);
        }
        let names = &self.index.names;
        let upstream = facts.call.upstream.as_str();
        let resource_keys = ResourceKeys::new(names, (action.resource_type, &resource), upstream);
        let candidates = |side| {
            let keys = self.principal_keys(side, &facts.identity);
            self.index.candidates(&action.buckets, side, &keys, &resource_keys)
        };
        let (of_agent, of_subject) = (candidates(Side::Agent), candidates(Side::Subject));
        let (input, unusable) = action.input.read(facts.call.arguments(), &self.decimal);
        let mut known_of = Known::new();
        let has_body = |at: &PolicyAt| self.get(*at).is_some_and(|policy| policy.body.is_some());
        let (agent, subject) = match of_agent.iter().chain(&of_subject).any(has_body) {
            true => {
                let slice = self.slice(action, facts, &resource, input);
                let slice = slice.ok_or(Unasked::NoEntity)?;
                let context = slice.context.into_iter();
                let context = Context::Value(Arc::new(
                    context.map(|(name, value)| (name.into(), value)).collect(),
                ));
                let mut ask = |principal: &Arc<EntityUID>, candidates: &[PolicyAt]| {
                    let request = Request::new_unchecked(
                        known(principal),
                        known_uid(action),
                        known(&slice.resource),
                        Some(context.clone()),
                    );
                    let extensions = Extensions::all_available();
                    let evaluator = Evaluator::new(request, &slice.entities, extensions);
                    self.eval(candidates, (Some(&evaluator), &unusable), &mut known_of)
                };
                (ask(&slice.agent, &of_agent), ask(&slice.subject, &of_subject))
            }
            // Scopes have been compared already, and nothing else is asked: there is nothing to
            // build that nobody looks at.
            false => {
                let mut ask = |of: &[PolicyAt]| self.eval(of, (None, &unusable), &mut known_of);
                (ask(&of_agent), ask(&of_subject))
            }
        };
        let unusable = unusable.into_iter().map(str::to_owned).collect();
        Ok(Legs { agent, subject, unusable })
    }

    /// Evaluates the bodies of policies whose scopes hold: the one function beneath Cedar's public
    /// API. Without an evaluator a body cannot be evaluated, and that is what is found of it.
    pub(super) fn eval(
        &self,
        candidates: &[PolicyAt],
        (evaluator, unusable): (Option<&Evaluator<'_>>, &[&str]),
        known: &mut Known,
    ) -> Leg {
        let slots = SlotEnv::new();
        let mut leg = Leg::default();
        for &at in candidates {
            let Some(policy) = self.get(at) else { continue };
            if policy.mentions.touch(unusable) {
                leg.blind.push(at);
                continue;
            }
            let found = match (&policy.body, known.iter().find(|(of, _)| *of == at)) {
                (None, _) => Ok(true),
                (Some(_), Some((_, found))) => found.clone(),
                (Some(body), None) => {
                    let nobody = || Err("nothing was there to evaluate the condition".to_owned());
                    let found = evaluator.map_or_else(nobody, |it| holds(it, body, &slots));
                    if !policy.asks_principal {
                        known.push((at, found.clone()));
                    }
                    found
                }
            };
            match (found, policy.force) {
                (Ok(true), Force::Permit) => leg.permits.push(at),
                (Ok(true), Force::Forbid) => leg.forbids.push(at),
                (Ok(false), _) => {}
                (Err(error), _) => leg.failures.push(Failure { policy: at, error }),
            }
        }
        leg
    }

    pub(super) fn principal_keys(&self, side: Side, identity: &Identity) -> PrincipalKeys {
        let names = &self.index.names;
        match side {
            Side::Agent => {
                let own = (index::AGENT, identity.agent.as_str());
                PrincipalKeys::new(names, own, slice::agent_ancestors(identity))
            }
            Side::Subject => {
                let own = (index::USER, identity.subject.as_str());
                PrincipalKeys::new(names, own, slice::subject_ancestors(identity))
            }
        }
    }

    /// The permits that can be about an operation, whoever asks: what a refusal can point to. With
    /// each, whether this identity comes under its scope already.
    pub(crate) fn permits_of(
        &self,
        operation: &OperationName,
        upstream: &str,
        side: Side,
        identity: &Identity,
    ) -> Vec<(PolicyAt, bool)> {
        let Some(action) = self.actions.get(operation) else { return Vec::new() };
        let keys = self.principal_keys(side, identity);
        let own =
            self.index.possible(&action.buckets, side, &keys, (action.resource_type, upstream));
        let mut found = self.index.all(&action.buckets, side);
        found.retain(|at| {
            let permit = self.get(*at).filter(|policy| policy.force == Force::Permit);
            permit.is_some_and(|permit| {
                permit.body.as_ref().is_none_or(|body| alone::can_hold(body, action))
            })
        });
        let is_own = |at: &PolicyAt| own.iter().any(|(own, _)| own == at);
        found.into_iter().map(|at| (at, is_own(&at))).collect()
    }

    /// Whether an operation is not certainly denied to this side, whatever its arguments: some
    /// permit's scope may hold, and no unconditional forbid's scope does for every resource.
    pub(crate) fn may_permit(
        &self,
        operation: &OperationName,
        upstream: &str,
        side: Side,
        identity: &Identity,
    ) -> bool {
        let Some(action) = self.actions.get(operation) else { return false };
        let keys = self.principal_keys(side, identity);
        let possible =
            self.index.possible(&action.buckets, side, &keys, (action.resource_type, upstream));
        let policies =
            || possible.iter().filter_map(|(at, certain)| Some((self.get(*at)?, certain)));
        let is_permitted = policies().any(|(policy, _)| policy.force == Force::Permit);
        let is_forbidden = policies().any(|(policy, is_certain)| {
            policy.force == Force::Forbid && policy.body.is_none() && *is_certain
        });
        is_permitted && !is_forbidden
    }
}

pub(super) fn known(uid: &Arc<EntityUID>) -> EntityUIDEntry {
    EntityUIDEntry::Known { euid: Arc::clone(uid), loc: None }
}

pub(super) fn known_uid(action: &Action) -> EntityUIDEntry {
    EntityUIDEntry::known(action.entity.uid().clone(), None)
}

fn holds(evaluator: &Evaluator<'_>, body: &Expr, slots: &SlotEnv) -> Result<bool, String> {
    match evaluator.interpret(body, slots) {
        Ok(value) => match value.value_kind() {
            ValueKind::Lit(Literal::Bool(holds)) => Ok(*holds),
            _ => Err("the condition is neither true nor false".to_owned()),
        },
        Err(error) => Err(error.to_string()),
    }
}
