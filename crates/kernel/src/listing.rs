//! What an identity may see: lists and introductions.
//!
//! A list shows what identity, bundle and switches do not certainly deny; what is not listed is
//! always denied (I4). Lists come from the cached catalogue, so a slow upstream delays nobody.

use crate::Kernel;
use crate::plan;
use crate::port::Refusal;
use lockgate_core::World;
use lockgate_core::decide::visible;
use lockgate_effects::{Caller, Catalogue, EffectError};
use lockgate_types::call::Call;
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
            let pin = world.operations.get(&operation).and_then(|declared| declared.pin);
            let is_accepted = pin.is_none() || pin == list.definition(name);
            is_accepted && visible(&world, identity, &switches, &operation)
        };
        let mut items: Vec<Json> = all.iter().filter(|item| is_visible(item)).cloned().collect();
        if which == ListKind::Tools {
            for item in &mut items {
                let Ok(operation) = operation_of(item) else { continue };
                plan::describe(&world, identity, &operation, item);
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
        Ok(Introduction { catalogue: self.catalogue(upstream, caller).await? })
    }

    async fn catalogue(
        &self,
        upstream: &UpstreamName,
        caller: &Caller,
    ) -> Result<Arc<Catalogue>, Refusal> {
        let found = self.parts.upstreams.catalogue(upstream, caller).await;
        found.map_err(|error| unavailable(upstream, &error))
    }

    /// How the upstream describes the operation now, if that differs from what was accepted.
    ///
    /// Asked twice: as the gate itself, which is how the description was accepted, and as the
    /// caller, so that an upstream cannot behave towards the one and lie to the other.
    pub(crate) async fn live_difference(
        &self,
        world: &World,
        caller: &Caller,
        call: &Call,
    ) -> Result<Option<Digest>, Refusal> {
        let pin = world.operations.get(&call.operation).and_then(|operation| operation.pin);
        let (Some(pin), Some(tool)) = (pin, call.tool()) else { return Ok(None) };
        for asking in [&Caller::default(), caller] {
            let catalogue = self.catalogue(&call.upstream, asking).await?;
            // A tool that is gone differs too: from its description to none.
            let live = catalogue.definition(tool).unwrap_or(Digest::of(b""));
            if live != pin {
                return Ok(Some(live));
            }
        }
        Ok(None)
    }
}

fn unavailable(upstream: &UpstreamName, error: &EffectError) -> Refusal {
    let mut refusal = Refusal::of(error.code());
    refusal.reason = format!("{}: `{upstream}`", refusal.reason);
    tracing::warn!(%upstream, error = error as &dyn std::error::Error, "no catalogue");
    refusal
}
