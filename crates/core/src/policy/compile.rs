//! From the text of `.cedar` files to compiled policies, or to every mistake in them.

use super::annotation::{self, Annotations};
use super::document::{self, Reach};
use super::expression::{Members, Speech, whom, without_positions};
use super::index::{self, EntityAt, Entry, Index, Key, TypeId};
use super::input::Record;
use super::past::{self, Watch};
use super::schema::{self, Vocabulary};
use super::validate::{described, unknown_arguments, validate};
use super::{Action, Actions, Force, Policies, Policy, PolicyAt, PolicyInput, Side, Spoken};
use crate::Mistake;
use crate::declare::Principals;
use crate::model::Registry;
use cedar_policy_core::ast;
use cedar_policy_core::ast::{
    Effect, Eid, EntityReference, EntityType, EntityUID, PolicyID,
    PrincipalOrResourceConstraint as Scope,
};
use cedar_policy_core::parser::parse_policyset;
use lockgate_types::{OperationName, PolicyName};
use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

/// How many types of arguments are compared to find equal ones.
const INPUTS_COMPARED_MAX: usize = 16;
/// Policies of one bundle.
const POLICIES_MAX: usize = 100_000;

/// A policy that has been read and named, but not checked.
pub(super) struct Draft {
    pub(super) name: PolicyName,
    pub(super) policy: ast::Policy,
    pub(super) speech: Speech,
    pub(super) annotations: Annotations,
    file: String,
    lines: Arc<Lines>,
}

impl Draft {
    /// A mistake in this policy, at an offset of its file or at its beginning.
    pub(super) fn mistake(&self, offset: Option<usize>, what: String, hint: &str) -> Mistake {
        let offset = offset.or_else(|| self.policy.loc().map(|loc| loc.start()));
        Mistake {
            file: self.file.clone(),
            line: offset.map(|offset| self.lines.line_of(offset)),
            what,
            hint: hint.to_owned(),
        }
    }
}

/// Where the lines of a file begin.
struct Lines(Vec<usize>);

impl Lines {
    fn of(text: &str) -> Self {
        Self(text.match_indices('\n').map(|(at, _)| at).collect())
    }

    fn line_of(&self, offset: usize) -> usize {
        self.0.partition_point(|at| *at < offset) + 1
    }
}

fn force(effect: Effect) -> Force {
    match effect {
        Effect::Permit => Force::Permit,
        Effect::Forbid => Force::Forbid,
    }
}

pub(super) fn compile(
    input: &PolicyInput<'_>,
    files: &[(&str, &str)],
) -> Result<Policies, Vec<Mistake>> {
    let vocabulary = Vocabulary::of(input);
    let mut mistakes = vocabulary.mistakes(input);
    if !mistakes.is_empty() {
        return Err(mistakes);
    }
    let mut drafts = Vec::new();
    for (file, text) in files {
        read_file(file, text, &mut drafts, &mut mistakes);
    }
    drafts.sort_by(|a, b| a.name.cmp(&b.name));
    mistakes.extend(repeated_names(&drafts));
    if drafts.len() > POLICIES_MAX {
        mistakes.push(Mistake {
            file: "policies".to_owned(),
            line: None,
            what: format!("there are {} policies, more than {POLICIES_MAX}", drafts.len()),
            hint: "say the same with groups".to_owned(),
        });
    }
    mistakes.extend(past::too_many(&drafts));
    let people = People::of(input);
    for draft in &drafts {
        mistakes.extend(unreachable(&vocabulary, input, &people, draft));
    }
    if mistakes.is_empty() {
        mistakes.extend(validate(&vocabulary, &drafts));
    }
    if !mistakes.is_empty() {
        mistakes.sort();
        mistakes.dedup();
        return Err(mistakes);
    }
    assemble(&vocabulary, (&people, input.models), drafts).map_err(|mistake| vec![mistake])
}

