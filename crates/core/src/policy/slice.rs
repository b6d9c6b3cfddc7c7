//! What one evaluation looks at: four entities with complete ancestors, and the context.
//!
//! Built per call from the facts alone. Ancestors are flattened, because identities carry complete
//! closures, and only those that some policy's body names are there; the action entity is there
//! with its groups, because without it `action in` silently never matches.

use super::expression::Members;
use super::{Action, Policies, Spoken, index};
use crate::model::Model;
use crate::risk;
use cedar_policy_core::ast::{Eid, Entity, EntityUID, Literal, Value};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::extensions::Extensions;
use index::TypeId;
use lockgate_types::facts::Facts;
use lockgate_types::flow::{Provenance, Role};
use lockgate_types::history::History;
use lockgate_types::identity::Identity;
use lockgate_types::label::Label;
use lockgate_types::model::ModelAsked;
use lockgate_types::{GroupName, Json, OperationName, RoleName};
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

/// As many members as the context of any call has.
const CONTEXT_MEMBERS: usize = 21;

/// What one evaluation looks at.
pub(super) struct Slice {
    pub(super) agent: Arc<EntityUID>,
    pub(super) subject: Arc<EntityUID>,
    pub(super) resource: Arc<EntityUID>,
    pub(super) entities: Entities,
    /// The pairs of `context`.
    pub(super) context: Vec<(&'static str, Value)>,
}

/// The groups, roles and tenant that a subject is in.
pub(super) fn subject_ancestors(identity: &Identity) -> impl Iterator<Item = (TypeId, &str)> {
    let groups = identity.subject_groups.iter().map(|g| (index::GROUP, GroupName::as_str(g)));
    let roles = identity.subject_roles.iter().map(|r| (index::ROLE, RoleName::as_str(r)));
    groups.chain(roles).chain(std::iter::once((index::TENANT, identity.tenant.as_str())))
}

/// The groups and tenant that an agent is in.
pub(super) fn agent_ancestors(identity: &Identity) -> impl Iterator<Item = (TypeId, &str)> {
    let groups = identity.agent_groups.iter().map(|g| (index::GROUP, GroupName::as_str(g)));
    groups.chain(std::iter::once((index::TENANT, identity.tenant.as_str())))
}

/// The name of the resource a call is about; `None` if the argument that names it does not.
pub(super) fn resource_name<'a>(action: &Action, facts: &'a Facts) -> Option<Cow<'a, str>> {
    let Some(argument) = &action.resource_argument else {
        return Some(Cow::Borrowed(facts.call.upstream.as_str()));
    };
    match facts.call.arguments()?.get(argument)? {
        Json::String(name) => Some(Cow::Borrowed(name)),
        number @ Json::Number(_) => Some(Cow::Owned(number.as_i64()?.to_string())),
        Json::Null | Json::Bool(_) | Json::Array(_) | Json::Object(_) => None,
    }
}

impl Policies {
    /// Whether the types of all entities are there that a slice of this operation has. Compiling
    /// sees to it.
    pub(super) fn has_types(&self, action: &Action) -> bool {
        let all = [index::AGENT, index::USER, index::UPSTREAM, action.resource_type];
        all.into_iter().all(|kind| self.types.get(usize::from(kind)).is_some())
    }

    /// Builds the slice of a call, whose arguments policies see as `input`. `None` only if an
    /// entity type is missing, which compiling rules out.
    pub(super) fn slice(
        &self,
        action: &Action,
        facts: &Facts,
        resource_name: &str,
        input: Value,
    ) -> Option<Slice> {
        let identity = &*facts.identity;
        let agent = self.uid(index::AGENT, identity.agent.as_str())?;
        let subject = self.uid(index::USER, identity.subject.as_str())?;
        let resource = self.uid(action.resource_type, resource_name)?;
        // order-free: what an entity is in, and Cedar only asks whether
        let mut within = HashSet::new();
        if action.resource_argument.is_some() {
            within.insert(self.uid(index::UPSTREAM, facts.call.upstream.as_str())?);
        }
        let entities = [
            Arc::clone(&action.entity),
            Arc::new(entity(agent.clone(), self.spoken.among(agent_ancestors(identity)))),
            Arc::new(entity(subject.clone(), self.spoken.among(subject_ancestors(identity)))),
            Arc::new(entity(resource.clone(), within)),
        ];
        let entities = Entities::new()
            .add_entities(
                entities,
                None::<&NoEntitiesSchema>,
                TCComputation::AssumeAlreadyComputed,
                Extensions::all_available(),
            )
            .ok()?;
        let (agent, subject) = (Arc::new(agent), Arc::new(subject));
        let mut context = context(facts, (&agent, &subject), input, &self.members);
        if action.asks_model && self.members.has("model") {
            // Without it a policy that asks cannot be evaluated, which denies.
            let asked = facts.call.model.as_deref();
            let known = asked.and_then(|asked| Some((asked, self.models.of(asked)?)));
            let met = &facts.session.exposure;
            context.extend(known.map(|(asked, entry)| ("model", model(asked, entry, met))));
        }
        let found = facts.call.found.as_ref();
        context.extend(found.map(|found| {
            let findings = texts(found.iter().map(String::as_str));
            ("answer", Value::record([("findings", findings)], None))
        }));
        self.extend_with_past(&mut context, &facts.call.operation, facts);
        Some(Slice { agent, subject, resource: Arc::new(resource), entities, context })
    }

