//! Declarations proposed from what an upstream says about its tools.
//!
//! A proposal is for a person to accept: `accepted = false`. It errs to the grave side: a tool
//! whose name, arguments and annotations do not make it plain is proposed destructive. What an
//! upstream claims can make a proposal graver; it makes it lighter only where the name says nothing
//! against it.

use super::definition::{definition_digest, instructions_digest};
use super::{Kept, document, text};
use crate::conform::{Conformance, Unsupported};
use lockgate_types::call::Effect;
use lockgate_types::{Json, OperationName, UpstreamName};
use std::fmt::Write as _;

mod flow;

/// Characters of a description that a comment shows.
const DESCRIPTION_CHARS_MAX: usize = 90;

/// Patterns of one schema that are left out because they cannot be checked.
const PATTERNS_LEFT_OUT_MAX: usize = 32;

/// Whether denials of what is not destructive are observed or enforced from the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posture {
    /// `observe = true`, except for destructive operations.
    Observe,
    /// As declared.
    Enforce,
}

/// One proposed operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposed {
    /// The tool.
    pub tool: String,
    /// What it probably does.
    pub effect: Effect,
    /// Why so.
    pub because: String,
}

/// A proposed `operations/<upstream>.toml`.
#[derive(Clone, Debug)]
pub struct Proposal {
    /// The file.
    pub text: String,
    /// The definitions, to be kept beside it.
    pub kept: Kept,
    /// The operations in it.
    pub operations: Vec<Proposed>,
    /// Tools that could not be declared, and why.
    pub left_out: Vec<String>,
}

/// Who says what a tool is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// A tool server, of itself.
    Server,
    /// The bundle, of the endpoints of an API: their schemas are made of that.
    Bundle,
}

/// Proposes declarations for the tools of an upstream, as `tools/list` gives them.
pub fn propose(upstream: &UpstreamName, tools: &[Json], posture: Posture) -> Proposal {
    let head = format!(
        "# What `{upstream}` can do, proposed from what it says about itself.\n\
         # Nobody has agreed to it yet.\n\
         #\n\
         # effect       what it does to the world: read, nav, write, egress, destructive\n\
         # accepted     set it to true once effect, schema and pin are what you expect\n\
         # observe      denials are recorded and not enforced; never for destructive operations\n\
         # repeat_window_s  seconds in which the same call is the same effect, performed once; 0\n\
         #              where nothing says what a call does: it may only read\n\
         # schema       the arguments that may be sent; what it does not name is refused\n\
         # roles        what each argument is for, guessed from its name\n\
         # returns      whose words it returns and who may see them, guessed from its name\n\
         # pin          the definition as it was; if the upstream changes it, calls are refused\n"
    );
    proposal(upstream, tools, posture, (Source::Server, head))
}

/// Proposes declarations for the endpoints of an HTTP API: by their methods, where names say
/// nothing graver.
pub fn propose_api(upstream: &UpstreamName, tools: &[Json], posture: Posture) -> Proposal {
    let head = format!(
        "# What `{upstream}` can do, proposed from the methods and names of its endpoints.\n\
         # Nobody has agreed to it yet.\n\
         #\n\
         # effect       what it does to the world: read, nav, write, egress, destructive\n\
         # accepted     set it to true once the effect is what you expect\n\
         # observe      denials are recorded and not enforced; never for destructive operations\n\
         # class, key   if the API takes an idempotency key: `class = \"idempotent\"` and\n\
         #              `key = {{ header = \"Idempotency-Key\" }}`\n\
         # pin          method, path, schema and words of the endpoint as they were; if the\n\
         #              document changes them, calls are refused\n"
    );
    proposal(upstream, tools, posture, (Source::Bundle, head))
}

fn proposal(
    upstream: &UpstreamName,
    tools: &[Json],
    posture: Posture,
    (source, head): (Source, String),
) -> Proposal {
    let mut out = head;
    let mut proposal = Proposal {
        text: String::new(),
        kept: Kept::default(),
        operations: Vec::new(),
        left_out: Vec::new(),
    };
    let mut tools: Vec<(&str, &Json)> =
        tools.iter().filter_map(|tool| Some((tool.get("name")?.as_str()?, tool))).collect();
    tools.sort_by_key(|(name, _)| *name);
    for (at, (name, tool)) in tools.iter().enumerate() {
        if tools.iter().take(at).any(|(other, _)| other == name) {
            proposal.left_out.push(format!("`{name}` is there twice"));
        } else if OperationName::tool(upstream, name).is_err() || name.is_empty() {
            proposal
                .left_out
                .push(format!("`{}` is not the name of a tool", text::comment(name, 80)));
        } else {
            let operation = proposed(name, tool, source);
            write_tool(&operation, tool, (posture, source), &mut out);
            proposal.kept.tools.insert((*name).to_owned(), (*tool).clone());
            proposal.operations.push(operation);
        }
    }
    proposal.text = out;
    proposal
}

