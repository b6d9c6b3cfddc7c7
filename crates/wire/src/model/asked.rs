//! What a request says, read without changing it.
//!
//! Every text that reaches a model is a segment with its place, with the role that the body claims
//! for it, and with what it is. A role is only a claim; what a tool gave back is a result whatever
//! role an API carries it in. What is in a member that nobody here knows is a segment, too, so that
//! there is no way around whoever looks for secrets.

mod chat;
mod messages;
mod responses;
mod tools;

use super::path::Path;
use super::shape::{Malformed, Shape, each_string};
use lockgate_types::model::ModelApi;
use lockgate_types::{Json, Object};
use std::borrow::Cow;
use std::collections::BTreeMap;

pub use tools::{Hosted, Offered};

/// A request to a model, as its body says it.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// The API.
    pub api: ModelApi,
    /// The model that is asked for, if one is.
    pub model: Option<&'a str>,
    /// Whether the answer is wanted as a stream.
    pub is_stream: bool,
    /// How many answers are wanted.
    pub answers: u64,
    /// The bound of tokens of one answer.
    pub tokens_max: Option<u64>,
    /// The texts, in the order in which the model reads them as far as the body tells.
    pub segments: Vec<Segment<'a>>,
    /// The tools that the model may use.
    pub tools: Vec<Offered<'a>>,
    /// What the provider remembers and goes on from: it is not in the body.
    pub earlier: Vec<Earlier<'a>>,
    /// Answers to a provider that asked whether its own tool may be called.
    pub approvals: Vec<Approval<'a>>,
}

/// A text that reaches the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// Where it is: a string, or an object or array whose compact JSON the text is.
    pub path: Path,
    /// Who is said to say it.
    pub role: Role,
    /// What it is.
    pub kind: Kind<'a>,
    /// The text. Empty if it cannot be read here.
    pub text: Cow<'a, str>,
}

/// Who is said to say something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Whoever runs the application.
    System,
    /// Whoever runs the application, in OpenAI's later words.
    Developer,
    /// The person.
    User,
    /// The model.
    Assistant,
    /// A tool.
    Tool,
    /// Nobody, or somebody of whom the API does not know.
    Other,
}

/// What a segment is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind<'a> {
    /// What the model is told to do by whoever runs the application.
    Instruction,
    /// Words of a person, if the role is believed.
    Words,
    /// Words of the model.
    Answer,
    /// What the model thought.
    Reasoning,
    /// A call that the model proposed: the text is its arguments.
    Call {
        /// By what its result refers to it.
        id: Option<&'a str>,
        /// The tool.
        name: &'a str,
    },
    /// What a tool gave back.
    Result {
        /// The call.
        call: Option<&'a str>,
        /// The tool, if an earlier call of the transcript says so. It is the client's claim.
        name: Option<&'a str>,
    },
    /// A document that was attached: content, nobody's words.
    Document,
    /// An address, or the name of a file at the provider, that the provider gets by itself.
    Reference,
    /// What cannot be read here: an image, a sound, tokens, something encrypted.
    Opaque,
    /// A text in a member that is not known here.
    Other,
}

/// What the provider remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier<'a> {
    /// `previous_response_id`
    Response(&'a str),
    /// `conversation`
    Conversation(&'a str),
    /// `prompt`: a template that is kept at the provider.
    Prompt(&'a str),
    /// `item_reference`: one item of an earlier answer.
    Item(&'a str),
}

/// An answer to a provider that asked whether its own tool may be called: the client's claim that
/// somebody agreed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approval<'a> {
    /// Where it is.
    pub path: Path,
    /// What was asked.
    pub request: &'a str,
    /// Whether the answer is yes.
    pub is_approved: bool,
}

impl<'a> Asked<'a> {
    /// Reads the body of a request.
    pub fn read(api: ModelApi, body: &'a Json) -> Result<Self, Malformed> {
        if api == ModelApi::Models {
            return Ok(Reader::new(api).asked);
        }
        Self::of(api, Shape::of(body, Path::default())?.object)
    }

    /// The same, of a body that is known to be an object.
    pub fn of(api: ModelApi, body: &'a Object) -> Result<Self, Malformed> {
        let mut reader = Reader::new(api);
        let body = Shape { object: body, path: Path::default() };
        match api {
            ModelApi::ChatCompletions => chat::read(&body.unambiguous(chat::KNOWN)?, &mut reader)?,
            ModelApi::Responses => {
                responses::read(&body.unambiguous(responses::KNOWN)?, &mut reader)?
            }
            ModelApi::Messages | ModelApi::CountTokens => {
                messages::read(&body.unambiguous(messages::KNOWN)?, &mut reader)?;
            }
            ModelApi::Embeddings => embeddings(&body.unambiguous(EMBEDDINGS)?, &mut reader)?,
            ModelApi::Models => {}
        }
        Ok(reader.asked)
    }

    /// The bound of tokens of all answers together.
    pub fn output_tokens_max(&self) -> Option<u64> {
        Some(self.tokens_max?.saturating_mul(self.answers))
    }
}

/// What an embeddings request is read for.
const EMBEDDINGS: &[&str] = &["model", "input"];

fn embeddings<'a>(body: &Shape<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
    reader.asked.model = body.text("model")?;
    let path = body.path.name("input");
    match body.get("input") {
        Some(Json::Array(items)) => {
            let is_tokens = |it: &Json| matches!(it, Json::Number(_));
            if items.first().is_some_and(is_tokens) {
                reader.opaque(path, Role::User);
            } else {
                for (at, item) in items.iter().enumerate() {
                    reader.content(item, path.index(at), Role::User, Kind::Words)?;
                }
            }
        }
        Some(input) => reader.content(input, path, Role::User, Kind::Words)?,
        None => {}
    }
    reader.rest(body, EMBEDDINGS);
    Ok(())
}

/// Collects what is found.
struct Reader<'a> {
    asked: Asked<'a>,
    /// The tools of the calls so far, by id.
    names: BTreeMap<&'a str, &'a str>,
}

