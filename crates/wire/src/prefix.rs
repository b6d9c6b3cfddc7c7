//! Names on the endpoint of all upstreams: `helpdesk__create_refund`.
//!
//! The separator is made of characters that every client and model API accepts in a tool's name. An
//! upstream's name has no `_`, so the first `__` is the separator, whatever the tool is called.

use lockgate_types::UpstreamName;

/// Between upstream and name.
pub const SEPARATOR: &str = "__";

/// Bytes of the longest tool name that the protocol recommends.
pub const NAME_BYTES_MAX: usize = 128;

/// Bytes of the longest tool name that common model APIs accept.
pub const MODEL_NAME_BYTES_MAX: usize = 64;

/// The name on the endpoint of all upstreams.
pub fn join(upstream: &UpstreamName, name: &str) -> String {
    format!("{upstream}{SEPARATOR}{name}")
}

/// The upstream, and the name as the upstream knows it.
pub fn split(joined: &str) -> Option<(UpstreamName, &str)> {
    let (upstream, name) = joined.split_once(SEPARATOR)?;
    if name.is_empty() {
        return None;
    }
    Some((UpstreamName::new(upstream).ok()?, name))
}
