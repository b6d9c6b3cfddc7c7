//! Requests.

use super::{Cannot, Carried, arguments, array, block, member, members, object, only, text};
use crate::model::path::Path;
use lockgate_types::{Json, Object};

/// A request for chat completions as one for messages. Those need a bound of tokens: this one, if
/// the request has none.
pub fn request_to_messages(body: &Json, tokens_max: u32) -> Result<Json, Cannot> {
    let root = Path::default();
    let body = object(body, &root)?;
    let mut out = Object::new();
    let (mut choice, mut is_parallel) = (None, true);
    for (name, value, path) in members(body, &root) {
        match name {
            "model" | "top_p" | "stream" => out.set(name, value.clone()),
            "temperature" if is_up_to_one(value) => out.set(name, value.clone()),
            "temperature" => return Err(Cannot::at(&path, "there it goes up to 1")),
            "max_tokens" | "max_completion_tokens" => out.set("max_tokens", value.clone()),
            "stop" => out.set(
                "stop_sequences",
                match value {
                    Json::String(_) => vec![value.clone()],
                    _ => array(value, &path)?.to_vec(),
                },
            ),
            "user" => out.set("metadata", Object::new().with("user_id", text(value, &path)?)),
            "n" if value.as_i64() == Some(1) => {}
            "stream_options" => only(object(value, &path)?, &path, &["include_usage"])?,
            "messages" => {
                let (system, messages) = messages(array(value, &path)?, &path)?;
                if !system.is_empty() {
                    out.set("system", system);
                }
                out.set("messages", messages);
            }
            "tools" => {
                let tools = array(value, &path)?.iter().enumerate();
                let tools = tools.map(|(at, tool)| tool_to_messages(tool, &path.index(at)));
                out.set("tools", tools.collect::<Carried<Vec<Json>>>()?);
            }
            "tool_choice" => choice = Some(choice_to_messages(value, &path)?),
            "parallel_tool_calls" => is_parallel = value.as_bool() != Some(false),
            _ => return Err(Cannot::unknown(&path)),
        }
    }
    if !out.contains("max_tokens") {
        out.set("max_tokens", i64::from(tokens_max));
    }
    if !is_parallel && out.contains("tools") {
        let auto = Object::new().with("type", "auto");
        let chosen = choice.take().unwrap_or(auto);
        choice = Some(chosen.with("disable_parallel_tool_use", true));
    }
    Ok(out.with_some("tool_choice", choice).into())
}

fn is_up_to_one(value: &Json) -> bool {
    let Json::Number(number) = value else { return false };
    let text = number.text();
    let is_one = text.strip_prefix('1').is_some_and(|it| it.trim_matches(['.', '0']).is_empty());
    text.starts_with('0') && !text.contains(['e', 'E'])
        || is_one && (text.len() == 1 || text.contains('.'))
}

/// The system's text, and the messages: results of tools are the user's there.
fn messages(list: &[Json], path: &Path) -> Carried<(Vec<Json>, Vec<Json>)> {
    let (mut system, mut out): (Vec<Json>, Vec<Object>) = (Vec::new(), Vec::new());
    for (at, message) in list.iter().enumerate() {
        let path = path.index(at);
        let message = object(message, &path)?;
        let role = member(message, "role");
        let content = message.get("content").filter(|it| **it != Json::Null);
        let content = match content {
            Some(content) => blocks(content, &path.name("content"), role == "user")?,
            None => Vec::new(),
        };
        let (role, content) = match role {
            "system" | "developer" if out.is_empty() => {
                only(message, &path, &["role", "content"])?;
                system.extend(content);
                continue;
            }
            "system" | "developer" => {
                return Err(Cannot::at(&path, "the system speaks first there, and only then"));
            }
            "user" => {
                only(message, &path, &["role", "content"])?;
                ("user", content)
            }
            "assistant" => {
                only(message, &path, &["role", "content", "tool_calls"])?;
                ("assistant", with_calls(content, message, &path)?)
            }
            "tool" => {
                only(message, &path, &["role", "content", "tool_call_id"])?;
                let result = Object::new()
                    .with("type", "tool_result")
                    .with("tool_use_id", member(message, "tool_call_id"))
                    .with("content", content);
                ("user", vec![result.into()])
            }
            _ => return Err(Cannot::at(&path.name("role"), "there is no such role there")),
        };
        match out.last_mut().filter(|last| member(last, "role") == role) {
            Some(last) => {
                if let Some(Json::Array(before)) = last.get_mut("content") {
                    before.extend(content);
                }
            }
            None => out.push(Object::new().with("role", role).with("content", content)),
        }
    }
    Ok((system, out.into_iter().map(Json::from).collect()))
}

