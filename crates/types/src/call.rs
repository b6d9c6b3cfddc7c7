//! A proposed operation with its arguments.

use crate::model::ModelAsked;
use crate::plan::PLAN_META;
use crate::{CallId, CanonicalObject, Code, Json, Object, OperationName, UpstreamName};
use std::collections::BTreeSet;

/// What an operation does to the world (design §2). Ordered from harmless to grave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Fetches an address that the caller chooses.
    Nav,
    /// Changes state.
    Write,
    /// Sends to a destination.
    Egress,
    /// Cannot be undone. What nobody declared is destructive.
    Destructive,
}

impl Effect {
    /// Every effect.
    pub const ALL: [Self; 5] =
        [Self::Read, Self::Nav, Self::Write, Self::Egress, Self::Destructive];

    /// The word in configuration, policies and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Nav => "nav",
            Self::Write => "write",
            Self::Egress => "egress",
            Self::Destructive => "destructive",
        }
    }

    /// Reads the word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|effect| effect.as_str() == word)
    }
}

/// Which way a request travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to an upstream.
    ToUpstream,
    /// From an upstream to the client: sampling, elicitation, roots.
    ToClient,
}

impl Direction {
    /// The word in policies and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ToUpstream => "to_upstream",
            Self::ToClient => "to_client",
        }
    }
}

/// The member of a request's `_meta` that carries the caller's idempotency key.
pub const KEY_META: &str = "dev.lockgate/idempotency-key";
/// The member of a request's `_meta` in which an application tells what its person has said: a
/// text, or several. It is taken off before anything is decided, and goes nowhere.
pub const WORDS_META: &str = "dev.lockgate/user-words";
/// The member of a request's `_meta` that shows the token of a session, as a header does where
/// there are headers of one's own. It is taken off before anything is decided, and goes nowhere.
pub const SESSION_META: &str = "dev.lockgate/session";
/// Members of `params` that belong to a step of a call that an upstream takes in several.
pub const STEP_MEMBERS: [&str; 2] = ["inputResponses", "requestState"];

/// Whether a member of `_meta` is about the message and not about what is asked for.
pub fn is_envelope(name: &str) -> bool {
    let is_protocols = name.starts_with("io.modelcontextprotocol/");
    let of_trace = ["progressToken", "traceparent", "tracestate", "baggage"].contains(&name);
    is_protocols || of_trace || name == KEY_META || name == PLAN_META
}

/// How idempotency keys of the gate's own begin. No caller's does.
pub const KEY_PREFIX: &str = "lg_";

/// A proposed operation: the one value that is decided, recorded and sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Minted at the rim.
    pub id: CallId,
    /// Where it goes, or whence it came if it travels to the client.
    pub upstream: UpstreamName,
    /// As policies name it.
    pub operation: OperationName,
    /// The protocol's method.
    pub method: String,
    /// Which way.
    pub direction: Direction,
    /// The complete `params`, every field kept: what policy saw is what is sent (I2).
    pub params: Object,
    /// The call within which this one was made: a sampling request belongs to a tool call.
    pub parent: Option<CallId>,
    /// The call at the root of the tree that this one is in, as the gate itself knows it: what the
    /// caller says of its trace has no part in it. `None`: it is nobody's consequence that the gate
    /// knows of.
    pub root: Option<CallId>,
    /// W3C trace context, if the caller sent one: the `traceparent` value.
    pub traceparent: Option<String>,
    /// The idempotency key that the caller gave, if it gave one.
    pub key: Option<String>,
    /// The call that first asked for this effect, if this one tries again for it.
    pub attempt_of: Option<CallId>,
    /// The header in which the upstream is sent [`Call::effect_key`].
    pub key_header: Option<String>,
    /// What its statement reads, if it is a call to a database, or where its request goes, if it is
    /// one to an HTTP API. Found out from the arguments and the bundle alone, before deciding.
    pub reading: Option<Reading>,
    /// What is asked of which model, if it is a call of one. Found out from the request and the
    /// bundle, before deciding.
    pub model: Option<Box<ModelAsked>>,
    /// What was found of the answer of a model that proposes this, in the words of outcomes.
    /// `None`: as far as the gate knows, no model has proposed it.
    pub found: Option<BTreeSet<String>>,
}