fn write_tool(
    operation: &Proposed,
    tool: &Json,
    (posture, source): (Posture, Source),
    out: &mut String,
) {
    let Proposed { tool: name, effect, because } = operation;
    let _ = writeln!(out, "\n[tool.{}]", text::key(name));
    let description = tool.get("description").and_then(Json::as_str).unwrap_or_default();
    let description = text::comment(description, DESCRIPTION_CHARS_MAX);
    if !description.is_empty() {
        let _ = writeln!(out, "# It says: {description}");
    }
    let _ = writeln!(out, "# Proposed `{}`: {because}.", effect.as_str());
    let _ = writeln!(out, "effect = \"{}\"", effect.as_str());
    let _ = writeln!(out, "accepted = false");
    if posture == Posture::Observe && *effect != Effect::Destructive {
        let _ = writeln!(out, "observe = true");
    }
    if !is_known(name, tool) && *effect == Effect::Destructive {
        let _ = writeln!(out, "repeat_window_s = 0");
    }
    match (tool.get("inputSchema"), source) {
        (Some(schema), Source::Server) => write_schema(schema, out),
        (Some(schema), Source::Bundle) => {
            let may_repeat = tool.at(&["annotations", "idempotentHint"]).and_then(Json::as_bool);
            if may_repeat == Some(true) && *effect == Effect::Write {
                out.push_str(
                    "# Its method says that it may be sent twice. If you believe that:\n\
                     # class = \"idempotent\"\n# key = { header = \"Idempotency-Key\" }\n",
                );
            }
            write_destinations(schema, out);
        }
        (None, _) => {}
    }
    flow::write_roles(proposed_schema(tool).as_ref(), *effect, out);
    let _ = writeln!(out, "pin = \"{}\"", definition_digest(tool));
    flow::write_returns(name, tool, *effect, out);
}

impl Proposal {
    /// Adds the pin of what the server says of itself: that only these instructions are passed on.
    pub fn pin_server(&mut self, instructions: Option<&str>) {
        self.text.push_str(&server(instructions));
        self.kept.instructions = Some(instructions.map(str::to_owned));
    }

    /// Only the declarations, to be put behind others.
    pub fn without_head(&self) -> &str {
        let start = self.text.find("\n[tool.").unwrap_or(self.text.len());
        self.text.get(start..).unwrap_or_default()
    }
}

/// The table that pins what a server tells models about itself.
fn server(instructions: Option<&str>) -> String {
    let said = instructions.map(|said| text::comment(said, DESCRIPTION_CHARS_MAX));
    let said = match said {
        Some(said) => format!("# It tells models: {said}"),
        None => "# It tells models nothing about itself.".to_owned(),
    };
    format!("\n[server]\n{said}\ninstructions_pin = \"{}\"\n", instructions_digest(instructions))
}

/// The schema of a tool's arguments as it is proposed: without patterns that cannot be checked.
/// `None` where it cannot be checked otherwise either.
pub fn proposed_schema(tool: &Json) -> Option<Json> {
    let mut schema = tool.get("inputSchema")?.clone();
    for _ in 0..PATTERNS_LEFT_OUT_MAX {
        match Conformance::compile(&schema) {
            Ok(_) => return Some(schema),
            Err(Unsupported { pointer, .. }) if pointer.ends_with("/pattern") => {
                document::take_out(&mut schema, &pointer);
            }
            Err(_) => return None,
        }
    }
    None
}

fn write_schema(schema: &Json, out: &mut String) {
    let mut schema = schema.clone();
    for _ in 0..PATTERNS_LEFT_OUT_MAX {
        let Err(Unsupported { pointer, what }) = Conformance::compile(&schema) else { break };
        if !pointer.ends_with("/pattern") {
            break;
        }
        // A pattern only narrows a text, and the upstream still checks it. The reader is told.
        document::take_out(&mut schema, &pointer);
        let line = text::comment(&format!("Left out of the schema at {pointer}: {what}."), 200);
        let _ = writeln!(out, "# {line}");
    }
    match Conformance::compile(&schema) {
        Ok(_) => {
            write_destinations(&schema, out);
            let _ = writeln!(out, "schema = {}", text::block(&text::pretty(&schema)));
        }
        Err(error) => {
            let error = text::comment(&error.to_string(), 200);
            let _ = writeln!(out, "# No arguments are accepted: {error}.");
        }
    }
}

