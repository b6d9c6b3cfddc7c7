//! What policies can say wrong: `corpus/policy/mistakes.toml`, beside the bundle of the decision
//! corpus.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use lockgate_core::World;
use lockgate_core::policy::{PolicyInput, schema_text};
use lockgate_core::world::Files;
use serde::Deserialize;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Sheet {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    policy: String,
    mistakes: Vec<String>,
}

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../corpus")
}

fn helpdesk() -> Files {
    let root = corpus().join("decide/world/helpdesk");
    let paths = [
        "lockgate.toml",
        "principals.toml",
        "operations/helpdesk.toml",
        "operations/wiki.toml",
        "policies/people.cedar",
        "policies/agents.cedar",
        "policies/limits.cedar",
    ];
    paths.iter().map(|path| ((*path).to_owned(), std::fs::read(root.join(path)).unwrap())).collect()
}

#[test]
fn every_mistake_is_named() {
    let text = std::fs::read_to_string(corpus().join("policy/mistakes.toml")).unwrap();
    let sheet: Sheet = toml::from_str(&text).unwrap();
    let mut wrong = String::new();
    for case in &sheet.case {
        let mut files = helpdesk();
        files.insert("policies/case.cedar".to_owned(), case.policy.clone().into_bytes());
        let found: Vec<String> = match World::load(&files) {
            Ok(_) => Vec::new(),
            Err(mistakes) => mistakes.iter().map(ToString::to_string).collect(),
        };
        if found != case.mistakes {
            let expected = &case.mistakes;
            wrong.push_str(&format!(
                "{}\n  found {found:#?}\n  expected {expected:#?}\n",
                case.name
            ));
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    assert!(sheet.case.len() > 30);
}

#[test]
fn the_schema_can_be_read_by_people() {
    let world = World::load(&helpdesk()).unwrap();
    let input = PolicyInput {
        operations: &world.operations,
        models: &world.models,
        principals: &world.principals,
        sources: &world.sources,
        has_claimed_groups: false,
        has_claimed_roles: false,
    };
    let text = schema_text(&input).unwrap();
    for part in ["entity Customer in [Upstream]", "\"helpdesk/create_refund\"", "amount: Long"] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    text.parse::<cedar_policy::Schema>().unwrap();
}