fn read_file(file: &str, text: &str, drafts: &mut Vec<Draft>, mistakes: &mut Vec<Mistake>) {
    let lines = Arc::new(Lines::of(text));
    let at = |offset: Option<usize>, what: String, hint: String| Mistake {
        file: file.to_owned(),
        line: offset.map(|offset| lines.line_of(offset)),
        what,
        hint,
    };
    let policies = match parse_policyset(text) {
        Ok(policies) => policies,
        Err(errors) => {
            mistakes.extend(errors.iter().map(|error| {
                let (offset, what, hint) = described(error);
                at(offset, what, hint)
            }));
            return;
        }
    };
    mistakes.extend(policies.templates().map(|template| {
        let offset = template.loc().map(|loc| loc.start());
        at(offset, "a policy has a slot".to_owned(), "write the entity itself".to_owned())
    }));
    for policy in policies.static_policies() {
        let offset = policy.loc().map(|loc| loc.start());
        let pairs = policy.annotations().map(|(key, value)| (key.as_ref(), value.as_ref()));
        let annotations = match annotation::read(force(policy.effect()), pairs) {
            Ok(annotations) => annotations,
            Err(faults) => {
                mistakes.extend(faults.into_iter().map(|(what, hint)| at(offset, what, hint)));
                continue;
            }
        };
        let position = format!("{file}:{}", lines.line_of(offset.unwrap_or_default()));
        match PolicyName::new(annotations.id.as_deref().unwrap_or(&position)) {
            Ok(name) => drafts.push(Draft {
                policy: policy.new_id(PolicyID::from_string(name.as_str())),
                speech: Speech::of(policy.non_scope_constraints()),
                name,
                file: file.to_owned(),
                lines: Arc::clone(&lines),
                annotations,
            }),
            Err(error) => {
                mistakes.push(at(offset, error.to_string(), "give it another `@id`".to_owned()));
            }
        }
    }
}

fn repeated_names(drafts: &[Draft]) -> impl Iterator<Item = Mistake> {
    drafts.windows(2).filter_map(|pair| match pair {
        [first, second] if first.name == second.name => {
            let other = first.mistake(None, String::new(), "");
            let line = other.line.unwrap_or_default();
            let what = format!("`{}` is also the name of {}:{line}", second.name, other.file);
            Some(second.mistake(None, what, "give each policy an `@id` of its own"))
        }
        _ => None,
    })
}

/// Who policies can name.
struct People<'a> {
    /// Groups that agents are in, directly or not.
    of_agents: BTreeSet<&'a str>,
    /// Groups that declared users are in, directly or not.
    of_users: BTreeSet<&'a str>,
    groups: BTreeSet<&'a str>,
    roles: BTreeSet<&'a str>,
    upstreams: BTreeSet<&'a str>,
    has_claimed_groups: bool,
}

impl<'a> People<'a> {
    fn of(input: &PolicyInput<'a>) -> Self {
        let principals = input.principals;
        let roles = principals.user.values().flat_map(|user| &user.roles);
        let upstreams = input.operations.values().map(|operation| operation.upstream.as_str());
        let of = |direct: Vec<&'a String>| closure(principals, direct);
        Self {
            of_agents: of(principals.agent.values().flat_map(|agent| &agent.groups).collect()),
            of_users: of(principals.user.values().flat_map(|user| &user.groups).collect()),
            groups: principals.groups(),
            roles: roles.map(|role| &**role).collect(),
            upstreams: upstreams.collect(),
            has_claimed_groups: input.has_claimed_groups,
        }
    }

    /// Whether an agent, and whether a subject, could be in this scope.
    fn offered(&self, scope: &Scope) -> [bool; 2] {
        let Some(uid) = scope.get_euid() else { return [true, true] };
        let name: &str = uid.eid().as_ref();
        match uid.entity_type().to_string().as_str() {
            "Group" => {
                let of_users = self.has_claimed_groups || self.of_users.contains(name);
                [self.of_agents.contains(name), of_users]
            }
            "Role" => [false, true],
            _ => [true, true],
        }
    }
}

