//! The tools that a request offers to the model.

use super::super::path::Path;
use super::super::shape::{Malformed, Shape};
use lockgate_types::Json;

/// A tool that the model may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offered<'a> {
    /// Where it is offered.
    pub path: Path,
    /// What the model calls it by. What a provider has built in goes by its type.
    pub name: &'a str,
    /// What the model is told about it.
    pub description: Option<&'a str>,
    /// The JSON Schema of its arguments.
    pub schema: Option<&'a Json>,
    /// Set if it is not a function that the client declares and runs by itself.
    pub hosted: Option<Hosted<'a>>,
}

/// What a provider defines, and in most cases runs, so that no call of it comes by here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hosted<'a> {
    /// Its type: `mcp`, `web_search_preview`, `code_interpreter`, …
    pub kind: &'a str,
    /// What the provider calls the server by: `server_label`, `name` or `mcp_server_name`.
    pub server: Option<&'a str>,
    /// Where the provider goes: `server_url`, `url` or `connector_id`.
    pub address: Option<&'a str>,
    /// When the provider asks before it calls; absent, as it likes.
    pub require_approval: Option<&'a Json>,
    /// The tools of a server that may be called; absent, all.
    pub allowed_tools: Option<&'a Json>,
}

/// What a function's `type` may be, where it has one.
const FUNCTIONS: &[&str] = &["", "function", "custom"];

/// Reads `tools`. A function of the chat API has a member of its own for what it is.
pub(super) fn read<'a>(body: &Shape<'a>, tools: &mut Vec<Offered<'a>>) -> Result<(), Malformed> {
    for tool in body.shapes("tools")? {
        let tool = tool.unambiguous(&["type", "name", "function", "custom", "server_url"])?;
        let kind = tool.kind()?;
        if !FUNCTIONS.contains(&kind) {
            tools.push(hosted(&tool, kind)?);
            continue;
        }
        let inner = match tool.shape("function")? {
            Some(inner) => Some(inner),
            None => tool.shape("custom")?,
        };
        let offered = function(inner.as_ref().unwrap_or(&tool))?;
        tools.push(Offered { path: tool.path, ..offered });
    }
    Ok(())
}

/// What describes a function that the client runs.
pub(super) fn function<'a>(shape: &Shape<'a>) -> Result<Offered<'a>, Malformed> {
    let Some(name) = shape.text("name")? else {
        return Err(Malformed::at(&shape.path.name("name"), "a string"));
    };
    Ok(Offered {
        path: shape.path.clone(),
        name,
        description: shape.text("description")?,
        schema: ["parameters", "input_schema"].iter().find_map(|it| shape.get(it)),
        hosted: None,
    })
}

/// What the provider knows by its type.
pub(super) fn hosted<'a>(shape: &Shape<'a>, kind: &'a str) -> Result<Offered<'a>, Malformed> {
    let first = |names: &[&str]| -> Result<Option<&'a str>, Malformed> {
        for name in names {
            if let Some(text) = shape.text(name)? {
                return Ok(Some(text));
            }
        }
        Ok(None)
    };
    let hosted = Hosted {
        kind,
        server: first(&["server_label", "mcp_server_name", "name"])?,
        address: first(&["server_url", "url", "connector_id"])?,
        require_approval: shape.get("require_approval"),
        allowed_tools: shape.get("allowed_tools"),
    };
    Ok(Offered {
        path: shape.path.clone(),
        name: hosted.server.unwrap_or(kind),
        description: first(&["description", "server_description"])?,
        schema: None,
        hosted: Some(hosted),
    })
}
