//! What operators, issuers and upstreams write: bundles, argument schemas, claims, the
//! configurations of clients and the tools that an upstream lists.

use lockgate_core::World;
use lockgate_core::bundle::import::{Draft, Imported, Way, import};
use lockgate_core::bundle::openapi;
use lockgate_core::bundle::propose::{Posture, propose};
use lockgate_core::bundle::starter::{Starter, starter};
use lockgate_core::bundle::{definition_digest, digest};
use lockgate_core::conform::{Conformance, VIOLATIONS_MAX};
use lockgate_core::declare::Secret;
use lockgate_core::endpoint::Spot;
use lockgate_core::identify::identify;
use lockgate_core::world::Files;
use lockgate_types::identity::Claims;
use lockgate_types::{Json, JsonLimits, Object, OperationName, UpstreamName};
use serde_json::Value;
use std::sync::OnceLock;

const LIMITS: JsonLimits = JsonLimits { bytes_max: 1 << 16, depth_max: 32, members_max: 256 };

/// What stands between the files of a bundle; a path follows up to the end of the line.
const BETWEEN: &[u8] = b"--- ";

/// Files, each behind `--- path`: every mistake says what it is, and where within its file. What
/// loads, loads under the digest of its files.
pub fn load(bytes: &[u8]) -> bool {
    let files = files(bytes);
    match World::load(&files) {
        Ok(world) => {
            assert_eq!(world.digest, digest(&files));
            assert!(files.contains_key("lockgate.toml"));
            true
        }
        Err(mistakes) => {
            assert!(!mistakes.is_empty() && mistakes.is_sorted());
            for mistake in &mistakes {
                assert!(!mistake.what.is_empty(), "{mistake}");
                let lines =
                    files.get(&mistake.file).map(|text| text.split(|b| *b == b'\n').count());
                if let (Some(line), Some(lines)) = (mistake.line, lines) {
                    assert!((1..=lines).contains(&line), "{mistake}: there are {lines} lines");
                }
            }
            false
        }
    }
}

fn files(bytes: &[u8]) -> Files {
    let mut files = Files::new();
    let mut path = String::new();
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(BETWEEN) {
            Some(name) => {
                path = String::from_utf8_lossy(name).trim_end().to_owned();
                files.insert(path.clone(), Vec::new());
            }
            None => files.entry(path.clone()).or_default().extend_from_slice(line),
        }
    }
    files
}

/// An OpenAPI document, an empty line, a text: every endpoint has a place for each argument and a
/// schema that names it; with that text for each of them it makes no request, or one that stays
/// where it was declared.
pub fn openapi(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (document, value) = text.split_once("\n\n").unwrap_or((text, "a"));
    let Ok(described) = openapi::read(document.as_bytes()) else { return false };
    for endpoint in described.endpoints.values() {
        let conformance = Conformance::compile(&endpoint.schema).unwrap();
        assert!(endpoint.fields.keys().all(|name| conformance.declares(name)));
        let arguments: Object =
            endpoint.fields.keys().map(|name| (name.clone(), Json::from(value))).collect();
        let Ok(made) = endpoint.assemble(Some(&arguments)) else { continue };
        let (path, query) = made.target.split_once('?').unwrap_or((&made.target, ""));
        assert!(made.target.bytes().all(|b| b.is_ascii_graphic()) && !made.target.contains('#'));
        assert_eq!(path.matches('/').count(), endpoint.path.matches('/').count(), "{path}");
        assert!(!path.split('/').any(|segment| matches!(segment, "." | "..")), "{path}");
        let asked = endpoint.fields.values();
        let asked = asked.filter(|it| matches!(it.place, Spot::Query | Spot::QueryList)).count();
        let said = if query.is_empty() { 0 } else { query.split('&').count() };
        assert_eq!(said, asked, "{query}");
        let is_visible = |(_, value): &(String, String)| !value.chars().any(char::is_control);
        assert!(made.headers.iter().all(is_visible));
    }
    true
}

