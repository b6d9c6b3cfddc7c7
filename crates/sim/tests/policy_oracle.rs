//! The indexed evaluator against Cedar's public API over the whole set: same decision, same
//! determining policies, same errors, on both sides.

#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking"
)]

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityId, EntityTypeName, EntityUid, Policy,
    PolicyId, PolicySet, Request, RestrictedExpression, Schema, ValidationMode, ValidationWarning,
    Validator,
};
use lockgate_core::policy::{Leg, Policies, PolicyAt, PolicyInput, Side, schema_text};
use lockgate_core::world::Files;
use lockgate_core::{World, decide, visible};
use lockgate_sim::fixture;
use lockgate_types::decision::Verdict;
use lockgate_types::facts::{Approval, Facts};
use lockgate_types::flow::Author;
use lockgate_types::history::{History, Passed, Step};
use lockgate_types::label::Confidentiality;
use lockgate_types::{CallId, Json, Object};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

const FACTS: usize = 256;

type Answer = (Decision, BTreeSet<String>, BTreeSet<String>);

fn uid(kind: &str, name: &str) -> EntityUid {
    let kind: EntityTypeName = kind.parse().unwrap();
    EntityUid::from_type_name_and_id(kind, EntityId::new(name))
}

fn policy_set(files: &Files) -> PolicySet {
    let mut set = PolicySet::new();
    for (path, bytes) in files.iter().filter(|(path, _)| path.ends_with(".cedar")) {
        let text = std::str::from_utf8(bytes).unwrap();
        for policy in text.parse::<PolicySet>().unwrap().policies() {
            let id = policy.annotation("id").map_or(path.as_str(), |id| id);
            let policy: Policy = policy.new_id(PolicyId::new(id));
            set.add(policy).unwrap();
        }
    }
    set
}

fn expression(json: &Json) -> RestrictedExpression {
    match json {
        Json::Bool(value) => RestrictedExpression::new_bool(*value),
        Json::Number(number) => RestrictedExpression::new_long(number.as_i64().unwrap()),
        Json::String(text) => RestrictedExpression::new_string(text.clone()),
        Json::Array(items) => RestrictedExpression::new_set(items.iter().map(expression)),
        Json::Object(object) => record(object),
        Json::Null => panic!("no null in these facts"),
    }
}

fn record(object: &Object) -> RestrictedExpression {
    let members = object.iter().map(|(name, json)| (name.to_owned(), expression(json)));
    RestrictedExpression::new_record(members).unwrap()
}

fn risk(facts: &Facts) -> RestrictedExpression {
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let seen = facts.risk.clone().unwrap_or_default();
    let classes = seen.session.reasons.iter().map(|reason| text(&reason.class));
    let members = [
        ("classes".to_owned(), RestrictedExpression::new_set(classes)),
        ("score".to_owned(), RestrictedExpression::new_long(seen.session.score)),
        ("session_mode".to_owned(), text(facts.session.mode.as_str())),
        ("tenant_mode".to_owned(), text(seen.tenant.mode.as_str())),
        ("tenant_score".to_owned(), RestrictedExpression::new_long(seen.tenant.score)),
    ];
    RestrictedExpression::new_record(members).unwrap()
}

