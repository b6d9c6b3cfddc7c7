//! How much of the caps is used, and what rates there are.

use super::problem::Problem;
use super::{Asked, Parts, Reading};
use lockgate_core::World;
use lockgate_core::caps::{Charge, counter, unit};
use lockgate_core::declare::{Cap, CapScope};
use lockgate_core::rate::Pace;
use lockgate_types::{Code, Micros};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// The limits of the bundle.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Limits {
    caps: Vec<CapUse>,
    rates: Vec<RateOf>,
}

/// A cap, and how much of it is used by one of those that it counts apart.
#[derive(Serialize, JsonSchema)]
struct CapUse {
    name: String,
    /// What has a counter of its own.
    per: CapScope,
    /// Whose counter this is. Absent where the question does not say whose.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    /// How much of it is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    used: Option<i64>,
    /// How much there is.
    max: i64,
    /// When the counter begins anew: microseconds since 1970 UTC. Absent where it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    resets_at: Option<i64>,
    /// Who can lift it for one call.
    #[serde(skip_serializing_if = "Option::is_none")]
    escalate: Option<String>,
}

/// A rate.
#[derive(Serialize, JsonSchema)]
struct RateOf {
    name: String,
    /// What has a bucket of its own.
    per: CapScope,
    /// How many it lets through, for people.
    pace: String,
}

pub(super) async fn read(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || Reading::typed(&parts.limits(&asked).await?);
    parts.govern(&asked, "limits_read", perform).await
}

impl Parts {
    async fn limits(&self, asked: &Asked) -> Result<Limits, Problem> {
        let world = self.kernel.world().ok_or(Code::NoBundle)?;
        let now = self.kernel.clock().now();
        let caps: Vec<(&Cap, Option<Named>)> =
            world.gate.cap.iter().map(|cap| (cap, whose(cap.per, asked))).collect();
        let known = |(cap, named): &(&Cap, Option<Named>)| {
            Some(counter(cap, named.as_ref()?.scope.clone(), now))
        };
        let counters: Vec<Charge> = caps.iter().filter_map(known).collect();
        let mut used = self.kernel.store().used(&counters).await?.into_iter();
        let caps = caps.into_iter().map(|(cap, named)| {
            let used = named.is_some().then(|| used.next()).flatten();
            cap_use(cap, named, used, now)
        });
        Ok(Limits { caps: caps.collect(), rates: rates(&world) })
    }
}

/// Somebody who has a counter.
struct Named {
    scope: String,
    name: String,
}

/// Whose counter the question is about: who is named in it, else who asks. `None`: nobody that it
/// could say.
fn whose(per: CapScope, asked: &Asked) -> Option<Named> {
    let identity = &asked.identity;
    let given = |name: &str| Some(asked.text(name).to_owned()).filter(|text| !text.is_empty());
    let scope = match per {
        CapScope::Global => Some(String::new()),
        CapScope::Tenant => Some(identity.tenant.to_string()),
        CapScope::Environment => Some(identity.environment.to_string()),
        CapScope::Agent => given("agent").or_else(|| Some(identity.agent.to_string())),
        CapScope::Subject => {
            let scope = format!("{}\n{}", identity.issuer, identity.subject);
            return Some(Named { scope, name: identity.subject.to_string() });
        }
        CapScope::Session => given("session"),
        CapScope::Operation => given("operation"),
        CapScope::Task => identity.task.as_ref().map(ToString::to_string),
        CapScope::Tree | CapScope::Team | CapScope::Call => None,
    };
    scope.map(|scope| Named { name: scope.clone(), scope })
}

fn cap_use(cap: &Cap, named: Option<Named>, used: Option<i64>, now: Micros) -> CapUse {
    let Charge { max, until, .. } = counter(cap, String::new(), now);
    CapUse {
        name: cap.name.clone(),
        per: cap.per,
        of: named.map(|named| named.name),
        used: used.map(|used| used.saturating_add(unit(cap) - 1) / unit(cap)),
        max: if cap.per == CapScope::Call { cap.max.unwrap_or(0) } else { max / unit(cap) },
        resets_at: until.resets_at().map(|at| at.0),
        escalate: cap.escalate.clone(),
    }
}

fn rates(world: &World) -> Vec<RateOf> {
    let of = |rate: &lockgate_core::declare::Rate| RateOf {
        name: rate.name.clone(),
        per: rate.per,
        pace: Pace::of(rate).to_words(),
    };
    world.gate.rate.iter().map(of).collect()
}
