//! Loading bundles: every kind of mistake has a case in `corpus/bundle/`, and nothing that is
//! handed in panics.

#![expect(clippy::panic, clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use lockgate_core::World;
use lockgate_core::bundle::{self, definition_digest};
use lockgate_core::world::Files;
use lockgate_types::call::Effect;
use lockgate_types::{Json, JsonLimits, OperationName};
use proptest::prelude::*;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Corpus {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    mistakes: Vec<String>,
    files: BTreeMap<String, String>,
}

fn corpus() -> Vec<(String, Case)> {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../corpus/bundle");
    let mut paths: Vec<_> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut cases = Vec::new();
    for path in paths {
        let corpus: Corpus = toml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        let file = path.file_stem().unwrap().to_str().unwrap().to_owned();
        cases.extend(corpus.case.into_iter().map(|case| (format!("{file}: {}", case.name), case)));
    }
    assert!(cases.len() > 40, "the corpus is there");
    cases
}

fn files(case: &Case) -> Files {
    case.files.iter().map(|(path, text)| (path.clone(), text.clone().into_bytes())).collect()
}

fn load(texts: &[(&str, &str)]) -> World {
    let files = texts.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()));
    World::load(&files.collect()).unwrap_or_else(|mistakes| {
        let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        panic!("{}", mistakes.join("\n"))
    })
}

#[test]
fn every_mistake_is_named_with_its_line() {
    let mut wrong = BTreeMap::new();
    for (name, case) in corpus() {
        let mistakes = World::load(&files(&case)).err().unwrap_or_default();
        let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        if mistakes != case.mistakes {
            wrong.insert(name, mistakes);
        }
    }
    assert!(wrong.is_empty(), "{}", serde_json::to_string_pretty(&wrong).unwrap());
}

#[test]
fn the_digest_is_of_every_file_and_of_nothing_else() {
    let base = [("lockgate.toml", "environment = \"dev\""), ("README.md", "one")];
    let digest = load(&base).digest;
    assert_eq!(digest, load(&base).digest);
    assert_eq!(
        digest.to_string(),
        "sha256:61173fb3c1b647a31dcf1189cee83964a10fcfe7d86a12ab26cacf7f2a2d6a6c",
        "the digest of a bundle never changes between versions"
    );
    let changed = [("lockgate.toml", "environment = \"dev\""), ("README.md", "two")];
    let renamed = [("lockgate.toml", "environment = \"dev\""), ("README.txt", "one")];
    assert_ne!(digest, load(&changed).digest);
    assert_ne!(digest, load(&renamed).digest);
}