fn context(facts: &Facts, agent: &EntityUid, user: &EntityUid, arguments: &Object) -> Context {
    let identity = &*facts.identity;
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let texts = |all: &mut dyn Iterator<Item = &str>| {
        RestrictedExpression::new_set(all.map(text).collect::<Vec<_>>())
    };
    let label = &facts.session.exposure;
    let mut exposure = vec![
        ("integrity".to_owned(), text(label.integrity.as_str())),
        ("confidentiality".to_owned(), text(label.confidentiality.as_str())),
        ("origins".to_owned(), texts(&mut label.origins.iter().map(|origin| origin.as_str()))),
        ("pii".to_owned(), texts(&mut label.pii.iter().map(String::as_str))),
    ];
    if let Some(oldest) = label.oldest {
        exposure.push(("oldest".to_owned(), RestrictedExpression::new_long(oldest.0)));
    }
    if let Some(readers) = &label.readers {
        let readers = texts(&mut readers.iter().map(String::as_str));
        exposure.push(("readers".to_owned(), readers));
    }
    let history = facts.history.as_ref().unwrap();
    let mut passed = history.passed().map(|(tag, _)| tag);
    let mut here = history.passed().filter(|(_, it)| it.is_here).map(|(tag, _)| tag);
    let (passed, here) = (texts(&mut passed), texts(&mut here));
    let approvals = facts.approvals.iter().map(|approval| text(&approval.requirement));
    let mut context = BTreeMap::from([
        ("agent", RestrictedExpression::new_entity_uid(agent.clone())),
        ("subject", RestrictedExpression::new_entity_uid(user.clone())),
        ("tenant", text(identity.tenant.as_str())),
        ("environment", text(identity.environment.as_str())),
        ("direction", text(facts.call.direction.as_str())),
        ("mode", text(facts.session.mode.as_str())),
        ("now", RestrictedExpression::new_long(facts.now.0)),
        ("risk", risk(facts)),
        ("writes", RestrictedExpression::new_long(facts.session.writes)),
        ("exposure", RestrictedExpression::new_record(exposure).unwrap()),
        ("approvals", RestrictedExpression::new_set(approvals)),
        ("input", record(arguments)),
        ("history", passed),
        ("session_history", here),
    ]);
    let signed_in = &identity.authentication;
    let mut authentication = Vec::new();
    authentication.extend(signed_in.acr.iter().map(|acr| ("acr".to_owned(), text(acr))));
    let age_s = signed_in.at.map(|at| facts.now.0 / 1_000_000 - at);
    if let Some(age_s) = age_s {
        let age_s = RestrictedExpression::new_long(age_s.max(0));
        authentication.push(("age_s".to_owned(), age_s));
    }
    if !signed_in.amr.is_empty() {
        let amr = RestrictedExpression::new_set(signed_in.amr.iter().map(|means| text(means)));
        authentication.push(("amr".to_owned(), amr));
    }
    context.insert("authentication", RestrictedExpression::new_record(authentication).unwrap());
    if let Some(task) = &identity.task {
        context.insert("task", text(task.as_str()));
    }
    Context::from_pairs(context.into_iter().map(|(k, v)| (k.to_owned(), v))).unwrap()
}

/// The same call, said to the public API independently of how the product says it.
fn oracle(world: &World, set: &PolicySet, facts: &Facts, side: Side) -> Answer {
    let identity = &*facts.identity;
    let operation = &world.operations[&facts.call.operation];
    let (agent, user) =
        (uid("Agent", identity.agent.as_str()), uid("User", identity.subject.as_str()));
    let tenant = uid("Tenant", identity.tenant.as_str());
    let mut agent_in: HashSet<EntityUid> =
        identity.agent_groups.iter().map(|group| uid("Group", group.as_str())).collect();
    agent_in.insert(tenant.clone());
    let mut user_in: HashSet<EntityUid> =
        identity.subject_groups.iter().map(|group| uid("Group", group.as_str())).collect();
    user_in.extend(identity.subject_roles.iter().map(|role| uid("Role", role.as_str())));
    user_in.insert(tenant.clone());
    let upstream = uid("Upstream", facts.call.upstream.as_str());
    let arguments = facts.call.arguments().cloned().unwrap_or_default();
    let resource = match &operation.resource {
        Some((kind, argument)) => uid(kind, arguments.get(argument).unwrap().as_str().unwrap()),
        None => upstream.clone(),
    };
    let action = uid("Action", facts.call.operation.as_str());
    let groups = [
        uid("Action", operation.effect.as_str()),
        uid("Action", &format!("upstream:{}", facts.call.upstream)),
        uid("Action", "any"),
    ];
    let mut entities = vec![
        Entity::new_no_attrs(agent.clone(), agent_in),
        Entity::new_no_attrs(user.clone(), user_in),
        Entity::new_no_attrs(action.clone(), groups.into_iter().collect()),
        Entity::new_no_attrs(tenant, HashSet::new()),
        Entity::new_no_attrs(upstream.clone(), HashSet::new()),
    ];
    if resource != upstream {
        entities.push(Entity::new_no_attrs(resource.clone(), HashSet::from([upstream])));
    }
    let entities = Entities::from_entities(entities, None).unwrap();
    let context = context(facts, &agent, &user, &arguments);
    let principal = match side {
        Side::Agent => agent,
        Side::Subject => user,
    };
    let request = Request::new(principal, action, resource, context, None).unwrap();
    let response = Authorizer::new().is_authorized(&request, set, &entities);
    let diagnostics = response.diagnostics();
    let errors = diagnostics.errors().map(|error| match error {
        cedar_policy::AuthorizationError::PolicyEvaluationError(error) => {
            error.policy_id().to_string()
        }
    });
    let reasons = diagnostics.reason().map(ToString::to_string);
    (response.decision(), reasons.collect(), errors.collect())
}