impl Call {
    /// All of it but its params, which can be long.
    #[must_use]
    pub fn without_params(&self) -> Self {
        Self {
            id: self.id.clone(),
            upstream: self.upstream.clone(),
            operation: self.operation.clone(),
            method: self.method.clone(),
            direction: self.direction,
            params: Object::new(),
            parent: self.parent.clone(),
            root: self.root.clone(),
            traceparent: self.traceparent.clone(),
            key: self.key.clone(),
            attempt_of: self.attempt_of.clone(),
            key_header: self.key_header.clone(),
            reading: self.reading.clone(),
            model: self.model.clone(),
            found: self.found.clone(),
        }
    }
}

/// What a statement reads, or where a request goes; or why it is refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The tables it names, as the bundle names them; sorted.
    pub tables: Vec<String>,
    /// The columns it names, each after its table: `orders.total`; sorted.
    pub columns: Vec<String>,
    /// Method and path of a request, as the bundle declares them.
    pub target: Option<String>,
    /// Why it may not be run at all, whatever policies say.
    pub refusal: Option<String>,
}

impl Reading {
    fn to_json(&self) -> Json {
        let texts = |all: &[String]| -> Vec<Json> { all.iter().cloned().map(Json::from).collect() };
        Object::new()
            .with("columns", texts(&self.columns))
            .with_some("refusal", self.refusal.as_deref())
            .with("tables", texts(&self.tables))
            .with_some("target", self.target.as_deref())
            .into()
    }

    fn from_json(json: &Json) -> Option<Self> {
        let texts = |name: &str| -> Option<Vec<String>> {
            let all = json.get(name)?.as_array()?.iter();
            all.map(|text| text.as_str().map(str::to_owned)).collect()
        };
        let text = |name: &str| match json.get(name) {
            Some(text) => text.as_str().map(|text| Some(text.to_owned())),
            None => Some(None),
        };
        Some(Self {
            tables: texts("tables")?,
            columns: texts("columns")?,
            target: text("target")?,
            refusal: text("refusal")?,
        })
    }
}

impl Call {
    /// Names the operation from method and params, by the method alone and never by shape (I2).
    ///
    /// For `tools/call` the tool's name must be the upstream's own: prefixes are taken off by the
    /// face.
    pub fn new(
        id: CallId,
        upstream: UpstreamName,
        direction: Direction,
        method: &str,
        params: Object,
    ) -> Result<Self, Code> {
        let operation = if method == "tools/call" {
            if !matches!(params.get("arguments"), None | Some(Json::Object(_))) {
                return Err(Code::ParamsNotObject);
            }
            let tool = params.get("name").and_then(Json::as_str).ok_or(Code::UnknownName)?;
            OperationName::tool(&upstream, tool).map_err(|_| Code::UnknownName)?
        } else {
            OperationName::builtin(&upstream, method).map_err(|_| Code::UnknownMethod)?
        };
        Ok(Self {
            id,
            upstream,
            operation,
            method: method.to_owned(),
            direction,
            params,
            parent: None,
            root: None,
            traceparent: None,
            key: None,
            attempt_of: None,
            key_header: None,
            reading: None,
            model: None,
            found: None,
        })
    }

    /// What the upstream is told where it takes an idempotency key: one for all attempts at one
    /// effect, and never for another.
    pub fn effect_key(&self) -> String {
        format!("{KEY_PREFIX}{}", self.attempt_of.as_ref().unwrap_or(&self.id))
    }

    /// The call at the root of the tree that this one and its consequences are in.
    pub fn root(&self) -> &CallId {
        self.root.as_ref().unwrap_or(&self.id)
    }

    /// The plan that the caller gives, as it is written, if this is a tool call and one is given.
    pub fn given_plan(&self) -> Option<&Json> {
        self.tool()?;
        self.params.get("_meta")?.get(PLAN_META)
    }

