//! Corpora as they lie in a directory: episodes of calls, with what the tools answered.

use super::injecagent;
use anyhow::{Context, Result, anyhow, bail};
use lockgate_types::{Json, JsonLimits, Object};
use std::collections::BTreeMap;
use std::path::Path;

/// How large a corpus's files may be.
const LIMITS: JsonLimits = JsonLimits { bytes_max: 256 << 20, depth_max: 64, members_max: 1 << 20 };
/// How large one line of a file of episodes may be.
const LINE_LIMITS: JsonLimits = JsonLimits::OWN;

/// What one tool is, as the corpus's manifest describes it.
pub(super) type Annotations = Json;

/// A corpus.
pub(super) struct Corpus {
    /// Tools by suite: annotations, and the schema of the arguments.
    pub(super) suites: BTreeMap<String, BTreeMap<String, Tool>>,
    /// What users want, without an attack.
    pub(super) benign: Vec<Episode>,
    /// The same, attacked.
    pub(super) attacks: Vec<Episode>,
}

/// A tool of a corpus.
pub(super) struct Tool {
    pub(super) annotations: Annotations,
    /// The JSON Schema of its arguments, if there is one.
    pub(super) schema: Option<Json>,
}

/// One conversation.
#[derive(Clone)]
pub(super) struct Episode {
    /// What it is called in reports.
    pub(super) name: String,
    pub(super) suite: String,
    /// The person's own words.
    pub(super) prompt: String,
    /// The person's own values.
    pub(super) own: Vec<String>,
    pub(super) steps: Vec<Step>,
    /// The class of the attack, in the corpus's words.
    pub(super) class: String,
    /// Whether it only makes a model say something.
    pub(super) is_text_only: bool,
    /// Why the attack is known to pass, if it is.
    pub(super) passes: Option<String>,
}

/// One call of a conversation.
#[derive(Clone)]
pub(super) struct Step {
    pub(super) is_attack: bool,
    pub(super) tool: String,
    pub(super) arguments: Object,
    /// What the tool answered, or how it failed.
    pub(super) result: Result<Json, String>,
}

/// Reads a corpus: InjecAgent's files, or episodes in `benign.jsonl` and `attack.jsonl` with their
/// results in `blobs.json`, annotated by `manifest.json`, with schemas in `tools.json` if there are
/// some.
pub(super) fn read(directory: &Path) -> Result<Corpus> {
    if injecagent::is_there(directory) {
        return injecagent::read(directory);
    }
    let manifest = file(directory, "manifest.json")?;
    let blobs = file(directory, "blobs.json")?;
    let schemas = match directory.join("tools.json").is_file() {
        true => Some(file(directory, "tools.json")?),
        false => None,
    };
    let mut suites: BTreeMap<String, BTreeMap<String, Tool>> = BTreeMap::new();
    for (suite, tools) in manifest.as_object().map(Object::iter).into_iter().flatten() {
        let Some(tools) = tools.as_object() else { bail!("`{suite}` has no tools") };
        for (tool, annotations) in tools.iter() {
            let schema = schemas.as_ref().and_then(|it| it.at(&[suite, tool, "schema"])).cloned();
            let read = Tool { annotations: annotations.clone(), schema };
            suites.entry(suite.to_owned()).or_default().insert(tool.to_owned(), read);
        }
    }
    let benign = episodes(directory, "benign.jsonl", &blobs)?;
    let attacks = episodes(directory, "attack.jsonl", &blobs)?;
    Ok(Corpus { suites, benign, attacks })
}

pub(super) fn file(directory: &Path, name: &str) -> Result<Json> {
    let path = directory.join(name);
    let bytes = std::fs::read(&path).with_context(|| format!("reading `{}`", path.display()))?;
    Json::parse(&bytes, &LIMITS).with_context(|| format!("reading `{}`", path.display()))
}

pub(super) fn lines(directory: &Path, name: &str) -> Result<Vec<Json>> {
    let path = directory.join(name);
    let text = std::fs::read(&path).with_context(|| format!("reading `{}`", path.display()))?;
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines
        .map(|line| {
            Json::parse(line, &LINE_LIMITS).with_context(|| format!("reading `{}`", path.display()))
        })
        .collect()
}

fn episodes(directory: &Path, name: &str, blobs: &Json) -> Result<Vec<Episode>> {
    let lines = lines(directory, name)?;
    let read = lines.iter().enumerate().map(|(at, line)| {
        episode(line, blobs).ok_or_else(|| anyhow!("`{name}` line {}: not an episode", at + 1))
    });
    let mut episodes = read.collect::<Result<Vec<Episode>>>()?;
    // One of a class and task may be followed by more.
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for episode in &mut episodes {
        let times = seen.entry(episode.name.clone()).or_default();
        *times += 1;
        if *times > 1 {
            episode.name = format!("{} {times}", episode.name);
        }
    }
    Ok(episodes)
}

fn episode(json: &Json, blobs: &Json) -> Option<Episode> {
    let text = |name: &str| json.get(name).and_then(Json::as_str);
    let suite = text("suite")?.to_owned();
    let task = text("user_task").unwrap_or("task");
    let class = text("injection_task").unwrap_or_default();
    let identity = json.get("identity").and_then(Json::as_object);
    let own = identity.into_iter().flat_map(Object::iter);
    Some(Episode {
        name: [suite.as_str(), task, class].join(" ").trim_end().to_owned(),
        prompt: text("prompt")?.to_owned(),
        own: own.filter_map(|(_, value)| value.as_str().map(str::to_owned)).collect(),
        steps: json
            .get("steps")?
            .as_array()?
            .iter()
            .map(|step| self::step(step, blobs))
            .collect::<Option<_>>()?,
        class: format!("{suite} {class}"),
        passes: text("passes").map(str::to_owned),
        is_text_only: json.get("text_only").and_then(Json::as_bool).unwrap_or_default(),
        suite,
    })
}

fn step(json: &Json, blobs: &Json) -> Option<Step> {
    let text = |name: &str| json.get(name).and_then(Json::as_str);
    let arguments = match json.get("args") {
        Some(arguments) => arguments.as_object()?.clone(),
        None => Object::new(),
    };
    let result = match text("error") {
        Some(error) => Err(error.to_owned()),
        None => Ok(text("result").and_then(|key| blobs.get(key)).cloned().unwrap_or(Json::Null)),
    };
    Some(Step {
        is_attack: text("by") == Some("attack"),
        tool: text("function")?.to_owned(),
        arguments,
        result,
    })
}
