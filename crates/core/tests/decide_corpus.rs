//! The corpus of decisions: `corpus/decide/*.toml`. A bug is one new case there, then the fix.

#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use lockgate_core::identify::{DEVELOPMENT, identify};
use lockgate_core::world::Files;
use lockgate_core::{World, decide, visible};
use lockgate_types::call::{Call, Direction};
use lockgate_types::decision::{Decision, Obligation};
use lockgate_types::facts::{
    Approval, BreakerScope, Broken, Difference, Earlier, Exhausted, Facts, LiveDifference, Mode,
    SessionState, Standing as EffectStanding, Switch,
};
use lockgate_types::history::{History, Passed, Step};
use lockgate_types::identity::{Claims, Identity};
use lockgate_types::label::{Confidentiality, Label};
use lockgate_types::model::ModelAsked;
use lockgate_types::risk::{Reason, Seen, Standing};
use lockgate_types::{
    CallId, Digest, GroupName, Json, JsonLimits, Micros, Object, PolicyName, RoleName, SessionId,
    UpstreamName,
};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// When everything is decided.
const NOW_S: i64 = 1_700_000_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheet {
    world: String,
    #[serde(default)]
    files: BTreeMap<String, String>,
    case: Vec<Case>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    subject: String,
    #[serde(default = "agent")]
    agent: String,
    operation: String,
    #[serde(default)]
    arguments: String,
    /// What is asked of a model, as it is recorded. The request names what the entry pins.
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    task: Option<String>,
    mode: Option<String>,
    confidentiality: Option<String>,
    /// Personal data that were met.
    #[serde(default)]
    pii: Vec<String>,
    /// What had happened: `tag call seconds-ago`, and `here`. Unset: nobody has looked.
    passed: Option<Vec<String>>,
    #[serde(default)]
    switches: Vec<String>,
    #[serde(default)]
    approved: Vec<String>,
    #[serde(default)]
    live_difference: bool,
    /// Another difference than that of the definition: its kind.
    #[serde(default)]
    difference: Option<String>,
    #[serde(default)]
    earlier: Option<String>,
    #[serde(default)]
    exhausted: Vec<String>,
    /// `upstream` or `operation`: whose circuit breaker stops it, for 1500 ms more.
    #[serde(default)]
    broken: Option<String>,
    /// Of the session: `score`, seconds since which its mode holds, seconds until a timer loosens
    /// it or `-`, and class and times of each reason: `450 30 870 refused 4`.
    #[serde(default)]
    risk: Option<String>,
    /// The tenant's: its mode, and the same.
    #[serde(default)]
    posture: Option<String>,
    /// Taken out of the identity: `g`, `role:r`, `agent:g`.
    #[serde(default)]
    without_groups: Vec<String>,
    #[serde(default)]
    force_observe: bool,
    /// `acr`, and how many seconds ago: `phr 10`.
    #[serde(default)]
    signed_in: Option<String>,

    verdict: String,
    code: Option<String>,
    observed: Option<String>,
    question: Option<String>,
    policies: Option<Vec<String>>,
    obligations: Option<Vec<String>>,
    approvals: Option<Vec<String>>,
    reason: Option<String>,
    remedy: Option<String>,
    /// Its steps: `tag call`.
    path: Option<Vec<String>>,
    visible: Option<bool>,
}

fn agent() -> String {
    "helpdesk-bot".to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus/decide")
}

fn read_tree(directory: &Path, prefix: &str, files: &mut Files) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.file_type().unwrap().is_dir() {
            read_tree(&entry.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
}

fn files(sheet: &Sheet) -> Files {
    let mut files = Files::new();
    read_tree(&root().join("world").join(&sheet.world), "", &mut files);
    files.extend(sheet.files.iter().map(|(path, text)| (path.clone(), text.clone().into_bytes())));
    files
}

fn load(files: &Files) -> World {
    World::load(files).unwrap_or_else(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    })
}

fn sheets() -> Vec<(String, Sheet)> {
    let mut sheets = Vec::new();
    for entry in std::fs::read_dir(root()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            let sheet = toml::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            sheets.push((name, sheet));
        }
    }
    sheets.sort_by(|a, b| a.0.cmp(&b.0));
    assert!(sheets.len() >= 7);
    sheets
}

/// The identity; of a stranger, that of bob under another name.
fn live_difference(case: &Case) -> Option<LiveDifference> {
    let live = Digest::of(b"another");
    let of_kind = case.difference.as_ref().map(|kind| LiveDifference {
        kind: Difference::from_word(kind).unwrap(),
        live,
        about: "crm/other".to_owned(),
    });
    of_kind.or(case.live_difference.then(|| LiveDifference::of_definition(live)))
}

