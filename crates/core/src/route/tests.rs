//! Routes, as a table over one bundle, and what holds of all of them.

use super::*;
use crate::world::Files;
use proptest::prelude::*;

const GATE: &str = r#"environment = "dev"
[upstream.openai.model]
family = "openai"
base_url = "https://api.openai.com/v1"
[upstream.spare.model]
family = "openai"
base_url = "https://spare.example/v1"
[upstream.anthropic.model]
family = "anthropic"
base_url = "https://api.anthropic.com/v1"
"#;

fn world() -> World {
    let entry =
        |upstream: &str, rest: &str| format!("upstream = \"{upstream}\"\nversion = \"1\"\n{rest}");
    let files = [
        ("lockgate.toml", GATE.to_owned()),
        (
            "models/large.toml",
            entry(
                "openai",
                "asks = [\"large\", \"gpt-*\"]\nfallback = [\"spare\"]\ndegrade_to = \"small\"\n\
                 ceiling = \"confidential\"\n",
            ),
        ),
        (
            "models/spare.toml",
            entry("spare", "asks = []\nfallback = [\"last\"]\nceiling = \"restricted\"\n"),
        ),
        ("models/last.toml", entry("openai", "asks = []\n")),
        ("models/small.toml", entry("openai", "context_tokens = 1000\n")),
        ("models/rest.toml", entry("openai", "asks = [\"*\"]\n")),
        (
            "models/tried.toml",
            entry(
                "openai",
                "[canary]\nentry = \"small\"\npercent = 20\nguards = { errors_percent_max = 5 }\n\
                 [shadow]\nentry = \"last\"\npercent = 50\n",
            ),
        ),
        ("models/shared.toml", entry("openai", "[weights]\nshared = 1\nsmall = 2\nlast = 1\n")),
        ("models/claude.toml", entry("anthropic", "asks = [\"claude-*\"]\ntasks = [\"draft\"]\n")),
        ("tasks/triage.toml", "models = [\"small\", \"spare\"]\n".to_owned()),
    ];
    let files: Files =
        files.into_iter().map(|(path, text)| (path.to_owned(), text.into_bytes())).collect();
    World::load(&files).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

/// The same bundle, loaded once.
fn shared_world() -> &'static World {
    static WORLD: std::sync::OnceLock<World> = std::sync::OnceLock::new();
    WORLD.get_or_init(world)
}

const CHAT: &[ModelApi] = &[ModelApi::ChatCompletions];

/// The entries that are asked, one after the other, and a shadow after `+`.
fn told(route: &Result<Route, Unrouted>) -> String {
    match route {
        Err(Unrouted::Unknown) => "unknown".to_owned(),
        Err(Unrouted::AllDown { .. }) => "all down".to_owned(),
        Ok(route) => {
            let all = std::iter::once(&route.primary).chain(&route.then);
            let all: Vec<&str> = all.map(|pick| pick.entry.as_str()).collect();
            let shadow = route.shadow.as_ref().map(|it| format!(" + {}", it.entry));
            format!("{}{}", all.join(" "), shadow.unwrap_or_default())
        }
    }
}