/// A schema, an empty line, a value: what conforms, conforms for an independent validator, too.
/// Arguments that are accepted conform, and the schema names each of them.
pub fn schema(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let (schema, value) = text.split_once("\n\n").unwrap_or((text, "null"));
    let Ok(parsed) = Json::parse(schema.as_bytes(), &LIMITS) else { return false };
    let Ok(conformance) = Conformance::compile(&parsed) else { return false };
    let Ok(value) = Json::parse(value.as_bytes(), &LIMITS) else { return true };
    let verdict = conformance.check(&value);
    if let Err(violations) = &verdict {
        assert!((1..=VIOLATIONS_MAX).contains(&violations.len()));
    }
    if let Some(arguments) = value.as_object()
        && conformance.check_arguments(arguments).is_ok()
    {
        assert_eq!(verdict, Ok(()), "arguments that do not conform");
        assert!(arguments.iter().all(|(name, _)| conformance.declares(name)));
    }
    let (schema, value) = (serde_json::from_str(schema), serde_json::from_str(&value.to_string()));
    let (Ok(schema), Ok(value)) = (schema, value) else { return true };
    if verdict.is_ok() && is_comparable(&schema) && is_comparable(&value) {
        // It also refuses annotations of another kind than they should be, which bind nobody.
        let Ok(oracle) = jsonschema::draft202012::new(&schema) else { return true };
        assert!(oracle.is_valid(&value), "{schema} on {value}");
    }
    true
}

/// Whether both validators mean the same by it: the other one counts with floats, has regular
/// expressions of its own, and knows drafts that ours takes for one.
fn is_comparable(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(_) | Value::String(_) => true,
        // Quarters up to a million are exact in a float, and so are their quotients.
        Value::Number(number) => number
            .as_f64()
            .is_some_and(|number| number.abs() < 1e6 && (number * 4.0).fract() == 0.0),
        Value::Array(items) => items.iter().all(is_comparable),
        Value::Object(members) => members.iter().all(|(name, value)| {
            let is_ours = matches!(
                name.as_str(),
                "pattern" | "patternProperties" | "$id" | "$schema" | "dependencies" | "format"
            );
            !is_ours && is_comparable(value)
        }),
    }
}

/// The configuration of an MCP client: what is imported means in the bundle what it meant there,
/// credentials stay out of it, and the client's new configuration has nothing left to import.
pub fn client_configuration(bytes: &[u8]) -> bool {
    let Ok(configuration) = Json::parse(bytes, &LIMITS) else { return false };
    let Ok(imported) = import(&configuration, Way::Process("lockgate")) else { return false };
    let again = import(&imported.client, Way::Process("lockgate")).expect("it was imported before");
    assert!(again.upstreams.is_empty() && again.secrets.is_empty(), "{:?}", again.upstreams);
    let Imported { upstreams, secrets, .. } = imported;
    let text = starter(&Starter {
        environment: "dev".to_owned(),
        address: "127.0.0.1:7300".to_owned(),
        users: vec!["alice".to_owned()],
        operator: "alice".to_owned(),
        agents: vec!["assistant".to_owned()],
        upstreams: upstreams.clone(),
    });
    let files: Files = text.into_iter().map(|(path, text)| (path, text.into_bytes())).collect();
    for (variable, secret) in &secrets {
        assert!(upstreams.iter().all(|it| !it.env.contains_key(variable)), "{variable}");
        let is_header = upstreams.iter().flat_map(|it| it.headers.values());
        assert!(is_header.clone().all(|value| value.starts_with("env:")), "{secret:?}");
    }
    match World::load(&files) {
        Ok(world) => {
            assert_eq!(world.gate.upstream.len(), upstreams.len());
            for draft in &upstreams {
                assert_same(draft, world.gate.upstream.get(&draft.name));
            }
        }
        // What the client had may be wrong; where it says so is always TOML.
        Err(mistakes) => {
            let gate = files.get("lockgate.toml").map(|text| String::from_utf8_lossy(text));
            let gate: toml::Table = gate.unwrap_or_default().parse().expect("we wrote it");
            let table = gate.get("upstream").and_then(toml::Value::as_table);
            assert_eq!(table.map_or(0, toml::Table::len), upstreams.len(), "{mistakes:?}");
        }
    }
    true
}

fn assert_same(draft: &Draft, declared: Option<&lockgate_core::declare::Upstream>) {
    let declared = declared.expect("it was drafted");
    assert_eq!(declared.command.clone().unwrap_or_default(), draft.command);
    assert_eq!(declared.url, draft.url);
    assert_eq!(declared.directory, draft.directory);
    for (declared, draft) in [(&declared.env, &draft.env), (&declared.headers, &draft.headers)] {
        let draft = draft.iter().map(|(name, text)| (name.clone(), Secret::Text(text.clone())));
        assert_eq!(*declared, draft.collect());
    }
    assert_eq!(declared.pass_env, draft.pass_env);
}

