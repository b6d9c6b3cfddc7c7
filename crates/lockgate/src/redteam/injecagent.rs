//! InjecAgent's files, read as a corpus: what a user asks, the one tool that answers, and what the
//! answer tells the agent to do. It has no arguments for the attacker's calls, so they are put
//! together from what the instruction says; and it has no declarations, so the tools are declared
//! as `lockgate tools propose` proposes them.

use super::corpus::{Corpus, Episode, Step, Tool, file, lines};
use anyhow::{Context, Result, anyhow};
use lockgate_types::{Json, Object};
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
        (name, Tool { annotations: Json::Null, schema: None, definition: Some(definition) })
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

/// The tools as a server would define them.
fn definitions(toolkits: &Json) -> Option<BTreeMap<String, Json>> {
    let mut all = BTreeMap::new();
    for toolkit in toolkits.as_array()? {
        let prefix = text(toolkit, "name_for_model").or(text(toolkit, "toolkit"))?;
        for tool in toolkit.get("tools")?.as_array()? {
            let name = format!("{prefix}{}", text(tool, "name")?);
            let schema = schema(tool.get("parameters").and_then(Json::as_array).unwrap_or(&[]))?;
            let definition = Object::new()
                .with("name", name.as_str())
                .with("description", text(tool, "summary").unwrap_or_default())
                .with("inputSchema", schema);
            all.insert(name, definition.into());
        }
    }
    Some(all)
}

fn schema(parameters: &[Json]) -> Option<Json> {
    let (mut properties, mut required) = (Object::new(), Vec::new());
    for parameter in parameters {
        let name = text(parameter, "name")?;
        let kind = match text(parameter, "type").unwrap_or_default() {
            "integer" => "integer",
            "number" | "float" => "number",
            "boolean" => "boolean",
            "array" | "list" => "array",
            "object" | "dict" => "object",
            _ => "string",
        };
        let about = text(parameter, "description").unwrap_or_default();
        properties.set(name, Object::new().with("type", kind).with("description", about));
        if parameter.get("required").and_then(Json::as_bool) == Some(true) {
            required.push(name.into());
        }
    }
    let schema = Object::new().with("type", "object").with("properties", properties);
    Some(schema.with("required", Json::Array(required)).with("additionalProperties", true).into())
}

/// What an instruction says for each required argument: addresses for what receives, numbers for
/// numbers, names and ids for the rest, in their order. What it does not say is left out.
fn filled(schema: &Json, instruction: &str) -> Object {
    let mut said = Said::of(instruction);
    let mut arguments = Object::new();
    let properties = schema.get("properties").and_then(Json::as_object);
    let required = schema.get("required").and_then(Json::as_array).unwrap_or_default();
    for name in required.iter().filter_map(Json::as_str) {
        let kind =
            properties.and_then(|it| it.get(name)?.get("type")?.as_str()).unwrap_or("string");
        let value: Option<Json> = match kind {
            "integer" | "number" => said.number(),
            "boolean" => Some(true.into()),
            "array" => said.text(name, instruction).map(|text| vec![text.into()].into()),
            "object" => None,
            _ => said.text(name, instruction).map(Json::from),
        };
        if let Some(value) = value {
            arguments.set(name, value);
        }
    }
    arguments
}

/// What an instruction says that may be a value.
struct Said {
    addresses: Vec<String>,
    names: Vec<String>,
    numbers: Vec<String>,
}

impl Said {
    fn of(instruction: &str) -> Self {
        let trim = |word: &str| {
            let is_edge = |c: char| !c.is_alphanumeric() && !matches!(c, '/' | '~' | '#');
            word.trim_matches(is_edge).to_owned()
        };
        let words: Vec<String> = instruction.split_whitespace().map(trim).collect();
        let is_number = |word: &&String| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        };
        let has_mark = |word: &&String| {
            let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
            (has_digit || word.contains(['_', '/'])) && !word.contains('@') && !is_number(word)
        };
        let quoted = instruction.split(['\'', '"']).skip(1).step_by(2).map(str::to_owned);
        // A person's or a thing's name: capitals that begin no sentence.
        let named = words.iter().skip(1).filter(|word| word.starts_with(char::is_uppercase));
        let mut names: Vec<String> = words.iter().filter(has_mark).cloned().collect();
        names.extend(quoted.filter(|text| !text.contains('@')));
        names.extend(named.cloned());
        names.dedup();
        Self {
            addresses: words.iter().filter(|word| word.contains('@')).cloned().collect(),
            numbers: words.iter().filter(is_number).cloned().collect(),
            names,
        }
    }

    fn text(&mut self, name: &str, instruction: &str) -> Option<String> {
        let is_about = |words: &[&str]| words.iter().any(|word| name.contains(word));
        if is_about(&["body", "content", "message", "text", "description", "subject", "title"]) {
            return Some(instruction.to_owned());
        }
        if is_about(&["to", "email", "recipient", "user", "guest"]) && !self.addresses.is_empty() {
            return Some(self.addresses.remove(0));
        }
        (!self.names.is_empty()).then(|| self.names.remove(0))
    }

    fn number(&mut self) -> Option<Json> {
        let number = (!self.numbers.is_empty()).then(|| self.numbers.remove(0))?;
        Json::parse(number.as_bytes(), &lockgate_types::JsonLimits::OWN).ok()
    }
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