fn write_destinations(schema: &Json, out: &mut String) {
    let Ok(conformance) = Conformance::compile(schema) else { return };
    let destinations: Vec<&str> =
        conformance.declared_names().filter(|name| is_destination(name)).collect();
    if !destinations.is_empty() {
        let _ = writeln!(out, "destination = {}", text::strings(&destinations));
    }
}

fn proposed(name: &str, tool: &Json, source: Source) -> Proposed {
    let (effect, because) = guess(name, tool);
    let is_its_method = because.ends_with("itself") || because.contains("annotation");
    let because = match source {
        // The method speaks there, in the last line of what it is for.
        Source::Bundle if is_its_method => {
            let said = tool.get("description").and_then(Json::as_str).unwrap_or_default();
            format!("it is `{}`", text::comment(said.lines().last().unwrap_or_default(), 80))
        }
        Source::Bundle | Source::Server => because,
    };
    Proposed { tool: name.to_owned(), effect, because }
}

/// Words of names, with the effect they speak for.
const VERBS: [(Effect, &[&str]); 5] = [
    (
        Effect::Read,
        &[
            "get",
            "list",
            "read",
            "search",
            "find",
            "show",
            "describe",
            "count",
            "view",
            "status",
            "log",
            "diff",
            "lookup",
            "check",
            "stat",
            "tree",
            "head",
            "info",
            "convert",
            "calculate",
            "open",
            "query",
            "summarize",
            "analyze",
            "validate",
            "resolve",
            "inspect",
            "compare",
        ],
    ),
    (Effect::Nav, &["fetch", "browse", "navigate", "crawl", "scrape", "download", "visit", "goto"]),
    (
        Effect::Write,
        &[
            "create",
            "update",
            "add",
            "set",
            "write",
            "edit",
            "insert",
            "put",
            "patch",
            "move",
            "rename",
            "append",
            "commit",
            "save",
            "copy",
            "merge",
            "assign",
            "close",
            "make",
            "store",
            "replace",
            "checkout",
            "upsert",
            "modify",
            "init",
            "subscribe",
            "toggle",
            "start",
            "stop",
            "enable",
            "disable",
            "schedule",
            "book",
            "register",
            "import",
        ],
    ),
    (
        Effect::Egress,
        &[
            "send", "email", "post", "publish", "notify", "message", "share", "upload", "webhook",
            "reply", "forward", "invite", "push", "tweet", "export", "submit", "call",
        ],
    ),
    (
        Effect::Destructive,
        &[
            "delete",
            "remove",
            "drop",
            "destroy",
            "purge",
            "wipe",
            "reset",
            "kill",
            "terminate",
            "revoke",
            "truncate",
            "exec",
            "execute",
            "run",
            "eval",
            "shell",
            "uninstall",
            "clear",
            "cancel",
            "refund",
            "pay",
            "transfer",
            "charge",
            "deploy",
            "rollback",
            "overwrite",
            "erase",
            "clean",
            "grant",
            "approve",
        ],
    ),
];

/// Arguments that are programs.
const PROGRAMS: [&str; 8] =
    ["command", "cmd", "sql", "statement", "script", "code", "shell", "expression"];
/// Arguments that are addresses the caller chooses.
const ADDRESSES: [&str; 6] = ["url", "uri", "href", "endpoint", "link", "urls"];
/// Arguments that are destinations.
const DESTINATIONS: [&str; 14] = [
    "to",
    "cc",
    "bcc",
    "recipient",
    "recipients",
    "email",
    "channel",
    "destination",
    "webhook",
    "host",
    "address",
    "phone",
    "target_url",
    "webhook_url",
];

fn is_destination(argument: &str) -> bool {
    let argument = argument.to_ascii_lowercase();
    DESTINATIONS.contains(&argument.as_str()) || ADDRESSES.contains(&argument.as_str())
}

/// An argument of these names, if the tool has one.
fn argument(tool: &Json, known: &[&str]) -> Option<String> {
    let arguments = tool.at(&["inputSchema", "properties"]).and_then(Json::as_object);
    let names = arguments.into_iter().flat_map(|arguments| arguments.iter());
    let mut names = names.map(|(name, _)| name.to_ascii_lowercase());
    names.find(|name| known.contains(&name.as_str()))
}

