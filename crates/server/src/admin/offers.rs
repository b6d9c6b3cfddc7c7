//! What upstreams offer now, held against what was accepted: whole definitions, what was found in
//! them, and why some are quarantined.

use super::problem::Problem;
use super::{Asked, Parts, Reading};
use futures_util::future::join_all;
use lockgate_core::World;
use lockgate_core::bundle::instructions_digest;
use lockgate_core::decide::quarantined;
use lockgate_core::quarantine::{Assessment, despite};
use lockgate_effects::{Caller, Catalogue};
use lockgate_types::facts::LiveDifference;
use lockgate_types::{Code, Json, Object, OperationName, UpstreamName};
use serde_json::{Value, json};
use std::sync::Arc;

pub(super) async fn list(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let world = parts.kernel.world().ok_or(Code::NoBundle)?;
        let wanted = asked.text("upstream");
        let names = world.gate.upstream.keys().filter(|name| wanted.is_empty() || *name == wanted);
        let names: Vec<UpstreamName> = names.filter_map(|it| UpstreamName::new(it).ok()).collect();
        if names.is_empty() && !wanted.is_empty() {
            return Err(Problem::request("there is no upstream of that name"));
        }
        let upstreams = join_all(names.iter().map(|name| parts.offered(&world, name))).await;
        Ok(Reading::json(Object::new().with("upstreams", Json::Array(upstreams))))
    };
    parts.govern(&asked, "operations_read", perform).await
}

impl Parts {
    async fn offered(&self, world: &World, upstream: &UpstreamName) -> Json {
        match self.kernel.upstreams().catalogue(upstream, &Caller::default()).await {
            Ok(catalogue) => offered(world, upstream, &catalogue),
            Err(error) => {
                let why = format!("{} {error}", error.code());
                Object::new().with("upstream", upstream.as_str()).with("unavailable", why).into()
            }
        }
    }
}

fn offered(world: &World, upstream: &UpstreamName, catalogue: &Catalogue) -> Json {
    let assessment = catalogue.assessment(upstream, world);
    let instructions = catalogue.instructions.as_deref();
    let pin = world.servers.get(upstream.as_str()).and_then(|server| server.instructions_pin);
    let findings = catalogue.findings.server.iter();
    let findings = findings.map(|it| finding(it.class.as_str(), it.severity().as_str(), it));
    let server = Object::new()
        .with_some("instructions", instructions)
        .with("digest", instructions_digest(instructions).to_string())
        .with_some("pin", pin.map(|pin| pin.to_string()))
        .with("differences", differences(upstream, "", &assessment.server))
        .with("findings", findings.collect::<Vec<_>>());
    Object::new()
        .with("upstream", upstream.as_str())
        .with("server", server)
        .with("tools", tools(world, upstream, catalogue, &assessment))
        .with("items", items(world, upstream, catalogue))
        .into()
}

fn tools(
    world: &World,
    upstream: &UpstreamName,
    catalogue: &Catalogue,
    assessment: &Assessment,
) -> Vec<Json> {
    let named = |tool: &'_ Json| tool.get("name").and_then(Json::as_str).map(str::to_owned);
    let mut tools = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for definition in &catalogue.tools {
        let Some(name) = named(definition) else { continue };
        let declared = OperationName::tool(upstream, &name);
        let declared = declared.ok().and_then(|name| world.operations.get(&name));
        seen.insert(name.clone());
        let found = catalogue.findings.tools.get(&name).into_iter().flatten();
        let found = found.map(|it| finding(it.class.as_str(), it.severity().as_str(), it));
        let quarantine = assessment.tools.get(&name).map_or(&[][..], Vec::as_slice);
        let state = match declared {
            _ if !quarantine.is_empty() => "quarantined",
            None => "undeclared",
            Some(declared) if declared.accepted => "accepted",
            Some(_) => "proposed",
        };
        let tool = one(upstream, &name, state, quarantine)
            .with_some("pin", declared.and_then(|it| it.pin).map(|pin| pin.to_string()))
            .with_some("digest", catalogue.definition(&name).map(|digest| digest.to_string()))
            .with("definition", definition.clone())
            .with("findings", found.collect::<Vec<_>>());
        tools.push(tool.into());
    }
    let prefix = format!("{upstream}/");
    let declared = world.operations.iter();
    let declared =
        declared.filter_map(|(name, it)| Some((name.as_str().strip_prefix(&prefix)?, it)));
    for (name, declared) in declared.filter(|(name, _)| !seen.contains(*name)) {
        let quarantine = assessment.tools.get(name).map_or(&[][..], Vec::as_slice);
        let tool = one(upstream, name, "gone", quarantine);
        tools.push(tool.with_some("pin", declared.pin.map(|pin| pin.to_string())).into());
    }
    for name in catalogue.ambiguous.iter().filter(|name| {
        OperationName::tool(upstream, name).is_ok_and(|it| !world.operations.contains_key(&it))
    }) {
        let quarantine = assessment.tools.get(name).map_or(&[][..], Vec::as_slice);
        tools.push(one(upstream, name, "quarantined", quarantine).into());
    }
    tools
}

