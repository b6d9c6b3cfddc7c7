//! What the bundle knows of operations, and where upstreams have moved on from it.

use super::problem::Problem;
use super::{Asked, Parts, Reading};
use futures_util::future::join_all;
use lockgate_core::bundle::definition_digest;
use lockgate_core::world::Operation;
use lockgate_core::{World, decide};
use lockgate_effects::{Caller, Catalogue};
use lockgate_types::facts::Difference as Kind;
use lockgate_types::{Code, Json, OperationName, UpstreamName};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Every operation the bundle knows.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Operations {
    operations: Vec<Declared>,
}

/// A declared operation.
#[derive(Serialize, JsonSchema)]
struct Declared {
    /// As policies name it: `upstream/tool`, or `upstream:method`.
    operation: String,
    upstream: String,
    /// `read`, `nav`, `write`, `egress` or `destructive`.
    effect: &'static str,
    /// Whether a person has agreed to the declaration.
    accepted: bool,
    /// Whether its denials are observed instead of enforced.
    observe: bool,
    /// The digest of the accepted definition.
    #[serde(skip_serializing_if = "Option::is_none")]
    pin: Option<String>,
}

/// What upstreams offer now that is not what was accepted.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Differences {
    differences: Vec<Difference>,
}

/// A difference.
#[derive(Serialize, JsonSchema)]
struct Difference {
    /// The operation, or the upstream if it could not be asked.
    operation: String,
    /// What is different, for people.
    what: String,
}

pub(super) async fn list(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let world = parts.kernel.world().ok_or(Code::NoBundle)?;
        let operations = world.operations.iter().map(declared).collect();
        Reading::typed(&Operations { operations })
    };
    parts.govern(&asked, "operations_read", perform).await
}

fn declared((name, operation): (&OperationName, &Operation)) -> Declared {
    Declared {
        operation: name.to_string(),
        upstream: operation.upstream.to_string(),
        effect: operation.effect.as_str(),
        accepted: operation.accepted,
        observe: operation.observe,
        pin: operation.pin.map(|pin| pin.to_string()),
    }
}

pub(super) async fn differences(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let world = parts.kernel.world().ok_or(Code::NoBundle)?;
        // All at once: a slow upstream delays the answer by its deadline, and not by the sum of
        // them.
        let names = world.gate.upstream.keys().filter_map(|name| UpstreamName::new(name).ok());
        let asked = names.map(|name| parts.compare(&world, name));
        let differences = join_all(asked).await.into_iter().flatten().collect();
        Reading::typed(&Differences { differences })
    };
    parts.govern(&asked, "operations_read", perform).await
}

impl Parts {
    async fn compare(&self, world: &World, upstream: UpstreamName) -> Vec<Difference> {
        match self.kernel.upstreams().catalogue(&upstream, &Caller::default()).await {
            Ok(catalogue) => {
                let mut found = compare(world, &upstream, &catalogue);
                let missing = self.kernel.upstreams().findings(&upstream).await;
                let told = |what| Difference { operation: upstream.to_string(), what };
                found.extend(missing.into_iter().map(told));
                found
            }
            Err(error) => {
                let what = format!("it could not be asked: {} {error}", error.code());
                vec![Difference { operation: upstream.to_string(), what }]
            }
        }
    }
}

fn compare(world: &World, upstream: &UpstreamName, catalogue: &Catalogue) -> Vec<Difference> {
    let prefix = format!("{upstream}/");
    let declared: BTreeMap<&str, &Operation> = world
        .operations
        .iter()
        .filter_map(|(name, operation)| Some((name.as_str().strip_prefix(&prefix)?, operation)))
        .collect();
    let mut found = Vec::new();
    let mut differs = |tool: &str, what: String| {
        let operation = match tool {
            "" => upstream.to_string(),
            tool => format!("{prefix}{tool}"),
        };
        found.push(Difference { operation, what });
    };
    // An endpoint that nobody declared is no tool: the document may describe many.
    let is_api = world.apis.contains_key(upstream.as_str());
    let mut offered = std::collections::BTreeSet::new();
    for definition in &catalogue.tools {
        let Some(tool) = definition.get("name").and_then(Json::as_str) else { continue };
        offered.insert(tool);
        let live = definition_digest(definition);
        match declared.get(tool).map(|operation| operation.pin) {
            None if is_api => {}
            None => differs(tool, "the upstream offers it, and it is not declared".to_owned()),
            Some(Some(pin)) if pin != live => {
                let what = "the upstream describes it differently from what was accepted";
                differs(tool, format!("{what}: {pin} was accepted, {live} is offered"));
            }
            Some(Some(_) | None) => {}
        }
    }
    for tool in &catalogue.ambiguous {
        differs(tool, "the upstream offers several tools of that name: none is shown".to_owned());
    }
    let assessment = catalogue.assessment(upstream, world);
    for (tool, quarantined) in &assessment.tools {
        for difference in quarantined.iter().filter(|it| it.kind != Kind::Definition) {
            let Ok(operation) = OperationName::tool(upstream, tool) else { continue };
            differs(
                tool,
                format!("quarantined: {}", decide::quarantined(&operation, difference).1),
            );
        }
    }
    if !assessment.server.is_empty() {
        let what = "the server's instructions are not those that were accepted: they are withheld";
        differs("", what.to_owned());
    }
    let is_there = |tool: &str| offered.contains(tool) || catalogue.ambiguous.contains(tool);
    for tool in declared.keys().filter(|tool| !is_there(tool)) {
        differs(tool, "it is declared, and the upstream does not offer it".to_owned());
    }
    found
}