fn identity(world: &World, case: &Case) -> Identity {
    let known = |name: &str, of: &[&str]| of.contains(&name);
    let is_user = known(&case.subject, &["alice", "bob", "carol", "dave"]);
    let is_agent = case.agent != "staging-bot";
    let act = Object::new().with("sub", if is_agent { &case.agent } else { "helpdesk-bot" });
    let subject = if is_user { case.subject.as_str() } else { "bob" };
    let mut claims = Object::new().with("sub", subject).with("act", act);
    if let Some((acr, ago)) = case.signed_in.as_deref().and_then(|text| text.split_once(' ')) {
        let at = NOW_S - ago.parse::<i64>().unwrap();
        claims = claims.with("acr", acr).with("auth_time", at).with("amr", vec![Json::from("hwk")]);
    }
    let claims = Claims { issuer: DEVELOPMENT.to_owned(), claims };
    let mut identity = identify(world, &claims).unwrap();
    identity.task = case.task.as_ref().map(|task| task.parse().unwrap());
    identity.subject = case.subject.parse().unwrap();
    identity.agent = case.agent.parse().unwrap();
    for name in &case.without_groups {
        let is_taken = match name.split_once(':') {
            Some(("role", name)) => identity.subject_roles.remove(&RoleName::new(name).unwrap()),
            Some(("agent", name)) => identity.agent_groups.remove(&GroupName::new(name).unwrap()),
            _ => identity.subject_groups.remove(&GroupName::new(name).unwrap()),
        };
        assert!(is_taken, "{}: `{name}` is not there to be taken out", case.name);
    }
    identity
}

fn history(world: &World, passed: &[String]) -> History {
    let mut tags: BTreeMap<String, Option<Passed>> =
        world.policies.watch().tags.iter().map(|tag| (tag.clone(), None)).collect();
    let passed = passed.iter().map(|text| {
        let words: Vec<&str> = text.split(' ').collect();
        let [tag, call, ago, here @ ..] = words.as_slice() else { panic!("{text}") };
        let at = Micros((NOW_S - ago.parse::<i64>().unwrap()) * 1_000_000);
        let step = Step { at, call: CallId::new(call).unwrap() };
        let is_here = here == ["here"];
        ((*tag).to_owned(), Some(Passed { first: step.clone(), latest: step, is_here }))
    });
    tags.extend(passed);
    let (group, counts) = ("g_1".to_owned(), Vec::new());
    History { group, window_us: 86_400_000_000, counts, tags }
}

fn call(world: &World, case: &Case) -> Call {
    let (upstream, method, mut params) = match case.operation.split_once('/') {
        Some((upstream, tool)) if !upstream.contains(':') => {
            (upstream, "tools/call", Object::new().with("name", tool))
        }
        _ => {
            let (upstream, method) = case.operation.split_once(':').unwrap();
            (upstream, method, Object::new())
        }
    };
    let model = case.model.as_deref().map(|text| {
        let json = Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap();
        Box::new(ModelAsked::from_json(&json).unwrap())
    });
    if let Some((_, entry)) = model.as_ref().and_then(|asked| world.models.of(asked)) {
        params.set("model", entry.id(&model.as_ref().unwrap().asked));
    }
    if !case.arguments.is_empty() {
        let json = Json::parse(case.arguments.as_bytes(), &JsonLimits::MESSAGE).unwrap();
        match case.model {
            Some(_) => params = json.as_object().unwrap().clone(),
            None => params.set("arguments", json),
        }
    }
    let id = CallId::new("0190e6b1c0de0000000000000000cafe").unwrap();
    let upstream = UpstreamName::new(upstream).unwrap();
    let mut call = Call::new(id, upstream, Direction::ToUpstream, method, params).unwrap();
    call.model = model;
    call
}

fn facts(world: &World, case: &Case) -> Facts {
    let exposure = Label {
        confidentiality: case
            .confidentiality
            .as_deref()
            .map_or_else(Default::default, |word| Confidentiality::from_word(word).unwrap()),
        pii: case.pii.iter().cloned().collect(),
        ..Label::default()
    };
    let switches = case.switches.iter().map(|text| {
        let (scope, name) = text.split_once(':').unwrap();
        Switch { scope: scope.to_owned(), name: name.to_owned() }
    });
    let approvals = case.approved.iter().map(|requirement| Approval {
        requirement: requirement.clone(),
        approver: "bob".to_owned(),
    });
    Facts {
        identity: Arc::new(identity(world, case)),
        call: call(world, case),
        session: SessionState {
            id: SessionId::new("s-1").unwrap(),
            mode: case.mode.as_deref().map_or(Mode::Normal, |word| Mode::from_word(word).unwrap()),
            exposure,
            writes: 0,
            revision: 1,
            risk: None,
            fed: None,
        },
        now: Micros(NOW_S * 1_000_000),
        switches: switches.collect(),
        approvals: approvals.collect(),
        live_difference: live_difference(case),
        plan: None,
        preview: None,
        exhausted: case
            .exhausted
            .iter()
            .map(|cap| Exhausted { cap: cap.clone(), used: None, resets_at: Some(Micros(0)) })
            .collect(),
        earlier: case.earlier.as_ref().map(|standing| Earlier {
            call: CallId::new("first").unwrap(),
            standing: EffectStanding::from_word(standing).unwrap(),
        }),
        history: case.passed.as_ref().map(|passed| Arc::new(history(world, passed))),
        risk: seen(case),
        cited: None,
        broken: case.broken.as_ref().map(|scope| Broken {
            scope: BreakerScope::from_word(scope).unwrap(),
            until: Micros(1_700_000_001_500_000),
        }),
        flow: None,
    }
}

