//! Items of an answer of the Responses API: which are calls, what text they hold, and what takes
//! the place of a refused one. For streams and whole answers alike.

use super::scan::{Channel, Proposed, Scan, Words, whole};
use crate::refusal::Refusal;
use lockgate_types::{Json, Object};

/// Members that say what an item belongs to, and what came of it; all others are a call's
/// arguments, where it has none that are a string.
const NOT_ARGUMENTS: &[&str] =
    &["type", "id", "call_id", "status", "output", "outputs", "result", "results", "error", "logs"];
/// Where a call has its arguments as a string.
pub(super) const ARGUMENTS: [&str; 3] = ["arguments", "input", "code"];
/// Parts of an item beyond this are counted for summaries, so that no two share a channel.
const SUMMARIES: u64 = 1 << 32;

/// A text within an item.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Part {
    /// `content`, `summary`, or the event that brings it.
    pub(super) list: String,
    pub(super) index: u64,
}

impl Part {
    pub(super) fn channel(&self, item: u64, words: Words) -> Channel {
        let part = if self.list == "summary" { self.index + SUMMARIES } else { self.index };
        Channel { words, answer: item, part, is_sealed: false }
    }
}

/// Whether an item is a call that is decided about: the client's own, and those of the provider's
/// tools.
pub(super) fn is_call(item: &Object) -> bool {
    let kind = kind(item);
    kind.ends_with("_call") || kind == "mcp_approval_request"
}

pub(super) fn kind(item: &Object) -> &str {
    item.get("type").and_then(Json::as_str).unwrap_or_default()
}

/// The call that an item is.
pub(super) fn call_of(item: &Object, choice: u64) -> Proposed {
    let text = |name: &str| item.get(name).and_then(Json::as_str).map(str::to_owned);
    let kind = kind(item);
    let rest = || -> Object {
        let members = item.iter().filter(|(name, _)| !NOT_ARGUMENTS.contains(name));
        members.map(|(name, value)| (name, value.clone())).collect()
    };
    let arguments = ARGUMENTS.iter().find_map(|name| text(name));
    Proposed {
        key: 0,
        choice,
        id: text("call_id").or_else(|| text("id")),
        name: text("name").unwrap_or_else(|| kind.to_owned()),
        arguments: arguments.unwrap_or_else(|| Json::from(rest()).to_string()),
        hosted: (!matches!(kind, "function_call" | "custom_tool_call")).then(|| kind.to_owned()),
        server: text("server_label"),
    }
}

/// What takes the place of a refused call: a message with the reason.
pub(super) fn refused(item: &Object, reason: &str) -> Object {
    message(item, "completed", vec![part(reason).into()])
}

/// A message in the place of an item.
pub(super) fn message(item: &Object, status: &str, content: Vec<Json>) -> Object {
    let id = item.get("id").and_then(Json::as_str).unwrap_or("refused");
    Object::new()
        .with("id", format!("msg_{id}"))
        .with("type", "message")
        .with("status", status)
        .with("role", "assistant")
        .with("content", content)
}

/// Text as a part of a message.
pub(super) fn part(text: &str) -> Object {
    Object::new()
        .with("type", "output_text")
        .with("text", text)
        .with("annotations", Vec::<Json>::new())
        .with("logprobs", Vec::<Json>::new())
}

/// Masks every text of an item that is no call; whether something was masked. `settle` says what
/// stands for a text of a part, if not the text itself.
pub(super) fn mask(
    item: &mut Object,
    index: u64,
    scan: &mut dyn Scan,
    settle: &mut dyn FnMut(&Part, Words, &str, &mut dyn Scan) -> Masked,
) -> Result<bool, Box<Refusal>> {
    let is_reasoning = kind(item) == "reasoning";
    if !is_reasoning && kind(item) != "message" {
        let mut value = Json::Object(std::mem::take(item));
        let is_masked = leaves(&mut value, index, scan);
        if let Json::Object(object) = value {
            *item = object;
        }
        return is_masked;
    }
    let mut is_masked = false;
    for list in ["content", "summary"] {
        let parts = item.get_mut(list).and_then(Json::as_array_mut);
        for (at, part) in parts.into_iter().flatten().enumerate() {
            let Some(part) = part.as_object_mut() else { continue };
            let key = Part { list: list.to_owned(), index: u64::try_from(at).unwrap_or(0) };
            is_masked |= mask_part(part, index, &key, is_reasoning, scan, settle)?;
        }
    }
    Ok(is_masked)
}

/// A text that stands for another; `None`: the other as it is.
pub(super) type Masked = Result<Option<String>, Box<Refusal>>;

/// Masks the text of one part.
pub(super) fn mask_part(
    part: &mut Object,
    item: u64,
    key: &Part,
    is_reasoning: bool,
    scan: &mut dyn Scan,
    settle: &mut dyn FnMut(&Part, Words, &str, &mut dyn Scan) -> Masked,
) -> Result<bool, Box<Refusal>> {
    let mut is_masked = false;
    for (name, words) in [("text", Words::Text), ("refusal", Words::Refusal)] {
        let words = if is_reasoning { Words::Reasoning } else { words };
        let Some(text) = part.get(name).and_then(Json::as_str) else { continue };
        if let Some(masked) = settle(key, words, text, scan)? {
            part.set(name, masked);
            is_masked = true;
        }
        let tokens = part.get("logprobs").and_then(Json::as_array).unwrap_or_default();
        let joined: String = tokens.iter().filter_map(|it| it.get("token")?.as_str()).collect();
        if !tokens.is_empty()
            && (is_masked || part.get(name).and_then(Json::as_str) != Some(&joined))
        {
            part.set("logprobs", Vec::<Json>::new());
            is_masked = true;
        }
    }
    if let Some(annotations) = part.get_mut("annotations") {
        is_masked |= leaves(annotations, item, scan)?;
    }
    Ok(is_masked)
}

/// Masks every string of something that is not known here, but for what only names things.
pub(super) fn leaves(
    value: &mut Json,
    index: u64,
    scan: &mut dyn Scan,
) -> Result<bool, Box<Refusal>> {
    match value {
        Json::String(text) => {
            let channel = Channel { words: Words::Other, answer: index, part: 0, is_sealed: false };
            let masked = whole(scan, &channel, text)?;
            let is_masked = masked.is_some();
            *text = masked.unwrap_or_else(|| std::mem::take(text));
            Ok(is_masked)
        }
        Json::Array(items) => {
            items.iter_mut().try_fold(false, |is, item| Ok(leaves(item, index, scan)? | is))
        }
        Json::Object(object) => {
            let members = object.iter_mut().filter(|(name, _)| !is_name(name));
            let mut members = members.map(|(_, value)| value);
            members.try_fold(false, |is, value| Ok(leaves(value, index, scan)? | is))
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => Ok(false),
    }
}

/// Whether a member names something or is for nobody to read but the provider that made it.
pub(super) fn is_name(member: &str) -> bool {
    matches!(
        member,
        "id" | "type" | "object" | "model" | "role" | "status" | "signature" | "obfuscation"
    ) || member.ends_with("_id")
        || member.starts_with("encrypted_")
}