/// Content as blocks. Pictures are the user's only.
fn blocks(content: &Json, path: &Path, may_have_pictures: bool) -> Carried<Vec<Json>> {
    let parts = match content {
        Json::String(text) if text.is_empty() => return Ok(Vec::new()),
        Json::String(text) => return Ok(vec![block(text).into()]),
        other => array(other, path)?,
    };
    let carry = |(at, part): (usize, &Json)| {
        let path = path.index(at);
        let part = object(part, &path)?;
        match member(part, "type") {
            "text" => {
                only(part, &path, &["type", "text"])?;
                Ok(block(member(part, "text")).into())
            }
            "image_url" if may_have_pictures => {
                let path = path.name("image_url");
                let image = object(part.get("image_url").unwrap_or(&Json::Null), &path)?;
                only(image, &path, &["url"])?;
                let source = source(member(image, "url"), &path.name("url"))?;
                Ok(Object::new().with("type", "image").with("source", source).into())
            }
            _ => Err(Cannot::unknown(&path)),
        }
    };
    parts.iter().enumerate().map(carry).collect()
}

/// Where a picture comes from.
fn source(url: &str, path: &Path) -> Carried<Object> {
    let Some(rest) = url.strip_prefix("data:") else {
        return Ok(Object::new().with("type", "url").with("url", url));
    };
    match rest.split_once(";base64,") {
        Some((kind, bytes)) => {
            Ok(Object::new().with("type", "base64").with("media_type", kind).with("data", bytes))
        }
        None => Err(Cannot::at(path, "a picture within an address is in base64 there")),
    }
}

fn with_calls(mut content: Vec<Json>, message: &Object, path: &Path) -> Carried<Vec<Json>> {
    let path = path.name("tool_calls");
    let calls = message.get("tool_calls").and_then(Json::as_array).unwrap_or_default();
    for (at, call) in calls.iter().enumerate() {
        let path = path.index(at);
        let call = object(call, &path)?;
        only(call, &path, &["id", "type", "function", "index"])?;
        let inner = path.name("function");
        let function = object(call.get("function").unwrap_or(&Json::Null), &inner)?;
        only(function, &inner, &["name", "arguments"])?;
        let input = arguments(member(function, "arguments"), &inner.name("arguments"))?;
        let block = Object::new()
            .with("type", "tool_use")
            .with("id", member(call, "id"))
            .with("name", member(function, "name"))
            .with("input", input);
        content.push(block.into());
    }
    Ok(content)
}

fn tool_to_messages(tool: &Json, path: &Path) -> Carried<Json> {
    let tool = object(tool, path)?;
    if member(tool, "type") != "function" {
        return Err(Cannot::unknown(path));
    }
    only(tool, path, &["type", "function"])?;
    let path = path.name("function");
    let function = object(tool.get("function").unwrap_or(&Json::Null), &path)?;
    only(function, &path, &["name", "description", "parameters", "strict"])?;
    let given = |name: &str| function.get(name).filter(|it| **it != Json::Null).cloned();
    let any = || Object::new().with("type", "object").with("properties", Object::new()).into();
    Ok(Object::new()
        .with("name", member(function, "name"))
        .with_some("description", given("description"))
        .with("input_schema", given("parameters").unwrap_or_else(any))
        .with_some("strict", given("strict"))
        .into())
}