    /// Where values came from, and what has happened. Without it, or with less than is asked for, a
    /// policy that asks cannot be evaluated, which denies.
    pub(super) fn extend_with_past(
        &self,
        context: &mut Vec<(&'static str, Value)>,
        operation: &OperationName,
        facts: &Facts,
    ) {
        if self.asks_flow {
            context.extend(facts.flow.as_ref().map(|flow| ("flow", provenance(flow))));
        }
        if self.watch.asks_history
            && let Some(history) = &facts.history
            && self.watch.is_answered(operation, history)
        {
            context.extend(past(history));
        }
    }

    pub(super) fn uid(&self, kind: TypeId, name: &str) -> Option<EntityUID> {
        let kind = self.types.get(usize::from(kind))?.clone();
        Some(EntityUID::from_components(kind, Eid::new(name), None))
    }
}

impl Spoken {
    fn among<'a>(
        &self,
        names: impl Iterator<Item = (TypeId, &'a str)>,
        // order-free: what an entity is in, and Cedar only asks whether
    ) -> HashSet<EntityUID> {
        names.filter_map(|(kind, name)| self.0.get(&kind)?.get(name).cloned()).collect()
    }
}

// order-free: what an entity is in, and Cedar only asks whether
pub(super) fn entity(uid: EntityUID, within: HashSet<EntityUID>) -> Entity {
    // order-free: empty
    Entity::new_with_attr_partial_value(uid, [], HashSet::new(), within, [])
}

/// The members of the context that are asked for.
pub(super) fn context(
    facts: &Facts,
    (agent, subject): (&Arc<EntityUID>, &Arc<EntityUID>),
    input: Value,
    asked: &Members,
) -> Vec<(&'static str, Value)> {
    let (identity, session) = (&facts.identity, &facts.session);
    let reading = facts.call.reading.as_ref();
    let read = |all: Option<&Vec<String>>| texts(all.into_iter().flatten().map(String::as_str));
    let mut pairs = Vec::with_capacity(CONTEXT_MEMBERS);
    let mut add = |name: &'static str, value: &dyn Fn() -> Option<Value>| {
        if asked.has(name) {
            pairs.extend(value().map(|value| (name, value)));
        }
    };
    let is = |text: &str| Some(Value::from(text));
    add("agent", &|| Some(Value::from(Arc::clone(agent))));
    add("approvals", &|| Some(texts(facts.approvals.iter().map(|a| a.requirement.as_str()))));
    add("authentication", &|| Some(authentication(facts)));
    add("columns", &|| Some(read(reading.map(|it| &it.columns))));
    add("direction", &|| is(facts.call.direction.as_str()));
    add("environment", &|| is(identity.environment.as_str()));
    add("exposure", &|| Some(exposure(&session.exposure)));
    add("input", &|| Some(input.clone()));
    add("mode", &|| is(risk::mode(facts).as_str()));
    add("now", &|| Some(Value::from(facts.now.0)));
    add("risk", &|| Some(risk_of(facts)));
    add("subject", &|| Some(Value::from(Arc::clone(subject))));
    add("tables", &|| Some(read(reading.map(|it| &it.tables))));
    add("tenant", &|| is(identity.tenant.as_str()));
    add("writes", &|| Some(Value::from(session.writes)));
    add("task", &|| identity.task.as_ref().map(|task| Value::from(task.as_str())));
    pairs
}

