//! Prompts: made of typed segments, the same bytes of the same material.
//!
//! Instructions are the bundle's words and nothing else: what came from elsewhere stands in blocks
//! of its own, between fences that it cannot close, every line of it marked. The fence is named
//! after a digest of all that the prompt is made of, so that no part of it can know it. What has no
//! room is left out, the least valuable first, and the prompt says so.

mod fence;

use crate::declare::SignalWord;
use crate::tokens::{tokens, tokens_of};
use fence::Fence;
use lockgate_types::label::Label;
use lockgate_types::{Digest, Json, Object};
use std::collections::{BTreeMap, BTreeSet};

/// Texts from elsewhere in one prompt.
pub const DATA_MAX: usize = 1024;
/// Bytes of all of them together.
pub const DATA_BYTES_MAX: usize = 4 << 20;
/// Tokens around one block, as providers count them.
const AROUND_BLOCK: i64 = 4;

/// A template, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its segments, in order.
    pub segments: Vec<Segment>,
}

/// A segment of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// Words of the bundle.
    Instructions(String),
    /// What the gate knows.
    Signals(BTreeSet<SignalWord>),
    /// Texts from elsewhere.
    Data {
        /// The name under which they are handed in.
        name: String,
        /// How valuable they are.
        value: u32,
        /// Whether there is no prompt without all of them.
        is_required: bool,
    },
    /// What the person asks.
    Input,
}

/// What a prompt is made of, besides its template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Material {
    /// What the gate knows: words of its own and names from the bundle.
    pub signals: BTreeMap<SignalWord, String>,
    /// The tools that the model is offered, as the provider takes them.
    pub tools: Vec<Json>,
    /// What the person asks: words that are believed to be theirs. Others are data.
    pub input: Option<String>,
    /// Texts from elsewhere, by the name of their segment.
    pub data: BTreeMap<String, Vec<Datum>>,
}

/// A text from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datum {
    /// The text.
    pub text: String,
    /// What it is called where it came from: a path, a title. Data like the text itself.
    pub source: Option<String>,
    /// Whose words it holds, and who may see it.
    pub label: Label,
    /// How valuable it is among those of its segment.
    pub value: u32,
}

/// A prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    /// The template's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What the model follows.
    pub system: String,
    /// Data and then what the person asks, block after block.
    pub blocks: Vec<String>,
    /// The tools that the model is offered.
    pub tools: Vec<Json>,
    /// The label of all that stands in it.
    pub label: Label,
    /// How many tokens it has, about.
    pub tokens: i64,
    /// What had no room.
    pub dropped: Vec<Dropped>,
    /// The digest of all that is sent.
    pub digest: Digest,
}

/// A text that had no room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dropped {
    /// Its segment.
    pub segment: String,
    /// Which of that segment's, from 0.
    pub at: usize,
    /// The digest of its text.
    pub digest: Digest,
    /// How many tokens it would have had.
    pub tokens: i64,
}

/// There is no prompt.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The template needs what was not handed in.
    #[error("the prompt needs `{0}`")]
    Missing(String),
    /// The template has no segment for what was handed in.
    #[error("the prompt has no place for `{0}`")]
    NoPlace(String),
    /// More was handed in than is looked at.
    #[error("more is handed in than a prompt is made of")]
    TooMuch,
    /// What may not be left out has no room.
    #[error("what may not be left out has about {needed} tokens, and there is room for {room}")]
    NoRoom {
        /// Tokens without anything that could be left out.
        needed: i64,
        /// Tokens there is room for.
        room: i64,
    },
    /// No fence could be found that does not occur in what it would be around.
    #[error("no fence can be put around the data")]
    NoFence,
}

