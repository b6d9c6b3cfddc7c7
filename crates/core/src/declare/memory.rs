//! `[upstream.<name>.memory]`: what agents write down for later, as read.

use schemars::JsonSchema;
use serde::Deserialize;

/// A memory of the gate's own. Its tools are `remember`, `recall`, `list` and `forget`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Memory {
    /// What divides it besides tenant, environment and subject, which always do: `task` and
    /// `agent`.
    pub per: Vec<ScopeWord>,
    /// Memos of one subject in one scope.
    #[schemars(range(min = 1, max = 1000))]
    pub entries_max: u32,
    /// Bytes of one memo.
    #[schemars(range(min = 1, max = 16384))]
    pub entry_bytes_max: u32,
    /// Seconds after which a memo is forgotten.
    #[schemars(range(min = 1, max = 31622400))]
    pub ttl_s: u32,
    /// What it is for, for whoever remembers.
    pub description: Option<String>,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            per: vec![ScopeWord::Task],
            entries_max: 100,
            entry_bytes_max: 4096,
            ttl_s: 30 * 24 * 60 * 60,
            description: None,
        }
    }
}

/// What divides a memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ScopeWord {
    /// Each task has its own.
    Task,
    /// Each agent has its own.
    Agent,
}
