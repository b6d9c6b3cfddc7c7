//! Whether somebody may be shown a document: by what the source and its task say, then by the
//! policies, on both sides.
//!
//! What is asked first is the same for a document and for the filter of all of them: who asks, in
//! which tenant, for which task. [`Retrieval::filter`] is held against [`Retrieval::admits`] and
//! against Cedar's own public API in the tests.

use super::filter::{Filter, Trait};
use crate::decide::{agent, scope, subject};
use crate::model::confidentiality;
use crate::policy::{Documents, Leg, Legs, PolicyAt, Side};
use crate::world::World;
use lockgate_types::decision::Obligation;
use lockgate_types::document::DocumentFacts;
use lockgate_types::facts::Facts;
use lockgate_types::identity::Identity;
use lockgate_types::{Code, Digest, PolicyName};
use std::collections::BTreeSet;

/// Whether one document may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may, if what these oblige to is done first.
    Admitted {
        /// What has to be done before anybody sees it.
        obligations: Vec<Obligation>,
        /// The permits, of both sides, sorted.
        policies: Vec<PolicyName>,
    },
    /// It may not.
    Withheld(Withheld),
}

impl Admission {
    /// Whether it may be shown.
    pub const fn is_admitted(&self) -> bool {
        matches!(self, Self::Admitted { .. })
    }
}

/// Why a document may not be shown. For the record and for operators: whoever asks is not told
/// that it exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withheld {
    /// The stable code.
    pub code: Code,
    /// Whose permission is missing, where it is one side's.
    pub side: Option<Side>,
    /// The policies that decided, sorted.
    pub policies: Vec<PolicyName>,
}

/// Why there is no filter: each document has to be decided by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the policy `{policy}` says what no filter can: {expression}")]
pub struct Inexpressible {
    /// The policy.
    pub policy: String,
    /// The part of it that cannot be said, shortened.
    pub expression: String,
}

/// One retrieval: what the facts of its call say about every document.
pub struct Retrieval<'a> {
    world: &'a World,
    facts: &'a Facts,
    documents: Documents<'a>,
    /// The sources that may be used.
    sources: BTreeSet<&'a str>,
}

/// Whether a document may be shown to whoever makes a call.
pub fn admits(world: &World, facts: &Facts, document: &DocumentFacts) -> Admission {
    match Retrieval::new(world, facts) {
        Ok(retrieval) => retrieval.admits(document),
        Err(withheld) => Admission::Withheld(withheld),
    }
}

/// Which documents may be shown to whoever makes a call.
pub fn filter(world: &World, facts: &Facts) -> Result<Filter, Inexpressible> {
    match Retrieval::new(world, facts) {
        Ok(retrieval) => retrieval.filter(),
        Err(_) => Ok(Filter::nothing()),
    }
}

impl<'a> Retrieval<'a> {
    /// What the facts of a call say, or why no document may be shown at all: nobody known asks,
    /// what they are in is not complete, there is no source for the task.
    pub fn new(world: &'a World, facts: &'a Facts) -> Result<Self, Withheld> {
        let identity = &*facts.identity;
        let nobody = agent::fault(world, identity).map(|code| (code, Side::Agent));
        let nobody =
            nobody.or_else(|| subject::fault(world, identity).map(|code| (code, Side::Subject)));
        if let Some((code, side)) = nobody {
            return Err(Withheld { code, side: Some(side), policies: Vec::new() });
        }
        let declared = world.principals.agent.get(identity.agent.as_str());
        let clearance = declared.map(|agent| confidentiality(agent.clearance)).unwrap_or_default();
        let sources = sources(world, identity);
        match world.policies.documents(facts, clearance.level()) {
            Some(documents) if !sources.is_empty() => Ok(Self { world, facts, documents, sources }),
            Some(_) | None => Err(withheld(Code::SourceNotForTask)),
        }
    }