fn one(upstream: &UpstreamName, name: &str, state: &str, quarantine: &[LiveDifference]) -> Object {
    Object::new()
        .with("operation", format!("{upstream}/{name}"))
        .with("tool", name)
        .with("state", state)
        .with("differences", differences(upstream, name, quarantine))
}

fn differences(upstream: &UpstreamName, tool: &str, found: &[LiveDifference]) -> Vec<Json> {
    let one = |difference: &LiveDifference| {
        let operation = OperationName::tool(upstream, tool).ok()?;
        let (code, reason, _) = quarantined(&operation, difference);
        let shown = Object::new()
            .with("kind", difference.kind.as_str())
            .with("about", difference.about.as_str())
            .with("code", code.as_str())
            .with("reason", reason)
            .with_some("despite", despite(difference.kind, &difference.about));
        Some(Json::from(shown))
    };
    found.iter().filter_map(one).collect()
}

/// A finding: where it is, never what it says. Whoever wants that has the definition.
fn finding(class: &str, severity: &str, at: &lockgate_effects::Finding) -> Json {
    let number = |at: usize| i64::try_from(at).unwrap_or(i64::MAX);
    Object::new()
        .with("class", class)
        .with("severity", severity)
        .with("pointer", at.pointer.as_str())
        .with("start", number(at.bytes.start))
        .with("end", number(at.bytes.end))
        .into()
}

/// Prompts, resources and templates in which something was found.
fn items(world: &World, upstream: &UpstreamName, catalogue: &Catalogue) -> Vec<Json> {
    let accepted = world.servers.get(upstream.as_str()).map(|server| &server.items);
    let lists = [
        ("prompts", &catalogue.prompts),
        ("resources", &catalogue.resources),
        ("resourceTemplates", &catalogue.templates),
    ];
    let all = lists.into_iter().flat_map(|(list, items)| items.iter().map(move |it| (list, it)));
    let found = all.filter_map(|(list, item)| {
        let digest = (!catalogue.findings.items.is_empty()).then(|| item.digest())?;
        let findings = catalogue.findings.items.get(&digest)?;
        let is_accepted = accepted.is_some_and(|accepted| accepted.contains(&digest));
        let found = findings.iter();
        let found = found.map(|it| finding(it.class.as_str(), it.severity().as_str(), it));
        let shown = Object::new()
            .with("list", list)
            .with("digest", digest.to_string())
            .with("withheld", catalogue.findings.blocks(item).is_some() && !is_accepted)
            .with("item", item.clone())
            .with("findings", found.collect::<Vec<_>>());
        Some(Json::from(shown))
    });
    found.collect()
}

/// The shape of the answer.
pub(super) fn schema() -> Value {
    let text = json!({ "type": "string" });
    let difference = object(
        &["kind", "about", "code", "reason"],
        json!({
            "kind": text, "about": text, "code": text, "reason": text,
            "despite": {
                "type": "string",
                "description": "What accepts it, in `despite` of the declaration.",
            },
        }),
    );
    let finding = object(
        &["class", "severity", "pointer", "start", "end"],
        json!({
            "class": text,
            "severity": { "enum": ["review", "block"] },
            "pointer": { "type": "string", "description": "The string, as a JSON pointer." },
            "start": { "type": "integer", "description": "Its first byte in that string." },
            "end": { "type": "integer", "description": "The byte after its last." },
        }),
    );
    let list = |of: &Value| json!({ "type": "array", "items": of });
    let any = json!({ "type": "object", "description": "As the upstream wrote it." });
    let tool = object(
        &["operation", "tool", "state", "differences"],
        json!({
            "operation": text, "tool": text,
            "state": { "enum": ["accepted", "proposed", "undeclared", "quarantined", "gone"] },
            "pin": text, "digest": text, "definition": any,
            "differences": list(&difference), "findings": list(&finding),
        }),
    );
    let server = object(
        &["digest", "differences", "findings"],
        json!({
            "instructions": text, "digest": text, "pin": text,
            "differences": list(&difference), "findings": list(&finding),
        }),
    );
    let item = object(
        &["list", "digest", "withheld", "item", "findings"],
        json!({
            "list": text, "digest": text, "withheld": { "type": "boolean" }, "item": any,
            "findings": list(&finding),
        }),
    );
    let upstream = object(
        &["upstream"],
        json!({
            "upstream": text, "unavailable": text, "server": server,
            "tools": list(&tool), "items": list(&item),
        }),
    );
    object(&["upstreams"], json!({ "upstreams": list(&upstream) }))
}

fn object(required: &[&str], properties: Value) -> Value {
    json!({
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": false,
    })
}