impl<'a> Reader<'a> {
    fn new(api: ModelApi) -> Self {
        let asked = Asked {
            api,
            model: None,
            is_stream: false,
            answers: 1,
            tokens_max: None,
            segments: Vec::new(),
            tools: Vec::new(),
            earlier: Vec::new(),
            approvals: Vec::new(),
        };
        Self { asked, names: BTreeMap::new() }
    }

    fn push(&mut self, path: Path, role: Role, kind: Kind<'a>, text: impl Into<Cow<'a, str>>) {
        let text = text.into();
        self.asked.segments.push(Segment { path, role, kind, text });
    }

    /// Something that is there and cannot be read.
    fn opaque(&mut self, path: Path, role: Role) {
        self.push(path, role, Kind::Opaque, "");
    }

    /// A member that cannot be read, if it is there.
    fn opaque_member(&mut self, shape: &Shape<'a>, name: &str, role: Role) {
        if shape.get(name).is_some() {
            self.opaque(shape.path.name(name), role);
        }
    }

    /// An address or the name of a file, or bytes that stand in place of one.
    fn reference(&mut self, shape: &Shape<'a>, name: &str, role: Role) -> Result<(), Malformed> {
        let Some(text) = shape.text(name)? else { return Ok(()) };
        let path = shape.path.name(name);
        if text.get(..5).is_some_and(|it| it.eq_ignore_ascii_case("data:")) {
            self.opaque(path, role);
        } else {
            self.push(path, role, Kind::Reference, text);
        }
        Ok(())
    }

    /// A call with the arguments that a member holds, and its name for the result that follows.
    fn call(&mut self, call: &Shape<'a>, member: &str, id: Option<&'a str>, name: &'a str) {
        if let Some(id) = id {
            self.names.insert(id, name);
        }
        let kind = Kind::Call { id, name };
        match call.get(member) {
            Some(arguments) => {
                self.push(call.path.name(member), Role::Assistant, kind, text_of(arguments));
            }
            None => self.push(call.path.clone(), Role::Assistant, kind, ""),
        }
    }

    /// What the result of that call is.
    fn result_of(&self, call: Option<&'a str>) -> Kind<'a> {
        Kind::Result { call, name: call.and_then(|id| self.names.get(id).copied()) }
    }

    /// A string, or tokens that stand for one.
    fn content(
        &mut self,
        value: &'a Json,
        path: Path,
        role: Role,
        kind: Kind<'a>,
    ) -> Result<(), Malformed> {
        match value {
            Json::String(text) => self.push(path, role, kind, text.as_str()),
            Json::Array(items) if items.iter().all(|it| matches!(it, Json::Number(_))) => {
                self.opaque(path, role);
            }
            _ => return Err(Malformed::at(&path, "a string, or an array of tokens")),
        }
        Ok(())
    }

    /// Every string of something that is not known here.
    fn unknown(&mut self, value: &'a Json, path: &Path, role: Role, kind: &Kind<'a>) {
        each_string(value, path, &mut |path, text| self.push(path, role, kind.clone(), text));
    }

    /// Every string of an object's members but these.
    fn members(&mut self, shape: &Shape<'a>, except: &[&str], role: Role, kind: &Kind<'a>) {
        for (name, value) in shape.object.iter().filter(|(name, _)| !except.contains(name)) {
            self.unknown(value, &shape.path.name(name), role, kind);
        }
    }

    /// Every string of the body's members but those that were read.
    fn rest(&mut self, body: &Shape<'a>, known: &[&str]) {
        self.members(body, known, Role::Other, &Kind::Other);
    }
}

/// A string as it is, and anything else as compact JSON.
fn text_of(value: &Json) -> Cow<'_, str> {
    match value {
        Json::String(text) => text.as_str().into(),
        Json::Object(object) if object == &Object::new() => "{}".into(),
        other => other.to_string().into(),
    }
}