fn indexed(world: &World, leg: &Leg) -> Answer {
    let name = |at: &PolicyAt| world.policies.get(*at).unwrap().name.to_string();
    let decision = if leg.forbids.is_empty() && !leg.permits.is_empty() {
        Decision::Allow
    } else {
        Decision::Deny
    };
    let determining = if leg.forbids.is_empty() { &leg.permits } else { &leg.forbids };
    assert!(leg.blind.is_empty(), "these facts hide nothing");
    let errors = leg.failures.iter().map(|failure| name(&failure.policy));
    (decision, determining.iter().map(name).collect(), errors.collect())
}

/// Asserts equality, and returns how many answers were allowed, forbidden, erring.
fn assert_same(files: &Files, world: &World, facts: impl Iterator<Item = Facts>) -> [usize; 3] {
    let set = policy_set(files);
    assert_eq!(set.policies().count(), world.policies.len());
    let mut seen = [0; 3];
    for facts in facts {
        let legs = world.policies.legs(&facts).unwrap();
        for side in [Side::Agent, Side::Subject] {
            let expected = oracle(world, &set, &facts, side);
            let found = indexed(world, legs.side(side));
            assert_eq!(
                found,
                expected,
                "{side:?} {}",
                String::from_utf8_lossy(&facts.call.to_canonical())
            );
            seen[0] += usize::from(found.0 == Decision::Allow);
            seen[1] += usize::from(!legs.side(side).forbids.is_empty());
            seen[2] += usize::from(!found.2.is_empty());
        }
        // What is not listed is always denied (I4).
        let decision = decide(world, &facts);
        let is_shown = visible(world, &facts.identity, &[], &facts.call.operation);
        assert!(
            is_shown || decision.verdict == Verdict::Deny,
            "{}",
            String::from_utf8_lossy(&facts.call.to_canonical())
        );
    }
    seen
}

fn varied(world: &World, i: usize) -> Facts {
    let mut facts = fixture::facts(world, i).unwrap();
    if i.is_multiple_of(3) {
        facts.session.exposure.confidentiality = Confidentiality::Restricted;
        facts.session.writes = 5000;
    }
    if i.is_multiple_of(4) {
        let exposure = &mut facts.session.exposure;
        exposure.origins.insert(Author::Anyone);
        exposure.pii.insert("email".to_owned());
        exposure.readers = Some(BTreeSet::from(["staff".to_owned()]));
        exposure.oldest = Some(facts.now);
    }
    let step = Step { at: facts.now, call: CallId::new("c_0").unwrap() };
    let passed = |at: usize| {
        let (first, latest) = (step.clone(), step.clone());
        let is_here = (i / 7).is_multiple_of(2);
        (i % 7 != at % 7).then_some(Passed { first, latest, is_here })
    };
    let tags = world.policies.watch().tags.iter().enumerate();
    facts.history = Some(Arc::new(History {
        group: "g_1".to_owned(),
        window_us: 1,
        counts: Vec::new(),
        tags: tags.map(|(at, tag)| (tag.clone(), passed(at))).collect(),
    }));
    if i.is_multiple_of(5) {
        let approval =
            Approval { requirement: "group:finance".to_owned(), approver: "user1".to_owned() };
        facts.approvals.push(approval);
    }
    facts
}

