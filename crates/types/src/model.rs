//! What is asked of a model, as one decision sees it, and what it came to.
//!
//! Found out from a request and the bundle before deciding: the texts of a prompt stay in the
//! call's params. What the bundle says of the entry that answers is looked up in the bundle that
//! rules, so that it is not here; its version is, for whoever reads the record later.

use crate::evaluated::Evaluated;
use crate::label::{Confidentiality, Label};
use crate::{CanonicalObject, Digest, Json, Object};
use std::collections::BTreeSet;

/// One of the interfaces of model providers, each an operation of its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ModelApi {
    /// OpenAI's chat completions.
    ChatCompletions,
    /// OpenAI's responses.
    Responses,
    /// OpenAI's embeddings.
    Embeddings,
    /// Anthropic's messages.
    Messages,
    /// How many tokens a request of messages has.
    CountTokens,
    /// Which models there are.
    Models,
}

/// Whose conventions an API follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// OpenAI's.
    OpenAi,
    /// Anthropic's.
    Anthropic,
}

impl ModelApi {
    /// Every one.
    pub const ALL: [Self; 6] = [
        Self::ChatCompletions,
        Self::Responses,
        Self::Embeddings,
        Self::Messages,
        Self::CountTokens,
        Self::Models,
    ];

    /// The method of its operation, which is also its path below the base of its provider.
    pub const fn method(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat/completions",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Messages => "messages",
            Self::CountTokens => "messages/count_tokens",
            Self::Models => "models",
        }
    }

    /// Reads the method.
    pub fn from_method(method: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|api| api.method() == method)
    }

    /// The API at a path, with or without `/v1` before it. A query is no part of a path.
    pub fn from_path(path: &str) -> Option<Self> {
        let path = path.strip_prefix("/v1").unwrap_or(path);
        Self::from_method(path.strip_prefix('/')?)
    }

    /// The HTTP method that it is asked with.
    pub const fn http_method(self) -> &'static str {
        if self.asks_a_model() { "POST" } else { "GET" }
    }

    /// Whose conventions it follows. Both families list models at one address: an answer in
    /// OpenAI's form is what either reads.
    pub const fn family(self) -> Family {
        match self {
            Self::ChatCompletions | Self::Responses | Self::Embeddings | Self::Models => {
                Family::OpenAi
            }
            Self::Messages | Self::CountTokens => Family::Anthropic,
        }
    }

    /// Whether its answer can be a stream.
    pub const fn can_stream(self) -> bool {
        matches!(self, Self::ChatCompletions | Self::Responses | Self::Messages)
    }

    /// Whether a request of it names a model and carries a prompt to it.
    pub const fn asks_a_model(self) -> bool {
        !matches!(self, Self::Models)
    }
}

/// What is asked of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelAsked {
    /// The name by which the client asks.
    pub asked: String,
    /// The entry of the registry that is to answer. `None`: there is none of that name.
    pub entry: Option<String>,
    /// The version of that entry, as the bundle had it when it was asked.
    pub version: Option<String>,
    /// Whether the reply is streamed.
    pub stream: bool,
    /// The function tools that are offered, by name.
    pub tools: BTreeSet<String>,
    /// The tools that the provider itself would run: `mcp`, `code_interpreter`, `web_search`.
    pub hosted_tools: BTreeSet<String>,
    /// The label of what the prompt carries, as far as the gate knows. What the session has met
    /// joins it where it is decided about.
    pub carries: Label,
    /// An estimate of the tokens of the whole prompt, tools included.
    pub input_tokens: i64,
    /// The tokens that the reply may have at most, all choices together, where the client says so.
    pub max_tokens: Option<i64>,
    /// The template that the prompt was made of. `None`: it is the client's own.
    pub prompt: Option<PromptUsed>,
    /// The headers that its provider sees beside the body, by name.
    pub headers: Vec<(String, String)>,
    /// How long the answer may take. `None`: as long as its provider usually may.
    pub deadlines: Option<Deadlines>,
    /// Why this entry, in the words of the gate.
    pub why: Vec<String>,
    /// The newest results of this entry, of the suites that it has to have passed.
    pub evaluated: Vec<Evaluated>,
    /// Whether it is asked besides another entry, which is late.
    pub is_hedge: bool,
    /// What the whole prompt is known by, where an answer to it may be kept for when no model
    /// answers.
    pub known_by: Option<Digest>,
}