#[test]
fn the_asked_one_first_and_then_what_may_stand_in() {
    let world = world();
    let restricted = Confidentiality::Restricted;
    let triage = TaskName::new("triage").unwrap();
    let (public, none) = (Confidentiality::Public, [].as_slice());
    for (name, tokens, carried, task, down, expected) in [
        ("large", 10, public, None, none, "large spare last"),
        ("gpt-5", 10, public, None, none, "large spare last"),
        ("gpt-5", 10, public, None, &["large"][..], "spare last"),
        ("gpt-5", 10, public, None, &["large", "spare"], "last"),
        ("gpt-5", 10, public, None, &["large", "spare", "last"], "all down"),
        ("unheard-of", 10, public, None, none, "rest"),
        ("spare", 10, public, None, none, "rest"),
        ("claude-5", 10, public, None, none, "rest"),
        // The asked one is for the decision to refuse; those that stand in are not asked at all.
        ("large", 10, restricted, None, none, "large spare"),
        ("large", 10, Confidentiality::Confidential, None, none, "large spare"),
        ("small", 2000, public, None, none, "small"),
        // A task has models of its own.
        ("gpt-5", 10, public, Some(&triage), none, "small spare"),
        ("gpt-5", 2000, public, Some(&triage), none, "small spare"),
        ("gpt-5", 10, public, Some(&triage), &["small"], "spare"),
        ("small", 10, public, Some(&triage), &["small", "spare"], "all down"),
    ] {
        let asked = ModelAsked { input_tokens: tokens, ..ModelAsked::of(name) };
        let asking = Asking { asked: &asked, apis: CHAT, task, carried, session: "s", call: "c" };
        let down = down.iter().map(|name| (*name).to_owned()).collect();
        let health = Health { down, ..Health::default() };
        let route = route(&world, &asking, &health);
        assert_eq!(told(&route), expected, "{name} {tokens} {carried:?} {task:?} {health:?}");
    }
}

/// Whoever tries an entry out asks that one; nobody else is sent to one that has not passed.
#[test]
fn an_entry_that_has_not_passed_is_asked_by_evaluations_alone() {
    let mut world = world();
    let (evaluation, draft) =
        (TaskName::new("evaluation").unwrap(), TaskName::new("draft").unwrap());
    let task = crate::declare::Task { evaluation: true, ..crate::declare::Task::default() };
    world.tasks.insert(evaluation.clone(), task);
    let unproven = |names: &[&str]| Health {
        canaries: BTreeMap::from([("tried".to_owned(), Stage::Promoted)]),
        unproven: names.iter().map(|it| ((*it).to_owned(), "suite".to_owned())).collect(),
        ..Health::default()
    };
    for (name, task, lacking, down, expected) in [
        ("large", &draft, &["spare"][..], "", "large last"),
        // That the asked one has not passed is for the decision to say.
        ("large", &draft, &["large", "spare"], "", "large last"),
        ("tried", &draft, &[], "", "small tried"),
        ("tried", &draft, &["small"], "", "tried"),
        ("large", &evaluation, &["large", "spare"], "", "large"),
        ("spare", &evaluation, &["spare"], "", "spare"),
        ("tried", &evaluation, &[], "", "tried"),
        ("shared", &evaluation, &[], "", "shared"),
        ("gpt-5", &evaluation, &[], "", "unknown"),
        ("anything", &evaluation, &[], "", "unknown"),
        ("claude", &evaluation, &[], "", "unknown"),
        ("large", &evaluation, &[], "large", "all down"),
    ] {
        let asked = ModelAsked::of(name);
        let (carried, task) = (Confidentiality::Public, Some(task));
        let asking = Asking { asked: &asked, apis: CHAT, task, carried, session: "s", call: "c" };
        let health = Health { down: BTreeSet::from([down.to_owned()]), ..unproven(lacking) };
        let route = route(&world, &asking, &health);
        let told = told(&route);
        let told = told.split(" + ").next().unwrap_or_default();
        assert_eq!(told, expected, "{name} {task:?} {lacking:?} {down}");
        let is_alone = route.as_ref().map_or(true, |it| it.shadow.is_none());
        assert!(is_alone || task != Some(&evaluation), "an evaluation has no shadow");
    }
}

#[test]
fn who_speaks_another_interface_is_asked_only_by_what_can_be_carried_there() {
    let world = world();
    let asked = ModelAsked::of("claude-5");
    let draft = TaskName::new("draft").unwrap();
    let messages = [ModelApi::Messages];
    let carried = [ModelApi::ChatCompletions, ModelApi::Messages];
    let asking = |name, apis| Asking {
        asked: name,
        apis,
        task: Some(&draft),
        carried: Confidentiality::Public,
        session: "s",
        call: "c",
    };
    let health = Health::default();
    assert_eq!(told(&route(&world, &asking(&asked, &messages), &health)), "claude");
    let route_of = route(&world, &asking(&asked, &carried), &health).unwrap();
    assert_eq!(
        (route_of.primary.entry.as_str(), route_of.primary.api),
        ("claude", ModelApi::Messages)
    );
    let large = ModelAsked::of("large");
    assert_eq!(told(&route(&world, &asking(&large, &messages), &health)), "unknown");
}

