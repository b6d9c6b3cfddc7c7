//! Documents as policies see them: their attributes, what they lie in, and which policies hold for
//! one of them.
//!
//! What a call's facts say is the same for all of its documents, so it is put together once. A
//! policy whose scope does not name a document is not asked about it.

use super::compile::Draft;
use super::eval::{Known, Legs, known, known_uid};
use super::expression::Members;
use super::partial::{Partial, Unsupported};
use super::schema::{DOCUMENT, FOLDER, OF_DOCUMENTS, SOURCE, Vocabulary};
use super::{Action, Force, Policies, Policy, PolicyAt, Side, index, slice};
use crate::Mistake;
use crate::bundle::search::RETRIEVE;
use crate::declare::Source;
use crate::retrieve::filter::{FILTER_TRAITS_MAX, Filter, Trait};
use cedar_policy_core::ast::{
    ActionConstraint, Context, Effect, Eid, Entity, EntityReference, EntityType, EntityUID,
    Literal, PartialValue, PrincipalOrResourceConstraint as Scope, Request, Value,
};
use cedar_policy_core::entities::{Entities, NoEntitiesSchema, TCComputation};
use cedar_policy_core::evaluator::Evaluator;
use cedar_policy_core::extensions::Extensions;
use lockgate_types::OperationName;
use lockgate_types::decision::Obligation;
use lockgate_types::document::{DocumentFacts, Reader};
use lockgate_types::facts::Facts;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// The documents that a policy's scope names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    Nothing,
    Every,
    One(Trait),
}

impl Reach {
    pub(super) fn of(scope: &Scope) -> Self {
        let named = |reference: &EntityReference| match reference {
            EntityReference::EUID(uid) => trait_of(uid),
            EntityReference::Slot(_) => None,
        };
        let is_document = |kind: &EntityType| kind.to_string() == DOCUMENT;
        let one = |found: Option<Trait>| found.map_or(Self::Nothing, Self::One);
        match scope {
            Scope::Any => Self::Every,
            Scope::Is(kind) if is_document(kind) => Self::Every,
            Scope::In(reference) => one(named(reference)),
            Scope::IsIn(kind, reference) if is_document(kind) => one(named(reference)),
            Scope::Eq(reference) => {
                one(named(reference).filter(|found| matches!(found, Trait::Document(..))))
            }
            Scope::Is(_) | Scope::IsIn(..) => Self::Nothing,
        }
    }

    fn holds(&self, document: &DocumentFacts) -> bool {
        match self {
            Self::Nothing => false,
            Self::Every => true,
            Self::One(one) => one.holds(document),
        }
    }

    fn filter(&self) -> Filter {
        match self {
            Self::Nothing => Filter::nothing(),
            Self::Every => Filter::everything(),
            Self::One(one) => Filter::Is(one.clone()),
        }
    }
}

/// What a document is in that is in this entity.
pub(super) fn trait_of(uid: &EntityUID) -> Option<Trait> {
    let name: &str = uid.eid().as_ref();
    let within = || name.split_once('/').map(|(source, rest)| (source.to_owned(), rest.to_owned()));
    match uid.entity_type().to_string().as_str() {
        DOCUMENT => within().map(|(source, id)| Trait::Document(source, id)),
        FOLDER => within().map(|(source, path)| Trait::Folder(source, path)),
        SOURCE => Some(Trait::Source(name.to_owned())),
        "Tenant" => Some(Trait::Tenant(name.to_owned())),
        _ => None,
    }
}

/// Whether an entity can be there: a source that is declared, or something in one.
pub(super) fn is_known(sources: &BTreeMap<String, Source>, kind: &str, name: &str) -> bool {
    match kind {
        SOURCE => sources.contains_key(name),
        DOCUMENT | FOLDER => {
            name.split_once('/').is_some_and(|(source, _)| sources.contains_key(source))
        }
        _ => true,
    }
}

/// Whether an entity is a document, or something that documents lie in.
pub(super) fn is_of_documents(uid: &EntityUID) -> bool {
    OF_DOCUMENTS.contains(&uid.entity_type().to_string().as_str())
}