/// The tools that an upstream lists: what is proposed loads, is as it was listed, and accepts
/// nothing.
pub fn proposal(bytes: &[u8]) -> bool {
    let Ok(Json::Array(tools)) = Json::parse(bytes, &LIMITS) else { return false };
    let upstream = UpstreamName::new("u").expect("a name");
    let proposal = propose(&upstream, &tools, Posture::Observe);
    let gate = b"environment = \"dev\"\n[upstream.u]\ncommand = [\"x\"]\n".to_vec();
    let files = Files::from([
        ("lockgate.toml".to_owned(), gate),
        ("operations/u.toml".to_owned(), proposal.text.clone().into_bytes()),
    ]);
    let world = World::load(&files).unwrap_or_else(|it| panic!("{it:?}\n{}", proposal.text));
    for proposed in &proposal.operations {
        let name = OperationName::tool(&upstream, &proposed.tool).expect("it was proposed");
        let operation = world.operations.get(&name).expect("it was proposed");
        assert_eq!((operation.accepted, operation.effect), (false, proposed.effect));
        let named =
            |tool: &&Json| tool.get("name").and_then(Json::as_str) == Some(proposed.tool.as_str());
        assert_eq!(operation.pin, tools.iter().find(named).map(definition_digest));
    }
    let declared = world.operations.keys().filter(|name| name.as_str().starts_with("u/")).count();
    assert_eq!(declared, proposal.operations.len());
    !proposal.operations.is_empty()
}

const GATE: &str = r#"
environment = "dev"
tenant = "acme"
[[issuer]]
name = "corp"
url = "https://corp.example"
audience = "lockgate"
jwks = "https://corp.example/jwks"
algorithms = ["ES256"]
subject_prefix = "corp:"
claims = { tenant = "org.tenant", groups = "groups", roles = "realm.roles", task = "task" }
"#;

const PRINCIPALS: &str = r#"
undeclared_users = true
[user."corp:bob"]
groups = ["finance"]
roles = ["approver"]
[agent.bot]
environments = ["dev"]
groups = ["support"]
client_ids = ["bot-client"]
[agent.prod-bot]
environments = ["prod"]
client_ids = ["bot-client", "prod-client"]
[group.support]
member_of = ["staff"]
[group.staff]
"#;

/// The claims of a verified token: nobody becomes a subject of another issuer, an agent that is not
/// here, or a member of what neither token nor bundle says.
pub fn claims(bytes: &[u8]) -> bool {
    static WORLD: OnceLock<World> = OnceLock::new();
    let world = WORLD.get_or_init(|| {
        let files = [("lockgate.toml", GATE), ("principals.toml", PRINCIPALS)];
        let files = files.map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()));
        World::load(&Files::from(files)).expect("a bundle")
    });
    let Ok(Json::Object(token)) = Json::parse(bytes, &LIMITS) else { return false };
    let claims = Claims { issuer: "corp".to_owned(), claims: token };
    let Ok(identity) = identify(world, &claims) else { return false };
    let token = Json::from(claims.claims);
    let text = |path: &[&str]| token.at(path).and_then(Json::as_str);
    assert_eq!(identity.subject.as_str().strip_prefix("corp:"), text(&["sub"]));
    assert_eq!(identity.agent.as_str(), "bot", "the only agent here");
    let actor = text(&["act", "sub"]).or(text(&["client_id"])).or(text(&["azp"]));
    assert!(matches!(actor, Some("bot" | "bot-client")), "{actor:?}");
    assert_eq!(identity.tenant.as_str(), text(&["org", "tenant"]).unwrap_or("acme"));
    assert_eq!(identity.task.as_ref().map(|task| task.as_str()), text(&["task"]));
    let is_bob = text(&["sub"]) == Some("bob");
    let listed = |path: &[&str], name: &str| {
        let names = token.at(path).and_then(Json::as_array).unwrap_or_default();
        names.iter().any(|item| item.as_str() == Some(name))
    };
    for group in &identity.subject_groups {
        let is_outer = group.as_str() == "staff" && listed(&["groups"], "support");
        let is_own = is_bob && group.as_str() == "finance";
        assert!(is_outer || is_own || listed(&["groups"], group.as_str()), "{group}");
    }
    for role in &identity.subject_roles {
        let is_own = is_bob && role.as_str() == "approver";
        assert!(is_own || listed(&["realm", "roles"], role.as_str()), "{role}");
    }
    let of_agent: Vec<&str> = identity.agent_groups.iter().map(|group| group.as_str()).collect();
    assert_eq!(of_agent, ["staff", "support"]);
    true
}