#[test]
fn a_budget_near_its_end_has_the_cheaper_one_answer_where_it_can() {
    let world = world();
    for (tokens, carried, down, expected) in [
        (10, Confidentiality::Public, "", "small large spare last"),
        (10, Confidentiality::Public, "small", "large spare last"),
        (2000, Confidentiality::Public, "", "large spare last"),
        (10, Confidentiality::Confidential, "", "large spare"),
    ] {
        let asked = ModelAsked { input_tokens: tokens, ..ModelAsked::of("large") };
        let asking =
            Asking { asked: &asked, apis: CHAT, task: None, carried, session: "s", call: "c" };
        let down = BTreeSet::from([down.to_owned()]);
        let health = Health { down, is_degraded: true, ..Health::default() };
        assert_eq!(told(&route(&world, &asking, &health)), expected, "{tokens} {carried:?}");
    }
}

/// How often each answers first, of a thousand sessions.
fn shares(world: &World, name: &str, health: &Health) -> BTreeMap<String, u32> {
    let mut shares = BTreeMap::new();
    for session in 0..1000 {
        let (session, asked) = (session.to_string(), ModelAsked::of(name));
        let asking = Asking {
            asked: &asked,
            apis: CHAT,
            task: None,
            carried: Confidentiality::Public,
            session: &session,
            call: &session,
        };
        let first = route(world, &asking, health).unwrap();
        assert_eq!(route(world, &asking, health).as_ref(), Ok(&first), "a session keeps to it");
        *shares.entry(first.primary.entry).or_default() += 1;
    }
    shares
}

#[test]
fn sessions_are_divided_as_declared() {
    let world = world();
    let health = |stage: Option<Stage>, down: &str| Health {
        canaries: stage.map(|stage| ("tried".to_owned(), stage)).into_iter().collect(),
        down: BTreeSet::from([down.to_owned()]),
        ..Health::default()
    };
    let near = |shares: &BTreeMap<String, u32>, entry: &str, expected: u32| {
        let found = shares.get(entry).copied().unwrap_or_default();
        assert!(found.abs_diff(expected) <= 50, "{entry}: {found} for {expected} in {shares:?}");
    };
    let of = |stage, down| shares(&world, "tried", &health(stage, down));
    near(&of(Some(Stage::Running), ""), "small", 200);
    assert_eq!(of(Some(Stage::Promoted), "")["small"], 1000);
    assert_eq!(of(Some(Stage::Promoted), "small")["tried"], 1000);
    assert_eq!(of(Some(Stage::RolledBack), "")["tried"], 1000);
    assert_eq!(of(None, "")["tried"], 1000, "a canary that nobody looks after gets nothing");
    let all = shares(&world, "shared", &Health::default());
    near(&all, "shared", 250);
    near(&all, "small", 500);
    let rest = shares(&world, "shared", &health(None, "small"));
    near(&rest, "shared", 500);
    near(&rest, "last", 500);
    for entry in ["shared", "last"] {
        assert!(rest[entry] >= all[entry], "sessions keep to an entry that is up");
    }
}

#[test]
fn a_shadow_is_asked_for_some_calls_and_never_answers() {
    let world = world();
    let asked = ModelAsked::of("tried");
    let mut shadows = 0;
    for call in 0..1000 {
        let call = call.to_string();
        let asking = Asking {
            asked: &asked,
            apis: CHAT,
            task: None,
            carried: Confidentiality::Public,
            session: "s",
            call: &call,
        };
        let routed = route(&world, &asking, &Health::default()).unwrap();
        assert_eq!(routed.primary.entry, "tried");
        assert!(routed.then.is_empty());
        shadows += u32::from(routed.shadow.is_some());
        let confidential = Asking { carried: Confidentiality::Confidential, ..asking };
        let routed = route(&world, &confidential, &Health::default()).unwrap();
        assert_eq!(routed.shadow, None, "nor is told what it may not be");
    }
    assert!((450..=550).contains(&shadows), "{shadows}");
}