fn closure<'a>(principals: &'a Principals, direct: Vec<&'a String>) -> BTreeSet<&'a str> {
    let mut reached = BTreeSet::new();
    let mut next = direct;
    while let Some(name) = next.pop() {
        if reached.insert(name.as_str()) {
            let above = principals.group.get(name);
            next.extend(above.into_iter().flat_map(|group| &group.member_of));
        }
    }
    reached
}

/// The mistakes of a policy that names what is not there, or asks for an approval that could not be
/// given.
fn unreachable(
    vocabulary: &Vocabulary,
    input: &PolicyInput<'_>,
    people: &People<'_>,
    draft: &Draft,
) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for name in draft.named_actions() {
        let is_known =
            vocabulary.actions.contains_key(&name) || vocabulary.groups.contains_key(&name);
        if !is_known {
            let what = format!("no operation or group of operations is called `{name}`");
            let hint = "operations are `<upstream>/<tool>` or `<upstream>:<method>`, groups are \
                        `read`, `nav`, `write`, `egress`, `destructive`, `upstream:<name>`, `any`";
            mistakes.push(draft.mistake(None, what, hint));
        }
    }
    if let ast::ActionConstraint::Eq(uid) = draft.policy.action_constraint()
        && vocabulary.groups.contains_key(uid.eid().as_ref() as &str)
    {
        let what = format!("`{uid}` is a group, and no operation equals it");
        mistakes.push(draft.mistake(None, what, "write `action in` instead of `action ==`"));
    }
    // A standing prohibition may wait for its first operation; a permit for nothing is an error of
    // its author.
    let is_idle = mistakes.is_empty() && !draft.has_actions(vocabulary);
    if is_idle && draft.policy.effect() == Effect::Permit {
        let what = "no operation is in the scope of this permit".to_owned();
        mistakes.push(draft.mistake(None, what, "it can never hold: correct it"));
    }
    let principal = draft.policy.principal_constraint();
    let resource = draft.policy.resource_constraint();
    let scope = [principal.as_inner(), resource.as_inner()].into_iter().filter_map(Scope::get_euid);
    let scope: Vec<&EntityUID> = scope.map(Arc::as_ref).collect();
    for uid in scope.into_iter().chain(&draft.speech.entities) {
        let name: &str = uid.eid().as_ref();
        let is_known = match uid.entity_type().to_string().as_str() {
            "Agent" => input.principals.agent.contains_key(name),
            "User" => input.principals.undeclared_users || input.principals.user.contains_key(name),
            "Group" => input.has_claimed_groups || people.groups.contains(name),
            "Role" => input.has_claimed_roles || people.roles.contains(name),
            "Upstream" => people.upstreams.contains(name),
            kind if vocabulary.has_documents => document::is_known(input.sources, kind, name),
            _ => true,
        };
        if !is_known {
            let what = format!("`{uid}` does not exist");
            let hint = match document::is_of_documents(uid) {
                true => "declare the source in `sources/`, or correct the name: `<source>/<path>`",
                false => "declare it in `principals.toml` or `lockgate.toml`, or correct the name",
            };
            mistakes.push(draft.mistake(uid.loc().map(|loc| loc.start()), what, hint));
        }
    }
    mistakes.extend(unknown_arguments(vocabulary, draft));
    mistakes.extend(document::mistakes(vocabulary, draft));
    mistakes.extend(past::mistakes(vocabulary, draft));
    let approval = draft.annotations.approval.as_deref();
    if approval.is_some_and(|approval| !draft.speech.approvals.contains(approval)) {
        let what = "no approval could lift this".to_owned();
        let hint = "add `unless { context.approvals.contains(\"…\") }` with the text of \
                    `@require_approval`";
        mistakes.push(draft.mistake(None, what, hint));
    }
    mistakes
}