/// The mistakes of a permit that opens documents without saying so, or promises what documents do
/// not have.
pub(super) fn mistakes(vocabulary: &Vocabulary, draft: &Draft) -> Vec<Mistake> {
    if !vocabulary.has_documents {
        return Vec::new();
    }
    let resource = draft.policy.resource_constraint();
    let reach = Reach::of(resource.as_inner());
    let is_meant = draft.actions(vocabulary).any(|name| name == RETRIEVE);
    if draft.policy.effect() != Effect::Permit || !is_meant || reach == Reach::Nothing {
        return Vec::new();
    }
    let is_retrieve = |uid: &EntityUID| AsRef::<str>::as_ref(uid.eid()) == RETRIEVE;
    let names_action = match draft.policy.action_constraint() {
        ActionConstraint::Any => false,
        ActionConstraint::Eq(uid) => is_retrieve(uid),
        ActionConstraint::In(uids) => uids.iter().any(|uid| is_retrieve(uid)),
    };
    let names_documents = match resource.as_inner() {
        Scope::Any => false,
        Scope::In(_) => !matches!(reach, Reach::One(Trait::Tenant(_))),
        Scope::Is(_) | Scope::Eq(_) | Scope::IsIn(..) => true,
    };
    let mut mistakes = Vec::new();
    if !names_action && !names_documents {
        let what = "this permit shows every document, and does not say so".to_owned();
        let hint = "name what it is about: `action in [Action::\"read\", …]` leaves documents out, \
                    `Action::\"retrieve\"` or `resource is Document` means them";
        mistakes.push(draft.mistake(None, what, hint));
    }
    let has_rows = |it: &Obligation| matches!(it, Obligation::Rows(_));
    if draft.annotations.obligations.iter().any(has_rows) {
        let what = "`@obligation_rows` stands on a permit for documents".to_owned();
        let hint = "rows are filtered by databases alone: say in a condition which documents";
        mistakes.push(draft.mistake(None, what, hint));
    }
    if draft.annotations.obligations.iter().any(goes_by_names) {
        let what = "an obligation goes by names of fields, on a permit for documents".to_owned();
        let hint = "texts have no columns: redact `pii:…` or `secret:*`, or give the field \
                    readers of its own (`[fields.<name>]` of the source)";
        mistakes.push(draft.mistake(None, what, hint));
    }
    mistakes
}

/// Whether an obligation cannot be met on a text, since it goes by names.
fn goes_by_names(obligation: &Obligation) -> bool {
    let is_found = |target: &String| target.starts_with("pii:") || target.starts_with("secret:");
    match obligation {
        Obligation::Redact(targets) => !targets.iter().all(is_found),
        Obligation::Mask(_) | Obligation::Cap(_) => true,
        // A mistake of its own; and what asks nothing of the text.
        Obligation::Rows(_) | Obligation::LogMore | Obligation::Links => false,
    }
}

/// The attributes whose making takes time, and that some policy looks at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    readers: bool,
    denied: bool,
    tags: bool,
}

impl Asked {
    pub(super) fn of(drafts: &[Draft]) -> Self {
        let asks = |name: &str| drafts.iter().any(|it| it.speech.attributes.contains(name));
        Self { readers: asks("readers"), denied: asks("denied"), tags: asks("tags") }
    }
}

/// What the facts of a call say about every document: who asks, in which context, and which
/// policies there are for them.
pub(crate) struct Documents<'a> {
    policies: &'a Policies,
    asked: Asked,
    action: &'a Action,
    sides: [Standing; 2],
    entities: Entities,
    pairs: BTreeMap<&'static str, Value>,
    context: Context,
    types: Types,
}

struct Standing {
    side: Side,
    principal: Arc<EntityUID>,
    candidates: Vec<PolicyAt>,
}

struct Types {
    document: EntityType,
    folder: EntityType,
    source: EntityType,
    user: EntityType,
    group: EntityType,
    tenant: EntityType,
}

