//! `operations/*.toml`: what of a server itself was accepted, as read.

use schemars::JsonSchema;
use serde::Deserialize;

/// What was accepted of a server, besides its tools.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// The digest of the accepted instructions, or of there being none. Others are withheld, and
    /// calls of the server's tools are refused. Without it any instructions pass in which nothing
    /// is found.
    pub instructions_pin: Option<String>,
    /// What was found in the instructions, or in what the server says it is, and is accepted all
    /// the same: `found <class>`.
    #[serde(default)]
    pub despite: Vec<String>,
    /// Digests of prompts, resources and templates that are accepted although something was found
    /// in them.
    #[serde(default)]
    pub items: Vec<String>,
}
