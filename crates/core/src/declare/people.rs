//! How a gate reaches people, as declared: its console, and webhooks.

use super::Gate;
use lockgate_types::CallId;
use schemars::JsonSchema;
use serde::Deserialize;

/// The pages for people, which every listener that reads tokens serves below `/console`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Console {
    /// Where people reach this gate, such as `https://gate.example`: for links, and for browsers
    /// that come through a proxy which ends TLS. Unset: the first listener that reads tokens.
    pub url: Option<String>,
}

impl Gate {
    /// Where people reach this gate, without a slash at its end. `None`: at no address that is
    /// known.
    pub fn console_url(&self) -> Option<String> {
        if let Some(url) = &self.console.url {
            return Some(url.trim_end_matches('/').to_owned());
        }
        let listen = self.listen.iter().find(|listen| listen.identity.is_none())?;
        let scheme = if listen.tls.is_some() { "https" } else { "http" };
        // Port 0 is another one at each start.
        (!listen.address.ends_with(":0")).then(|| format!("{scheme}://{}", listen.address))
    }

    /// The page of a request for approval.
    pub fn approval_page(&self, call: &CallId) -> Option<String> {
        self.console_url().map(|url| format!("{url}/console/approvals/{call}"))
    }
}