fn choice_to_messages(choice: &Json, path: &Path) -> Carried<Object> {
    let kind = |kind: &str| Ok(Object::new().with("type", kind));
    match choice.as_str() {
        Some("auto") => return kind("auto"),
        Some("none") => return kind("none"),
        Some("required") => return kind("any"),
        Some(_) => return Err(Cannot::unknown(path)),
        None => {}
    }
    let choice = object(choice, path)?;
    match (member(choice, "type"), choice.get("function").and_then(Json::as_object)) {
        ("function", Some(function)) => {
            Ok(Object::new().with("type", "tool").with("name", member(function, "name")))
        }
        _ => Err(Cannot::unknown(path)),
    }
}

/// A request for messages as one for chat completions.
pub fn request_to_chat(body: &Json) -> Result<Json, Cannot> {
    let root = Path::default();
    let body = object(body, &root)?;
    let mut out = Object::new();
    let mut list: Vec<Json> = Vec::new();
    if let Some(system) = body.get("system").filter(|it| **it != Json::Null) {
        let path = root.name("system");
        let parts = parts(system, &path)?;
        list.push(Object::new().with("role", "system").with("content", parts).into());
    }
    for (name, value, path) in members(body, &root) {
        match name {
            "model" | "temperature" | "top_p" => out.set(name, value.clone()),
            "stream" => {
                out.set(name, value.clone());
                if value.as_bool() == Some(true) {
                    out.set("stream_options", Object::new().with("include_usage", true));
                }
            }
            "max_tokens" => out.set("max_completion_tokens", value.clone()),
            "stop_sequences" => out.set("stop", value.clone()),
            "metadata" => {
                let metadata = object(value, &path)?;
                only(metadata, &path, &["user_id"])?;
                out = out.with_some("user", metadata.get("user_id").cloned());
            }
            "system" => {}
            "messages" => {
                for (at, message) in array(value, &path)?.iter().enumerate() {
                    message_to_chat(message, &path.index(at), &mut list)?;
                }
            }
            "tools" => {
                let tools = array(value, &path)?.iter().enumerate();
                let tools = tools.map(|(at, tool)| tool_to_chat(tool, &path.index(at)));
                out.set("tools", tools.collect::<Carried<Vec<Json>>>()?);
            }
            "tool_choice" => choice_to_chat(object(value, &path)?, &path, &mut out)?,
            "thinking" if value.get("type").and_then(Json::as_str) == Some("disabled") => {}
            _ => return Err(Cannot::unknown(&path)),
        }
    }
    out.set("messages", list);
    Ok(out.into())
}

/// Text as a string, or as parts if there are several.
fn parts(content: &Json, path: &Path) -> Carried<Json> {
    let blocks = match content {
        Json::String(_) => return Ok(content.clone()),
        other => array(other, path)?,
    };
    let carry = |(at, part): (usize, &Json)| {
        let path = path.index(at);
        let part = object(part, &path)?;
        match member(part, "type") {
            "text" => {
                only(part, &path, &["type", "text", "cache_control"])?;
                Ok(block(member(part, "text")).into())
            }
            "image" => {
                let path = path.name("source");
                let source = object(part.get("source").unwrap_or(&Json::Null), &path)?;
                let url = match member(source, "type") {
                    "url" => member(source, "url").to_owned(),
                    "base64" => format!(
                        "data:{};base64,{}",
                        member(source, "media_type"),
                        member(source, "data")
                    ),
                    _ => return Err(Cannot::unknown(&path)),
                };
                let image = Object::new().with("url", url);
                Ok(Object::new().with("type", "image_url").with("image_url", image).into())
            }
            _ => Err(Cannot::unknown(&path)),
        }
    };
    let parts = blocks.iter().enumerate().map(carry).collect::<Carried<Vec<Json>>>()?;
    Ok(parts.into())
}

