//! `POST /v1/responses`.

use super::super::path::Path;
use super::super::shape::{Malformed, Shape};
use super::{Approval, Earlier, Kind, Reader, Role, text_of, tools};
use lockgate_types::{Json, Object};

/// The members that are read here.
pub(super) const KNOWN: &[&str] = &[
    "model",
    "input",
    "instructions",
    "stream",
    "max_output_tokens",
    "tools",
    "tool_choice",
    "previous_response_id",
    "conversation",
    "prompt",
];
/// The members of an item that say what it belongs to, not what it says.
const ENVELOPE: &[&str] = &["type", "id", "call_id", "status", "role", "approval_request_id"];
/// What a call came to, where one item holds both.
const RESULTS: &[&str] = &["output", "outputs", "result", "results", "error", "logs"];

pub(super) fn read<'a>(body: &Shape<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
    reader.asked.model = body.text("model")?;
    reader.asked.is_stream = body.flag("stream")?;
    reader.asked.tokens_max = body.count("max_output_tokens")?;
    tools::read(body, &mut reader.asked.tools)?;
    read_earlier(body, reader)?;
    for (name, role, kind) in
        [("instructions", Role::System, Kind::Instruction), ("input", Role::User, Kind::Words)]
    {
        let path = body.path.name(name);
        match body.get(name) {
            None => {}
            Some(Json::String(text)) => reader.push(path, role, kind, text.as_str()),
            Some(Json::Array(_)) => {
                for item in body.shapes(name)? {
                    read_item(&item.unambiguous(&["type", "role", "content"])?, reader)?;
                }
            }
            Some(_) => return Err(Malformed::at(&path, "a string or an array of items")),
        }
    }
    reader.rest(body, KNOWN);
    Ok(())
}

fn read_earlier<'a>(body: &Shape<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
    reader.asked.earlier.extend(body.text("previous_response_id")?.map(Earlier::Response));
    let conversation = match body.get("conversation") {
        Some(Json::Object(_)) => match body.shape("conversation")? {
            Some(object) => object.text("id")?,
            None => None,
        },
        _ => body.text("conversation")?,
    };
    reader.asked.earlier.extend(conversation.map(Earlier::Conversation));
    if let Some(prompt) = body.shape("prompt")? {
        reader.asked.earlier.extend(prompt.text("id")?.map(Earlier::Prompt));
        reader.members(&prompt, &["id", "version"], Role::Other, &Kind::Other);
    }
    Ok(())
}

fn read_item<'a>(item: &Shape<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
    match item.kind()? {
        "" | "message" => read_message(item, reader),
        "item_reference" => {
            reader.asked.earlier.extend(item.text("id")?.map(Earlier::Item));
            Ok(())
        }
        "reasoning" => {
            reader.opaque_member(item, "encrypted_content", Role::Assistant);
            let known = [ENVELOPE, &["encrypted_content"]].concat();
            reader.members(item, &known, Role::Assistant, &Kind::Reasoning);
            Ok(())
        }
        "mcp_approval_response" => {
            reader.asked.approvals.push(Approval {
                path: item.path.clone(),
                request: item.text("approval_request_id")?.unwrap_or_default(),
                is_approved: item.flag("approve")?,
            });
            reader.members(item, ENVELOPE, Role::User, &Kind::Other);
            Ok(())
        }
        kind if kind.ends_with("_output") => read_result(item, reader),
        kind if kind.ends_with("_call") || kind == "mcp_approval_request" => {
            read_call(item, kind, reader)
        }
        _ => {
            reader.members(item, ENVELOPE, Role::Other, &Kind::Other);
            Ok(())
        }
    }
}

fn read_message<'a>(item: &Shape<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
    let (role, kind) = match item.text("role")?.unwrap_or_default() {
        "system" => (Role::System, Kind::Instruction),
        "developer" => (Role::Developer, Kind::Instruction),
        "user" => (Role::User, Kind::Words),
        "assistant" => (Role::Assistant, Kind::Answer),
        _ => (Role::Other, Kind::Other),
    };
    if let Some(content) = item.get("content") {
        read_content(content, &item.path.name("content"), role, &kind, reader)?;
    }
    let known = [ENVELOPE, &["content", "phase"]].concat();
    reader.members(item, &known, role, &Kind::Other);
    Ok(())
}

