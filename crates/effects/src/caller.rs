//! As whom the gate speaks to an upstream.

use lockgate_types::identity::Identity;
use lockgate_types::{Digest, Json, Object};
use lockgate_wire::{Era, era};
use std::sync::Arc;

/// The caller's own protocol face, forwarded to the upstream as it is.
///
/// An upstream sees what the caller declared, never what the gate could do. The caller's token is
/// not in here: this lives as long as a session, a token as long as its request.
#[derive(Clone, Debug)]
pub struct Caller {
    /// What isolates this caller: there is one upstream session, or one child process, for each
    /// key.
    pub session_key: String,
    /// For whom and by whom it is, for credentials that depend on it. `None`: the gate itself.
    pub identity: Option<Arc<Identity>>,
    /// The era the caller speaks.
    pub era: Era,
    /// The protocol version the caller speaks.
    pub protocol_version: String,
    /// The caller's `clientInfo`, as it was sent.
    pub client_info: Option<Json>,
    /// The caller's capabilities, as they were sent.
    pub capabilities: Object,
    /// The level of log messages the caller asked for, in the stateless era.
    pub log_level: Option<String>,
}

/// What the gate calls itself where a caller says nothing.
pub(crate) fn own_client_info() -> Json {
    Object::new().with("name", "lockgate").with("version", env!("CARGO_PKG_VERSION")).into()
}

impl Default for Caller {
    /// The gate's own face: no capabilities, newest version with sessions.
    fn default() -> Self {
        Self {
            session_key: "lockgate".to_owned(),
            identity: None,
            era: Era::Sessions,
            protocol_version: era::V2025_11_25.to_owned(),
            client_info: None,
            capabilities: Object::new(),
            log_level: None,
        }
    }
}

impl Caller {
    /// Whoever has the same key sees the same catalogue.
    pub(crate) fn catalogue_key(&self) -> String {
        let capabilities = self.capabilities.to_canonical();
        let version = self.version_in(self.era);
        format!("catalogue {} {version} {}", self.era.as_str(), Digest::of(&capabilities).short())
    }

    /// The gate's own face, with what this caller declared: for lists, never for calls.
    pub(crate) fn for_catalogue(&self) -> Self {
        Self {
            session_key: self.catalogue_key(),
            identity: None,
            era: self.era,
            protocol_version: self.protocol_version.clone(),
            client_info: Some(own_client_info()),
            capabilities: self.capabilities.clone(),
            log_level: None,
        }
    }

    /// The version this caller is given a voice in where the upstream speaks that era.
    pub(crate) fn version_in(&self, era: Era) -> &str {
        match era {
            _ if self.era == era => &self.protocol_version,
            Era::Sessions => era::V2025_11_25,
            Era::Stateless => era::V2026_07_28,
        }
    }

    /// The caller's `clientInfo`, or the gate's.
    pub(crate) fn info(&self) -> Json {
        self.client_info.clone().unwrap_or_else(own_client_info)
    }
}
