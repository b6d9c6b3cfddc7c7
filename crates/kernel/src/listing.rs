//! What an identity may see: lists and introductions.
//!
//! A list shows what identity, bundle and switches do not certainly deny; what is not listed is
//! always denied (I4). Lists come from the cached catalogue, so a slow upstream delays nobody.

use crate::Kernel;
use crate::plan;
use crate::port::Refusal;
use lockgate_core::World;
use lockgate_core::bundle::admin::RESERVED;
use lockgate_core::decide::visible;
use lockgate_core::world::Operation;
use lockgate_effects::{Caller, Catalogue, EffectError};
use lockgate_types::call::{Call, Direction};
use lockgate_types::facts::{Difference, LiveDifference};
use lockgate_types::identity::Identity;
use lockgate_types::{Code, Digest, Json, Object, OperationName, UpstreamName};
use std::sync::Arc;

/// Which list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListKind {
    /// `tools/list`.
    Tools,
    /// `resources/list`.
    Resources,
    /// `resources/templates/list`.
    Templates,
    /// `prompts/list`.
    Prompts,
}

impl ListKind {
    /// Reads the method.
    pub fn from_method(method: &str) -> Option<Self> {
        match method {
            "tools/list" => Some(Self::Tools),
            "resources/list" => Some(Self::Resources),
            "resources/templates/list" => Some(Self::Templates),
            "prompts/list" => Some(Self::Prompts),
            _ => None,
        }
    }

    /// The member of the result that holds the items.
    pub const fn member(self) -> &'static str {
        match self {
            Self::Tools => "tools",
            Self::Resources => "resources",
            Self::Templates => "resourceTemplates",
            Self::Prompts => "prompts",
        }
    }
}

/// A list, filtered.
pub struct Listing {
    /// The items, in the upstream's order and as it wrote them, but for tools in two phases.
    pub items: Vec<Json>,
    /// Other members of the upstream's list results: `ttlMs`, `cacheScope`, `_meta`.
    pub extra: Object,
}

/// What an upstream says of itself.
pub struct Introduction {
    /// What it was read from.
    pub catalogue: Arc<Catalogue>,
}

impl Kernel {
    /// A list, as this identity may see it.
    pub async fn list(
        &self,
        identity: &Arc<Identity>,
        caller: &Caller,
        upstream: &UpstreamName,
        which: ListKind,
    ) -> Result<Listing, Refusal> {
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let catalogue = self.catalogue(upstream, caller).await?;
        let (list, meta) = (&*catalogue, &catalogue.list_meta);
        let (all, extra, needs) = match which {
            ListKind::Tools => (&list.tools, &meta.tools, None),
            ListKind::Resources => (&list.resources, &meta.resources, Some("resources/read")),
            ListKind::Templates => (&list.templates, &meta.templates, Some("resources/read")),
            ListKind::Prompts => (&list.prompts, &meta.prompts, Some("prompts/get")),
        };
        let assessment = list.assessment(upstream, &world);
        let switches = self.parts.store.switches();
        let operation_of = |item: &Json| {
            let name = item.get("name").and_then(Json::as_str).unwrap_or_default();
            match needs {
                Some(method) => OperationName::builtin(upstream, method),
                None => OperationName::tool(upstream, name),
            }
        };
        let is_visible = |item: &Json| {
            let name = item.get("name").and_then(Json::as_str).unwrap_or_default();
            let Ok(operation) = operation_of(item) else { return false };
            // A description that nobody accepted is not passed on: models act on what they read.
            let is_quarantined = match needs {
                Some(_) => withheld(&world, upstream, list, item).is_some(),
                None => assessment.of_tool(name).is_some(),
            };
            !is_quarantined && visible(&world, identity, &switches, &operation)
        };
        let mut items: Vec<Json> = all.iter().filter(|item| is_visible(item)).cloned().collect();
        if which == ListKind::Tools {
            for item in &mut items {
                let Ok(operation) = operation_of(item) else { continue };
                plan::describe(&world, identity, &operation, item);
                let is_found = |it: &Operation| it.documents.is_some();
                if world.operations.get(&operation).is_some_and(is_found)
                    && let Some(item) = item.as_object_mut()
                {
                    // What is passed on of its answer has not the shape that it promises.
                    item.remove("outputSchema");
                }
            }
        }
        Ok(Listing { items, extra: extra.clone() })
    }

