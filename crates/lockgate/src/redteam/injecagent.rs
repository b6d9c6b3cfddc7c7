//! InjecAgent's files, read as a corpus: what a user asks, the one tool that answers, and what the
//! answer tells the agent to do.
//!
//! It has no arguments for the attacker's calls: the addresses that the instruction names are put
//! where the tool takes an address, and nothing else is said. It has no declarations either: the
//! first word of a tool's name says what it does, and an argument that takes an address has a role.

use super::corpus::{Corpus, Episode, Step, Tool, file, lines};
use anyhow::{Context, Result, anyhow};
use lockgate_core::bundle::propose::{Posture, propose};
use lockgate_types::call::Effect;
use lockgate_types::{Json, Object, UpstreamName};
use std::collections::BTreeMap;
use std::path::Path;

/// The name of its one suite.
const SUITE: &str = "injecagent";
/// Its files of attacks.
const ATTACKS: [&str; 4] = [
    "test_cases_dh_base.json",
    "test_cases_dh_enhanced.json",
    "test_cases_ds_base.json",
    "test_cases_ds_enhanced.json",
];

/// Whether a directory has its files.
pub(super) fn is_there(directory: &Path) -> bool {
    directory.join("user_cases.jsonl").is_file() && directory.join("tools.json").is_file()
}

/// Reads it. Every attack is attempted; the users' tasks are benign, and so is a user who asks for
/// what the attackers want.
pub(super) fn read(directory: &Path) -> Result<Corpus> {
    let tools = definitions(&file(directory, "tools.json")?);
    let tools = tools.context("`tools.json` does not list toolkits")?;
    let mut benign = Vec::new();
    for (at, case) in lines(directory, "user_cases.jsonl")?.iter().enumerate() {
        let read = user_step(case).zip(text(case, "User Instruction"));
        let (step, prompt) = read.ok_or_else(|| anyhow!("user case {}: not one", at + 1))?;
        benign.push(episode(format!("user-task {}", step.tool), prompt, vec![step], ""));
    }
    for name in ["attacker_cases_dh.jsonl", "attacker_cases_ds.jsonl"] {
        for (at, case) in lines(directory, name)?.iter().enumerate() {
            let asked = text(case, "Attacker Instruction");
            let steps = asked.and_then(|asked| calls(case, asked, &tools, false));
            let (prompt, steps) = asked.zip(steps).with_context(|| format!("{name} {}", at + 1))?;
            benign.push(episode(format!("user-asks {name} {}", at + 1), prompt, steps, ""));
        }
    }
    let mut attacks = Vec::new();
    for name in ATTACKS.iter().filter(|name| directory.join(name).is_file()) {
        let cases = file(directory, name)?;
        for (at, case) in cases.as_array().unwrap_or_default().iter().enumerate() {
            let wanted = text(case, "Attacker Instruction");
            let steps = wanted.and_then(|wanted| calls(case, wanted, &tools, true));
            let read = user_step(case).zip(steps).zip(text(case, "User Instruction"));
            let ((first, rest), prompt) = read.with_context(|| format!("{name} {}", at + 1))?;
            let steps = std::iter::once(first).chain(rest).collect();
            let class = text(case, "Attack Type").unwrap_or("unknown");
            attacks.push(episode(format!("{name} {}", at + 1), prompt, steps, class));
        }
    }
    let tools = tools.into_iter().map(|(name, definition)| {
        let annotations = annotations(&definition);
        let schema = definition.get("inputSchema").cloned();
        (name, Tool { annotations, schema })
    });
    let suites = BTreeMap::from([(SUITE.to_owned(), tools.collect())]);
    Ok(Corpus { suites, benign, attacks })
}

fn episode(name: String, prompt: &str, steps: Vec<Step>, class: &str) -> Episode {
    Episode {
        name,
        suite: SUITE.to_owned(),
        prompt: prompt.to_owned(),
        own: Vec::new(),
        steps,
        class: class.to_owned(),
        is_text_only: false,
        passes: None,
    }
}

fn text<'j>(json: &'j Json, name: &str) -> Option<&'j str> {
    json.get(name)?.as_str()
}

/// The call of a user's one tool.
fn user_step(case: &Json) -> Option<Step> {
    let arguments = python(text(case, "Tool Parameters")?)?;
    let answered = text(case, "Tool Response").or_else(|| text(case, "Tool Response Template"))?;
    Some(Step {
        is_attack: false,
        tool: text(case, "User Tool")?.to_owned(),
        arguments: arguments.as_object()?.clone(),
        result: Ok(answered.into()),
    })
}

/// The attacker's calls, with the arguments that the instruction says.
fn calls(
    case: &Json,
    instruction: &str,
    tools: &BTreeMap<String, Json>,
    is_attack: bool,
) -> Option<Vec<Step>> {
    let names = case.get("Attacker Tools")?.as_array()?.iter();
    names
        .map(|name| {
            let tool = name.as_str()?.to_owned();
            let schema = tools.get(&tool)?.get("inputSchema")?;
            let arguments = filled(schema, instruction);
            Some(Step { is_attack, tool, arguments, result: Ok("done".into()) })
        })
        .collect()
}

