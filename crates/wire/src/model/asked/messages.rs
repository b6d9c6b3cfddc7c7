//! `POST /v1/messages`, and the same body at `/v1/messages/count_tokens`.

use super::super::path::Path;
use super::super::shape::{Malformed, Shape};
use super::{Kind, Reader, Role, tools};
use lockgate_types::Json;

/// The members that are read here.
pub(super) const KNOWN: &[&str] =
    &["model", "messages", "system", "stream", "max_tokens", "tools", "tool_choice", "mcp_servers"];

pub(super) fn read<'a>(body: &Shape<'a>, reader: &mut Reader<'a>) -> Result<(), Malformed> {
    reader.asked.model = body.text("model")?;
    reader.asked.is_stream = body.flag("stream")?;
    reader.asked.tokens_max = body.count("max_tokens")?;
    tools::read(body, &mut reader.asked.tools)?;
    for server in body.shapes("mcp_servers")? {
        reader.asked.tools.push(tools::hosted(&server, "mcp_server")?);
    }
    if let Some(system) = body.get("system") {
        read_content(system, &body.path.name("system"), Role::System, &Kind::Instruction, reader)?;
    }
    for message in body.shapes("messages")? {
        let message = message.unambiguous(&["role", "content"])?;
        let (role, kind) = match message.text("role")?.unwrap_or_default() {
            "user" => (Role::User, Kind::Words),
            "assistant" => (Role::Assistant, Kind::Answer),
            "system" => (Role::System, Kind::Instruction),
            _ => (Role::Other, Kind::Other),
        };
        if let Some(content) = message.get("content") {
            read_content(content, &message.path.name("content"), role, &kind, reader)?;
        }
        reader.members(&message, &["role", "content"], role, &Kind::Other);
    }
    reader.rest(body, KNOWN);
    Ok(())
}

fn read_content<'a>(
    content: &'a Json,
    path: &Path,
    role: Role,
    kind: &Kind<'a>,
    reader: &mut Reader<'a>,
) -> Result<(), Malformed> {
    let blocks = match content {
        Json::String(text) => {
            reader.push(path.clone(), role, kind.clone(), text.as_str());
            return Ok(());
        }
        Json::Array(blocks) => blocks,
        // An error of a hosted tool in place of its result.
        Json::Object(_) if matches!(kind, Kind::Result { .. }) => {
            reader.unknown(content, path, role, kind);
            return Ok(());
        }
        _ => return Err(Malformed::at(path, "a string or an array of blocks")),
    };
    for (at, block) in blocks.iter().enumerate() {
        read_block(&Shape::of(block, path.index(at))?, role, kind, reader)?;
    }
    Ok(())
}

fn read_block<'a>(
    block: &Shape<'a>,
    role: Role,
    kind: &Kind<'a>,
    reader: &mut Reader<'a>,
) -> Result<(), Malformed> {
    let known: &[&str] = match block.kind()? {
        "text" => {
            if let Some(text) = block.text("text")? {
                reader.push(block.path.name("text"), role, kind.clone(), text);
            }
            &["text"]
        }
        "thinking" => {
            if let Some(text) = block.text("thinking")? {
                reader.push(block.path.name("thinking"), role, Kind::Reasoning, text);
            }
            &["thinking", "signature"]
        }
        "redacted_thinking" => {
            reader.opaque_member(block, "data", role);
            &["data"]
        }
        "image" | "document" => {
            read_source(block, role, kind, reader)?;
            &["source"]
        }
        "container_upload" => {
            reader.reference(block, "file_id", role)?;
            &["file_id"]
        }
        // `tool_use`, `server_tool_use`, `mcp_tool_use`
        kind if kind.ends_with("tool_use") => {
            let name = block.text("name")?.unwrap_or_default();
            reader.call(block, "input", block.text("id")?, name);
            &["id", "name", "input"]
        }
        // A result is a result, in whichever role the API carries it.
        kind if kind.ends_with("tool_result") => {
            let result = reader.result_of(block.text("tool_use_id")?);
            if let Some(content) = block.get("content") {
                let path = block.path.name("content");
                read_content(content, &path, Role::Tool, &result, reader)?;
            }
            &["tool_use_id", "content"]
        }
        _ => &[],
    };
    let rest = match kind {
        Kind::Result { .. } => kind.clone(),
        _ => Kind::Document,
    };
    for (name, value) in block.object.iter().filter(|(name, _)| !known.contains(name)) {
        if !matches!(name, "type" | "cache_control") {
            reader.unknown(value, &block.path.name(name), role, &rest);
        }
    }
    Ok(())
}

/// Where an image or a document comes from.
fn read_source<'a>(
    block: &Shape<'a>,
    role: Role,
    kind: &Kind<'a>,
    reader: &mut Reader<'a>,
) -> Result<(), Malformed> {
    let Some(source) = block.shape("source")? else { return Ok(()) };
    let within = match kind {
        Kind::Result { .. } => kind.clone(),
        _ => Kind::Document,
    };
    match source.kind()? {
        "url" => reader.reference(&source, "url", role),
        "file" => reader.reference(&source, "file_id", role),
        "base64" => {
            reader.opaque_member(&source, "data", role);
            Ok(())
        }
        "content" => match source.get("content") {
            Some(content) => {
                read_content(content, &source.path.name("content"), role, &within, reader)
            }
            None => Ok(()),
        },
        _ => {
            reader.members(&source, &["type", "media_type"], role, &within);
            Ok(())
        }
    }
}
