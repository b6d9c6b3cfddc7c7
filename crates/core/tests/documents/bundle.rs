//! What the bundle says of sources, and the policies that are shipped.

use lockgate_core::World;
use lockgate_core::bundle::starter::{DOCUMENTS, Starter, starter};
use lockgate_core::policy::{PolicyInput, schema_text};
use lockgate_core::retrieve::source;
use lockgate_core::world::Files;
use lockgate_types::document::Reader;
use lockgate_types::label::Confidentiality;
use lockgate_types::{OperationName, TaskName};
use std::collections::BTreeSet;

/// A bundle of these files, in an environment of its own.
pub(crate) fn world(texts: &[(&str, &str)]) -> World {
    let mut files = Files::new();
    files.insert("lockgate.toml".to_owned(), b"environment = \"dev\"\n".to_vec());
    let people = b"[group.staff]\n[group.hr]\n[group.interns]\n[user.hana]\n";
    files.insert("principals.toml".to_owned(), people.to_vec());
    let texts = texts.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec()));
    files.extend(texts);
    World::load(&files).unwrap_or_else(|mistakes| {
        let mistakes: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        panic!("{}", mistakes.join("\n"))
    })
}

const HANDBOOK: &str = r#"
owner = "people-team"
classification = "internal"
curation = "curated"
kind = "page"
kinds = [{ path = "templates/**", kind = "template" }, { path = "**/*.csv", kind = "table" }]
terms = "for staff"
licence = "CC-BY-4.0"
signed_off_by = "ann"
refresh_s = 3600
tasks = ["support"]

[connector.directory]
path = "handbook"
exclude = ["drafts/**"]

[permissions]
readers = ["group:staff"]
[[permissions.folder]]
path = "hr/**"
readers = ["user:hana"]
denied = ["group:interns"]

[fields.salary]
readers = ["group:hr"]
classification = "restricted"
tags = ["pii"]

[quality]
documents_min = 10
volume_change_percent_max = 50

[freshness]
say_after_s = 86400
"#;

#[test]
fn a_source_says_what_holds_for_its_documents() {
    let world = world(&[
        ("sources/handbook.toml", HANDBOOK),
        (
            "tasks/support.toml",
            "sources = [\"handbook\"]\nanswers_from = [\"template\"]\nsnapshots = { handbook = 7 }",
        ),
    ]);
    let handbook = &world.sources["handbook"];
    assert_eq!(handbook.tenant.as_deref(), Some("default"), "the gate's");
    let kinds = ["templates/a/b.md", "hr/x.csv", "hr/x.md"].map(|it| source::kind(handbook, it));
    assert_eq!(kinds, ["template", "table", "page"]);
    assert_eq!(source::classification(handbook, None), Confidentiality::Internal);
    assert_eq!(source::classification(handbook, Some("salary")), Confidentiality::Restricted);
    let group = |name: &str| Reader::Group(name.to_owned());
    let folders = ["hr".to_owned(), "hr/2026".to_owned()];
    let shares = source::shares(handbook, &folders);
    let hana = Reader::User("hana".to_owned());
    assert_eq!(shares.readers, Some(BTreeSet::from([group("staff"), hana])));
    assert_eq!(shares.denied, BTreeSet::from([group("interns")]));
    let salary = source::field_shares(handbook, "salary", &shares);
    assert_eq!(salary.readers, Some(BTreeSet::from([group("hr")])));
    assert_eq!(salary.denied, shares.denied, "what is kept above is kept below");
    let support = TaskName::new("support").unwrap();
    assert_eq!(source::pinned(&world, Some(&support), "handbook"), Some(7));
    assert_eq!(source::pinned(&world, None, "handbook"), None);
    let task = world.tasks.get(&support);
    assert!(source::may_answer_from(task, "template") && !source::may_answer_from(task, "page"));
    assert!(source::may_answer_from(None, "page"));
    let search = OperationName::new("retrieval/search").unwrap();
    assert!(world.operations[&search].accepted);
}

#[test]
fn documents_are_there_once_there_are_sources() {
    let with = world(&[("sources/handbook.toml", HANDBOOK), ("tasks/support.toml", "")]);
    let without = world(&[]);
    let text = |world: &World| {
        let input = PolicyInput {
            operations: &world.operations,
            models: &world.models,
            principals: &world.principals,
            sources: &world.sources,
            has_claimed_groups: false,
            has_claimed_roles: false,
        };
        schema_text(&input).unwrap()
    };
    let (with, without) = (text(&with), text(&without));
    for part in [
        "entity Document in [Folder, Source, Tenant]",
        "action \"retrieve\" in [Action::\"any\"]",
        "clearance: Long",
        "level: Long",
        "entity Folder in [Folder, Source]",
    ] {
        assert!(with.contains(part), "no `{part}`");
        assert!(!without.contains(part), "`{part}`");
    }
    with.parse::<cedar_policy::Schema>().unwrap();
    assert!(with.contains("retrieval/search") && !without.contains("retrieval/search"));
}

#[test]
fn the_shipped_policies_wait_for_the_first_source() {
    let told = Starter {
        environment: "dev".to_owned(),
        address: "127.0.0.1:7300".to_owned(),
        users: vec!["alice".to_owned()],
        operator: "olga".to_owned(),
        agents: vec!["assistant".to_owned()],
        upstreams: Vec::new(),
    };
    let texts = starter(&told);
    let texts: Vec<(&str, &str)> = texts.iter().map(|(p, t)| (p.as_str(), t.as_str())).collect();
    let before = world(&texts);
    let clearance = before.principals.agent["assistant"].clearance;
    assert_eq!(format!("{clearance:?}"), "Internal");
    let shipped = texts.iter().find(|(path, _)| *path == "policies/documents.cedar").unwrap().1;
    let waiting = |line: &str| {
        line.strip_prefix("//").map(|it| it.strip_prefix(' ').unwrap_or(it).to_owned())
    };
    let (_, lines) = shipped.split_once("//\n").unwrap();
    let lines: Vec<String> = lines.lines().map(|line| waiting(line).unwrap()).collect();
    assert_eq!(lines.join("\n").trim(), DOCUMENTS.trim(), "all of it, behind slashes");
    let principals = texts.iter().find(|(path, _)| *path == "principals.toml").unwrap().1;
    let principals = format!("{principals}\n[group.hr]\n[group.interns]\n[user.hana]\n");
    let mut after = texts.clone();
    after.retain(|(path, _)| !["policies/documents.cedar", "principals.toml"].contains(path));
    after.extend([
        ("principals.toml", principals.as_str()),
        ("policies/documents.cedar", DOCUMENTS),
        ("sources/handbook.toml", HANDBOOK),
        ("tasks/support.toml", ""),
    ]);
    assert_eq!(world(&after).policies.len(), before.policies.len() + 3);
}
