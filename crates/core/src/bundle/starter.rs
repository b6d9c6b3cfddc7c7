//! The commented bundle that `lockgate init` writes: small enough to read, closed enough to keep.

mod risk;

use super::import::Draft;
use super::text;
use std::fmt::Write as _;

/// What a starter bundle is about.
#[derive(Clone, Debug)]
pub struct Starter {
    /// Where the gate runs.
    pub environment: String,
    /// The address it answers at: loopback.
    pub address: String,
    /// The people who use it.
    pub users: Vec<String>,
    /// The one of them who runs the gate.
    pub operator: String,
    /// The agents that act for them.
    pub agents: Vec<String>,
    /// What it stands in front of.
    pub upstreams: Vec<Draft>,
}

/// The shipped rules of provenance.
pub const FLOW: &str = include_str!("flow.cedar");
/// The shipped rules of who may see which documents.
pub const DOCUMENTS: &str = include_str!("documents.cedar");
/// The group of everybody in the starter bundle.
const STAFF: &str = "staff";
/// The group of those who run the gate.
const OPERATORS: &str = "operators";
/// The group of every agent in the starter bundle.
const ASSISTANTS: &str = "assistants";
/// The agent that the command line is.
pub const CLI_AGENT: &str = "lockgate-cli";
/// The agent that the console is.
pub const CONSOLE_AGENT: &str = "lockgate-console";
/// The agent through which webhooks answer.
pub const WEBHOOK_AGENT: &str = "lockgate-webhook";

/// The files of a starter bundle: paths and texts. Operations are proposed apart (`propose`).
pub fn starter(starter: &Starter) -> Vec<(String, String)> {
    vec![
        ("lockgate.toml".to_owned(), gate(starter)),
        ("principals.toml".to_owned(), principals(starter)),
        ("policies/starter.cedar".to_owned(), policies(starter)),
        ("policies/flow.cedar".to_owned(), FLOW.to_owned()),
        ("policies/documents.cedar".to_owned(), later("source", DOCUMENTS)),
        ("README.md".to_owned(), README.to_owned()),
    ]
}

/// Without an upstream there is nothing that could be read, and a policy that can never hold is a
/// mistake: those are written down for later.
fn policies(starter: &Starter) -> String {
    let reads = match starter.upstreams.is_empty() {
        false => READS.to_owned(),
        true => later("upstream", READS),
    };
    format!("{BEFORE}{reads}{POLICIES}")
}

/// Policies behind slashes, until there is something that they can be about.
fn later(what: &str, policies: &str) -> String {
    let article = if what.starts_with('u') { "an" } else { "a" };
    let lines = policies.lines().map(|line| format!("// {line}").trim_end().to_owned() + "\n");
    let lines: String = lines.collect();
    format!("// Once there is {article} {what}, take the slashes away:\n//\n{lines}")
}

fn gate(starter: &Starter) -> String {
    let mut users = starter.users.clone();
    users.push(starter.operator.clone());
    users.sort();
    users.dedup();
    let mut out = format!(
        "# The gate itself. docs/reference/config.schema.json describes every key.\n\
         \n\
         # Where this gate runs: dev, staging, prod, or a name of your own.\n\
         environment = {}\n\
         \n\
         # An address that is not loopback needs `tls = {{ certificate = \"…\", key = \"…\" }}`.\n\
         [[listen]]\n\
         address = {}\n\
         \n\
         # A generated issuer for first use: `lockgate token alice --agent {CLI_AGENT}`.\n\
         # Loopback only, never in prod. Replace it with your own:\n\
         #\n\
         # [[issuer]]\n\
         # name = \"corp\"\n\
         # url = \"https://login.example\"          # the exact value of `iss`\n\
         # audience = \"lockgate\"                  # what `aud` must contain\n\
         # jwks = \"https://login.example/jwks\"\n\
         # algorithms = [\"ES256\"]\n\
         # subject_prefix = \"corp:\"\n\
         # claims = {{ groups = \"groups\" }}\n\
         [development]\n\
         users = {}\n\
         \n\
         {}\
         # What the gate stands in front of. Child processes get a cleared environment.\n",
        text::string(&starter.environment),
        text::string(&starter.address),
        text::strings(&users),
        risk::section(),
    );
    for upstream in &starter.upstreams {
        let _ = writeln!(out, "{}", upstream.to_toml());
    }
    if starter.upstreams.is_empty() {
        out.push_str("#\n# [upstream.time]\n# command = [\"uvx\", \"mcp-server-time\"]\n");
    }
    out
}

