//! The bundle and the facts that decisions are measured on, of any size, the same every time.
//!
//! Of 20 policies, 10 permit a role one operation under four conditions, 4 permit a group with
//! obligations, 2 permit one customer to anybody, 2 permit agents, 1 forbids without an approval,
//! and 1 forbids on a whole upstream. A call meets about 15 of them, both sides together, whatever
//! the size.

use lockgate_core::World;
use lockgate_core::identify::{DEVELOPMENT, identify};
use lockgate_core::world::Files;
use lockgate_types::call::{Call, Direction};
use lockgate_types::facts::{Facts, Mode, SessionState};
use lockgate_types::identity::Claims;
use lockgate_types::label::Label;
use lockgate_types::{CallId, Code, Micros, Object, SessionId, UpstreamName};
use std::fmt::Write as _;
use std::sync::Arc;

/// Policies for each operation.
const POLICIES_PER_OPERATION: usize = 5;
/// Operations of one upstream.
const OPERATIONS_PER_UPSTREAM: usize = 16;
const OPERATIONS_MIN: usize = 8;
const USERS: usize = 64;
const AGENTS: usize = 8;
const ROLES: usize = 5;
const GROUPS: usize = 6;
const CUSTOMERS: usize = 32;

const SCHEMA: &str = r#"{"type":"object","required":["customer"],"additionalProperties":false,
  "properties":{"customer":{"type":"string","maxLength":64},"amount":{"type":"integer","minimum":0},
  "note":{"type":"string","maxLength":2000},
  "channel":{"enum":["mail","chat","phone"],"type":"string"},
  "tags":{"type":"array","items":{"type":"string"},"maxItems":16},"urgent":{"type":"boolean"}}}"#;

/// The operations that a bundle with this many policies has.
const fn operations(policies: usize) -> usize {
    let wanted = policies / POLICIES_PER_OPERATION;
    if wanted < OPERATIONS_MIN { OPERATIONS_MIN } else { wanted }
}

const fn upstreams(policies: usize) -> usize {
    operations(policies).div_ceil(OPERATIONS_PER_UPSTREAM)
}

fn upstream_of(operation: usize) -> String {
    format!("u{}", operation / OPERATIONS_PER_UPSTREAM)
}

/// The files of a bundle with this many policies.
pub fn bundle(policies: usize) -> Files {
    let mut files = Files::new();
    let users: Vec<String> = (0..USERS).map(|user| format!("\"user{user}\"")).collect();
    let mut gate = format!(
        "environment = \"dev\"\n\n[[listen]]\naddress = \"127.0.0.1:7420\"\n\n\
         [development]\nusers = [{}]\n",
        users.join(", "),
    );
    for upstream in 0..upstreams(policies) {
        let _ = write!(gate, "\n[upstream.u{upstream}]\ncommand = [\"true\"]\n");
        let text = declarations(upstream, operations(policies));
        files.insert(format!("operations/u{upstream}.toml"), text.into_bytes());
    }
    files.insert("lockgate.toml".to_owned(), gate.into_bytes());
    files.insert("principals.toml".to_owned(), principals().into_bytes());
    for (at, chunk) in (0..policies).collect::<Vec<_>>().chunks(500).enumerate() {
        let text: String = chunk.iter().map(|i| policy(*i, policies)).collect();
        files.insert(format!("policies/p{at:03}.cedar"), text.into_bytes());
    }
    files
}

fn declarations(upstream: usize, operations: usize) -> String {
    let mut text = String::new();
    let first = upstream * OPERATIONS_PER_UPSTREAM;
    for operation in first..operations.min(first + OPERATIONS_PER_UPSTREAM) {
        let effect = if operation % 2 == 0 { "read" } else { "write" };
        let _ = write!(
            text,
            "[tool.op{operation}]\neffect = \"{effect}\"\naccepted = true\n\
             resource = {{ type = \"Customer\", argument = \"customer\" }}\n\
             schema = '''{SCHEMA}'''\n\n",
        );
    }
    text
}

fn principals() -> String {
    let mut text = "[group.staff]\n\n[group.agents]\n\n".to_owned();
    for group in 0..GROUPS {
        let _ = write!(text, "[group.g{group}]\nmember_of = [\"staff\"]\n\n");
    }
    for user in 0..USERS {
        let (a, b) = (user % GROUPS, (user + 2) % GROUPS);
        // All roles but one.
        let roles = (0..ROLES).filter(|role| role % ROLES != user % ROLES);
        let roles: Vec<String> = roles.map(|role| format!("\"r{role}\"")).collect();
        let roles = roles.join(", ");
        let _ =
            write!(text, "[user.user{user}]\ngroups = [\"g{a}\", \"g{b}\"]\nroles = [{roles}]\n\n");
    }
    for agent in 0..AGENTS {
        let _ = write!(
            text,
            "[agent.agent{agent}]\nenvironments = [\"dev\"]\ngroups = [\"agents\"]\n\n",
        );
    }
    text
}

