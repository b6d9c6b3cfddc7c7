//! `lockgate.toml`: which agents share what they have met, as read.

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;

/// What is kept of what sessions have met: for how long, and which agents share it. With this in
/// the bundle it is kept even while no policy asks for it.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Isolation {
    /// For how long, in seconds: a new session of a subject begins with what its agents' group has
    /// met within that time.
    #[serde(default = "default_window_s")]
    #[schemars(range(min = 1, max = 31_536_000))]
    pub window_s: u32,
    /// Agents that share memory or a workspace, by the name of their group. Agents of no group
    /// share the undeclared one.
    #[serde(default)]
    pub group: BTreeMap<String, IsolationGroup>,
}

/// Agents that share memory or a workspace with each other, and with no other.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IsolationGroup {
    /// Their names, as in `principals.toml`.
    pub agents: Vec<String>,
}

const fn default_window_s() -> u32 {
    crate::exposure::WINDOW_S
}