    /// What an upstream says of itself, for `initialize` and `server/discover`.
    pub async fn introduction(
        &self,
        caller: &Caller,
        upstream: &UpstreamName,
    ) -> Result<Introduction, Refusal> {
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let catalogue = self.catalogue(upstream, caller).await?;
        if catalogue.assessment(upstream, &world).server.is_empty() {
            return Ok(Introduction { catalogue });
        }
        // Instructions that nobody accepted are not passed on either.
        Ok(Introduction { catalogue: Arc::new(catalogue.without_instructions(upstream)) })
    }

    async fn catalogue(
        &self,
        upstream: &UpstreamName,
        caller: &Caller,
    ) -> Result<Arc<Catalogue>, Refusal> {
        let found = self.parts.upstreams.catalogue(upstream, caller).await;
        found.map_err(|error| unavailable(upstream, &error))
    }

    /// How the operation as the upstream offers it now differs from what was accepted.
    ///
    /// Asked twice: as the gate itself, which is how the description was accepted, and as the
    /// caller, so that an upstream cannot behave towards the one and lie to the other. For what is
    /// not pinned the upstream is not asked: what counts is what lists have shown.
    pub(crate) async fn live_difference(
        &self,
        world: &World,
        caller: &Caller,
        call: &Call,
    ) -> Result<Option<LiveDifference>, Refusal> {
        let is_own = call.upstream.as_str() == RESERVED || call.direction == Direction::ToClient;
        let is_about_item = matches!(call.method.as_str(), "prompts/get" | "resources/read");
        if is_own || (call.tool().is_none() && !is_about_item) {
            return Ok(None);
        }
        let pin = world.operations.get(&call.operation).and_then(|operation| operation.pin);
        for asking in [&Caller::default(), caller] {
            let catalogue = match pin {
                Some(_) => Some(self.catalogue(&call.upstream, asking).await?),
                None => self.parts.upstreams.known_catalogue(&call.upstream, asking),
            };
            let Some(catalogue) = catalogue else { continue };
            let difference = match call.tool() {
                Some(tool) => {
                    let assessment = catalogue.assessment(&call.upstream, world);
                    assessment.of_tool(tool).cloned()
                }
                None => item_withheld(world, &catalogue, call),
            };
            if difference.is_some() {
                return Ok(difference);
            }
        }
        Ok(None)
    }
}

/// What was found in a prompt, a resource or a template that nobody accepted: a digest of the item.
pub(crate) fn withheld(
    world: &World,
    upstream: &UpstreamName,
    catalogue: &Catalogue,
    item: &Json,
) -> Option<Digest> {
    let accepted = world.servers.get(upstream.as_str()).map(|server| &server.items);
    let digest = catalogue.findings.blocks(item)?;
    accepted.is_none_or(|accepted| !accepted.contains(&digest)).then_some(digest)
}

/// Why a prompt or a resource is not to be had that a list does not show.
fn item_withheld(world: &World, catalogue: &Catalogue, call: &Call) -> Option<LiveDifference> {
    let (items, member) = match call.method.as_str() {
        "prompts/get" => (&catalogue.prompts, "name"),
        _ => (&catalogue.resources, "uri"),
    };
    let asked = call.params.get(member)?;
    let mut named = items.iter().filter(|item| item.get(member) == Some(asked));
    let live = named.find_map(|item| withheld(world, &call.upstream, catalogue, item))?;
    let about = format!("a {} of this name", if member == "name" { "prompt" } else { "resource" });
    Some(LiveDifference { kind: Difference::Found, live, about })
}

fn unavailable(upstream: &UpstreamName, error: &EffectError) -> Refusal {
    let mut refusal = Refusal::of(error.code());
    refusal.reason = format!("{}: `{upstream}`", refusal.reason);
    tracing::warn!(%upstream, error = error as &dyn std::error::Error, "no catalogue");
    refusal
}