/// How long an answer may take, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// Until the first of it comes.
    pub first_token_ms: u32,
    /// Between two pieces.
    pub gap_ms: u32,
    /// For the whole.
    pub total_ms: u32,
}

impl Deadlines {
    fn to_json(self) -> Json {
        Object::new()
            .with("first_token_ms", i64::from(self.first_token_ms))
            .with("gap_ms", i64::from(self.gap_ms))
            .with("total_ms", i64::from(self.total_ms))
            .into()
    }

    fn from_json(json: &Json) -> Option<Self> {
        let ms = |name: &str| u32::try_from(json.get(name)?.as_i64()?).ok();
        Some(Self {
            first_token_ms: ms("first_token_ms")?,
            gap_ms: ms("gap_ms")?,
            total_ms: ms("total_ms")?,
        })
    }
}

/// A template of the bundle that a prompt was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromptUsed {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The digest of the prompt that was made.
    pub digest: Digest,
}

impl ModelAsked {
    /// A request for a model of that name, of which nothing else is known.
    pub fn of(asked: &str) -> Self {
        Self {
            asked: asked.to_owned(),
            entry: None,
            version: None,
            stream: false,
            tools: BTreeSet::new(),
            hosted_tools: BTreeSet::new(),
            carries: Label::default(),
            input_tokens: 0,
            max_tokens: None,
            prompt: None,
            headers: Vec::new(),
            deadlines: None,
            why: Vec::new(),
            evaluated: Vec::new(),
            is_hedge: false,
            known_by: None,
        }
    }

    /// Whether nothing is known of what it carries but how confidential it is.
    fn carries_nothing_else(&self) -> bool {
        let confidentiality = self.carries.confidentiality;
        self.carries == Label { confidentiality, ..Label::default() }
    }

    /// As recorded. What says nothing is left out.
    pub fn to_json(&self) -> Json {
        let texts = |all: &BTreeSet<String>| -> Option<Vec<Json>> {
            (!all.is_empty()).then(|| all.iter().map(|text| text.as_str().into()).collect())
        };
        let headers =
            self.headers.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
        let headers = (!self.headers.is_empty()).then(|| headers.collect::<Object>());
        let why: Vec<Json> = self.why.iter().map(|text| text.as_str().into()).collect();
        let evaluated: Vec<Json> = self.evaluated.iter().map(Evaluated::to_json).collect();
        Object::new()
            .with("asked", self.asked.as_str())
            .with_some("carries", (!self.carries_nothing_else()).then(|| self.carries.to_json()))
            .with("confidentiality", self.carries.confidentiality.as_str())
            .with_some("deadlines", self.deadlines.map(Deadlines::to_json))
            .with_some("entry", self.entry.as_deref())
            .with_some("evaluated", (!evaluated.is_empty()).then_some(evaluated))
            .with_some("headers", headers)
            .with_some("hedge", self.is_hedge.then_some(true))
            .with_some("hosted_tools", texts(&self.hosted_tools))
            .with("input_tokens", self.input_tokens)
            .with_some("known_by", self.known_by.map(|digest| digest.to_string()))
            .with_some("max_tokens", self.max_tokens)
            .with_some("prompt", self.prompt.as_ref().map(PromptUsed::to_json))
            .with("stream", self.stream)
            .with_some("tools", texts(&self.tools))
            .with_some("version", self.version.as_deref())
            .with_some("why", (!why.is_empty()).then_some(why))
            .into()
    }

