//! How a gate reaches people, as declared: its console, and webhooks.

use super::{Gate, Secret};
use crate::caps::FOR_THE_CAP;
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

/// A channel that is told of requests for approval, and may answer them: a chat tool, by a small
/// adapter. Both ways are signed as Standard Webhooks say.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// A name, for records and for the address at which it answers: `/webhook/<name>`. It answers
    /// as the user `channel:<name>`.
    pub name: String,
    /// Where it is told: an `https` address, or `http` on loopback.
    pub url: String,
    /// Where the secret is that signs both ways: `whsec_` and base64.
    pub secret: Secret,
    /// Where a second secret is, while the first is being replaced: both sign, and either is taken.
    pub next_secret: Option<Secret>,
    /// Networks it may be in although they are not public, such as `10.0.0.0/8`: for names that
    /// resolve to them.
    #[serde(default)]
    pub allow_networks: Vec<String>,
    /// The requirements that it is told of, such as `group:finance`. Unset: all.
    #[serde(default)]
    pub requirements: Vec<String>,
    /// Whether it is told the arguments of what waits: then the channel has them too.
    #[serde(default)]
    pub arguments: bool,
    /// Whether it is told that a cap has come to its `alert_percent`.
    #[serde(default)]
    pub alerts: bool,
}

impl Webhook {
    /// Whether it is told of a request that needs this: `2 of group:finance` is for
    /// `group:finance`, and so is what lifts a cap.
    pub fn is_told_of(&self, requirement: &str) -> bool {
        let who = requirement.split_once(FOR_THE_CAP).map_or(requirement, |(who, _)| who);
        let who = who.split_once(" of ").map_or(who, |(_, who)| who.trim());
        let is_wanted = |wanted: &String| wanted == requirement || wanted == who;
        self.requirements.is_empty() || self.requirements.iter().any(is_wanted)
    }
}

impl Gate {
    /// The webhook of that name.
    pub fn webhook(&self, name: &str) -> Option<&Webhook> {
        self.webhook.iter().find(|webhook| webhook.name == name)
    }

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