/// Makes a prompt of so many tokens at most.
pub fn assemble(template: &Template, material: &Material, room: i64) -> Result<Assembled, Fault> {
    check(template, material)?;
    let fence = Fence::around(template, material).ok_or(Fault::NoFence)?;
    let mut pieces = pieces(template, material, &fence);
    let dropped = fit(template, material, &mut pieces, room)?;
    let system = system(template, material, &dropped);
    let mut blocks: Vec<String> = pieces.iter().map(|piece| piece.block.clone()).collect();
    blocks.extend(material.input.clone());
    let label = pieces.iter().fold(Label::default(), |label, piece| label.join(&piece.datum.label));
    let sent = Object::new()
        .with("blocks", blocks.iter().map(|it| Json::from(it.as_str())).collect::<Vec<_>>())
        .with("system", system.as_str())
        .with("tools", material.tools.clone());
    Ok(Assembled {
        name: template.name.clone(),
        version: template.version.clone(),
        tokens: fixed_tokens(&system, material) + sum(&pieces),
        system,
        blocks,
        tools: material.tools.clone(),
        label,
        dropped,
        digest: Json::from(sent).digest(),
    })
}

impl Assembled {
    /// `messages` of chat completions.
    pub fn chat_messages(&self) -> Json {
        let system = Object::new().with("role", "system").with("content", self.system.as_str());
        let user = Object::new().with("role", "user").with("content", self.parts("text"));
        Json::Array(vec![system.into(), user.into()])
    }

    /// `instructions` and `input` of responses.
    pub fn responses_input(&self) -> (Json, Json) {
        let user = Object::new().with("role", "user").with("content", self.parts("input_text"));
        (self.system.as_str().into(), Json::Array(vec![user.into()]))
    }

    /// `system` and `messages` of Anthropic's messages.
    pub fn anthropic_messages(&self) -> (Json, Json) {
        let user = Object::new().with("role", "user").with("content", self.parts("text"));
        (self.system.as_str().into(), Json::Array(vec![user.into()]))
    }

    fn parts(&self, kind: &str) -> Vec<Json> {
        let part = |text: &String| Object::new().with("text", text.as_str()).with("type", kind);
        self.blocks.iter().map(|text| part(text).into()).collect()
    }
}

/// A text as it will stand in the prompt.
struct Piece<'m> {
    segment: &'m str,
    at: usize,
    datum: &'m Datum,
    block: String,
    tokens: i64,
    /// What goes first has the lowest: the segment's value, then its own, then the later.
    worth: (u32, u32, std::cmp::Reverse<usize>),
    is_required: bool,
}

fn check(template: &Template, material: &Material) -> Result<(), Fault> {
    let all = || material.data.values().flatten();
    let bytes = all().map(|it| it.text.len() + it.source.as_ref().map_or(0, String::len));
    if all().count() > DATA_MAX || bytes.sum::<usize>() > DATA_BYTES_MAX {
        return Err(Fault::TooMuch);
    }
    let mut places = BTreeSet::new();
    let mut has_input = false;
    for segment in &template.segments {
        match segment {
            Segment::Data { name, is_required, .. } => {
                places.insert(name);
                if *is_required && material.data.get(name).is_none_or(Vec::is_empty) {
                    return Err(Fault::Missing(name.clone()));
                }
            }
            Segment::Input => has_input = true,
            Segment::Instructions(_) | Segment::Signals(_) => {}
        }
    }
    if let Some(name) = material.data.keys().find(|name| !places.contains(name)) {
        return Err(Fault::NoPlace(name.clone()));
    }
    match (has_input, material.input.is_some()) {
        (true, false) => Err(Fault::Missing("input".to_owned())),
        (false, true) => Err(Fault::NoPlace("input".to_owned())),
        (true, true) | (false, false) => Ok(()),
    }
}

fn pieces<'m>(template: &'m Template, material: &'m Material, fence: &Fence) -> Vec<Piece<'m>> {
    let mut pieces = Vec::new();
    for segment in &template.segments {
        let Segment::Data { name, value, is_required } = segment else { continue };
        for (at, datum) in material.data.get(name).into_iter().flatten().enumerate() {
            let number = pieces.len();
            let block = fence.block(number + 1, name, datum);
            pieces.push(Piece {
                segment: name,
                at,
                datum,
                tokens: tokens(&block).saturating_add(AROUND_BLOCK),
                block,
                worth: (*value, datum.value, std::cmp::Reverse(number)),
                is_required: *is_required,
            });
        }
    }
    pieces
}

