//! `POST /v1/chat/completions`.

use super::super::path::Path;
use super::super::shape::{Malformed, Shape};
use super::{Kind, Reader, Role, tools};
use lockgate_types::Json;

/// The members that are read here.
pub(super) const KNOWN: &[&str] = &[
    "model",
    "messages",
    "stream",
    "n",
    "max_tokens",
    "max_completion_tokens",
    "tools",
    "functions",
    "tool_choice",
    "function_call",
    "web_search_options",
];
/// The members of a message that are read here.
const MESSAGE: &[&str] = &["role", "content", "tool_calls", "tool_call_id", "function_call"];

pub(super) fn read<'a>(body: &Shape<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
    reader.asked.model = body.text("model")?;
    reader.asked.is_stream = body.flag("stream")?;
    reader.asked.answers = body.count("n")?.unwrap_or(1).max(1);
    // Whichever of the two a provider goes by.
    reader.asked.tokens_max = body.count("max_completion_tokens")?.max(body.count("max_tokens")?);
    tools::read(body, &mut reader.asked.tools)?;
    for function in body.shapes("functions")? {
        reader.asked.tools.push(tools::function(&function)?);
    }
    if let Some(options) = body.shape("web_search_options")? {
        reader.asked.tools.push(tools::hosted(&options, "web_search_options")?);
    }
    for message in body.shapes("messages")? {
        read_message(&message.unambiguous(MESSAGE)?, reader)?;
    }
    reader.rest(body, KNOWN);
    Ok(())
}

fn read_message<'a>(message: &Shape<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
    let (role, kind) = match message.text("role")?.unwrap_or_default() {
        "system" => (Role::System, Kind::Instruction),
        "developer" => (Role::Developer, Kind::Instruction),
        "user" => (Role::User, Kind::Words),
        "assistant" => (Role::Assistant, Kind::Answer),
        "tool" => (Role::Tool, reader.result_of(message.text("tool_call_id")?)),
        // The form before there were ids.
        "function" => (Role::Tool, Kind::Result { call: None, name: message.text("name")? }),
        _ => (Role::Other, Kind::Other),
    };
    if let Some(content) = message.get("content") {
        read_content(content, &message.path.name("content"), role, &kind, reader)?;
    }
    for call in message.shapes("tool_calls")? {
        let id = call.text("id")?;
        for (name, arguments) in [("function", "arguments"), ("custom", "input")] {
            if let Some(inner) = call.shape(name)? {
                read_call(&inner, id, arguments, reader)?;
            }
        }
        reader.members(&call, &["id", "type", "function", "custom"], role, &Kind::Other);
    }
    if let Some(call) = message.shape("function_call")? {
        read_call(&call, None, "arguments", reader)?;
    }
    for (name, value) in message.object.iter() {
        let kind = match name {
            "reasoning" | "reasoning_content" | "reasoning_details" => Kind::Reasoning,
            "refusal" => Kind::Answer,
            "role" | "content" | "tool_calls" | "tool_call_id" | "function_call" => continue,
            _ => Kind::Other,
        };
        reader.unknown(value, &message.path.name(name), role, &kind);
    }
    Ok(())
}

fn read_call<'a>(
    call: &Shape<'a>,
    id: Option<&'a str>,
    arguments: &str,
    reader: &mut Reader<'a>,
) -> Result<(), Malformed> {
    let name = call.text("name")?.unwrap_or_default();
    reader.call(call, arguments, id, name);
    reader.members(call, &["name", arguments], Role::Assistant, &Kind::Other);
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
        read_part(&part, role, kind, reader)?;
    }
    Ok(())
}

fn read_part<'a>(
    part: &Shape<'a>,
    role: Role,
    kind: &Kind<'a>,
    reader: &mut Reader<'a>,
) -> Result<(), Malformed> {
    let known = match part.kind()? {
        "text" | "refusal" => {
            for name in ["text", "refusal"] {
                if let Some(text) = part.text(name)? {
                    reader.push(part.path.name(name), role, kind.clone(), text);
                }
            }
            ["text", "refusal"].as_slice()
        }
        "image_url" => {
            if let Some(image) = part.shape("image_url")? {
                reader.reference(&image, "url", role)?;
            }
            &["image_url"]
        }
        "input_audio" => {
            reader.opaque_member(part, "input_audio", role);
            &["input_audio"]
        }
        "file" => {
            if let Some(file) = part.shape("file")? {
                reader.reference(&file, "file_id", role)?;
                reader.opaque_member(&file, "file_data", role);
                reader.members(&file, &["file_id", "file_data"], role, &Kind::Document);
            }
            &["file"]
        }
        // A result's part that is not known is a result, and a person's is not their words.
        _ => &[],
    };
    let kind = if matches!(kind, Kind::Result { .. }) { kind } else { &Kind::Other };
    for (name, value) in part.object.iter().filter(|(name, _)| !known.contains(name)) {
        if name != "type" {
            reader.unknown(value, &part.path.name(name), role, kind);
        }
    }
    Ok(())
}
