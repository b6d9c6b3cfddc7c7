//! `[limits]`: the bounds of the gate that whoever runs it may want otherwise.

use schemars::JsonSchema;
use serde::Deserialize;

/// Bounds of the gate. Every one has a default.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Bytes of a request body.
    #[schemars(range(min = 1024, max = 16777216))]
    pub body_bytes_max: u32,
    /// Bytes of an upstream's message.
    #[schemars(range(min = 1024, max = 16777216))]
    pub answer_bytes_max: u32,
    /// Open sessions of all clients.
    #[schemars(range(min = 1, max = 1000000))]
    pub sessions_max: u32,
    /// Open sessions of one identity.
    #[schemars(range(min = 1, max = 1000000))]
    pub sessions_per_identity_max: u32,
    /// Idle milliseconds after which a session is closed.
    #[schemars(range(min = 1000, max = 604800000))]
    pub session_idle_ms: u32,
    /// Open connections.
    #[schemars(range(min = 1, max = 1000000))]
    pub connections_max: u32,
    /// Milliseconds a client may take to send a request's head, and again its body.
    #[schemars(range(min = 100, max = 600000))]
    pub request_read_ms: u32,
    /// Milliseconds for which a request for approval waits, and an approval can be used.
    #[schemars(range(min = 1000, max = 604800000))]
    pub approval_ms: u32,
    /// Milliseconds for which a call waits for people while its client waits for it, where the
    /// client can be told of it. 0: it never does.
    #[schemars(range(min = 0, max = 3600000))]
    pub approval_wait_ms: u32,
    /// Calls that wait so at once, of all clients; of one agent a fourth.
    #[schemars(range(min = 1, max = 65536))]
    pub approval_waits_max: u32,
    /// Milliseconds for which a plan can be taken up. Less than a day, for which the gate remembers
    /// that it was.
    #[schemars(range(min = 1000, max = 43200000))]
    pub plan_ms: u32,
    /// Milliseconds for which work that is ready may stand waiting for its turn: beyond, new calls
    /// are turned away. 0: never.
    #[schemars(range(min = 0, max = 60000))]
    pub lag_ms_max: u32,
    /// Records waiting to be committed.
    #[schemars(range(min = 1, max = 1000000))]
    pub commit_queue_max: u32,
    /// Milliseconds for which a node of a fleet lets things leave without asking what holds.
    #[schemars(range(min = 20, max = 3000))]
    pub lease_ms: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 4 << 20,
            answer_bytes_max: 16 << 20,
            sessions_max: 10_000,
            sessions_per_identity_max: 256,
            session_idle_ms: 30 * 60_000,
            connections_max: 4096,
            request_read_ms: 15_000,
            approval_ms: 60 * 60_000,
            approval_wait_ms: 45_000,
            approval_waits_max: 256,
            plan_ms: 10 * 60_000,
            lag_ms_max: 2,
            commit_queue_max: 4096,
            lease_ms: 200,
        }
    }
}
