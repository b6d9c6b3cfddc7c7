//! Reads templates of prompts, `prompts/<name>.toml`, and makes those prompts of them that they
//! have to give.

use super::document::{self, Findings};
use super::places::Place;
use super::{Files, Mistake, models};
use crate::declare::{Golden, Prompt, Segment as Declared, SegmentWord, SignalWord};
use crate::prompt::{self, Datum, Material, Segment, Template};
use lockgate_types::flow::Author;
use lockgate_types::label::{Confidentiality, Label};
use std::collections::{BTreeMap, BTreeSet};

/// Templates of one bundle.
const PROMPTS_MAX: usize = 512;
/// Segments of one template.
const SEGMENTS_MAX: usize = 64;
/// Bytes of instructions.
const TEXT_BYTES_MAX: usize = 256 << 10;

pub(super) fn load(files: &Files, mistakes: &mut Vec<Mistake>) -> BTreeMap<String, Template> {
    let mut templates = BTreeMap::new();
    for (path, bytes) in files {
        let Place::Prompt(name) = Place::of(path) else { continue };
        let Some((declared, document)) = document::read::<Prompt>(path, bytes, mistakes) else {
            continue;
        };
        let mut found = Findings::new(&document, mistakes);
        if !models::is_name(name) {
            let hint = "a prompt is named by lower-case letters, digits, `-`, `_` and `.`";
            found.at(&[], format!("`{name}` cannot be the name of a prompt"), hint);
        }
        if !models::is_word(&declared.version) {
            let what = format!("`{}` cannot be a version", declared.version);
            found.at(&["version"], what, "visible characters, without spaces");
        }
        if templates.len() >= PROMPTS_MAX {
            found.at(&[], format!("there are more than {PROMPTS_MAX} prompts"), "");
        }
        let Some(segments) = segments(&declared, &mut found) else { continue };
        let template =
            Template { name: name.to_owned(), version: declared.version.clone(), segments };
        for (at, golden) in declared.golden.iter().enumerate() {
            check_golden(&template, golden, &at.to_string(), &mut found);
        }
        templates.insert(name.to_owned(), template);
    }
    templates
}

fn segments(declared: &Prompt, found: &mut Findings<'_>) -> Option<Vec<Segment>> {
    if declared.segment.is_empty() || declared.segment.len() > SEGMENTS_MAX {
        let what = format!("a prompt has 1 to {SEGMENTS_MAX} segments");
        found.at(&["segment"], what, "`[[segment]]`");
        return None;
    }
    let (mut names, mut has_input, mut is_whole) = (BTreeSet::new(), false, true);
    let mut segments = Vec::new();
    for (at, segment) in declared.segment.iter().enumerate() {
        let at = at.to_string();
        let path = |key| ["segment", at.as_str(), key];
        is_whole &= keys_fit(segment, &at, found);
        let compiled = match segment.kind {
            SegmentWord::Instructions => segment.text.clone().map(Segment::Instructions),
            SegmentWord::Signals => Some(Segment::Signals(segment.show.iter().copied().collect())),
            SegmentWord::Input if has_input => {
                found.at(&path("kind"), "what the person asks stands there twice", "keep one");
                None
            }
            SegmentWord::Input => {
                has_input = true;
                Some(Segment::Input)
            }
            SegmentWord::Data => segment.name.clone().map(|name| Segment::Data {
                name,
                value: segment.value,
                is_required: segment.required,
            }),
        };
        if let Some(name) = segment.name.as_ref().filter(|_| segment.kind == SegmentWord::Data) {
            if !models::is_name(name) || name == "input" {
                let what = format!("`{name}` cannot be the name of a segment");
                found.at(&path("name"), what, "lower-case letters, digits, `-`, `_`; not `input`");
            }
            if !names.insert(name) {
                found.at(&path("name"), format!("another segment is named `{name}`"), "");
            }
        }
        is_whole &= compiled.is_some();
        segments.extend(compiled);
    }
    is_whole.then_some(segments)
}

/// Whether a segment has what its kind needs, and nothing else.
fn keys_fit(segment: &Declared, at: &str, found: &mut Findings<'_>) -> bool {
    let path = |key| ["segment", at, key];
    let given = [
        ("text", segment.text.is_some(), SegmentWord::Instructions),
        ("show", !segment.show.is_empty(), SegmentWord::Signals),
        ("name", segment.name.is_some(), SegmentWord::Data),
    ];
    let mut fits = true;
    for (key, is_given, kind) in given {
        if is_given != (kind == segment.kind) {
            let word = segment.kind.as_str();
            let (what, hint) = match is_given {
                true => (format!("`{key}` means nothing to `{word}`"), "take it away"),
                false => (format!("`{word}` needs `{key}`"), ""),
            };
            found.at(&path(if is_given { key } else { "kind" }), what, hint);
            fits = false;
        }
    }
    let is_data = segment.kind == SegmentWord::Data;
    for (key, is_given) in [("value", segment.value > 0), ("required", segment.required)] {
        if is_given && !is_data {
            let what = format!("`{key}` means nothing to `{}`", segment.kind.as_str());
            found.at(&path(key), what, "it is for `data`");
            fits = false;
        }
    }
    if segment.text.as_ref().is_some_and(|text| text.len() > TEXT_BYTES_MAX) {
        found.at(&path("text"), format!("it is longer than {TEXT_BYTES_MAX} bytes"), "");
    }
    fits
}

/// What has to be made of certain material is made.
fn check_golden(template: &Template, golden: &Golden, at: &str, found: &mut Findings<'_>) {
    let material = material(golden);
    let path = ["golden", at, "digest"];
    match prompt::assemble(template, &material, i64::from(golden.room_tokens)) {
        Ok(made) if made.digest.to_string() == golden.digest => {}
        Ok(made) => {
            let hint = format!("raise `version`, and say `digest = \"{}\"`", made.digest);
            found.at(&path, "the prompt has become another one", hint);
        }
        Err(fault) => found.at(&["golden", at], fault.to_string(), ""),
    }
}

/// The material of a golden prompt. What the gate knows are its words for themselves.
fn material(golden: &Golden) -> Material {
    let datum = |text: &String| Datum {
        text: text.clone(),
        source: None,
        label: Label::of(Author::Anyone, Confidentiality::Internal),
        value: 0,
    };
    let all =
        |(name, texts): (&String, &Vec<String>)| (name.clone(), texts.iter().map(datum).collect());
    let signals = [
        SignalWord::Confidentiality,
        SignalWord::Environment,
        SignalWord::Mode,
        SignalWord::Task,
        SignalWord::Tenant,
    ];
    Material {
        signals: signals.iter().map(|word| (*word, word.as_str().to_owned())).collect(),
        tools: Vec::new(),
        input: golden.input.clone(),
        data: golden.data.iter().map(all).collect(),
    }
}

impl SegmentWord {
    /// The word in templates.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Signals => "signals",
            Self::Data => "data",
            Self::Input => "input",
        }
    }
}
