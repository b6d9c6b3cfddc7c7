//! `[upstream.<name>.api]`: an HTTP API, as read.

use super::database::ArgumentWord;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// An HTTP API. Its operations are endpoints: of an OpenAPI document, or described here. What they
/// do is declared in `operations/<upstream>.toml`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Api {
    /// Where it is: `https://api.example/v1`. Everything is asked of this host, below this path;
    /// `servers` of an OpenAPI document mean nothing.
    pub base_url: String,
    /// Its OpenAPI document (3.0 or 3.1, JSON): a file of the bundle, such as `apis/tickets.json`.
    pub openapi: Option<String>,
    /// Endpoints that are described here, by the name of the tool.
    #[serde(default)]
    pub tool: BTreeMap<String, ApiTool>,
}

/// An endpoint.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiTool {
    /// The method.
    pub method: MethodWord,
    /// The path below `base_url`, with `{name}` where an argument stands.
    pub path: String,
    /// What it is for, as models read it.
    pub description: Option<String>,
    /// Its arguments, by name.
    #[serde(default)]
    pub argument: BTreeMap<String, ApiArgument>,
}

/// An argument of an endpoint.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiArgument {
    /// Where it goes.
    #[serde(rename = "in")]
    pub place: PlaceWord,
    /// What it is called there, if that is not its own name.
    pub name: Option<String>,
    /// What it is. One of `type` and `schema`.
    #[serde(rename = "type")]
    pub kind: Option<ArgumentWord>,
    /// Its JSON Schema, as JSON text.
    pub schema: Option<String>,
    /// What it means, for whoever calls.
    pub description: Option<String>,
    /// Whether it may be left out.
    #[serde(default)]
    pub optional: bool,
}

/// The word for a method of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the words are those of HTTP")]
pub enum MethodWord {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
}

impl MethodWord {
    /// Every method.
    pub const ALL: [Self; 6] =
        [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete];

    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    /// Whether it is said to change nothing.
    pub const fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head)
    }
}

/// Where an argument goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PlaceWord {
    /// Into the path, where it says `{name}`: one segment, or a part of one.
    Path,
    /// Into the query.
    Query,
    /// Into a header.
    Header,
    /// Into the JSON object that is the body, as a member.
    Body,
}