fn message_to_chat(message: &Json, path: &Path, out: &mut Vec<Json>) -> Carried<()> {
    let message = object(message, path)?;
    only(message, path, &["role", "content"])?;
    let role = member(message, "role");
    let path = path.name("content");
    let content = message.get("content").unwrap_or(&Json::Null);
    let blocks = match content {
        Json::String(_) => {
            let said = Object::new().with("role", role).with("content", content.clone());
            out.push(said.into());
            return Ok(());
        }
        other => array(other, &path)?,
    };
    let (mut said, mut calls): (Vec<Json>, Vec<Json>) = (Vec::new(), Vec::new());
    for (at, part) in blocks.iter().enumerate() {
        let path = path.index(at);
        let part = object(part, &path)?;
        match (role, member(part, "type")) {
            ("user" | "assistant", "text") | ("user", "image") => {
                if !calls.is_empty() {
                    return Err(Cannot::at(&path, "words come before calls there"));
                }
                let one = Json::Array(vec![Json::Object(part.clone())]);
                if let Json::Array(parts) = parts(&one, &path)? {
                    said.extend(parts);
                }
            }
            ("assistant", "tool_use") => {
                only(part, &path, &["type", "id", "name", "input", "cache_control"])?;
                let input = part.get("input").map_or_else(|| "{}".to_owned(), Json::to_string);
                let function =
                    Object::new().with("name", member(part, "name")).with("arguments", input);
                let call = Object::new().with("id", member(part, "id")).with("type", "function");
                calls.push(call.with("function", function).into());
            }
            ("user", "tool_result") => {
                if !said.is_empty() {
                    return Err(Cannot::at(&path, "results come before words there"));
                }
                out.push(result_to_chat(part, &path)?.into());
            }
            _ => return Err(Cannot::unknown(&path)),
        }
    }
    if said.is_empty() && calls.is_empty() {
        return Ok(());
    }
    let content = if said.is_empty() { Json::Null } else { said.into() };
    let message = Object::new().with("role", role).with("content", content);
    let calls = (!calls.is_empty()).then_some(calls);
    out.push(message.with_some("tool_calls", calls).into());
    Ok(())
}

fn result_to_chat(part: &Object, path: &Path) -> Carried<Object> {
    only(part, path, &["type", "tool_use_id", "content", "is_error", "cache_control"])?;
    if part.get("is_error").and_then(Json::as_bool) == Some(true) {
        return Err(Cannot::at(&path.name("is_error"), "a result cannot say that it is an error"));
    }
    let empty = Json::from("");
    let content = parts(part.get("content").unwrap_or(&empty), &path.name("content"))?;
    let is_picture = |it: &Json| it.get("type").and_then(Json::as_str) == Some("image_url");
    if content.as_array().is_some_and(|parts| parts.iter().any(is_picture)) {
        return Err(Cannot::at(&path.name("content"), "a result is text there"));
    }
    Ok(Object::new()
        .with("role", "tool")
        .with("tool_call_id", member(part, "tool_use_id"))
        .with("content", content))
}

fn tool_to_chat(tool: &Json, path: &Path) -> Carried<Json> {
    let tool = object(tool, path)?;
    if !matches!(member(tool, "type"), "" | "custom") {
        return Err(Cannot::unknown(path));
    }
    let known = ["type", "name", "description", "input_schema", "strict", "cache_control"];
    only(tool, path, &known)?;
    let given = |name: &str| tool.get(name).filter(|it| **it != Json::Null).cloned();
    let function = Object::new()
        .with("name", member(tool, "name"))
        .with_some("description", given("description"))
        .with_some("parameters", given("input_schema"))
        .with_some("strict", given("strict"));
    Ok(Object::new().with("type", "function").with("function", function).into())
}

fn choice_to_chat(choice: &Object, path: &Path, out: &mut Object) -> Carried<()> {
    only(choice, path, &["type", "name", "disable_parallel_tool_use"])?;
    let choice_out: Json = match member(choice, "type") {
        "auto" => "auto".into(),
        "none" => "none".into(),
        "any" => "required".into(),
        "tool" => {
            let function = Object::new().with("name", member(choice, "name"));
            Object::new().with("type", "function").with("function", function).into()
        }
        _ => return Err(Cannot::unknown(path)),
    };
    out.set("tool_choice", choice_out);
    if choice.get("disable_parallel_tool_use").and_then(Json::as_bool) == Some(true) {
        out.set("parallel_tool_calls", false);
    }
    Ok(())
}
