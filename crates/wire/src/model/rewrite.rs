//! Changes of a request in its place. What is not changed stays as it came, byte for byte but for
//! space between tokens.

use super::path::{Path, Step};
use super::shape::Malformed;
use lockgate_types::model::{Family, ModelApi};
use lockgate_types::{Json, Object};

/// Puts a text where another stands.
pub fn replace_text(body: &mut Json, path: &Path, text: String) -> Result<(), Malformed> {
    match path.get_mut(body) {
        Some(slot @ Json::String(_)) => {
            *slot = Json::String(text);
            Ok(())
        }
        _ => Err(Malformed::at(path, "a string")),
    }
}

/// Calls back with every string at or below a place, and puts what it answers in its place: for
/// arguments and results that are objects.
pub fn each_text(body: &mut Json, path: &Path, change: &mut dyn FnMut(&str) -> Option<String>) {
    if let Some(value) = path.get_mut(body) {
        each(value, change);
    }
}

pub(super) fn each(value: &mut Json, change: &mut dyn FnMut(&str) -> Option<String>) {
    match value {
        Json::String(text) => {
            if let Some(other) = change(text) {
                *text = other;
            }
        }
        Json::Array(items) => items.iter_mut().for_each(|item| each(item, change)),
        Json::Object(object) => object.iter_mut().for_each(|(_, value)| each(value, change)),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}

/// Asks for another model.
pub fn set_model(body: &mut Json, model: &str) {
    if let Some(object) = body.as_object_mut() {
        object.set("model", model);
    }
}

/// Takes tools out, by the places at which they are offered. A choice that names one of them would
/// be refused by the provider, so it goes too; and so do the tools of a server that went.
pub fn remove_tools(body: &mut Json, tools: &[Path]) {
    let mut gone: Vec<Json> = Vec::new();
    let mut paths: Vec<&Path> = tools.iter().collect();
    // From the last, so that the indexes before it stay true.
    paths.sort_unstable_by(|one, other| other.cmp(one));
    for path in paths {
        let Some((parent, last)) = path.split_last() else { continue };
        let removed = match (parent.get_mut(body), last) {
            (Some(Json::Array(items)), Step::Index(at)) if *at < items.len() => {
                Some(items.remove(*at))
            }
            (Some(Json::Object(object)), Step::Name(name)) => object.remove(name),
            _ => None,
        };
        gone.extend(removed);
    }
    let Some(object) = body.as_object_mut() else { return };
    let names: Vec<&str> = gone.iter().filter_map(|it| it.get("name")?.as_str()).collect();
    if let Some(Json::Array(items)) = object.get_mut("tools") {
        let server = |it: &Json| it.get("mcp_server_name")?.as_str().map(str::to_owned);
        items.retain(|it| server(it).is_none_or(|server| !names.contains(&server.as_str())));
    }
    for name in ["tools", "functions", "mcp_servers"] {
        if object.get(name).and_then(Json::as_array).is_some_and(<[Json]>::is_empty) {
            object.remove(name);
        }
    }
    let has_tools = object.contains("tools") || object.contains("functions");
    for name in ["tool_choice", "function_call"] {
        let is_void = object
            .get(name)
            .is_some_and(|it| !has_tools || gone.iter().any(|tool| chooses(it, tool)));
        if is_void {
            object.remove(name);
        }
    }
    if !has_tools {
        object.remove("parallel_tool_calls");
    }
}

/// Whether a choice names a tool: by its name, its server's, or, where it has neither, its type.
fn chooses(choice: &Json, tool: &Json) -> bool {
    let texts = |value: &Json, names: &[&str]| -> Vec<String> {
        let inner = [Some(value), value.get("function"), value.get("custom")];
        let all = inner.into_iter().flatten();
        let found = all.flat_map(|it| names.iter().filter_map(|name| it.get(name)?.as_str()));
        found.map(str::to_owned).collect()
    };
    let of_tool = match texts(tool, &["name", "server_label"]) {
        none if none.is_empty() => texts(tool, &["type"]),
        names => names,
    };
    let of_choice = texts(choice, &["name", "server_label", "type"]);
    let listed = choice.get("tools").or_else(|| choice.at(&["allowed_tools", "tools"]));
    let is_listed =
        listed.and_then(Json::as_array).is_some_and(|all| all.iter().any(|it| chooses(it, tool)));
    is_listed || of_choice.iter().any(|it| of_tool.contains(it))
}

/// Puts another tool where one is offered.
pub fn replace_tool(body: &mut Json, path: &Path, tool: Object) -> Result<(), Malformed> {
    match path.get_mut(body) {
        Some(slot @ Json::Object(_)) => {
            *slot = Json::Object(tool);
            Ok(())
        }
        _ => Err(Malformed::at(path, "an object")),
    }
}

/// Has the provider ask before each call of one of its servers' tools. Only `mcp` knows that.
pub fn require_approval(body: &mut Json, path: &Path) -> Result<(), Malformed> {
    let tool = path.get_mut(body).and_then(Json::as_object_mut);
    match tool.filter(|tool| tool.get("type").and_then(Json::as_str) == Some("mcp")) {
        Some(tool) => {
            tool.set("require_approval", "always");
            Ok(())
        }
        None => Err(Malformed::at(path, "a tool of type `mcp`")),
    }
}

/// Adds an instruction behind all that the client itself says as the system. What the client says
/// first stays first and alone: prompt caches, and providers that read it, depend on it.
pub fn add_instruction(api: ModelApi, body: &mut Json, text: &str) -> Result<(), Malformed> {
    let Some(object) = body.as_object_mut() else {
        return Err(Malformed::at(&Path::default(), "an object"));
    };
    match (api, api.family()) {
        (ModelApi::ChatCompletions, _) => add_message(object, text),
        (_, Family::Anthropic) => {
            let block =
                |text: &str| Json::from(Object::new().with("type", "text").with("text", text));
            let blocks = match object.remove("system") {
                None | Some(Json::Null) => vec![block(text)],
                Some(Json::String(first)) => vec![block(&first), block(text)],
                Some(Json::Array(mut blocks)) => {
                    blocks.push(block(text));
                    blocks
                }
                Some(_) => return Err(Malformed::at(&Path::default().name("system"), "text")),
            };
            object.set("system", blocks);
            Ok(())
        }
        (ModelApi::Responses, _) => {
            let path = Path::default().name("instructions");
            match object.get("instructions") {
                None | Some(Json::Null) => object.set("instructions", text),
                Some(Json::String(first)) => {
                    let whole = format!("{first}\n\n{text}");
                    object.set("instructions", whole);
                }
                Some(_) => return Err(Malformed::at(&path, "a string")),
            }
            Ok(())
        }
        _ => Err(Malformed::at(&Path::default(), "a request that takes instructions")),
    }
}

/// Behind the last message of the system at the beginning, with its role.
fn add_message(object: &mut Object, text: &str) -> Result<(), Malformed> {
    let Some(Json::Array(messages)) = object.get_mut("messages") else {
        return Err(Malformed::at(&Path::default().name("messages"), "an array"));
    };
    let role = |it: &Json| it.get("role").and_then(Json::as_str).map(str::to_owned);
    let leads = |it: &&Json| matches!(role(it).as_deref(), Some("system" | "developer"));
    let at = messages.iter().take_while(leads).count();
    let before = at.checked_sub(1).and_then(|at| role(messages.get(at)?));
    let role = before.unwrap_or_else(|| "system".to_owned());
    messages.insert(at, Object::new().with("role", role).with("content", text).into());
    Ok(())
}