fn read_content<'a>(
    content: &'a Json,
    path: &Path,
    role: Role,
    kind: &Kind<'a>,
    reader: &mut Reader<'a>,
) -> Result<(), Malformed> {
    let parts = match content {
        Json::String(text) => {
            reader.push(path.clone(), role, kind.clone(), text.as_str());
            return Ok(());
        }
        Json::Array(parts) => parts,
        _ => return Err(Malformed::at(path, "a string or an array of parts")),
    };
    for (at, part) in parts.iter().enumerate() {
        let part = Shape::of(part, path.index(at))?;
        let known: &[&str] = match part.kind()? {
            "input_text" | "output_text" | "text" | "refusal" => {
                for name in ["text", "refusal"] {
                    if let Some(text) = part.text(name)? {
                        reader.push(part.path.name(name), role, kind.clone(), text);
                    }
                }
                &["type", "text", "refusal", "logprobs"]
            }
            "input_image" | "input_file" | "computer_screenshot" => {
                for name in ["image_url", "file_url", "file_id"] {
                    reader.reference(&part, name, role)?;
                }
                reader.opaque_member(&part, "file_data", role);
                &["type", "image_url", "file_url", "file_id", "file_data", "detail"]
            }
            "input_audio" => {
                reader.opaque_member(&part, "input_audio", role);
                &["type", "input_audio"]
            }
            _ => &["type"],
        };
        let rest = if matches!(kind, Kind::Result { .. }) { kind } else { &Kind::Other };
        reader.members(&part, known, role, rest);
    }
    Ok(())
}

/// What a tool gave back, whoever ran it.
fn read_result<'a>(item: &Shape<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
    let result = reader.result_of(item.text("call_id")?);
    let path = item.path.name("output");
    match item.get("output") {
        None => {}
        Some(output @ (Json::String(_) | Json::Array(_))) => {
            read_content(output, &path, Role::Tool, &result, reader)?;
        }
        // A screenshot, for one, is an object.
        Some(output) => {
            let part = Shape::of(output, path)?;
            for name in ["image_url", "file_id"] {
                reader.reference(&part, name, Role::Tool)?;
            }
            reader.members(&part, &["type", "image_url", "file_id"], Role::Tool, &result);
        }
    }
    let known = [ENVELOPE, &["output"]].concat();
    reader.members(item, &known, Role::Tool, &result);
    Ok(())
}

/// A call, and what it came to if it is one of the provider's own tools.
fn read_call<'a>(
    item: &Shape<'a>,
    kind: &'a str,
    reader: &mut Reader<'a>,
) -> Result<(), Malformed> {
    let name = item.text("name")?.unwrap_or(kind);
    let id = match item.text("call_id")? {
        Some(id) => Some(id),
        None => item.text("id")?,
    };
    match ["arguments", "input", "code", "action"].into_iter().find(|it| item.get(it).is_some()) {
        Some(member) => {
            reader.call(item, member, id, name);
            let known = [ENVELOPE, RESULTS, &["name", member]].concat();
            reader.members(item, &known, Role::Assistant, &Kind::Other);
        }
        None => {
            let is_argument = |name: &str| !ENVELOPE.contains(&name) && !RESULTS.contains(&name);
            let members = item.object.iter().filter(|(name, _)| is_argument(name));
            let rest: Object = members.map(|(name, value)| (name, value.clone())).collect();
            let text = text_of(&Json::Object(rest)).into_owned();
            reader.push(item.path.clone(), Role::Assistant, Kind::Call { id, name }, text);
            if let Some(id) = id {
                reader.names.insert(id, name);
            }
        }
    }
    let result = reader.result_of(id);
    for member in RESULTS {
        if let Some(value) = item.get(member) {
            reader.unknown(value, &item.path.name(member), Role::Tool, &result);
        }
    }
    Ok(())
}