#[test]
fn the_fixture_at_every_size() {
    for size in [10, 100, 1000] {
        let files = fixture::bundle(size);
        let world = World::load(&files).unwrap();
        let seen = assert_same(&files, &world, (0..FACTS).map(|i| varied(&world, i)));
        assert!(seen[0] > 20, "{size}: {seen:?}");
    }
}

/// A small deterministic source of choices.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from((self.0 >> 11) % sides as u64).unwrap()
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }
}

const CLAUSES: &[&str] = &[
    "context.input has amount && context.input.amount > 3000",
    "context.input has amount && context.input.amount * 9000000000000000 > 5",
    "context.agent in Group::\"agents\"",
    "context.subject in Group::\"g1\" || context.subject in Role::\"r3\"",
    "principal in Group::\"staff\"",
    "resource in Upstream::\"u0\"",
    "action in Action::\"write\"",
    "action == Action::\"u0/op4\"",
    "context.approvals.contains(\"group:finance\")",
    "context has task",
    "context.exposure.confidentiality == \"restricted\"",
    "context.writes + 1 > 9",
    "context.history.contains(\"u0/op1\")",
    "context.history.containsAll([\"effect:write\", \"origin:anyone\"])",
    "context.session_history.containsAny([\"u0/op1\", \"pii:iban\"])",
    "context.exposure.origins.contains(\"anyone\") && !context.exposure.pii.isEmpty()",
    "context.exposure has readers && context.exposure.readers.contains(\"staff\")",
    "context.exposure has oldest && context.exposure.oldest > 1",
    "context.input has note && context.input.note like \"*ticket*\"",
    "if context.writes > 20 then context.mode == \"normal\" else context.now > 0",
    "[\"mail\", \"chat\"].contains(\"mail\") && context.direction != \"to_client\"",
    "context.input has channel && [\"mail\"].containsAll([context.input.channel])",
    "principal == context.subject",
    "!(context.environment == \"prod\")",
    "context.input has tags && context.input.tags.isEmpty()",
    "context.input == {customer: \"c1\"} || true",
    "action in Action::\"write\" && context.input has note && context.input.note == \"x\"",
    "action != Action::\"u0/op0\" && context.input has amount && context.input.amount > 1",
    "resource is Customer && resource in Upstream::\"u0\"",
];

fn random_policy(dice: &mut Dice, at: usize) -> String {
    let force = dice.pick(&["permit", "permit", "forbid"]);
    let principal = dice.pick(&[
        "principal",
        "principal is User",
        "principal is Agent",
        "principal == User::\"user3\"",
        "principal == Agent::\"agent1\"",
        "principal in Group::\"staff\"",
        "principal in Group::\"g1\"",
        "principal in Group::\"agents\"",
        "principal in Role::\"r2\"",
        "principal in Tenant::\"default\"",
        "principal is User in Group::\"g2\"",
        "principal is Agent in Group::\"agents\"",
        "principal in User::\"user5\"",
        "principal is User in Role::\"r1\"",
        "principal in Tenant::\"other\"",
    ]);
    let action = dice.pick(&[
        "action",
        "action == Action::\"u0/op0\"",
        "action == Action::\"u0/op3\"",
        "action in [Action::\"u0/op1\", Action::\"read\"]",
        "action in Action::\"write\"",
        "action in Action::\"upstream:u0\"",
        "action in Action::\"any\"",
        "action in [Action::\"u0/op2\", Action::\"u0/op2\", Action::\"upstream:u1\"]",
        "action in [Action::\"read\", Action::\"write\"]",
    ]);
    let resource = dice.pick(&[
        "resource",
        "resource is Customer",
        "resource == Customer::\"c1\"",
        "resource in Upstream::\"u0\"",
        "resource in Customer::\"c2\"",
        "resource is Customer in Upstream::\"u1\"",
        "resource is Customer in Customer::\"c3\"",
        "resource is Upstream",
        "resource in Upstream::\"u1\"",
    ]);
    let mut text = format!("@id(\"random-{at}\")\n{force} ({principal}, {action}, {resource})");
    for _ in 0..dice.roll(3) {
        let word = dice.pick(&["when", "unless"]);
        text.push_str(&format!("\n{word} {{ {} }}", dice.pick(CLAUSES)));
    }
    text.push_str(";\n");
    text
}