fn assemble(
    vocabulary: &Vocabulary,
    (people, models): (&People<'_>, &Arc<Registry>),
    drafts: Vec<Draft>,
) -> Result<Policies, Mistake> {
    let mut index = Index::default();
    let types = types(vocabulary)?;
    let actions = actions(vocabulary, &types, &mut index)?;
    // order-free: only looked up
    let mut bodies: HashMap<ast::Expr, Arc<ast::Expr>> = HashMap::new();
    let (mut policies, mut spoken) = (Vec::with_capacity(drafts.len()), Spoken::default());
    let asks_flow = drafts.iter().any(|draft| draft.speech.asks_flow);
    let watch = Watch::of_drafts(vocabulary, &drafts);
    let documents = vocabulary.has_documents.then(|| document::Asked::of(&drafts));
    let members = Members::of(drafts.iter().filter_map(|it| it.policy.non_scope_constraints()));
    for (at, draft) in drafts.into_iter().enumerate() {
        let at = PolicyAt(u32::try_from(at).unwrap_or(u32::MAX));
        insert(&mut index, &types, &draft, at);
        spoken.add(&types, &draft.speech);
        let body = draft.policy.non_scope_constraints().map(|body| {
            let body = without_positions(body);
            Arc::clone(bodies.entry(body).or_insert_with_key(|body| Arc::new(body.clone())))
        });
        let place = draft.mistake(None, String::new(), "");
        policies.push(Policy {
            file: place.file.into(),
            line: place.line,
            force: force(draft.policy.effect()),
            whom: whom(draft.policy.principal_constraint().as_inner()).into(),
            offered_to: people.offered(draft.policy.principal_constraint().as_inner()),
            mentions: draft.speech.mentions(),
            asks_principal: draft.speech.asks_principal,
            reach: Reach::of(draft.policy.resource_constraint().as_inner()),
            sought: draft.speech.sought(),
            name: draft.name,
            reason: draft.annotations.reason,
            remedy: draft.annotations.remedy,
            approval: draft.annotations.approval,
            step_up: draft.annotations.step_up,
            obligations: draft.annotations.obligations.into(),
            body,
        });
    }
    index.finish();
    let decimal = "decimal".parse().map_err(|_| unbuildable("decimal"))?;
    let models = Arc::clone(models);
    Ok(Policies {
        policies,
        index,
        actions,
        types,
        spoken,
        decimal,
        models,
        asks_flow,
        watch,
        members,
        documents,
    })
}

impl Spoken {
    fn add(&mut self, types: &[EntityType], speech: &Speech) {
        for uid in &speech.entities {
            let Some(kind) = type_id(types, uid.entity_type()) else { continue };
            let name: &str = uid.eid().as_ref();
            self.0.entry(kind).or_default().insert(name.into(), uid.clone());
        }
    }
}

fn unbuildable(what: &str) -> Mistake {
    Mistake {
        file: "operations".to_owned(),
        line: None,
        what: format!("`{what}` is no name that policies can use"),
        hint: "rename it".to_owned(),
    }
}

fn types(vocabulary: &Vocabulary) -> Result<Vec<EntityType>, Mistake> {
    let built_in = index::BUILT_IN.into_iter();
    let of_documents = if vocabulary.has_documents { &schema::OF_DOCUMENTS[..] } else { &[] };
    built_in
        .chain(vocabulary.resource_types.iter().map(String::as_str))
        .chain(of_documents.iter().copied())
        .map(|name| name.parse().map_err(|_| unbuildable(name)))
        .collect()
}

fn type_id(types: &[EntityType], wanted: &EntityType) -> Option<TypeId> {
    types.iter().position(|kind| kind == wanted).and_then(|at| TypeId::try_from(at).ok())
}

fn actions(
    vocabulary: &Vocabulary,
    types: &[EntityType],
    index: &mut Index,
) -> Result<Actions, Mistake> {
    let action: EntityType = "Action".parse().map_err(|_| unbuildable("Action"))?;
    let uid = |name: &str| EntityUID::from_components(action.clone(), Eid::new(name), None);
    let mut actions = Actions::new();
    let mut inputs: Vec<Arc<Record>> = Vec::new();
    for (name, described) in &vocabulary.actions {
        let groups = described.groups.iter();
        let mut buckets: Vec<u32> = groups.clone().map(|group| index.bucket(group)).collect();
        buckets.push(index.bucket(name));
        let resource_type = described.resource_type.parse().ok();
        let resource_type = resource_type.and_then(|kind| type_id(types, &kind));
        // order-free: what an entity is in, and Cedar only asks whether
        let groups: HashSet<EntityUID> = groups.map(|group| uid(group)).collect();
        let entity = super::slice::entity(uid(name), groups);
        let compiled = Action {
            entity: Arc::new(entity),
            buckets: buckets.into(),
            resource_type: resource_type.ok_or_else(|| unbuildable(&described.resource_type))?,
            resource_argument: described.resource_argument.as_deref().map(Into::into),
            input: shared(&mut inputs, &described.input),
            asks_model: described.asks_model,
        };
        actions.insert(OperationName::new(name).map_err(|_| unbuildable(name))?, compiled);
    }
    Ok(actions)
}

/// The same record for operations whose arguments have the same types: many of one upstream do.
fn shared(known: &mut Vec<Arc<Record>>, wanted: &Record) -> Arc<Record> {
    // The newest few: declarations that are alike stand together.
    let newest = known.iter().rev().take(INPUTS_COMPARED_MAX);
    if let Some(found) = newest.into_iter().find(|record| ***record == *wanted) {
        return Arc::clone(found);
    }
    let record = Arc::new(wanted.clone());
    known.push(Arc::clone(&record));
    record
}

/// Puts a policy where its scope belongs.
fn insert(index: &mut Index, types: &[EntityType], draft: &Draft, policy: PolicyAt) {
    let resource = draft.policy.resource_constraint();
    let Some((resource, resource_type, _)) = key(index, types, resource.as_inner()) else { return };
    let principal = draft.policy.principal_constraint();
    let Some((principal, is, entity)) = key(index, types, principal.as_inner()) else { return };
    let entry = Entry { principal, resource, resource_type, policy };
    let buckets: BTreeSet<u32> = match draft.policy.action_constraint() {
        ast::ActionConstraint::Any => BTreeSet::from([index.bucket(schema::ANY)]),
        // `== group` holds for no operation, and validation has refused it.
        ast::ActionConstraint::Eq(uid) => BTreeSet::from([index.bucket(uid.eid().as_ref())]),
        ast::ActionConstraint::In(uids) => {
            uids.iter().map(|uid| index.bucket(uid.eid().as_ref())).collect()
        }
    };
    for (side, own) in [(Side::Agent, index::AGENT), (Side::Subject, index::USER)] {
        let is_excluded = is.is_some_and(|kind| kind != own)
            || entity
                .is_some_and(|kind| kind != own && [index::AGENT, index::USER].contains(&kind));
        if !is_excluded {
            buckets.iter().for_each(|bucket| index.insert(*bucket, side, entry));
        }
    }
}

/// What a scope says: its key, the type that `is` or `==` demands, the type of the entity it names.
fn key(
    index: &mut Index,
    types: &[EntityType],
    scope: &Scope,
) -> Option<(Key, Option<TypeId>, Option<TypeId>)> {
    let mut intern = |reference: &EntityReference| -> Option<(EntityAt, TypeId)> {
        let EntityReference::EUID(uid) = reference else { return None };
        let kind = type_id(types, uid.entity_type())?;
        Some((index.names.intern(kind, uid.eid().as_ref()), kind))
    };
    match scope {
        Scope::Any => Some((Key::ANY, None, None)),
        Scope::Is(kind) => Some((Key::ANY, Some(type_id(types, kind)?), None)),
        Scope::Eq(reference) => {
            let (entity, kind) = intern(reference)?;
            Some((Key::equal(entity), Some(kind), Some(kind)))
        }
        Scope::In(reference) => {
            let (entity, kind) = intern(reference)?;
            Some((Key::within(entity), None, Some(kind)))
        }
        Scope::IsIn(is, reference) => {
            let (entity, kind) = intern(reference)?;
            Some((Key::within(entity), Some(type_id(types, is)?), Some(kind)))
        }
    }
}