    /// The canonical members of [`Self::to_json`], into an object that is open.
    pub(crate) fn write(&self, out: &mut CanonicalObject) {
        let texts = |out: &mut CanonicalObject, name: &str, all: &BTreeSet<String>| {
            if !all.is_empty() {
                out.texts(name, all.iter().map(String::as_str));
            }
        };
        out.text("asked", &self.asked);
        if !self.carries_nothing_else() {
            out.open("carries");
            self.carries.write(out);
            out.close();
        }
        out.text("confidentiality", self.carries.confidentiality.as_str());
        if let Some(deadlines) = self.deadlines {
            out.json("deadlines", &deadlines.to_json());
        }
        out.some_text("entry", self.entry.as_deref());
        if !self.evaluated.is_empty() {
            let evaluated: Vec<Json> = self.evaluated.iter().map(Evaluated::to_json).collect();
            out.json("evaluated", &evaluated.into());
        }
        if !self.headers.is_empty() {
            let headers = self.headers.iter();
            let headers = headers.map(|(name, value)| (name.clone(), value.as_str().into()));
            out.object("headers", &headers.collect());
        }
        out.flag("hedge", self.is_hedge);
        texts(out, "hosted_tools", &self.hosted_tools);
        out.integer("input_tokens", self.input_tokens);
        if let Some(digest) = &self.known_by {
            out.digest("known_by", digest);
        }
        if let Some(max) = self.max_tokens {
            out.integer("max_tokens", max);
        }
        if let Some(prompt) = &self.prompt {
            out.json("prompt", &prompt.to_json());
        }
        out.truth("stream", self.stream);
        texts(out, "tools", &self.tools);
        out.some_text("version", self.version.as_deref());
        if !self.why.is_empty() {
            out.texts("why", self.why.iter().map(String::as_str));
        }
    }

    /// As read back; `None` if it is not what is written, which denies (I3).
    pub fn from_json(json: &Json) -> Option<Self> {
        let text = |name: &str| match json.get(name) {
            Some(text) => text.as_str().map(|text| Some(text.to_owned())),
            None => Some(None),
        };
        let texts = |name: &str| -> Option<Vec<String>> {
            let Some(all) = json.get(name) else { return Some(Vec::new()) };
            all.as_array()?.iter().map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let confidentiality = Confidentiality::from_word(json.get("confidentiality")?.as_str()?)?;
        Some(Self {
            asked: text("asked")??,
            entry: text("entry")?,
            version: text("version")?,
            stream: json.get("stream")?.as_bool()?,
            tools: texts("tools")?.into_iter().collect(),
            hosted_tools: texts("hosted_tools")?.into_iter().collect(),
            carries: match json.get("carries") {
                Some(label) => {
                    let label = Label::from_json(label)?;
                    (label.confidentiality == confidentiality).then_some(label)?
                }
                None => Label { confidentiality, ..Label::default() },
            },
            input_tokens: json.get("input_tokens")?.as_i64()?,
            max_tokens: match json.get("max_tokens") {
                Some(max) => Some(max.as_i64()?),
                None => None,
            },
            prompt: match json.get("prompt") {
                Some(prompt) => Some(PromptUsed::from_json(prompt)?),
                None => None,
            },
            headers: match json.get("headers") {
                Some(headers) => {
                    let headers = headers.as_object()?.iter();
                    let text = |value: &Json| value.as_str().map(str::to_owned);
                    headers
                        .map(|(name, value)| Some((name.to_owned(), text(value)?)))
                        .collect::<Option<_>>()?
                }
                None => Vec::new(),
            },
            deadlines: match json.get("deadlines") {
                Some(deadlines) => Some(Deadlines::from_json(deadlines)?),
                None => None,
            },
            why: texts("why")?,
            evaluated: match json.get("evaluated") {
                Some(all) => {
                    all.as_array()?.iter().map(Evaluated::from_json).collect::<Option<_>>()?
                }
                None => Vec::new(),
            },
            is_hedge: match json.get("hedge") {
                Some(is_hedge) => is_hedge.as_bool()?,
                None => false,
            },
            known_by: match json.get("known_by") {
                Some(digest) => Some(digest.as_str()?.parse().ok()?),
                None => None,
            },
        })
    }
}

impl PromptUsed {
    fn to_json(&self) -> Json {
        Object::new()
            .with("digest", self.digest.to_string())
            .with("name", self.name.as_str())
            .with("version", self.version.as_str())
            .into()
    }

