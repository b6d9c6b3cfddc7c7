//! What there is: lists, `initialize` and `server/discover`, of one upstream or of all of them
//! together.

use crate::mcp::route::{Asker, Scope, refusal};
use futures_util::future::join_all;
use lockgate_effects::Catalogue;
use lockgate_kernel::{ListKind, Listing, Refusal};
use lockgate_types::{Code, Json, Object, UpstreamName};
use lockgate_wire::era::{self, meta};
use lockgate_wire::headers::mirrored_arguments;
use lockgate_wire::{Era, prefix};
use std::sync::Arc;

/// The capabilities that make sense of all upstreams together. What else one declares, its own
/// address tells.
const MERGED: [&str; 5] = ["completions", "logging", "prompts", "resources", "tools"];

/// What the gate calls itself.
fn own_info() -> Object {
    Object::new().with("name", "lockgate").with("version", env!("CARGO_PKG_VERSION"))
}

impl Asker<'_> {
    /// A list, as this identity may see it: one page.
    pub(crate) async fn list(&self, kind: ListKind, params: &Object) -> Result<Json, Refusal> {
        if !matches!(params.get("cursor"), None | Some(Json::Null)) {
            return Err(refusal(Code::ArgumentsRefused, "the list has one page, and no cursor"));
        }
        let Listing { mut items, mut extra } = match self.scope {
            Scope::One(upstream) => {
                self.face.kernel.list(self.identity, self.caller, upstream, kind).await?
            }
            Scope::All => self.list_all(kind).await,
        };
        if self.caller.era == Era::Stateless {
            // A client of this era would have to refuse to call such a tool (2026-07-28,
            // `x-mcp-header`).
            items.retain(|item| kind != ListKind::Tools || has_sound_headers(item));
            complete(&mut extra);
        } else {
            for member in ["resultType", "ttlMs", "cacheScope"] {
                extra.remove(member);
            }
        }
        extra.remove("nextCursor");
        extra.set(kind.member(), items);
        Ok(extra.into())
    }

    /// Every upstream's list. One that cannot be had now is left out; the others are not held up.
    async fn list_all(&self, kind: ListKind) -> Listing {
        let upstreams = self.scope.upstreams(self.world);
        let list = |upstream| self.face.kernel.list(self.identity, self.caller, upstream, kind);
        let lists = join_all(upstreams.iter().map(list)).await;
        let mut items = Vec::new();
        for (upstream, list) in upstreams.iter().zip(lists) {
            let Ok(list) = list else { continue };
            items.extend(list.items.into_iter().map(|item| with_prefix(upstream, kind, item)));
        }
        Listing { items, extra: Object::new() }
    }

    /// The result of `initialize`.
    pub(crate) async fn initialize(&self, version: &str) -> Result<Json, Refusal> {
        let introduced = self.introduce().await?;
        let result = Object::new()
            .with("protocolVersion", version)
            .with("capabilities", introduced.capabilities)
            .with("serverInfo", introduced.server_info)
            .with_some("instructions", introduced.instructions);
        Ok(result.into())
    }

    /// The result of `server/discover`.
    pub(crate) async fn discover(&self) -> Result<Json, Refusal> {
        let introduced = self.introduce().await?;
        let mut result = match introduced.discover {
            Some(Json::Object(result)) => result,
            _ => {
                let meta = Object::new().with(meta::SERVER_INFO, introduced.server_info);
                Object::new()
                    .with("capabilities", introduced.capabilities)
                    .with_some("instructions", introduced.instructions)
                    .with("_meta", meta)
            }
        };
        let versions = era::STATELESS_VERSIONS.iter().map(|version| Json::from(*version));
        result.set("supportedVersions", versions.collect::<Vec<_>>());
        complete(&mut result);
        Ok(result.into())
    }

    async fn introduce(&self) -> Result<Introduced, Refusal> {
        let catalogues = self.catalogues().await;
        if let Scope::One(_) = self.scope {
            let found = catalogues.into_iter().next();
            let catalogue =
                found.map_or_else(|| Err(Refusal::of(Code::UnknownName)), |(_, c)| c)?;
            return Ok(Introduced::of(&catalogue));
        }
        let mut all = Introduced {
            capabilities: Object::new(),
            server_info: own_info().into(),
            instructions: None,
            discover: None,
        };
        for (upstream, catalogue) in catalogues {
            if let Ok(catalogue) = catalogue {
                all.add(&upstream, &catalogue);
            }
        }
        Ok(all)
    }

    /// What every upstream in reach says of itself.
    pub(crate) async fn catalogues(&self) -> Vec<(UpstreamName, Result<Arc<Catalogue>, Refusal>)> {
        let upstreams = self.scope.upstreams(self.world);
        let introduce = |upstream| self.face.kernel.introduction(self.caller, upstream);
        let introductions = join_all(upstreams.iter().map(introduce)).await;
        let catalogues = introductions.into_iter().map(|found| found.map(|found| found.catalogue));
        upstreams.into_iter().zip(catalogues).collect()
    }
}

struct Introduced {
    capabilities: Object,
    server_info: Json,
    instructions: Option<String>,
    discover: Option<Json>,
}

impl Introduced {
    fn of(catalogue: &Catalogue) -> Self {
        Self {
            capabilities: catalogue.capabilities.clone(),
            server_info: catalogue.server_info.clone(),
            instructions: catalogue.instructions.clone(),
            discover: catalogue.discover.clone(),
        }
    }

    fn add(&mut self, upstream: &UpstreamName, catalogue: &Catalogue) {
        for name in MERGED {
            let Some(given) = catalogue.capabilities.get(name).and_then(Json::as_object) else {
                continue;
            };
            if !self.capabilities.contains(name) {
                self.capabilities.set(name, Object::new());
            }
            let merged = self.capabilities.get_mut(name).and_then(Json::as_object_mut);
            let Some(merged) = merged else { continue };
            // Flags such as `listChanged` hold if they hold of one.
            for (flag, value) in given.iter() {
                if merged.get(flag) != Some(&Json::Bool(true)) {
                    merged.set(flag, value.clone());
                }
            }
        }
        if let Some(instructions) = &catalogue.instructions {
            let all = self.instructions.get_or_insert_default();
            if !all.is_empty() {
                all.push_str("\n\n");
            }
            all.push_str(&format!("{upstream}: {instructions}"));
        }
    }
}

fn with_prefix(upstream: &UpstreamName, kind: ListKind, mut item: Json) -> Json {
    let is_prefixed = match kind {
        ListKind::Tools | ListKind::Prompts => true,
        ListKind::Resources | ListKind::Templates => false,
    };
    if is_prefixed && let Some(name) = item.as_object_mut().and_then(|item| item.get_mut("name")) {
        let joined = prefix::join(upstream, name.as_str().unwrap_or_default());
        *name = joined.into();
    }
    item
}

fn has_sound_headers(tool: &Json) -> bool {
    tool.get("inputSchema").is_none_or(|schema| mirrored_arguments(schema).is_ok())
}

/// What a stateless result of a list must say: that it is whole, and for whom and how long it may
/// be kept. It was filtered for one identity, so for nobody else.
fn complete(result: &mut Object) {
    if !result.contains("resultType") {
        result.set("resultType", "complete");
    }
    if result.get("ttlMs").and_then(Json::as_i64).is_none_or(|ttl| ttl < 0) {
        result.set("ttlMs", 0);
    }
    result.set("cacheScope", "private");
}