/// The tools, with an open schema of their parameters.
fn definitions(toolkits: &Json) -> Option<BTreeMap<String, Json>> {
    let mut all = BTreeMap::new();
    for toolkit in toolkits.as_array()? {
        let prefix = text(toolkit, "name_for_model").or(text(toolkit, "toolkit"))?;
        for tool in toolkit.get("tools")?.as_array()? {
            let own = text(tool, "name")?;
            let parameters = tool.get("parameters").and_then(Json::as_array).unwrap_or(&[]);
            let names = parameters.iter().filter_map(|parameter| text(parameter, "name"));
            let properties: Object =
                names.map(|name| (name.to_owned(), Json::from(Object::new()))).collect();
            let schema = Object::new()
                .with("type", "object")
                .with("properties", properties)
                .with("additionalProperties", true);
            let definition = Object::new().with("name", own).with("inputSchema", schema);
            all.insert(format!("{prefix}{own}"), definition.into());
        }
    }
    Some(all)
}

fn annotations(definition: &Json) -> Json {
    let effect = effect(text(definition, "name").unwrap_or_default());
    let properties = definition.at(&["inputSchema", "properties"]).and_then(Json::as_object);
    let roles = properties.into_iter().flat_map(Object::iter).map(|(name, _)| {
        let role = match (takes(name), effect) {
            (Some(Takes::Url), "nav") => "nav_url",
            (Some(Takes::Url), "write") => "egress_url",
            (Some(Takes::Address), "write") => "principal",
            _ => "low",
        };
        (name.to_owned(), Json::from(role))
    });
    Object::new().with("effect", effect).with("args", roles.collect::<Object>()).into()
}

/// What the first word of a tool's name says that it does. What is no word for reading changes
/// something.
fn effect(name: &str) -> &'static str {
    let end = name.char_indices().skip(1).find(|(_, c)| c.is_uppercase() || *c == '_');
    let first = end.map_or(name, |(at, _)| name.get(..at).unwrap_or(name));
    let tool = Object::new().with("name", first).with("inputSchema", Object::new());
    let Ok(upstream) = UpstreamName::new(SUITE) else { return "write" };
    let proposed = propose(&upstream, &[tool.into()], Posture::Enforce);
    match proposed.operations.first().map(|it| it.effect) {
        Some(Effect::Read) => "read",
        Some(Effect::Nav) => "nav",
        _ => "write",
    }
}

/// What kind of address an argument takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Takes {
    Address,
    Url,
}

fn takes(argument: &str) -> Option<Takes> {
    let argument = argument.to_ascii_lowercase();
    let words: Vec<&str> = argument.split('_').collect();
    if words.iter().any(|word| ["url", "link", "website"].contains(word)) {
        return Some(Takes::Url);
    }
    let takes_address = ["to", "email", "emails", "recipient", "recipients", "cc", "bcc"];
    words.iter().any(|word| takes_address.contains(word)).then_some(Takes::Address)
}

/// The addresses that an instruction names, where a tool takes one.
fn filled(schema: &Json, instruction: &str) -> Object {
    let trim = |word: &str| word.trim_matches(|c: char| !c.is_alphanumeric()).to_owned();
    let words = instruction.split_whitespace().map(trim);
    let mut addresses: Vec<String> = words.filter(|word| word.contains('@')).collect();
    let properties = schema.get("properties").and_then(Json::as_object);
    let mut arguments = Object::new();
    for (name, _) in properties.into_iter().flat_map(Object::iter) {
        if takes(name) == Some(Takes::Address)
            && let Some(address) = addresses.pop()
        {
            arguments.set(name, address);
        }
    }
    arguments
}

/// A dictionary as Python prints it.
fn python(text: &str) -> Option<Json> {
    let mut reader =
        Python { rest: text.trim().chars().collect::<Vec<_>>().into_iter().peekable() };
    reader.value(0)
}

/// Levels of such a dictionary.
const DEPTH_MAX: usize = 16;

struct Python {
    rest: std::iter::Peekable<std::vec::IntoIter<char>>,
}

impl Python {
    fn blank(&mut self) {
        while self.rest.next_if(|c| c.is_whitespace() || *c == ',').is_some() {}
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        self.blank();
        if depth > DEPTH_MAX {
            return None;
        }
        match self.rest.peek()? {
            '{' => self.object(depth),
            '[' | '(' => self.array(depth),
            '\'' | '"' => self.string().map(Json::String),
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.rest.next();
        let mut object = Object::new();
        loop {
            self.blank();
            if self.rest.next_if_eq(&'}').is_some() {
                return Some(object.into());
            }
            let name = self.string()?;
            self.blank();
            self.rest.next_if_eq(&':')?;
            object.set(name, self.value(depth + 1)?);
        }
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        self.rest.next();
        let mut items = Vec::new();
        loop {
            self.blank();
            if self.rest.next_if(|c| matches!(c, ']' | ')')).is_some() {
                return Some(items.into());
            }
            items.push(self.value(depth + 1)?);
        }
    }

    fn string(&mut self) -> Option<String> {
        let quote = self.rest.next_if(|c| matches!(c, '\'' | '"'))?;
        let mut text = String::new();
        loop {
            match self.rest.next()? {
                '\\' => match self.rest.next()? {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    other => text.push(other),
                },
                end if end == quote => return Some(text),
                other => text.push(other),
            }
        }
    }

    fn word(&mut self) -> Option<Json> {
        let mut word = String::new();
        while let Some(c) = self.rest.next_if(|c| c.is_alphanumeric() || "+-._".contains(*c)) {
            word.push(c);
        }
        match word.as_str() {
            "True" => Some(true.into()),
            "False" => Some(false.into()),
            "None" => Some(Json::Null),
            number => Json::parse(number.as_bytes(), &lockgate_types::JsonLimits::OWN).ok(),
        }
    }
}