/// Whether Cedar's own validator, against the whole schema, finds nothing wrong.
fn passes(schema: &Schema, text: &str) -> bool {
    let set: PolicySet = text.parse().unwrap();
    let result =
        Validator::new(schema.clone()).validate_with_level(&set, ValidationMode::Strict, 1);
    let is_unreachable = |warning: &ValidationWarning| {
        matches!(
            warning,
            ValidationWarning::ImpossiblePolicy(_) | ValidationWarning::InvalidActionApplication(_)
        )
    };
    result.validation_passed() && !result.validation_warnings().any(is_unreachable)
}

#[test]
fn validating_against_representatives_is_validating_against_all() {
    let mut files = fixture::bundle(40);
    files.retain(|path, _| !path.ends_with(".cedar"));
    // Operations that differ, so that there is something to tell apart.
    let declarations = String::from_utf8(files["operations/u0.toml"].clone()).unwrap();
    let declarations = declarations
        .replacen("\"amount\":{\"type\":\"integer\"", "\"amount\":{\"type\":\"string\"", 1)
        .replacen("resource = { type = \"Customer\", argument = \"customer\" }\n", "", 2);
    files.insert("operations/u0.toml".to_owned(), declarations.into_bytes());
    let bare = World::load(&files).unwrap();
    let input = PolicyInput {
        operations: &bare.operations,
        models: &bare.models,
        principals: &bare.principals,
        sources: &bare.sources,
        has_claimed_groups: false,
        has_claimed_roles: false,
    };
    let schema = Schema::from_cedarschema_str(&schema_text(&input).unwrap()).unwrap().0;
    let mut dice = Dice(0x5DEE_CE66_D1CE_4E5B);
    let mut passed = 0;
    for at in 0..150 {
        let text = random_policy(&mut dice, at).replace("u1", "u0");
        let found = Policies::compile(&input, &[("case.cedar", &text)]);
        let mistakes = found.err().unwrap_or_default();
        assert_eq!(mistakes.is_empty(), passes(&schema, &text), "{text}\n{mistakes:?}");
        passed += usize::from(mistakes.is_empty());
    }
    assert!((40..140).contains(&passed), "{passed}");
}

#[test]
fn random_policies() {
    let mut total = [0; 3];
    let mut kept = 0;
    for seed in 1..=4u64 {
        let mut dice = Dice(seed.wrapping_mul(0x2545_F491_4F6C_DD1D));
        let mut files = fixture::bundle(100);
        files.retain(|path, _| !path.ends_with(".cedar"));
        for at in 0..100 {
            let text = random_policy(&mut dice, at);
            files.insert(format!("policies/{at:03}.cedar"), text.into_bytes());
        }
        // Policies that could never hold are refused: what is left is judged.
        while let Err(mistakes) = World::load(&files) {
            let before = files.len();
            for mistake in &mistakes {
                files.remove(&mistake.file);
            }
            assert!(files.len() < before, "{mistakes:?}");
        }
        let world = World::load(&files).unwrap();
        kept += world.policies.len();
        // The fixture sizes its operations by its policies: ask what exists.
        let facts = (0..FACTS)
            .map(|i| varied(&world, i))
            .filter(|facts| world.operations.contains_key(&facts.call.operation));
        let seen = assert_same(&files, &world, facts);
        for (total, seen) in total.iter_mut().zip(seen) {
            *total += seen;
        }
    }
    println!("kept {kept} policies; allowed, forbidden, erring: {total:?}");
    assert!(kept > 200 && total.iter().all(|count| *count > 20), "{kept} {total:?}");
}
