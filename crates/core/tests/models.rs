//! What models cost, and what policies see of them: over the bundle `corpus/decide/world/models`
//! with budgets of its own.

#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use lockgate_core::bundle::import::Draft;
use lockgate_core::bundle::starter::{Starter, starter};
use lockgate_core::caps::{self, Charge, Settles, Whose};
use lockgate_core::declare::Cap;
use lockgate_core::identify::{DEVELOPMENT, identify};
use lockgate_core::policy::{PolicyInput, schema_text};
use lockgate_core::world::Files;
use lockgate_core::{World, canary, decide, stand_in};
use lockgate_types::call::{Call, Direction};
use lockgate_types::facts::{Approval, Exhausted, Facts, Mode, SessionState};
use lockgate_types::flow::Author;
use lockgate_types::identity::Claims;
use lockgate_types::label::{Confidentiality, Label};
use lockgate_types::model::{ModelAsked, Usage};
use lockgate_types::{CallId, Json, JsonLimits, Micros, Object, SessionId, UpstreamName};
use std::path::Path;
use std::sync::Arc;

const GATE: &str = r#"environment = "dev"
[development]
users = ["alice", "bob", "carol", "dave"]
[upstream.openai.model]
family = "openai"
base_url = "https://api.openai.com/v1"
[upstream.anthropic.model]
family = "anthropic"
base_url = "https://api.anthropic.com/v1"
"#;

fn files(gate: &str) -> Files {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus/decide/world/models");
    let paths = [
        "principals.toml",
        "models/large.toml",
        "models/small.toml",
        "models/claude.toml",
        "policies/models.cedar",
        "tasks/triage.toml",
    ];
    let read = |path: &&str| ((*path).to_owned(), std::fs::read(root.join(path)).unwrap());
    let mut files: Files = paths.iter().map(read).collect();
    files.insert("lockgate.toml".to_owned(), format!("{GATE}{gate}").into_bytes());
    files
}

fn load(files: &Files) -> World {
    World::load(files).unwrap_or_else(|mistakes| {
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        panic!("{}", lines.join("\n"))
    })
}

fn facts(world: &World, subject: &str, operation: (&str, &str), model: ModelAsked) -> Facts {
    let act = Object::new().with("sub", "helpdesk-bot");
    let claims = Object::new().with("sub", subject).with("act", act);
    let claims = Claims { issuer: DEVELOPMENT.to_owned(), claims };
    let entry = world.models.of(&model).unwrap().1;
    let params = Object::new().with("model", entry.id(&model.asked));
    let (upstream, method) = operation;
    let id = CallId::new("0190e6b1c0de0000000000000000cafe").unwrap();
    let upstream = UpstreamName::new(upstream).unwrap();
    let mut call = Call::new(id, upstream, Direction::ToUpstream, method, params).unwrap();
    call.model = Some(Box::new(model));
    Facts {
        identity: Arc::new(identify(world, &claims).unwrap()),
        call,
        session: SessionState {
            id: SessionId::new("s-1").unwrap(),
            mode: Mode::Normal,
            exposure: Label::default(),
            writes: 0,
            revision: 1,
            risk: None,
            fed: None,
        },
        now: Micros(30_000_000),
        switches: Vec::new(),
        approvals: Vec::new(),
        live_difference: None,
        earlier: None,
        exhausted: Vec::new(),
        plan: None,
        preview: None,
        broken: None,
        cited: None,
        flow: None,
        history: None,
        risk: None,
    }
}

fn asked(name: &str, entry: &str, input_tokens: i64, max_tokens: Option<i64>) -> ModelAsked {
    let entry = Some(entry.to_owned());
    ModelAsked { entry, input_tokens, max_tokens, ..ModelAsked::of(name) }
}

const BUDGETS: &str = r#"
[[cap]]
name = "tokens"
per = "subject"
count = "tokens"
max = 1000
window_s = 60
[[cap]]
name = "money"
per = "team"
groups = ["support", "staff", "finance"]
count = "spend"
max = 200
window_s = 60
alert_percent = 50
degrade_percent = 80
[[cap]]
name = "writes"
per = "agent"
max = 1
window_s = 60
"#;

fn taken(charges: &[Charge]) -> Vec<(&str, &str, i64, i64)> {
    let told = |it: &'_ Charge| (it.amount, it.max);
    charges
        .iter()
        .map(|it| {
            let (amount, max) = told(it);
            let scope = it.scope.rsplit('\n').next().unwrap();
            (it.cap.as_str(), scope, amount, max)
        })
        .collect()
}