fn seen(case: &Case) -> Option<Box<Seen>> {
    if case.risk.is_none() && case.posture.is_none() {
        return None;
    }
    let mode = case.mode.as_deref().unwrap_or("normal");
    let of = |mode: &str, text: &str| {
        let mut words = text.split(' ');
        let mut next = || words.next().unwrap();
        let after = |seconds: i64| Micros((NOW_S + seconds) * 1_000_000);
        let (score, since, left) = (next().parse().unwrap(), next(), next());
        let mut reasons = Vec::new();
        while let (Some(class), Some(times)) = (words.next(), words.next()) {
            let (times, at) = (times.parse().unwrap(), after(-5));
            reasons.push(Reason { class: class.to_owned(), points: 1, times, at, call: None });
        }
        Standing {
            mode: Mode::from_word(mode).unwrap(),
            score,
            since: after(-since.parse::<i64>().unwrap()),
            loosens_at: left.parse().ok().map(after),
            reasons,
        }
    };
    let session = case.risk.as_deref().map(|text| of(mode, text)).unwrap_or_default();
    let tenant = case.posture.as_deref().and_then(|text| text.split_once(' '));
    let tenant = tenant.map(|(mode, text)| of(mode, text)).unwrap_or_default();
    Some(Box::new(Seen { session, tenant }))
}

fn prepare(world: &World, case: &Case) -> World {
    let mut world = world.clone();
    if case.force_observe {
        world.operations.get_mut(&case.operation.parse().unwrap()).unwrap().observe = true;
    }
    world
}

fn strings(policies: &[PolicyName]) -> Vec<String> {
    policies.iter().map(ToString::to_string).collect()
}

fn compare(case: &Case, decision: &Decision) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut same = |what: &str, found: String, expected: Option<String>| {
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            wrong.push(format!("{what}: found {found}, expected {expected}"));
        }
    };
    let denial = decision.denial.as_ref();
    let of = |text: Option<&str>| text.unwrap_or("none").to_owned();
    let code = of(denial.map(|denial| denial.code.as_str()));
    same("verdict", decision.verdict.as_str().to_owned(), Some(case.verdict.clone()));
    let is_silent = case.code.is_none() && case.observed.is_none() && case.verdict == "allow";
    let expected = case.code.clone().or(case.observed.clone());
    same("code", code, if is_silent { Some("none".to_owned()) } else { expected });
    same("observed", decision.is_observed().to_string(), Some(case.observed.is_some().to_string()));
    same("question", of(denial.map(|d| d.question.as_str())), case.question.clone());
    same("reason", of(denial.map(|d| d.reason.as_str())), case.reason.clone());
    same("remedy", of(denial.map(|d| d.remedy.as_str())), case.remedy.clone());
    let quoted = |list: &Option<Vec<String>>| list.as_ref().map(|list| format!("{list:?}"));
    same("policies", format!("{:?}", strings(&decision.policies)), quoted(&case.policies));
    let obligations: Vec<String> = decision.obligations.iter().map(Obligation::to_text).collect();
    same("obligations", format!("{obligations:?}"), quoted(&case.obligations));
    let path = denial.into_iter().flat_map(|denial| &denial.path);
    let path: Vec<String> = path.map(|it| format!("{} {}", it.tag, it.step.call)).collect();
    same("path", format!("{path:?}"), quoted(&case.path));
    same("approvals", format!("{:?}", decision.approvals), quoted(&case.approvals));
    wrong
}