impl Policies {
    /// What the facts of a call say about documents. `None` if there are none.
    pub(crate) fn documents(&self, facts: &Facts, clearance: i64) -> Option<Documents<'_>> {
        let asked = self.documents?;
        let operation = OperationName::new(RETRIEVE).ok()?;
        let action = self.actions.get(&operation)?;
        let identity = &*facts.identity;
        let agent = Arc::new(self.uid(index::AGENT, identity.agent.as_str())?);
        let subject = Arc::new(self.uid(index::USER, identity.subject.as_str())?);
        // All that they are in: a document may name any of it.
        // order-free: what an entity is in, and Cedar only asks whether
        let agent_in: Option<HashSet<EntityUID>> =
            slice::agent_ancestors(identity).map(|(kind, name)| self.uid(kind, name)).collect();
        // order-free: as above
        let subject_in: Option<HashSet<EntityUID>> =
            slice::subject_ancestors(identity).map(|(kind, name)| self.uid(kind, name)).collect();
        let entities = [
            Arc::clone(&action.entity),
            Arc::new(slice::entity(agent.as_ref().clone(), agent_in?)),
            Arc::new(slice::entity(subject.as_ref().clone(), subject_in?)),
        ];
        let entities = added(&Entities::new(), entities)?;
        let input = Value::empty_record(None);
        let mut pairs = slice::context(facts, (&agent, &subject), input, &Members::All);
        self.extend_with_past(&mut pairs, &operation, facts);
        pairs.push(("clearance", Value::from(clearance)));
        let standing = |side, principal| {
            let keys = self.principal_keys(side, identity);
            let mut candidates = self.index.of_principal(&action.buckets, side, &keys);
            candidates.retain(|at| self.get(*at).is_some_and(|it| it.reach != Reach::Nothing));
            Standing { side, principal, candidates }
        };
        let sides = [standing(Side::Agent, agent), standing(Side::Subject, subject)];
        let values = pairs.iter().map(|(name, value)| ((*name).into(), value.clone()));
        Some(Documents {
            policies: self,
            asked,
            action,
            sides,
            entities,
            context: Context::Value(Arc::new(values.collect())),
            pairs: pairs.into_iter().collect(),
            types: self.types_of_documents()?,
        })
    }

    fn types_of_documents(&self) -> Option<Types> {
        let built_in = |kind| self.types.get(usize::from(kind)).cloned();
        let named = |name: &str| self.types.iter().find(|kind| kind.to_string() == name).cloned();
        Some(Types {
            document: named(DOCUMENT)?,
            folder: named(FOLDER)?,
            source: named(SOURCE)?,
            user: built_in(index::USER)?,
            group: built_in(index::GROUP)?,
            tenant: built_in(index::TENANT)?,
        })
    }
}

fn added(to: &Entities, entities: impl IntoIterator<Item = Arc<Entity>>) -> Option<Entities> {
    let extensions = Extensions::all_available();
    let computed = TCComputation::AssumeAlreadyComputed;
    to.clone().add_entities(entities, None::<&NoEntitiesSchema>, computed, extensions).ok()
}