    /// Exactly what is asked for, without what is about the message, and without the key that the
    /// gate itself fills in: the same for a proposal and for the call that takes it up.
    pub fn request(&self) -> Object {
        let filled = Json::from(self.effect_key());
        let meant = |name: &str, value: &Json| match (name, value) {
            ("arguments" | "_meta", Json::Object(members)) => {
                let is_meta = name == "_meta";
                let members = members.iter();
                let members = members
                    .filter(|(name, value)| **value != filled && !(is_meta && is_envelope(name)));
                let members: Object =
                    members.map(|(name, value)| (name.to_owned(), value.clone())).collect();
                (!members.is_empty()).then(|| Json::from(members))
            }
            (_, value) => Some(value.clone()),
        };
        let members = self.params.iter();
        members.filter_map(|(name, value)| Some((name.to_owned(), meant(name, value)?))).collect()
    }

    /// The arguments that policy sees: `arguments` of a tool call, else the params themselves
    /// (whose `_meta` is envelope, not argument). `None` is an empty object.
    pub fn arguments(&self) -> Option<&Object> {
        if self.method == "tools/call" {
            self.params.get("arguments").and_then(Json::as_object)
        } else {
            Some(&self.params)
        }
    }

    /// The tool's name, if this is a tool call.
    pub fn tool(&self) -> Option<&str> {
        if self.method == "tools/call" {
            self.params.get("name").and_then(Json::as_str)
        } else {
            None
        }
    }

    /// The canonical bytes that are recorded among the facts.
    pub fn to_canonical(&self) -> Vec<u8> {
        let mut out = CanonicalObject::new(768);
        out.some_text("attempt_of", self.attempt_of.as_ref().map(CallId::as_str));
        out.text("direction", self.direction.as_str());
        if let Some(found) = &self.found {
            let found: Vec<Json> = found.iter().map(|word| word.as_str().into()).collect();
            out.json("found", &found.into());
        }
        out.text("id", self.id.as_str());
        out.some_text("key", self.key.as_deref());
        out.some_text("key_header", self.key_header.as_deref());
        out.text("method", &self.method);
        if let Some(model) = &self.model {
            out.open("model");
            model.write(&mut out);
            out.close();
        }
        out.text("operation", self.operation.as_str());
        out.object("params", &self.params);
        out.some_text("parent", self.parent.as_ref().map(CallId::as_str));
        if let Some(reading) = &self.reading {
            out.json("reading", &reading.to_json());
        }
        out.some_text("root", self.root.as_ref().map(CallId::as_str));
        out.some_text("traceparent", self.traceparent.as_deref());
        out.text("upstream", self.upstream.as_str());
        out.finish()
    }

    /// As read back.
    pub fn from_json(json: &Json) -> Option<Self> {
        let text = |name: &str| json.get(name)?.as_str();
        let direction = match text("direction")? {
            "to_upstream" => Direction::ToUpstream,
            "to_client" => Direction::ToClient,
            _ => return None,
        };
        let params = json.get("params")?.as_object()?.clone();
        let upstream = UpstreamName::new(text("upstream")?).ok()?;
        let mut call =
            Self::new(CallId::new(text("id")?).ok()?, upstream, direction, text("method")?, params)
                .ok()?;
        if call.operation.as_str() != text("operation")? {
            return None;
        }
        let call_id = |name: &str| match json.get(name) {
            Some(id) => CallId::new(id.as_str()?).ok().map(Some),
            None => Some(None),
        };
        call.parent = call_id("parent")?;
        call.root = call_id("root")?;
        call.attempt_of = call_id("attempt_of")?;
        call.traceparent = text("traceparent").map(str::to_owned);
        call.key = text("key").map(str::to_owned);
        call.key_header = text("key_header").map(str::to_owned);
        call.reading = match json.get("reading") {
            Some(reading) => Some(Reading::from_json(reading)?),
            None => None,
        };
        call.model = match json.get("model") {
            Some(model) => Some(Box::new(ModelAsked::from_json(model)?)),
            None => None,
        };
        call.found = match json.get("found") {
            Some(found) => {
                let found = found.as_array()?.iter();
                found
                    .map(|word| word.as_str().map(str::to_owned))
                    .collect::<Option<_>>()
                    .map(Some)?
            }
            None => None,
        };
        Some(call)
    }
}
