//! Names that a switch or posture is about: whether they could be anything's, and whether anything
//! here has them.
//!
//! What is not there yet can be stopped: it may come. But who has misspelt a name in a hurry has
//! stopped nothing, and is told so.

use super::problem::Problem;
use super::{Parts, risk};
use lockgate_core::World;
use lockgate_core::bundle::nearest;
use lockgate_store::LOGS_READ_MAX;
use lockgate_types::facts::Switch;
use lockgate_types::{AgentId, Code, Environment, OperationName, Tenant, UpstreamName};

/// A name that nothing here has.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unknown {
    /// The one that may have been meant.
    pub(super) meant: Option<String>,
}

/// Refuses a switch that nothing could ever come under.
pub(super) fn check_form(switch: &Switch) -> Result<(), Problem> {
    let name = switch.name.as_str();
    let is_one = match switch.scope.as_str() {
        "tenant" => Tenant::new(name).is_ok(),
        "environment" => Environment::new(name).is_ok(),
        "agent" => AgentId::new(name).is_ok(),
        "tool" => UpstreamName::new(name).is_ok(),
        "operation" => is_operation(name),
        "session" => risk::is_session(name),
        _ => true,
    };
    if is_one {
        return Ok(());
    }
    let expected = match switch.scope.as_str() {
        "operation" => "`upstream/tool` is expected, or `upstream:method`",
        "session" => "it is named as records name it: `s_` and 32 hexadecimal digits",
        "tool" => "the name of an upstream is expected: lower-case letters, digits and `-`",
        _ => "lower-case letters, digits and `-` are expected",
    };
    let short: String = name.chars().take(80).collect();
    let reason = format!("`{short}` is no name of {}: {expected}", with_article(&switch.scope));
    Err(Problem::because(Code::AdminBadRequest, reason))
}

fn with_article(scope: &str) -> String {
    let article = if scope.starts_with(['a', 'e', 'o']) { "an" } else { "a" };
    format!("{article} {scope}")
}

fn is_operation(name: &str) -> bool {
    let parts = name.split_once(['/', ':']);
    OperationName::new(name).is_ok()
        && parts.is_some_and(|(of, what)| UpstreamName::new(of).is_ok() && !what.is_empty())
}

impl Parts {
    /// Whether nothing here has a name. What cannot be found out counts as known.
    pub(super) async fn unknown(&self, scope: &str, name: &str) -> Option<Unknown> {
        let world = self.kernel.world()?;
        let known = match scope {
            "tenant" => self.tenants(&world).await?,
            _ => names(&world, scope)?,
        };
        if known.iter().any(|known| known == name) {
            return None;
        }
        Some(Unknown { meant: nearest(name, &known).map(str::to_owned) })
    }

    /// Tenants that the bundle names, and those that have come with a token and have a log. `None`:
    /// there may be more.
    async fn tenants(&self, world: &World) -> Option<Vec<String>> {
        let with_logs = self.kernel.store().tenants_with_logs("").await.ok()?;
        if with_logs.len() >= usize::try_from(LOGS_READ_MAX).unwrap_or(usize::MAX) {
            return None;
        }
        let of_sources = world.sources.values().filter_map(|source| source.tenant.clone());
        let of_logs = with_logs.iter().map(ToString::to_string);
        Some(of_logs.chain(of_sources).chain([world.tenant.to_string()]).collect())
    }
}

/// The names that the bundle has. `None`: it does not say.
fn names(world: &World, scope: &str) -> Option<Vec<String>> {
    match scope {
        "agent" => Some(world.principals.agent.keys().cloned().collect()),
        "environment" => {
            let of_agents = world.principals.agent.values().flat_map(|agent| &agent.environments);
            Some(of_agents.cloned().chain([world.environment.to_string()]).collect())
        }
        "tool" => {
            let of_operations = world.operations.values().map(|it| it.upstream.to_string());
            Some(of_operations.chain(world.gate.upstream.keys().cloned()).collect())
        }
        "operation" => Some(world.operations.keys().map(ToString::to_string).collect()),
        _ => None,
    }
}