/// What is asked, of what the bundle that rules says of the entry. A prompt carries at least what
/// the session has met: nobody can tell what of it an agent has put there.
fn model(asked: &ModelAsked, (name, entry): (&str, &Model), met: &Label) -> Value {
    let declared = &entry.declared;
    let carries = asked.carries.join(met);
    let mut members = vec![
        ("asked", Value::from(asked.asked.as_str())),
        ("ceiling", Value::from(entry.ceiling.as_str())),
        ("confidentiality", Value::from(carries.confidentiality.as_str())),
        ("hedge", Value::from(asked.is_hedge)),
        ("hosted_tools", texts(asked.hosted_tools.iter().map(String::as_str))),
        ("id", Value::from(entry.id(&asked.asked))),
        ("input_tokens", Value::from(asked.input_tokens)),
        ("integrity", Value::from(carries.integrity.as_str())),
        ("name", Value::from(name)),
        ("origins", texts(carries.origins.iter().map(|origin| origin.as_str()))),
        ("pii", texts(carries.pii.iter().map(String::as_str))),
        ("risk_tier", Value::from(declared.risk_tier.as_str())),
        ("stream", Value::from(asked.stream)),
        ("tools", texts(asked.tools.iter().map(String::as_str))),
        ("upstream", Value::from(entry.upstream.as_str())),
        ("version", Value::from(declared.version.as_str())),
    ];
    members.extend(asked.max_tokens.map(|max| ("max_tokens", Value::from(max))));
    members.extend(declared.region.as_deref().map(|region| ("region", Value::from(region))));
    Value::record(members, None)
}

fn provenance(flow: &Provenance) -> Value {
    let none = Value::set_of_lits([], None);
    let roles = Role::ALL.iter().map(|role| {
        let is_there = flow.is_cut || flow.values.iter().any(|traced| traced.role == *role);
        if !is_there {
            return (role.as_str(), none.clone());
        }
        let sources = flow.sources(*role);
        let sources = sources.into_iter().map(|source| Literal::from(source.as_str()));
        (role.as_str(), Value::set_of_lits(sources, None))
    });
    let others = [
        ("has_words", Value::from(flow.has_words)),
        ("is_asked", Value::from(flow.is_asked)),
        ("is_tied", Value::from(flow.is_tied())),
        ("links", texts(flow.links.iter().map(|(_, link)| link.as_str()))),
        ("unroled", texts(flow.unroled.iter().map(String::as_str))),
    ];
    Value::record(roles.chain(others), None)
}

fn texts<'t>(texts: impl Iterator<Item = &'t str>) -> Value {
    Value::set_of_lits(texts.map(Literal::from).collect::<Vec<_>>(), None)
}

/// What was met: what is not known is not there.
fn exposure(label: &Label) -> Value {
    let mut members = vec![
        ("confidentiality", Value::from(label.confidentiality.as_str())),
        ("integrity", Value::from(label.integrity.as_str())),
        ("origins", texts(label.origins.iter().map(|origin| origin.as_str()))),
        ("pii", texts(label.pii.iter().map(String::as_str))),
    ];
    members.extend(label.oldest.map(|oldest| ("oldest", Value::from(oldest.0))));
    let readers = label.readers.as_ref();
    let readers = readers.map(|readers| texts(readers.iter().map(String::as_str)));
    members.extend(readers.map(|readers| ("readers", readers)));
    Value::record(members, None)
}

/// What has happened, to anybody of the group and in this session.
fn past(history: &History) -> [(&'static str, Value); 2] {
    let here = history.passed().filter(|(_, passed)| passed.is_here);
    [
        ("history", texts(history.passed().map(|(tag, _)| tag))),
        ("session_history", texts(here.map(|(tag, _)| tag))),
    ]
}

/// The risk of session and tenant: of one that nothing is held against, nothing.
fn risk_of(facts: &Facts) -> Value {
    let seen = facts.risk.as_deref().cloned().unwrap_or_default();
    let classes = seen.session.reasons.iter().map(|reason| Literal::from(reason.class.as_str()));
    let members = [
        ("classes", Value::set_of_lits(classes, None)),
        ("score", Value::from(seen.session.score)),
        ("session_mode", Value::from(facts.session.mode.as_str())),
        ("tenant_mode", Value::from(seen.tenant.mode.as_str())),
        ("tenant_score", Value::from(seen.tenant.score)),
    ];
    Value::record(members, None)
}

/// How the subject has signed in: what is not known is not there.
fn authentication(facts: &Facts) -> Value {
    let known = &facts.identity.authentication;
    let mut members = Vec::new();
    members.extend(known.acr.as_deref().map(|acr| ("acr", Value::from(acr))));
    members.extend(known.age_s(facts.now).map(|age_s| ("age_s", Value::from(age_s))));
    if !known.amr.is_empty() {
        let amr = known.amr.iter().map(|means| Literal::from(means.as_str()));
        members.push(("amr", Value::set_of_lits(amr, None)));
    }
    Value::record(members, None)
}