#[test]
fn every_case_is_decided_as_it_says() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for (name, sheet) in sheets() {
        let world = load(&files(&sheet));
        for case in &sheet.case {
            count += 1;
            let world = prepare(&world, case);
            let facts = facts(&world, case);
            let decision = decide(&world, &facts);
            for line in compare(case, &decision) {
                wrong.push(format!("{name}: {}: {line}", case.name));
            }
            let shown = visible(&world, &facts.identity, &facts.switches, &facts.call.operation);
            if case.visible.is_some_and(|expected| expected != shown) {
                wrong.push(format!("{name}: {}: visible is {shown}", case.name));
            }
            // What is not listed is always denied (I4).
            if !shown && decision.verdict.as_str() != "deny" {
                wrong.push(format!("{name}: {}: hidden, but not denied", case.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert!(count > 70, "{count}");
}

#[test]
fn refusals_hold_no_values_of_arguments() {
    for (name, sheet) in sheets() {
        let world = load(&files(&sheet));
        for case in &sheet.case {
            let marked =
                case.arguments.replace("\"c1\"", "\"zebra-c1\"").replace("\"x\"", "\"zebra\"");
            let case = Case { arguments: marked, ..case.clone() };
            let decision = decide(&world, &facts(&world, &case));
            let text = decision.to_json().to_string();
            assert!(!text.contains("zebra"), "{name}: {}: {text}", case.name);
        }
    }
}

#[test]
fn the_same_facts_give_the_same_bytes() {
    for (name, sheet) in sheets() {
        let files = files(&sheet);
        let world = load(&files);
        let again = load(&files);
        for case in &sheet.case {
            let given = facts(&world, case);
            let bytes = decide(&world, &given).to_canonical();
            assert_eq!(decide(&again, &given).to_canonical(), bytes, "{name}: {}", case.name);
            let mut shuffled = given.clone();
            shuffle(&mut shuffled.call.params);
            shuffled.switches.reverse();
            shuffled.approvals.reverse();
            let mut found = decide(&again, &shuffled);
            let mut expected = decide(&world, &given);
            // Violations are named in the order of the arguments: that is the one place where it
            // shows.
            for decision in [&mut found, &mut expected] {
                if let Some(denial) = &mut decision.denial {
                    denial.reason.clear();
                }
            }
            assert_eq!(found.to_canonical(), expected.to_canonical(), "{name}: {}", case.name);
        }
    }
}

fn shuffle(object: &mut Object) {
    let mut members: Vec<(String, Json)> = std::mem::take(object).into_iter().collect();
    members.reverse();
    for (name, mut value) in members {
        if let Some(inner) = value.as_object_mut() {
            shuffle(inner);
        }
        object.set(name, value);
    }
}

#[test]
fn facts_survive_the_record() {
    let (_, sheet) = sheets().remove(0);
    let world = load(&files(&sheet));
    for case in &sheet.case {
        let given = facts(&world, case);
        let read = |part| Json::parse(&given.part(part), &JsonLimits::OWN).unwrap();
        let [identity, call, moment] = lockgate_types::facts::Part::ALL.map(read);
        let back = Facts::from_parts(&identity, &call, &moment).unwrap();
        assert_eq!(decide(&world, &back).to_canonical(), decide(&world, &given).to_canonical());
    }
}

#[test]
fn where_policies_stand_does_not_matter() {
    let (_, sheet) = sheets().into_iter().find(|(name, _)| name == "fail-closed.toml").unwrap();
    let files = files(&sheet);
    let world = load(&files);
    let mut moved = files.clone();
    let texts: Vec<String> = moved
        .iter()
        .filter(|(path, _)| path.ends_with(".cedar"))
        .map(|(_, bytes)| String::from_utf8(bytes.clone()).unwrap())
        .collect();
    moved.retain(|path, _| !path.ends_with(".cedar"));
    let mut policies: Vec<&str> = texts.iter().flat_map(|text| text.split("\n\n")).collect();
    policies.reverse();
    moved.insert("policies/all.cedar".to_owned(), policies.join("\n\n").into_bytes());
    let mut other = load(&moved);
    assert_eq!(other.policies.len(), world.policies.len());
    other.digest = world.digest;
    for case in &sheet.case {
        let given = facts(&world, case);
        let found = decide(&other, &given).to_canonical();
        assert_eq!(found, decide(&world, &given).to_canonical(), "{}", case.name);
    }
}

#[test]
fn a_history_that_does_not_say_denies() {
    let (_, sheet) = sheets().into_iter().find(|(name, _)| name == "chain.toml").unwrap();
    let world = load(&files(&sheet));
    let case = sheet.case.iter().find(|case| case.name == "nothing has happened").unwrap();
    let mut given = facts(&world, case);
    assert_eq!(decide(&world, &given).verdict.as_str(), "allow");
    // What was recorded before answers of models had labels is decided again as it was.
    given.history.as_mut().map(Arc::make_mut).unwrap().tags.remove("origin:model");
    assert_eq!(decide(&world, &given).verdict.as_str(), "allow");
    let history = given.history.as_mut().map(Arc::make_mut).unwrap();
    history.tags.remove("origin:anyone").unwrap_or_default();
    let denial = decide(&world, &given).denial.unwrap();
    assert_eq!(denial.code, lockgate_types::Code::PolicyFailed);
}
