//! An answer that is whole: what it says and proposes, and how it is changed in its place.
//!
//! What comes of it is what the same answer would have come to as a stream: the same text is
//! masked, and the reason of a refused call stands where it would have stood.

mod chat;
mod messages;
mod responses;

use super::Path;
use super::scan::{Channel, Proposed, Scan, Verdict, odd, too_much};
use crate::refusal::Refusal;
use lockgate_types::model::ModelApi;
use lockgate_types::{Code, Json, Object};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What an answer says.
#[derive(Clone, Debug, Default)]
pub struct Reply<'a> {
    /// By what the provider refers to it.
    pub id: Option<&'a str>,
    /// The model that the provider says it is from.
    pub model: Option<&'a str>,
    /// Its texts.
    pub texts: Vec<Spoken<'a>>,
    /// The calls that it proposes, those of the provider's own tools among them.
    pub calls: Vec<Proposed>,
    /// Why it ended: for each choice.
    pub finishes: Vec<&'a str>,
    /// What was used.
    pub usage: Usage,
}

/// A text of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spoken<'a> {
    /// What it is.
    pub channel: Channel,
    /// Where it is.
    pub path: Path,
    /// The text.
    pub text: Cow<'a, str>,
}

/// Tokens, as the provider counts them. What it does not say is absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the request, those from a cache and those written to one included.
    pub input: Option<u64>,
    /// Of the answer, those of thinking included.
    pub output: Option<u64>,
    /// Of the request's those from a cache.
    pub cached: Option<u64>,
    /// Of the answer's those of thinking.
    pub reasoning: Option<u64>,
}

impl Usage {
    /// Takes what is said, over what was said before: providers count up.
    pub(super) fn read(&mut self, usage: Option<&Json>) {
        let Some(usage) = usage.and_then(Json::as_object) else { return };
        let count = |path: &[&str]| -> Option<u64> {
            let (first, rest) = path.split_first()?;
            u64::try_from(usage.get(first)?.at(rest)?.as_i64()?).ok()
        };
        let first = |paths: &[&[&str]]| paths.iter().find_map(|path| count(path));
        // Anthropic counts tokens of a cache beside the others.
        let beside = ["cache_read_input_tokens", "cache_creation_input_tokens"];
        let beside: u64 = beside.iter().filter_map(|name| count(&[name])).sum();
        let input = first(&[&["input_tokens"], &["prompt_tokens"]]);
        self.input = input.map(|it| it.saturating_add(beside)).or(self.input);
        self.output = first(&[&["output_tokens"], &["completion_tokens"]]).or(self.output);
        let cached: [&[&str]; 3] = [
            &["cache_read_input_tokens"],
            &["input_tokens_details", "cached_tokens"],
            &["prompt_tokens_details", "cached_tokens"],
        ];
        self.cached = first(&cached).or(self.cached);
        let reasoning: [&[&str]; 2] = [
            &["output_tokens_details", "reasoning_tokens"],
            &["completion_tokens_details", "reasoning_tokens"],
        ];
        self.reasoning = first(&reasoning).or(self.reasoning);
    }
}

impl<'a> Reply<'a> {
    /// Reads a whole answer. An error of the provider's says nothing and proposes nothing.
    pub fn read(api: ModelApi, body: &'a Json) -> Result<Self, Box<Refusal>> {
        let Some(object) = body.as_object() else {
            return Err(odd("the answer is not an object"));
        };
        let text = |name: &str| object.get(name).and_then(Json::as_str);
        let mut reply = Self { id: text("id"), model: text("model"), ..Self::default() };
        reply.usage.read(object.get("usage"));
        // `count_tokens` answers with the count alone.
        if api == ModelApi::CountTokens {
            reply.usage.read(Some(body));
        }
        if is_error(object) {
            return Ok(reply);
        }
        match api {
            ModelApi::ChatCompletions => chat::read(object, &mut reply)?,
            ModelApi::Messages => messages::read(object, &mut reply)?,
            ModelApi::Responses => responses::read(object, &mut reply)?,
            ModelApi::CountTokens | ModelApi::Embeddings | ModelApi::Models => {}
        }
        Ok(reply)
    }

    fn propose(&mut self, call: Proposed) -> Result<(), Box<Refusal>> {
        if self.calls.len() >= super::gate::CALLS_MAX {
            return Err(too_much("the answer has more calls than are looked at"));
        }
        let key = u32::try_from(self.calls.len()).unwrap_or(u32::MAX);
        self.calls.push(Proposed { key, ..call });
        Ok(())
    }

    fn say(&mut self, channel: Channel, path: Path, text: &'a str) {
        self.texts.push(Spoken { channel, path, text: text.into() });
    }
}

/// Masks the texts of a whole answer and takes refused calls out. A call without a verdict is
/// refused: nobody has allowed it.
pub fn enforce(
    api: ModelApi,
    body: &mut Json,
    scan: &mut dyn Scan,
    verdicts: &BTreeMap<u32, Verdict>,
) -> Result<(), Box<Refusal>> {
    let Some(object) = body.as_object_mut() else {
        return Err(odd("the answer is not an object"));
    };
    if is_error(object) {
        return Ok(());
    }
    let mut judge = Judge { verdicts, next: 0 };
    match api {
        ModelApi::ChatCompletions => chat::enforce(object, scan, &mut judge),
        ModelApi::Messages => messages::enforce(object, scan, &mut judge),
        ModelApi::Responses => responses::enforce(object, scan, &mut judge),
        ModelApi::CountTokens | ModelApi::Embeddings | ModelApi::Models => Ok(()),
    }
}

/// Counts calls in the order in which they are read.
struct Judge<'a> {
    verdicts: &'a BTreeMap<u32, Verdict>,
    next: u32,
}

impl Judge<'_> {
    /// The reason, if the next call is refused.
    fn refused(&mut self) -> Option<String> {
        let verdict = self.verdicts.get(&self.next);
        self.next = self.next.saturating_add(1);
        match verdict {
            Some(Verdict::Release) => None,
            Some(Verdict::Refuse(refusal)) => Some(refusal.to_text()),
            None => Some(Refusal::of(Code::InvariantBroken).to_text()),
        }
    }
}

/// Whether an answer is the provider's error.
fn is_error(object: &Object) -> bool {
    let is_named = object.get("error").is_some_and(|it| *it != Json::Null);
    // A response that failed has an error, and may have items before it.
    is_named && !object.contains("output") && !object.contains("choices")
}