#[test]
fn what_a_call_may_come_to_is_reserved_and_what_it_came_to_settles_it() {
    let world = load(&files(BUDGETS));
    let large = asked("gpt-5", "large", 100, Some(50));
    let chat = ("openai", "chat/completions");
    let of_large = facts(&world, "alice", chat, large.clone());
    let charges = caps::charges(&world, &of_large).unwrap();
    // A token of prompt costs a tenth of a cent, one of reply half a cent. Alice is in two teams.
    assert_eq!(
        taken(&charges),
        [
            ("tokens", "alice", 150, 1000),
            ("money", "staff", 35_000_000, 200_000_000),
            ("money", "support", 35_000_000, 200_000_000),
        ]
    );
    let usage = Usage { input: 80, cached: 0, cache_written: 0, output: 10 };
    let settled: Vec<Option<i64>> = charges
        .iter()
        .map(|charge| caps::of_usage(charge.settles.as_ref().unwrap(), &usage))
        .collect();
    assert_eq!(settled, [Some(90), Some(13_000_000), Some(13_000_000)]);
    let reply =
        Json::parse(br#"{"usage":{"prompt_tokens":80,"completion_tokens":10}}"#, &JsonLimits::OWN);
    assert_eq!(
        caps::actual(charges[1].settles.as_ref().unwrap(), &reply.unwrap()),
        Some(13_000_000)
    );
    assert_eq!(caps::actual(&Settles::Tokens, &Json::Null), None, "it stays reserved");

    for (who, operation, model, expected) in [
        // Bob is in finance and staff; what a reply may have is what the entry says.
        ("bob", chat, asked("gpt-5", "large", 0, None), vec![400, 200_000_000, 200_000_000]),
        ("bob", chat, asked("gpt-5", "large", 0, Some(9_999)), vec![400, 200_000_000, 200_000_000]),
        // Who is in no team is counted for none.
        ("carol", chat, large.clone(), vec![150]),
        // Embeddings have no reply.
        ("carol", ("openai", "embeddings"), asked("small", "small", 70, None), vec![70]),
        // Counting is free.
        (
            "alice",
            ("anthropic", "messages/count_tokens"),
            asked("claude-5", "claude", 70, None),
            vec![],
        ),
    ] {
        let facts = facts(&world, who, operation, model);
        let charges = caps::charges(&world, &facts).unwrap();
        let amounts: Vec<i64> = charges.iter().map(|it| it.amount).collect();
        assert_eq!(amounts, expected, "{who} {operation:?}");
    }
}

#[test]
fn a_budget_says_when_it_nears_its_end() {
    let world = load(&files(BUDGETS));
    let of = facts(&world, "alice", ("openai", "responses"), asked("gpt-5", "large", 1, None));
    let whose = Whose { identity: &of.identity, session: "s-1", call: &of.call };
    let counters = caps::watched(&world, whose, of.now);
    let names: Vec<(&str, &str, i64)> = counters
        .iter()
        .map(|(cap, it)| (cap.name.as_str(), it.scope.as_str(), it.amount))
        .collect();
    assert_eq!(names, [("money", "staff", 0), ("money", "support", 0)]);
    let money: &Cap = counters[0].0;
    let unit = caps::unit(money);
    assert_eq!(unit, 1_000_000);
    for (used, is_degraded) in [(0, false), (160 * unit - 1, false), (160 * unit, true)] {
        assert_eq!(caps::is_degraded(money, used), is_degraded, "{used}");
    }
    assert_eq!(counters[0].1.alert_at, Some(100 * unit), "half of it");
    let tokens = &world.gate.cap[0];
    assert!(!caps::is_degraded(tokens, i64::MAX));
    assert_eq!(caps::counter(tokens, String::new(), of.now).alert_at, None);
}

#[test]
fn a_budget_that_is_used_up_is_told_in_its_own_units() {
    let world = load(&files(BUDGETS));
    let model = asked("gpt-5", "large", 100, Some(50));
    let mut facts = facts(&world, "alice", ("openai", "chat/completions"), model);
    let (used, resets_at) = (Some(165_000_001), Some(Micros(60_000_000)));
    facts.exhausted.push(Exhausted { cap: "money".to_owned(), used, resets_at });
    let denial = decide(&world, &facts).denial.unwrap();
    let reason = "the cap `money` has no room for this (166 of 200 are used); it resets in 30 s";
    assert_eq!(denial.reason, reason);
}

#[test]
fn the_schema_has_models_where_one_is_asked_and_nowhere_else() {
    let world = load(&files(""));
    let input = PolicyInput {
        operations: &world.operations,
        models: &world.models,
        principals: &world.principals,
        sources: &world.sources,
        has_claimed_groups: false,
        has_claimed_roles: false,
    };
    let text = schema_text(&input).unwrap();
    text.parse::<cedar_policy::Schema>().unwrap();
    let asking = text.matches("hosted_tools: Set<String>").count();
    assert_eq!(asking, 5, "three of OpenAI, two of Anthropic");
    for (policy, expected) in [
        (
            "forbid (principal, action == Action::\"openai:models\", resource)\nwhen { context.model.stream };",
            Some("attribute `model` in context for Action::\"openai:models\" not found"),
        ),
        (
            "forbid (principal, action == Action::\"openai:responses\", resource)\nwhen { context.model.streams };",
            Some("attribute `model.streams` in context for Action::\"openai:responses\" not found"),
        ),
        (
            "forbid (principal, action in Action::\"read\", resource)\nwhen { context has model && context.model.stream };",
            None,
        ),
        (
            "forbid (principal, action == Action::\"openai:responses\", resource)\nwhen { context.model.region == \"eu\" };",
            Some(
                "unable to guarantee safety of access to optional attribute `model.region` in context for Action::\"openai:responses\"",
            ),
        ),
    ] {
        let mut files = files("");
        files.insert("policies/case.cedar".to_owned(), policy.as_bytes().to_vec());
        let found = World::load(&files).err().unwrap_or_default();
        let found: Vec<&str> = found.iter().map(|mistake| mistake.what.as_str()).collect();
        assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{policy}");
    }
}

#[test]
fn whoever_may_read_may_not_yet_ask_a_model() {
    let starter = starter(&Starter {
        environment: "dev".to_owned(),
        address: "127.0.0.1:7300".to_owned(),
        users: ["alice", "bob", "carol", "dave"].map(str::to_owned).into(),
        operator: "olga".to_owned(),
        agents: vec!["helpdesk-bot".to_owned()],
        upstreams: vec![Draft { name: "openai".to_owned(), ..Draft::default() }],
    });
    let mut files = files("");
    files.retain(|path, _| path.starts_with("models/") || path == "lockgate.toml");
    let texts = starter.into_iter().filter(|(path, _)| path != "lockgate.toml");
    files.extend(texts.map(|(path, text)| (path, text.into_bytes())));
    let ask = |files: &Files| {
        let world = load(files);
        let asked = asked("gpt-5", "large", 100, Some(100));
        let facts = facts(&world, "alice", ("openai", "chat/completions"), asked);
        decide(&world, &facts).denial.map(|denial| denial.code.as_str())
    };
    assert_eq!(ask(&files), Some("LG-D002"));
    let permits = ["staff", "assistants"].map(|group| {
        format!("permit (principal in Group::\"{group}\", action in Action::\"upstream:openai\", resource);\n")
    });
    files.insert("policies/models.cedar".to_owned(), permits.concat().into_bytes());
    assert_eq!(ask(&files), None);
}

#[test]
fn what_was_asked_is_asked_again_of_another_bundle() {
    let before = load(&files(""));
    let asked = ModelAsked {
        carries: Label::of(Author::Anyone, Confidentiality::Confidential),
        ..asked("gpt-5", "large", 10, Some(10))
    };
    let facts = facts(&before, "alice", ("openai", "chat/completions"), asked);
    assert_eq!(decide(&before, &facts).denial, None);
    let mut changed = files("");
    let entry = String::from_utf8(changed["models/large.toml"].clone()).unwrap();
    let lower = entry.replace("ceiling = \"confidential\"", "ceiling = \"internal\"");
    changed.insert("models/large.toml".to_owned(), lower.into_bytes());
    let denial = decide(&load(&changed), &facts).denial.unwrap();
    assert_eq!(denial.code.as_str(), "LG-D052", "what the bundle says is no fact");
}

#[test]
fn a_canary_begins_anew_when_what_is_tried_changes() {
    let canary = "[canary]\nentry = \"small\"\npercent = 5\nguards = { errors_percent_max = 2 }\n";
    let with = |canary: &str, version: &str| {
        let mut files = files("");
        let of = |path: &str| String::from_utf8(files[path].clone()).unwrap();
        let large = format!("{}{canary}", of("models/large.toml"));
        let small = of("models/small.toml").replace("version = \"1\"", version);
        files.insert("models/large.toml".to_owned(), large.into_bytes());
        files.insert("models/small.toml".to_owned(), small.into_bytes());
        canary::key(&load(&files).models, "large")
    };
    let first = with(canary, "version = \"1\"");
    assert!(first.is_some());
    assert_eq!(first, with(&canary.replace("percent = 5\n", "percent = 50\n"), "version = \"1\""));
    assert_ne!(first, with(canary, "version = \"2\""));
    assert_ne!(first, with(&canary.replace("max = 2", "max = 3"), "version = \"1\""));
    assert_eq!(with("", "version = \"1\""), None);
}

#[test]
fn what_stands_in_for_a_model_is_decided_by_the_callers_own_task() {
    let mut files = files("");
    let task = "[fallback]\nperson = \"group:desk\"\nrecorded_s = 60\n";
    files.insert("tasks/triage.toml".to_owned(), task.as_bytes().to_vec());
    files.insert("tasks/other.toml".to_owned(), Vec::new());
    let permit = "permit (principal, action == Action::\"lockgate/model_stand_in\", resource);";
    files.insert("policies/stand-ins.cedar".to_owned(), permit.as_bytes().to_vec());
    let world = load(&files);
    let of_model = asked("gpt-5", "large", 1, None);
    let facts = facts(&world, "alice", ("openai", "responses"), of_model);
    let of = |task: &str, arguments: Object| {
        let mut facts = facts.clone();
        let identity = Arc::make_mut(&mut facts.identity);
        identity.task = Some(task.parse().unwrap());
        let params = Object::new().with("name", "model_stand_in").with("arguments", arguments);
        let gate = UpstreamName::new("lockgate").unwrap();
        let id = facts.call.id.clone();
        facts.call = Call::new(id, gate, Direction::ToUpstream, "tools/call", params).unwrap();
        facts
    };
    let code = |facts: &Facts| {
        let decision = decide(&world, facts);
        let code = decision.denial.as_ref().map_or("", |denial| denial.code.as_str());
        (decision.verdict.as_str().to_owned(), code.to_owned(), decision.approvals.clone())
    };
    let answer = |verdict: &str, code: &str, approvals: &[&str]| {
        let approvals = approvals.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        (verdict.to_owned(), code.to_owned(), approvals)
    };
    let stale = || answer("deny", "LG-D061", &[]);
    // A person: whom the task of the caller names, whatever the call says.
    let person = Object::new().with("kind", "person").with("task", "other");
    let mut asks = of("triage", person.clone());
    assert_eq!(code(&asks), answer("require_approval", "LG-D008", &["group:desk"]));
    let given = |requirement: &str| Approval {
        requirement: requirement.to_owned(),
        approver: "u_1".to_owned(),
    };
    asks.approvals = vec![given("group:other")];
    assert_eq!(code(&asks), answer("require_approval", "LG-D008", &["group:desk"]));
    asks.approvals = vec![given("group:desk")];
    assert_eq!(code(&asks).0, "allow");
    assert_eq!(code(&of("other", person)), stale(), "that task asks nobody");
    // A recorded answer: for as long as it holds, to who may what the one may for whom it was made.
    let recorded = |rights: String, expires_at: i64| {
        Object::new().with("kind", "recorded").with("rights", rights).with("expires_at", expires_at)
    };
    let own = of("triage", Object::new());
    let own = stand_in::rights(&own.identity).to_string();
    let now = facts.now.0;
    assert_eq!(code(&of("triage", recorded(own.clone(), now + 1))).0, "allow");
    for (task, arguments) in [
        ("triage", recorded(own.clone(), now)),
        ("triage", recorded(stand_in::rights(&facts.identity).to_string(), now + 1)),
        ("other", recorded(own.clone(), now + 1)),
        ("triage", Object::new().with("kind", "recorded")),
        ("triage", Object::new().with("kind", "another")),
        ("triage", Object::new()),
    ] {
        assert_eq!(code(&of(task, arguments)), stale(), "{task}");
    }
}
