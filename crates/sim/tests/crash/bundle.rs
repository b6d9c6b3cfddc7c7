//! The bundle of the gate that is crashed.

use crate::world::LATE_US;
use lockgate_core::World;
use lockgate_core::world::Files;

const OPERATIONS: &str = r#"
[tool.pay]
effect = "write"
accepted = true
class = "idempotent"
key = { header = "Idempotency-Key" }
schema = '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}'

[tool.order]
effect = "write"
accepted = true
class = "queryable"
key = { argument = "reference" }
lookup = { tool = "find", argument = "reference", found = "found", settles_ms = SETTLES }
schema = '{"type":"object","properties":{"n":{"type":"integer"},"reference":{"type":"string"}},"required":["n"]}'

[tool.letter]
effect = "egress"
accepted = true
schema = '{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}'

[tool.find]
effect = "read"
accepted = true
schema = '{"type":"object","properties":{"reference":{"type":"string"}},"required":["reference"]}'
"#;

const PRINCIPALS: &str = r#"
[user.alice]
[agent.bot]
environments = ["dev"]
"#;

const POLICIES: &str = r#"
@id("all") permit (principal, action, resource);
"#;

/// With room for all that is asked for: what is taken of them is counted.
const CAP: &str = r#"
[[cap]]
name = "all"
per = "global"
max = 1000
window_s = 31622400

[[cap]]
name = "under-way"
per = "global"
concurrent = 1000
"#;

pub(crate) fn compile(port: u16) -> (World, Files) {
    let url = format!("http://127.0.0.1:{port}/mcp");
    let gate = format!(
        "environment = \"dev\"\n[upstream.shop]\nurl = \"{url}\"\nera = \"sessions\"\n{CAP}"
    );
    let settles_ms = (LATE_US / 1000 + 100).to_string();
    let files = [
        ("lockgate.toml", gate),
        ("principals.toml", PRINCIPALS.to_owned()),
        ("operations/shop.toml", OPERATIONS.replace("SETTLES", &settles_ms)),
        ("policies/shop.cedar", POLICIES.to_owned()),
    ];
    let files: Files =
        files.into_iter().map(|(path, text)| (path.to_owned(), text.into_bytes())).collect();
    match World::load(&files) {
        Ok(world) => (world, files),
        Err(mistakes) => panic!("{mistakes:#?}"),
    }
}