/// Of names, tokens, confidentiality and what is down, a route.
fn any_route() -> impl Strategy<Value = (usize, i64, usize, usize, u16, bool, u8, String)> {
    (
        0..8_usize,
        0..2000_i64,
        0..4_usize,
        0..3_usize,
        any::<u16>(),
        any::<bool>(),
        0..4_u8,
        "[a-z]{1,4}",
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_is_sent_to_what_may_not_have_it(all in any_route()) {
        let (name, tokens, level, task, down, is_degraded, stage, session) = all;
        let world = shared_world();
        let names = ["large", "gpt-x", "small", "tried", "shared", "claude-5", "last", "else"];
        let tasks = [None, Some("triage"), Some("draft")];
        let task = tasks[task].map(|task| TaskName::new(task).unwrap());
        let carried = [
            Confidentiality::Public,
            Confidentiality::Internal,
            Confidentiality::Confidential,
            Confidentiality::Restricted,
        ][level];
        let entries: Vec<&str> = world.models.iter().map(|(name, _)| name).collect();
        let is_down = |at: &usize| down & (1 << at) != 0;
        let down: BTreeSet<String> =
            (0..entries.len()).filter(is_down).map(|at| entries[at].to_owned()).collect();
        let stage = Stage::ALL.get(usize::from(stage)).copied();
        let canaries = stage.map(|stage| ("tried".to_owned(), stage)).into_iter().collect();
        let health = Health { down, canaries, is_degraded, ..Health::default() };
        let asked = ModelAsked { input_tokens: tokens, ..ModelAsked::of(names[name]) };
        let (task, session) = (task.as_ref(), session.as_str());
        let asking = Asking { asked: &asked, apis: CHAT, task, carried, session, call: session };
        let Ok(found) = route(world, &asking, &health) else { return Ok(()) };
        let admits = |pick: &Pick| {
            let task = task.map(TaskName::as_str);
            let entry = world.models.get(&pick.entry).unwrap();
            entry.family.has(pick.api) && entry.admits(pick.api, &asked, carried, task)
        };
        // The one that was asked for is for the decision to refuse.
        let own = world.models.find(&asked.asked, CHAT).map(|(name, _)| name.to_owned());
        let named = task.and_then(|task| world.tasks.get(task)?.models.clone());
        let is_asked = Some(&found.primary.entry) == own.as_ref()
            || named.is_some_and(|named| named.first() == Some(&found.primary.entry));
        prop_assert!(is_asked || admits(&found.primary), "{:?}", found);
        prop_assert!(found.then.iter().all(admits), "{:?}", found);
        prop_assert!(found.shadow.iter().all(admits), "{:?}", found);
        let all = || found.then.iter().chain([&found.primary]).chain(&found.shadow);
        prop_assert!(all().all(|pick| !health.down.contains(&pick.entry)), "{:?}", found);
        let chain: BTreeSet<&String> =
            found.then.iter().chain([&found.primary]).map(|pick| &pick.entry).collect();
        prop_assert_eq!(chain.len(), found.then.len() + 1, "each is asked once");
        let recorded = found.primary.recorded(world, &asked, &found.why);
        prop_assert_eq!(recorded.entry.as_ref(), Some(&found.primary.entry));
        prop_assert_eq!(recorded.version.as_deref(), Some("1"));
    }

    #[test]
    fn who_is_among_few_is_among_more(of in ".{0,20}", few in 0..100_u32, more in 0..100_u32) {
        let found = part(&of, "canary", "x");
        prop_assert!(found < PARTS);
        prop_assert!(!is_within(found, few.min(more)) || is_within(found, few.max(more)));
        prop_assert!(is_within(found, 100));
        prop_assert!(!is_within(found, 0));
    }
}