    fn from_json(json: &Json) -> Option<Self> {
        let text = |name: &str| json.get(name)?.as_str();
        Some(Self {
            name: text("name")?.to_owned(),
            version: text("version")?.to_owned(),
            digest: text("digest")?.parse().ok()?,
        })
    }
}

/// The tokens that a reply came to, as its provider counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Of the prompt, without those that were read from or written to a cache.
    pub input: i64,
    /// Of the prompt, read from a cache.
    pub cached: i64,
    /// Of the prompt, written to a cache.
    pub cache_written: i64,
    /// Of the reply, thinking included.
    pub output: i64,
}

impl Usage {
    /// The `usage` of a whole reply, of any of the interfaces. `None`: it says none, or one that
    /// makes no sense.
    pub fn of(reply: &Json) -> Option<Self> {
        Self::read(reply.get("usage")?)
    }

    /// The value of `usage`. OpenAI counts what came from a cache within the input, Anthropic
    /// beside it.
    pub fn read(usage: &Json) -> Option<Self> {
        let count = |path: &[&str]| match usage.at(path) {
            None | Some(Json::Null) => Some(0),
            Some(count) => count.as_i64().filter(|count| (0..=TOKENS_MAX).contains(count)),
        };
        let is_chat = usage.get("prompt_tokens").is_some();
        if !is_chat && usage.get("input_tokens").is_none() {
            return None;
        }
        let (input, output, details) = match is_chat {
            true => ("prompt_tokens", "completion_tokens", "prompt_tokens_details"),
            false => ("input_tokens", "output_tokens", "input_tokens_details"),
        };
        let within = count(&[details, "cached_tokens"])?;
        let cached = within + count(&["cache_read_input_tokens"])?;
        Some(Self {
            input: (count(&[input])? - within).max(0),
            cached,
            cache_written: count(&["cache_creation_input_tokens"])?,
            output: count(&[output])?,
        })
    }

    /// All of them.
    pub const fn total(&self) -> i64 {
        let prompt = self.input.saturating_add(self.cached).saturating_add(self.cache_written);
        prompt.saturating_add(self.output)
    }

    /// Those of both.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            input: self.input.saturating_add(other.input),
            cached: self.cached.saturating_add(other.cached),
            cache_written: self.cache_written.saturating_add(other.cache_written),
            output: self.output.saturating_add(other.output),
        }
    }
}