/// The word of a name that speaks for an effect, the gravest first.
fn spoken(name: &str) -> Option<(Effect, String)> {
    let words = words(name);
    VERBS.iter().rev().find_map(|(effect, verbs)| {
        let word = words.iter().find(|word| verbs.contains(&word.as_str()))?;
        Some((*effect, word.clone()))
    })
}

/// Whether anything says what a call of the tool does. What takes a program may do anything, and
/// nothing.
fn is_known(name: &str, tool: &Json) -> bool {
    let says_so = tool.at(&["annotations", "destructiveHint"]).and_then(Json::as_bool);
    argument(tool, &PROGRAMS).is_none() && (spoken(name).is_some() || says_so == Some(true))
}

fn guess(name: &str, tool: &Json) -> (Effect, String) {
    let hint = |key: &str| tool.at(&["annotations", key]).and_then(Json::as_bool);
    let argument = |known: &[&str]| argument(tool, known);
    if let Some(program) = argument(&PROGRAMS) {
        return (Effect::Destructive, format!("its argument `{program}` can say anything"));
    }
    if hint("destructiveHint") == Some(true) && hint("readOnlyHint") != Some(true) {
        return (Effect::Destructive, "it says so itself".to_owned());
    }
    match spoken(name) {
        Some((Effect::Read, word)) => {
            if let Some(address) = argument(&ADDRESSES) {
                return (Effect::Nav, format!("its argument `{address}` is an address"));
            }
            match (hint("readOnlyHint"), hint("destructiveHint")) {
                (Some(false), Some(false)) => (
                    Effect::Write,
                    format!("its name says `{word}`, but it says it is not read-only"),
                ),
                (Some(false), _) => (
                    Effect::Destructive,
                    format!("its name says `{word}`, but it does not say it is harmless"),
                ),
                _ => (Effect::Read, format!("its name says `{word}`")),
            }
        }
        Some((effect, word)) => (effect, format!("its name says `{word}`")),
        None if hint("readOnlyHint") == Some(true) => match argument(&ADDRESSES) {
            Some(address) => (Effect::Nav, format!("its argument `{address}` is an address")),
            None => (Effect::Read, "only the upstream's own annotation says so".to_owned()),
        },
        None if hint("destructiveHint") == Some(false) => (
            Effect::Write,
            "only the upstream's own annotation says it destroys nothing".to_owned(),
        ),
        None => (Effect::Destructive, "nothing says what it does".to_owned()),
    }
}

/// The words of a name: `getUser_by-id` is get, user, by, id.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut was_lower = false;
    for c in name.chars() {
        let starts = !c.is_alphanumeric() || (c.is_uppercase() && was_lower);
        if starts {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c.is_alphanumeric()) {
            word.extend(c.to_lowercase());
        }
        was_lower = c.is_lowercase() || c.is_ascii_digit();
    }
    words.retain(|word| !word.is_empty());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    #[test]
    fn errs_to_the_grave_side() {
        let cases = [
            ("get_current_time", r#"{}"#, Effect::Read),
            ("listFiles", r#"{}"#, Effect::Read),
            ("get_page", r#"{"inputSchema":{"properties":{"url":{}}}}"#, Effect::Nav),
            ("fetch", r#"{"inputSchema":{"properties":{"url":{}}}}"#, Effect::Nav),
            ("create_refund", r#"{}"#, Effect::Destructive),
            ("create_ticket", r#"{}"#, Effect::Write),
            ("send_email", r#"{"annotations":{"readOnlyHint":true}}"#, Effect::Egress),
            ("delete_all", r#"{"annotations":{"readOnlyHint":true}}"#, Effect::Destructive),
            ("frobnicate", r#"{}"#, Effect::Destructive),
            ("frobnicate", r#"{"annotations":{"readOnlyHint":true}}"#, Effect::Read),
            ("get_x", r#"{"annotations":{"readOnlyHint":false}}"#, Effect::Destructive),
            ("get_x", r#"{"annotations":{"destructiveHint":true}}"#, Effect::Destructive),
            ("query", r#"{"inputSchema":{"properties":{"sql":{}}}}"#, Effect::Destructive),
        ];
        for (name, tool, effect) in cases {
            let tool = Json::parse(tool.as_bytes(), &JsonLimits::OWN).unwrap();
            assert_eq!(guess(name, &tool).0, effect, "{name} {tool}");
        }
    }
}