fn principals(starter: &Starter) -> String {
    let mut out = String::from(
        "# Who there is. Groups need no table of their own unless they are in other groups:\n\
         #\n\
         # [group.support]\n\
         # member_of = [\"staff\"]\n\
         #\n\
         # [group.staff]\n\n",
    );
    for user in starter.users.iter().filter(|user| **user != starter.operator) {
        let _ = writeln!(out, "[user.{}]\ngroups = [\"{STAFF}\"]\n", text::key(user));
    }
    let operator = text::key(&starter.operator);
    let _ = writeln!(out, "[user.{operator}]\ngroups = [\"{STAFF}\", \"{OPERATORS}\"]\n");
    let here = text::string(&starter.environment);
    let is_own = |agent: &&String| [CLI_AGENT, CONSOLE_AGENT].contains(&agent.as_str());
    for agent in starter.agents.iter().filter(|agent| !is_own(agent)) {
        let agent = text::key(agent);
        let _ = writeln!(
            out,
            "[agent.{agent}]\nenvironments = [{here}]\ngroups = [\"{ASSISTANTS}\"]\n\
             clearance = \"internal\"\n"
        );
    }
    let _ = writeln!(
        out,
        "# The command line acts through this agent.\n\
         [agent.{CLI_AGENT}]\nenvironments = [{here}]\n\
         groups = [\"{OPERATORS}\", \"{ASSISTANTS}\"]\nclearance = \"internal\"\n\n\
         # The pages at /console act through this one.\n\
         [agent.{CONSOLE_AGENT}]\nenvironments = [{here}]\ngroups = [\"{OPERATORS}\"]"
    );
    out
}

const BEFORE: &str = "// A call needs two permits: one for the agent, one for its person.\n\
    // Without a permit it is refused; a forbid always wins.\n\n\
    // People may read what the upstreams have; the gate's own records are not among it, nor is\n\
    // asking a model: that is for a policy of its own.\n";

const READS: &str = r#"@id("staff-read")
permit (principal in Group::"staff", action in Action::"read", resource)
unless { action in Action::"upstream:lockgate" || context has model };

@id("assistants-read")
permit (principal in Group::"assistants", action in Action::"read", resource)
unless { action in Action::"upstream:lockgate" || context has model };
"#;

const POLICIES: &str = r#"
// Whoever runs the gate may look into it and reload it.
@id("operators-run-the-gate")
permit (principal in Group::"operators", action in Action::"upstream:lockgate", resource);

// To let people write with one tool, permit it on both legs:
//
// @id("staff-create-tickets")
// permit (principal in Group::"staff", action == Action::"helpdesk/create_ticket", resource)
// when { context.input has priority && context.input.priority <= 3 };
//
// @id("assistants-create-tickets")
// permit (principal in Group::"assistants", action == Action::"helpdesk/create_ticket", resource);
"#;

const README: &str = "# This bundle\n\n\
    - `lockgate.toml`: addresses, issuers, upstreams\n\
    - `principals.toml`: people, agents, groups\n\
    - `operations/<upstream>.toml`: what each upstream can do; accept what you agree to\n\
    - `operations/<upstream>.pins.json`: its definitions as they were, for `lockgate tools diff`\n\
    - `policies/*.cedar`: who may do what\n\
    - `sources/<name>.toml`: where documents come from, and who answers for them\n\n\
    `lockgate check` names every mistake; `lockgate up` starts the gate.\n";