/// Tokens of one request or reply: more is no number of tokens, and sums stay within 64 bits.
pub const TOKENS_MAX: i64 = 1 << 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::JsonLimits;
    use crate::flow::Author;

    fn json(text: &str) -> Json {
        Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap()
    }

    #[test]
    fn methods_and_addresses_are_read_back() {
        for api in ModelApi::ALL {
            assert_eq!(ModelApi::from_method(api.method()), Some(api));
            assert_eq!(ModelApi::from_path(&format!("/v1/{}", api.method())), Some(api));
            assert!(crate::methods::find(api.method()).is_none(), "no method of MCP");
        }
        assert_eq!(ModelApi::from_method("chat/Completions"), None);
        assert_eq!(ModelApi::from_path("/messages"), Some(ModelApi::Messages));
        assert_eq!(ModelApi::from_path("/v1/completions"), None);
        assert_eq!(ModelApi::from_path("v1/messages"), None);
    }

    #[test]
    fn what_is_asked_reads_back() {
        let little = ModelAsked::of("gpt");
        let much = ModelAsked {
            asked: "gpt".to_owned(),
            entry: Some("large".to_owned()),
            version: Some("2026-10-01".to_owned()),
            stream: true,
            tools: ["a".to_owned(), "b".to_owned()].into(),
            hosted_tools: ["mcp".to_owned()].into(),
            carries: Label::of(Author::Anyone, Confidentiality::Restricted),
            input_tokens: 12,
            max_tokens: Some(100),
            prompt: Some(PromptUsed {
                name: "triage".to_owned(),
                version: "3".to_owned(),
                digest: Digest::of(b"x"),
            }),
            headers: vec![("anthropic-version".to_owned(), "2026-10-21".to_owned())],
            deadlines: Some(Deadlines { first_token_ms: 1, gap_ms: 2, total_ms: 3 }),
            why: vec!["asked for".to_owned()],
            evaluated: vec![Evaluated {
                suite: "triage".to_owned(),
                digest: Digest::of(b"suite"),
                of: Digest::of(b"entry"),
                is_passed: true,
                percent: 9_950,
                at: crate::Micros(7),
                call: crate::CallId::new("0190e6b1c0de0000000000000000cafe").unwrap(),
            }],
            is_hedge: true,
            known_by: Some(Digest::of(b"prompt")),
        };
        for asked in [little, much] {
            let mut out = CanonicalObject::new(0);
            asked.write(&mut out);
            assert_eq!(out.finish(), asked.to_json().to_canonical());
            assert_eq!(ModelAsked::from_json(&asked.to_json()), Some(asked));
        }
        for broken in [
            r#"{"asked":1,"confidentiality":"public","input_tokens":0,"stream":false}"#,
            r#"{"asked":"a","confidentiality":"secret","input_tokens":0,"stream":false}"#,
            r#"{"asked":"a","confidentiality":"public","stream":false}"#,
            r#"{"asked":"a","confidentiality":"public","input_tokens":0,"stream":0}"#,
            r#"{"asked":"a","confidentiality":"public","input_tokens":0,"stream":true,"tools":[1]}"#,
        ] {
            assert_eq!(ModelAsked::from_json(&json(broken)), None, "{broken}");
        }
    }

    #[test]
    fn the_usage_of_every_interface_is_read() {
        let usage = |input, cached, cache_written, output| {
            Some(Usage { input, cached, cache_written, output })
        };
        for (text, expected) in [
            (r#"{"prompt_tokens":10,"completion_tokens":5}"#, usage(10, 0, 0, 5)),
            (
                r#"{"prompt_tokens":10,"completion_tokens":5,"prompt_tokens_details":{"cached_tokens":4}}"#,
                usage(6, 4, 0, 5),
            ),
            (
                r#"{"input_tokens":10,"output_tokens":5,"input_tokens_details":{"cached_tokens":4}}"#,
                usage(6, 4, 0, 5),
            ),
            (
                r#"{"input_tokens":10,"output_tokens":5,"cache_read_input_tokens":4,"cache_creation_input_tokens":null}"#,
                usage(10, 4, 0, 5),
            ),
            (r#"{"prompt_tokens":3}"#, usage(3, 0, 0, 0)),
            (r#"{"prompt_tokens":-1}"#, None),
            (r#"{"prompt_tokens":4294967297}"#, None),
            (r#"{"input_tokens":"1"}"#, None),
            ("{}", None),
            ("null", None),
        ] {
            assert_eq!(Usage::read(&json(text)), expected, "{text}");
        }
        assert_eq!(usage(1, 2, 3, 4).unwrap().total(), 10);
        assert_eq!(usage(1, 2, 3, 4).unwrap().plus(usage(1, 1, 1, 1).unwrap()).total(), 14);
    }
}