/// One policy of the mix.
fn policy(i: usize, policies: usize) -> String {
    let operations = operations(policies);
    let (block, place) = (i / 20, i % 20);
    let operation = (block * 4 + place) % operations;
    let upstream = upstream_of(operation);
    let action = format!("Action::\"{upstream}/op{operation}\"");
    let role = (i + block) % ROLES;
    let group = (i + block) % GROUPS;
    let limit = 1000 + (i % 7) * 100;
    match place {
        0..=9 => format!(
            "@id(\"role-{i}\")\n\
             permit (principal in Role::\"r{role}\", action == {action}, \
             resource in Upstream::\"{upstream}\")\n\
             when {{ context.environment == \"dev\" && context.exposure.integrity == \"trusted\" \
             && context.mode == \"normal\" && context.input has amount \
             && context.input.amount <= {limit} }};\n\n",
        ),
        10..=13 => format!(
            "@id(\"group-{i}\")\n@obligation_redact(\"customer.email,pii:phone\")\n\
             @obligation_cap(\"{limit}\")\n\
             permit (principal in Group::\"g{group}\", action == {action}, resource)\n\
             when {{ context.exposure.confidentiality != \"restricted\" }};\n\n",
        ),
        14..=15 => {
            let customer = i % CUSTOMERS;
            format!(
                "@id(\"share-{i}\")\npermit (principal is User, action == {action}, \
                 resource == Customer::\"c{customer}\");\n\n",
            )
        }
        16..=17 => {
            let upstream = format!("u{}", block % upstreams(policies));
            let action = match place {
                16 => format!("action in Action::\"upstream:{upstream}\""),
                _ => format!("action == {action}"),
            };
            format!(
                "@id(\"agents-{i}\")\n\
                 permit (principal in Group::\"agents\", {action}, resource)\n\
                 when {{ context.direction == \"to_upstream\" && context.writes < 10000000 }};\n\n",
            )
        }
        18 => format!(
            "@id(\"approve-{i}\")\n@require_approval(\"group:finance\")\n\
             forbid (principal, action == {action}, resource)\n\
             when {{ context.input has amount && context.input.amount > 5000 }}\n\
             unless {{ context.approvals.contains(\"group:finance\") }};\n\n",
        ),
        _ => {
            let upstream = format!("u{}", block % upstreams(policies));
            format!(
                "@id(\"stop-{i}\")\n@reason(\"the session has seen restricted data\")\n\
                 forbid (principal, action in Action::\"upstream:{upstream}\", resource)\n\
                 when {{ context.exposure.confidentiality == \"restricted\" \
                 && context.writes > {limit} }};\n\n",
            )
        }
    }
}

/// Facts over a bundle of [`bundle`]: every `i` is another call, and the same `i` is always the
/// same one.
pub fn facts(world: &World, i: usize) -> Result<Facts, Code> {
    let mixed = (i as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16;
    let pick = |count: usize, salt: u32| {
        usize::try_from(mixed.rotate_left(salt) % (count as u64).max(1)).unwrap_or_default()
    };
    let count = operations(world.policies.len());
    let operation = pick(count, 0);
    let user = format!("user{}", pick(USERS, 7));
    let agent = format!("agent{}", pick(AGENTS, 13));
    let act = Object::new().with("sub", agent);
    let claims = Object::new().with("sub", user).with("act", act);
    let identity = identify(world, &Claims { issuer: DEVELOPMENT.to_owned(), claims })?;
    let amount = i64::try_from(pick(8000, 19)).unwrap_or_default();
    let arguments = Object::new()
        .with("customer", format!("c{}", pick(CUSTOMERS, 23)))
        .with("amount", amount)
        .with("note", "the parcel came back to the warehouse, see the ticket")
        .with("channel", "mail");
    let params = Object::new().with("name", format!("op{operation}")).with("arguments", arguments);
    let upstream = UpstreamName::new(&upstream_of(operation)).map_err(|_| Code::UnknownName)?;
    let id = CallId::new(&format!("{i:032x}")).map_err(|_| Code::BadId)?;
    Ok(Facts {
        identity: Arc::new(identity),
        call: Call::new(id, upstream, Direction::ToUpstream, "tools/call", params)?,
        session: SessionState {
            id: SessionId::new("s-1").map_err(|_| Code::SessionUnknown)?,
            mode: Mode::Normal,
            exposure: Label::default(),
            writes: i64::try_from(i % 50).unwrap_or_default(),
            revision: 1,
            risk: None,
            fed: None,
        },
        now: Micros(1_700_000_000_000_000),
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
    })
}