#[test]
fn operations_are_declared_built_in_and_the_gates_own() {
    let world = load(&[
        (
            "lockgate.toml",
            "environment = \"dev\"\n[upstream.u]\nurl = \"https://u.example/mcp\"\nforward_methods = [\"x/y\"]\n",
        ),
        (
            "operations/u.toml",
            "[tool.a]\neffect = \"write\"\naccepted = true\n[method.\"logging/setLevel\"]\neffect = \"write\"\n",
        ),
    ]);
    let get = |name: &str| &world.operations[&OperationName::new(name).unwrap()];
    for (name, effect, accepted) in [
        ("u/a", Effect::Write, true),
        ("u:resources/read", Effect::Read, true),
        ("u:sampling/createMessage", Effect::Egress, true),
        ("u:logging/setLevel", Effect::Write, false),
        ("u:x/y", Effect::Destructive, false),
        ("lockgate/records_read", Effect::Read, true),
        ("lockgate/bundle_reload", Effect::Write, true),
    ] {
        assert_eq!((get(name).effect, get(name).accepted), (effect, accepted), "{name}");
    }
    assert!(!world.operations.contains_key(&OperationName::new("u:tools/call").unwrap()));
    let arguments = |text: &str| {
        let json = Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap();
        json.as_object().unwrap().clone()
    };
    let check = |name: &str, text| {
        get(name).conformance.as_ref().unwrap().check_arguments(&arguments(text)).is_ok()
    };
    assert!(check("u/a", "{}"));
    assert!(!check("u/a", r#"{"smuggled":1}"#), "a tool without a schema takes no arguments");
    assert!(check("u:resources/read", r#"{"uri":"x:y","_meta":{}}"#));
    assert!(!check("u:resources/read", r#"{"uri":1}"#));
}

#[test]
fn the_published_schemas_describe_what_is_read() {
    for (name, schema) in lockgate_core::declare::json_schemas() {
        jsonschema::meta::validate(&schema).unwrap_or_else(|e| panic!("{name}: {e}"));
        let text = schema.to_string();
        assert!(!text.contains("\"null\""), "{name}: TOML has no null");
        assert!(text.contains("\"additionalProperties\":false"), "{name}");
    }
}

#[test]
fn a_proposal_loads_and_accepts_nothing() {
    let tools = r#"[
        {"name":"get_time","description":"Now.\n'''\nenvironment = 'prod'\u202e","inputSchema":
            {"type":"object","properties":{"zone":{"type":"string","description":"it's '''quoted'''"}}}},
        {"name":"say \"hi\"","inputSchema":{"type":"object","properties":{"to":{"type":"string"}}}},
        {"name":"odd","inputSchema":{"type":"object","unevaluatedProperties":false}},
        {"name":"get_mail","inputSchema":{"type":"object","properties":{"to":{"type":"string","pattern":"^(?!x)a$","maxLength":9}}}},
        {"name":"wipe_all","annotations":{"readOnlyHint":true}},
        {"name":"get_time"}, {"name":"a\u0000b"}, {"description":"nameless"}
    ]"#;
    let tools = Json::parse(tools.as_bytes(), &JsonLimits::OWN).unwrap();
    let tools = tools.as_array().unwrap();
    let upstream = "u".parse().unwrap();
    let proposal = bundle::propose::propose(&upstream, tools, bundle::propose::Posture::Observe);
    assert_eq!(proposal.left_out.len(), 2, "{:?}", proposal.left_out);
    let world = load(&[
        ("lockgate.toml", "environment = \"dev\"\n[upstream.u]\ncommand = [\"x\"]\n"),
        ("operations/u.toml", &proposal.text),
    ]);
    for (name, effect, observe, pinned) in [
        ("u/get_time", Effect::Read, true, &tools[0]),
        ("u/say \"hi\"", Effect::Destructive, false, &tools[1]),
        ("u/odd", Effect::Destructive, false, &tools[2]),
        ("u/wipe_all", Effect::Destructive, false, &tools[4]),
        ("u/get_mail", Effect::Read, true, &tools[3]),
    ] {
        let operation = &world.operations[&OperationName::new(name).unwrap()];
        assert_eq!((operation.effect, operation.observe), (effect, observe), "{name}");
        assert!(!operation.accepted, "{name}");
        assert_eq!(operation.pin, Some(definition_digest(pinned)), "{name}");
    }
    let mail = &world.operations[&OperationName::new("u/get_mail").unwrap()];
    assert_eq!(mail.destination, ["to"]);
    assert!(
        proposal.text.contains("# Left out of the schema at /properties/to/pattern: look-around")
    );
    assert!(mail.schema.as_ref().unwrap().to_string().contains("maxLength"));
    let time = &world.operations[&OperationName::new("u/get_time").unwrap()];
    assert_eq!(time.schema.as_ref(), tools[0].get("inputSchema"));
}

#[test]
fn a_client_configuration_is_imported_and_points_at_the_gate() {
    use bundle::import::{Way, import};
    let configuration = r#"{"theme":"dark","mcpServers":{
        "My Git":{"command":"uvx","args":["mcp-server-git","--repository","/r"],"autoApprove":["x"]},
        "hub":{"type":"stdio","command":"npx","args":["-y","hub"],"env":{"HUB_TOKEN":"s3cret","MODE":"fast","A":"${input:a}"}},
        "web":{"type":"http","url":"https://web.example/mcp","headers":{"Authorization":"Bearer s3cret2"}},
        "old":{"type":"sse","url":"https://old.example/sse"},
        "again":{"command":"/usr/bin/lockgate","args":["stdio","--server","x"]},
        "lockgate":{"command":"x","args":["postgres://u:p@db/x"]},
        "my-git":{"command":"y"}}}"#;
    let configuration = Json::parse(configuration.as_bytes(), &JsonLimits::OWN).unwrap();
    let imported = import(&configuration, Way::Process("lockgate")).unwrap();
    let names: Vec<&str> = imported.upstreams.iter().map(|u| u.name.as_str()).collect();
    assert_eq!(names, ["my-git", "hub", "web", "lockgate-2", "my-git-2"]);
    assert_eq!(
        imported.client.at(&["mcpServers", "My Git"]).unwrap().to_string(),
        r#"{"command":"lockgate","args":["stdio","--server","my-git"],"autoApprove":["x"]}"#
    );
    for untouched in [&["theme"][..], &["mcpServers", "old"], &["mcpServers", "again"]] {
        assert_eq!(imported.client.at(untouched), configuration.at(untouched));
    }
    assert_eq!(
        imported.client.at(&["mcpServers", "web", "type"]).and_then(Json::as_str),
        Some("stdio")
    );
    let by_address = import(&configuration, Way::Address("http://127.0.0.1:7300/")).unwrap();
    let url = by_address.client.at(&["mcpServers", "web", "url"]).and_then(Json::as_str);
    assert_eq!(url, Some("http://127.0.0.1:7300/mcp/web"));

    let has_note = |words: &str| imported.notes.iter().any(|note| note.contains(words));
    assert!(has_note("`lockgate-2` has an argument that looks like a credential"));
    assert!(has_note("`old` uses the old SSE transport"));
    assert!(has_note("set `A` in the gate's environment, for `hub`"));

    let starter = bundle::starter::Starter {
        environment: "dev".to_owned(),
        address: "127.0.0.1:7300".to_owned(),
        users: vec!["alice".to_owned(), "b o\"b".to_owned()],
        operator: "alice".to_owned(),
        agents: vec!["assistant".to_owned()],
        upstreams: imported.upstreams,
    };
    let texts = bundle::starter::starter(&starter);
    let all: String = texts.iter().map(|(_, text)| text.as_str()).collect();
    assert!(!all.contains("s3cret"), "credentials are not part of a bundle");
    assert_eq!(imported.secrets["HUB_TOKEN"].expose(), "s3cret");
    assert_eq!(imported.secrets["LOCKGATE_WEB_AUTHORIZATION"].expose(), "Bearer s3cret2");
    let texts: Vec<(&str, &str)> = texts.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
    let world = load(&texts);
    assert_eq!(world.gate.upstream["hub"].pass_env, ["HUB_TOKEN", "A"]);
    let fast = lockgate_core::declare::Secret::Text("fast".to_owned());
    assert_eq!(world.gate.upstream["hub"].env["MODE"], fast);
    assert!(world.principals.agent.contains_key("assistant"));
    // Risk is written down as it is shipped, behind marks.
    assert!(world.gate.risk.is_none());
    let gate = texts.iter().find(|(path, _)| *path == "lockgate.toml").unwrap().1;
    let (before, section) = gate.split_once("# [risk]\n").unwrap();
    let (section, after) = section.split_once("# What the gate stands in front of").unwrap();
    let lines = section.lines().map(|line| line.strip_prefix("# ").unwrap_or(""));
    let section: String = lines.map(|line| format!("{line}\n")).collect();
    let section = format!("{before}[risk]\n{section}# {after}");
    let mut with_risk = texts.clone();
    with_risk.retain(|(path, _)| *path != "lockgate.toml");
    with_risk.push(("lockgate.toml", &section));
    let shipped = lockgate_core::declare::Risk::default();
    let written = load(&with_risk).gate.risk;
    assert_eq!(format!("{written:?}"), format!("{:?}", Some(shipped)));

    // Before there is an upstream, too.
    let texts =
        bundle::starter::starter(&bundle::starter::Starter { upstreams: Vec::new(), ..starter });
    let texts: Vec<(&str, &str)> = texts.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
    assert!(load(&texts).gate.upstream.is_empty());
}

#[test]
fn configurations_that_cannot_be_imported_say_why() {
    use bundle::import::{Way, import};
    for (text, why) in [
        ("{}", "the configuration has neither `mcpServers` nor `servers`"),
        ("[]", "the configuration has neither `mcpServers` nor `servers`"),
        (r#"{"servers":{"a":1}}"#, "the server `a`: it is not an object"),
        (r#"{"servers":{"a":{}}}"#, "the server `a`: it has neither `command` nor `url`"),
        (r#"{"servers":{"a":{"command":1}}}"#, "the server `a`: `command` is not a string"),
        (
            r#"{"servers":{"a":{"command":"x","args":[1]}}}"#,
            "the server `a`: `args` holds something else than strings",
        ),
        (
            r#"{"servers":{"a":{"command":"x","url":"y"}}}"#,
            "the server `a`: it has both `command` and `url`",
        ),
    ] {
        let json = Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap();
        assert_eq!(import(&json, Way::Process("lockgate")).unwrap_err().to_string(), why);
    }
}

#[test]
fn files_that_are_no_text_are_mistakes() {
    let mut files = Files::from([("lockgate.toml".to_owned(), b"environment = \"dev\"".to_vec())]);
    for path in ["principals.toml", "policies/a.cedar", "operations/u.toml"] {
        files.insert(path.to_owned(), b"\n\n\xff".to_vec());
    }
    let mistakes: Vec<String> =
        World::load(&files).unwrap_err().iter().map(ToString::to_string).collect();
    let expected = [
        "operations/u.toml: there is no upstream `u`",
        "operations/u.toml:3: the file is not UTF-8",
        "principals.toml:3: the file is not UTF-8",
    ];
    assert_eq!(mistakes, expected);
    files.retain(|path, _| !path.starts_with("operations/") && path != "principals.toml");
    let mistakes = World::load(&files).unwrap_err();
    assert_eq!(mistakes[0].to_string(), "policies/a.cedar:3: the file is not UTF-8");
}

#[test]
fn bundles_are_bounded() {
    let mut files = Files::from([("lockgate.toml".to_owned(), b"environment = \"dev\"".to_vec())]);
    files.insert("README".to_owned(), vec![b'x'; bundle::FILE_BYTES_MAX + 1]);
    let mistakes = World::load(&files).unwrap_err();
    assert_eq!(
        mistakes[0].to_string(),
        "README: the file is longer than 4194304 bytes (hint: split it)"
    );
    let many = (0..=bundle::FILES_MAX).map(|n| (format!("tests/{n}"), Vec::new())).collect();
    assert!(World::load(&many).unwrap_err()[0].what.contains("more than 4096 files"));
}

fn fragment() -> impl Strategy<Value = String> {
    const WORDS: &[&str] = &[
        "environment = \"dev\"\n",
        "[upstream.u]\n",
        "url = \"https://u.example\"\n",
        "[[listen]]\n",
        "address = \"127.0.0.1:1\"\n",
        "[tool.a]\n",
        "effect = \"read\"\n",
        "schema = '{\"type\":'\n",
        "[[issuer]]\n",
        "name = \"a\"\n",
        "[development]\n",
        "users = [\"a\"]\n",
        "[group.a]\n",
        "member_of = [\"a\"]\n",
        "[agent.a]\n",
        "environments = []\n",
        "x.y.z = {}\n",
        "= 1\n",
        "\"\"\"",
        "'''",
        "[",
        "}",
        "\u{0}",
        "é",
        "permit(principal, action, resource);\n",
    ];
    prop_oneof![8 => proptest::sample::select(WORDS).prop_map(str::to_owned), 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    #[test]
    fn nothing_that_is_handed_in_panics(
        texts in proptest::collection::vec(proptest::collection::vec(fragment(), 0..12), 4),
        noise in proptest::collection::vec(any::<u8>(), 0..64),
        path in "[a-z/.\u{0}é]{0,20}",
    ) {
        let places = ["lockgate.toml", "principals.toml", "operations/u.toml", "policies/p.cedar"];
        let mut files: Files = places
            .iter()
            .zip(texts)
            .map(|(place, text)| ((*place).to_owned(), text.concat().into_bytes()))
            .collect();
        files.insert(path, noise.clone());
        let _ = World::load(&files);
        files.insert("lockgate.toml".to_owned(), noise);
        prop_assert!(World::load(&files).is_err());
    }
}