impl Documents<'_> {
    /// Which policies hold for one document. `None` only if it could not be shown to them.
    pub(crate) fn legs(&self, document: &DocumentFacts) -> Option<Legs> {
        let entity = self.entity(document);
        let resource = Arc::new(entity.uid().clone());
        let entities = added(&self.entities, [Arc::new(entity)])?;
        let mut known_of = Known::new();
        let mut legs = Legs::default();
        for standing in &self.sides {
            let reaches = |at: &&PolicyAt| {
                self.policies.get(**at).is_some_and(|policy| policy.reach.holds(document))
            };
            let candidates: Vec<PolicyAt> =
                standing.candidates.iter().filter(reaches).copied().collect();
            let request = self.request(standing, &resource);
            let evaluator = Evaluator::new(request, &entities, Extensions::all_available());
            let asked = (Some(&evaluator), &[] as &[&str]);
            *legs.side_mut(standing.side) = self.policies.eval(&candidates, asked, &mut known_of);
        }
        Some(legs)
    }

    /// The documents for which both sides have a permit and neither a forbid, as far as policies
    /// say.
    pub(crate) fn filter(&self) -> Result<Filter, (PolicyAt, Unsupported)> {
        let uid = EntityUID::from_components(self.types.document.clone(), Eid::new(""), None);
        let nobodys = Arc::new(uid);
        let mut sides = Vec::new();
        for standing in &self.sides {
            let request = self.request(standing, &nobodys);
            let extensions = Extensions::all_available();
            let evaluator = Evaluator::new(request, &self.entities, extensions);
            let partial = Partial::new(&evaluator, &self.entities);
            sides.push(self.side(standing, &partial)?);
        }
        Ok(Filter::every(sides))
    }

    fn side(
        &self,
        standing: &Standing,
        partial: &Partial<'_>,
    ) -> Result<Filter, (PolicyAt, Unsupported)> {
        let (mut permits, mut forbids) = (Vec::new(), Vec::new());
        let mut traits = 0_usize;
        for &at in &standing.candidates {
            let Some(policy) = self.policies.get(at) else { continue };
            let found = self.holds(policy, partial).map_err(|unsupported| (at, unsupported))?;
            traits = traits.saturating_add(found.traits());
            if traits > FILTER_TRAITS_MAX {
                return Err((at, Unsupported::too_large()));
            }
            match policy.force {
                Force::Permit => permits.push(found),
                Force::Forbid => forbids.push(found),
            }
        }
        Ok(Filter::every([Filter::any(permits), Filter::any(forbids).inverted()]))
    }

    /// The documents for which a policy holds: a permit that cannot be evaluated does not, a forbid
    /// does.
    fn holds(&self, policy: &Policy, partial: &Partial<'_>) -> Result<Filter, Unsupported> {
        if policy.obligations.iter().any(|it| matches!(it, Obligation::Rows(_))) {
            return Err(Unsupported::of_rows());
        }
        let scope = policy.reach.filter();
        let Some(body) = &policy.body else { return Ok(scope) };
        let truth = partial.truth(body)?;
        Ok(match policy.force {
            Force::Permit => Filter::every([scope, truth.holds]),
            Force::Forbid => Filter::every([scope, Filter::any([truth.holds, truth.fails])]),
        })
    }

    /// What the policies there are for these principals see of the context: with bundle and
    /// principals, all that a filter depends on.
    pub(crate) fn seen(&self) -> String {
        let candidates = self.sides.iter().flat_map(|standing| &standing.candidates);
        let bodies = candidates.filter_map(|at| self.policies.get(*at)?.body.as_deref());
        let asked = Members::of(bodies);
        let seen = self.pairs.iter().filter(|(name, _)| asked.has(name));
        seen.map(|(name, value)| format!("{name}={value}\n")).collect()
    }

    fn request(&self, standing: &Standing, resource: &Arc<EntityUID>) -> Request {
        Request::new_unchecked(
            known(&standing.principal),
            known_uid(self.action),
            known(resource),
            Some(self.context.clone()),
        )
    }

    fn entity(&self, document: &DocumentFacts) -> Entity {
        let uid = |kind: &EntityType, name: &str| {
            EntityUID::from_components(kind.clone(), Eid::new(name), None)
        };
        let types = &self.types;
        let source = document.source.as_str();
        let folders = document.folders.iter();
        // order-free: what an entity is in, and Cedar only asks whether
        let mut within: HashSet<EntityUID> =
            folders.map(|path| uid(&types.folder, &format!("{source}/{path}"))).collect();
        within.insert(uid(&types.source, source));
        within.insert(uid(&types.tenant, &document.tenant));
        let mut attributes = vec![
            ("changed", Value::from(document.changed.0)),
            ("classification", Value::from(document.classification.as_str())),
            ("confirmed", Value::from(document.confirmed.0)),
            ("curation", Value::from(document.curation.as_str())),
            ("id", Value::from(document.id.as_str())),
            ("kind", Value::from(document.kind.as_str())),
            ("level", Value::from(document.classification.level())),
            ("source", Value::from(source)),
            ("tenant", Value::from(document.tenant.as_str())),
        ];
        let owner = document.owner.as_deref().map(|owner| Arc::new(uid(&types.user, owner)));
        attributes.extend(owner.map(|owner| ("owner", Value::from(owner))));
        if self.asked.tags {
            let tags = document.tags.iter().map(|tag| Literal::from(tag.as_str()));
            attributes.push(("tags", Value::set_of_lits(tags, None)));
        }
        if self.asked.denied {
            attributes.push(("denied", self.people(&document.denied)));
        }
        if self.asked.readers {
            let readers = document.readers.as_ref();
            attributes.extend(readers.map(|readers| ("readers", self.people(readers))));
        }
        let attributes =
            attributes.into_iter().map(|(name, value)| (name.into(), PartialValue::from(value)));
        let own = uid(&types.document, &format!("{source}/{}", document.id));
        // order-free: empty
        Entity::new_with_attr_partial_value(own, attributes, HashSet::new(), within, [])
    }

    fn people(&self, readers: &BTreeSet<Reader>) -> Value {
        let literal = |kind: &EntityType, name: &str| {
            let uid = EntityUID::from_components(kind.clone(), Eid::new(name), None);
            Literal::EntityUID(Arc::new(uid))
        };
        let (mut groups, mut users) = (Vec::new(), Vec::new());
        for reader in readers {
            match reader {
                Reader::Everyone => {}
                Reader::Group(name) => groups.push(literal(&self.types.group, name)),
                Reader::User(name) => users.push(literal(&self.types.user, name)),
            }
        }
        let members = [
            ("everyone", Value::from(readers.contains(&Reader::Everyone))),
            ("groups", Value::set_of_lits(groups, None)),
            ("users", Value::set_of_lits(users, None)),
        ];
        Value::record(members, None)
    }
}