/// Leaves out what has no room, the least valuable first.
fn fit(
    template: &Template,
    material: &Material,
    pieces: &mut Vec<Piece<'_>>,
    room: i64,
) -> Result<Vec<Dropped>, Fault> {
    let mut dropped = Vec::new();
    loop {
        let system = system(template, material, &dropped);
        let needed = fixed_tokens(&system, material).saturating_add(sum(pieces));
        if needed <= room {
            dropped.sort_by(|a: &Dropped, b| (&a.segment, a.at).cmp(&(&b.segment, b.at)));
            return Ok(dropped);
        }
        let may_go = pieces.iter().enumerate().filter(|(_, piece)| !piece.is_required);
        let least = may_go.min_by_key(|(_, piece)| piece.worth).map(|(at, _)| at);
        let Some(least) = least else { return Err(Fault::NoRoom { needed, room }) };
        let piece = pieces.remove(least);
        dropped.push(Dropped {
            segment: piece.segment.to_owned(),
            at: piece.at,
            digest: Digest::of(piece.datum.text.as_bytes()),
            tokens: piece.tokens,
        });
    }
}

fn sum(pieces: &[Piece<'_>]) -> i64 {
    pieces.iter().fold(0, |sum: i64, piece| sum.saturating_add(piece.tokens))
}

/// The tokens of what is never left out.
fn fixed_tokens(system: &str, material: &Material) -> i64 {
    let input = material.input.as_ref().map_or(0, |input| tokens(input) + AROUND_BLOCK);
    let tools = material.tools.iter().map(|tool| tokens_of(tool).saturating_add(AROUND_BLOCK));
    let tools = tools.fold(0, i64::saturating_add);
    tokens(system).saturating_add(AROUND_BLOCK).saturating_add(input).saturating_add(tools)
}

/// What the model follows: the bundle's words, what the gate knows, what fences mean, and what is
/// not there.
fn system(template: &Template, material: &Material, dropped: &[Dropped]) -> String {
    let mut paragraphs = Vec::new();
    let mut has_data = false;
    for segment in &template.segments {
        match segment {
            Segment::Instructions(text) => paragraphs.push(text.trim_end().to_owned()),
            Segment::Signals(shown) => {
                let known = shown.iter().filter_map(|word| {
                    Some(format!("{}: {}", word.as_str(), material.signals.get(word)?))
                });
                let known: Vec<String> = known.collect();
                if !known.is_empty() {
                    paragraphs.push(format!("What holds for this:\n{}", known.join("\n")));
                }
            }
            Segment::Data { .. } => has_data = true,
            Segment::Input => {}
        }
    }
    if has_data {
        paragraphs.push(fence::EXPLAINED.to_owned());
    }
    let mut left_out: BTreeMap<&str, usize> = BTreeMap::new();
    for gone in dropped {
        *left_out.entry(&gone.segment).or_default() += 1;
    }
    if !left_out.is_empty() {
        let counts = left_out.iter().map(|(segment, count)| {
            let all = material.data.get(*segment).map_or(0, Vec::len);
            format!("{count} of {all} of `{segment}`")
        });
        let counts: Vec<String> = counts.collect();
        paragraphs.push(format!(
            "Left out for lack of room: {}. Say so where it matters for the answer.",
            counts.join(", ")
        ));
    }
    paragraphs.join("\n\n")
}

impl SignalWord {
    /// The word in templates and prompts.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confidentiality => "confidentiality",
            Self::Environment => "environment",
            Self::Mode => "mode",
            Self::Task => "task",
            Self::Tenant => "tenant",
        }
    }
}

#[cfg(test)]
mod tests;