    /// The sources that may be used, by name.
    pub fn sources(&self) -> impl Iterator<Item = &'a str> {
        self.sources.iter().copied()
    }

    /// Whether a document may be shown.
    pub fn admits(&self, document: &DocumentFacts) -> Admission {
        let identity = &*self.facts.identity;
        if document.tenant != identity.tenant.as_str()
            || !self.sources.contains(document.source.as_str())
        {
            return Admission::Withheld(withheld(Code::SourceNotForTask));
        }
        let Some(legs) = self.documents.legs(document) else {
            return Admission::Withheld(withheld(Code::FactsIncomplete));
        };
        if let Some(withheld) = self.objection(&legs) {
            return Admission::Withheld(withheld);
        }
        let obligations = scope::of_permits(self.world, &legs, identity);
        if obligations.iter().any(|it| matches!(it, Obligation::Rows(_))) {
            return Admission::Withheld(withheld(Code::ObligationUnknown));
        }
        let permits = legs.agent.permits.iter().chain(&legs.subject.permits);
        Admission::Admitted { obligations, policies: self.names(permits) }
    }

    /// What speaks against it: a forbid, or one that cannot be evaluated; then that a permit is
    /// missing.
    fn objection(&self, legs: &Legs) -> Option<Withheld> {
        let sides = [(Side::Agent, &legs.agent), (Side::Subject, &legs.subject)];
        let against = |code, side, policies| Some(Withheld { code, side: Some(side), policies });
        for (side, leg) in sides {
            if !leg.forbids.is_empty() {
                return against(Code::Forbidden, side, self.names(leg.forbids.iter()));
            }
        }
        for (side, leg) in sides {
            let failed = self.failed_forbids(leg);
            if !failed.is_empty() {
                return against(Code::PolicyFailed, side, self.names(failed.iter()));
            }
        }
        let (side, _) = sides.into_iter().find(|(_, leg)| leg.permits.is_empty())?;
        against(Code::DocumentNotPermitted, side, Vec::new())
    }

    fn failed_forbids(&self, leg: &Leg) -> Vec<PolicyAt> {
        let failed = leg.failures.iter().map(|failure| failure.policy);
        let failed = failed.chain(leg.blind.iter().copied());
        failed.filter(|at| self.world.policies.get(*at).is_some_and(|it| it.is_forbid())).collect()
    }

    /// Which documents may be shown, as an index can answer it. Equal to [`Self::admits`] for each,
    /// or refused whole.
    pub fn filter(&self) -> Result<Filter, Inexpressible> {
        let tenant = self.facts.identity.tenant.as_str().to_owned();
        let sources = self.sources.iter().map(|source| Trait::Source((*source).to_owned()));
        let found = self.documents.filter().map_err(|(at, unsupported)| Inexpressible {
            policy: self.world.policies.get(at).map_or_else(String::new, |it| it.name.to_string()),
            expression: unsupported.expression,
        })?;
        let sources = Filter::any(sources.map(Filter::Is));
        Ok(Filter::every([Filter::Is(Trait::Tenant(tenant)), sources, found]))
    }

    /// What the filter depends on: two retrievals with the same key have the same filter, or none.
    /// Of the context it holds what policies look at, so that one that asks for the time is new
    /// every time.
    pub fn key(&self) -> Digest {
        let identity = self.facts.identity.to_json().to_canonical();
        let mut key = self.world.digest.as_bytes().to_vec();
        key.extend((identity.len() as u64).to_be_bytes());
        key.extend(identity);
        key.extend(self.documents.seen().into_bytes());
        Digest::of(&key)
    }

    fn names<'p>(&self, policies: impl Iterator<Item = &'p PolicyAt>) -> Vec<PolicyName> {
        let places: BTreeSet<PolicyAt> = policies.copied().collect();
        let policies = places.into_iter().filter_map(|at| self.world.policies.get(at));
        policies.map(|policy| policy.name.clone()).collect()
    }
}

/// The sources that may be used in this tenant and for this task.
fn sources<'a>(world: &'a World, identity: &Identity) -> BTreeSet<&'a str> {
    let task = identity.task.as_ref();
    let listed = task.and_then(|task| world.tasks.get(task)?.sources.as_ref());
    let may_be_used = |(name, source): &(&'a String, &crate::declare::Source)| {
        let is_here = source.tenant.as_deref() == Some(identity.tenant.as_str());
        let is_listed = listed.is_none_or(|listed| listed.contains(name));
        let is_for_task = source.tasks.as_ref().is_none_or(|tasks| {
            task.is_some_and(|task| tasks.iter().any(|name| name == task.as_str()))
        });
        is_here && is_listed && is_for_task
    };
    world.sources.iter().filter(may_be_used).map(|(name, _)| name.as_str()).collect()
}

fn withheld(code: Code) -> Withheld {
    Withheld { code, side: None, policies: Vec::new() }
}
