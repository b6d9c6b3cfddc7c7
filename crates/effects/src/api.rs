//! An upstream that is an HTTP API: its operations are endpoints.
//!
//! An endpoint makes one request of a call's arguments, or says why it makes none
//! (`lockgate_core::endpoint`); that is asked before the decision, and what is sent is made anew of
//! the same arguments. `perform` sends what a recorded decision allows, and follows a redirect only
//! where nothing can come of it; `answer` is what an answer means.

mod answer;
mod perform;

pub use answer::HTTP_META;
pub(crate) use perform::perform;

use crate::http::Http;
use lockgate_core::World;
use lockgate_core::endpoint::Endpoint;
use lockgate_types::call::{Call, Reading};
use lockgate_types::{Digest, Json, Object, OperationName, UpstreamName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An HTTP API of one bundle.
pub(crate) struct Api {
    /// The bundle that described it: a call that was decided under another does not come here.
    pub(crate) bundle: Digest,
    plan: Plan,
    http: Http,
}

/// What a bundle says of one API: its endpoints, by the operation that each is.
pub(crate) struct Plan(BTreeMap<OperationName, Arc<Endpoint>>);

impl Plan {
    pub(crate) fn new(world: &World, upstream: &str) -> Self {
        let mut endpoints = BTreeMap::new();
        let known = world.apis.get(upstream).into_iter().flat_map(|api| &api.endpoints);
        for (tool, endpoint) in known {
            let name = UpstreamName::new(upstream);
            let name = name.and_then(|upstream| OperationName::tool(&upstream, tool));
            if let Ok(name) = name {
                endpoints.insert(name, Arc::clone(endpoint));
            }
        }
        Self(endpoints)
    }

    fn endpoint(&self, call: &Call) -> Option<&Endpoint> {
        self.0.get(&call.operation).map(|endpoint| &**endpoint)
    }
}

impl Api {
    pub(crate) const fn new(bundle: Digest, plan: Plan, http: Http) -> Self {
        Self { bundle, plan, http }
    }

    /// Where the request of a call goes, or why it makes none. `None`: it is to no endpoint.
    pub(crate) fn read(&self, call: &Call) -> Option<Reading> {
        let endpoint = self.plan.endpoint(call)?;
        let refusal = endpoint.assemble(call.arguments()).err();
        Some(Reading { target: Some(endpoint.target()), refusal, ..Reading::default() })
    }

    /// The definitions of the tools, as `tools/list` gives them.
    pub(crate) fn tools(&self) -> Vec<Json> {
        let tools = self.plan.0.iter();
        tools.filter_map(|(name, endpoint)| tool(name, endpoint)).collect()
    }
}

/// An endpoint as a tool. What it is said to do is what its method says, declared or not: a
/// definition that was accepted stays as it was.
fn tool(name: &OperationName, endpoint: &Endpoint) -> Option<Json> {
    use lockgate_core::declare::MethodWord::{Delete, Put};
    let (_, name) = name.as_str().split_once('/')?;
    let hints = Object::new()
        .with("readOnlyHint", endpoint.method.is_safe())
        .with("destructiveHint", endpoint.method == Delete)
        .with("idempotentHint", endpoint.method.is_safe() || endpoint.method == Put);
    let tool = Object::new()
        .with("name", name)
        .with("description", endpoint.description.as_str())
        .with("inputSchema", endpoint.schema.clone())
        .with("annotations", hints);
    Some(tool.into())
}
