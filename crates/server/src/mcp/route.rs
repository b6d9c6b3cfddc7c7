//! Which upstream a request is for.
//!
//! Under `/mcp/<upstream>` that is settled by the address. Under `/mcp`, tools and prompts carry
//! their upstream's name as a prefix, which is taken off here; resources keep their addresses, and
//! belong to the upstream that lists them.

use crate::mcp::McpFace;
use futures_util::future::join_all;
use lockgate_core::World;
use lockgate_effects::Caller;
use lockgate_kernel::{ListKind, Refusal};
use lockgate_types::identity::Identity;
use lockgate_types::{Code, Json, Object, UpstreamName};
use lockgate_wire::prefix;
use std::sync::Arc;

/// What an address stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// `/mcp`: every upstream.
    All,
    /// `/mcp/<upstream>`: one.
    One(UpstreamName),
}

impl Scope {
    /// Reads a path.
    pub(crate) fn of(path: &str, world: &World) -> Option<Self> {
        let rest = path.strip_prefix("/mcp")?;
        if rest.is_empty() || rest == "/" {
            return Some(Self::All);
        }
        let upstream = UpstreamName::new(rest.strip_prefix('/')?).ok()?;
        has(world, &upstream).then_some(Self::One(upstream))
    }

    /// The upstreams it reaches, in the order of their names.
    pub(crate) fn upstreams(&self, world: &World) -> Vec<UpstreamName> {
        match self {
            Self::One(upstream) => vec![upstream.clone()],
            Self::All => {
                world.gate.upstream.keys().filter_map(|name| UpstreamName::new(name).ok()).collect()
            }
        }
    }
}

fn has(world: &World, upstream: &UpstreamName) -> bool {
    world.gate.upstream.contains_key(upstream.as_str())
}

/// Who asks, of which bundle.
#[derive(Clone, Copy)]
pub(crate) struct Asker<'a> {
    pub(crate) face: &'a McpFace,
    pub(crate) world: &'a World,
    pub(crate) identity: &'a Arc<Identity>,
    pub(crate) caller: &'a Arc<Caller>,
    pub(crate) scope: &'a Scope,
}

impl Asker<'_> {
    /// The upstream of a call, and its params as that upstream knows them.
    pub(crate) async fn route(
        &self,
        method: &str,
        params: Object,
    ) -> Result<(UpstreamName, Object), Refusal> {
        if let Scope::One(upstream) = self.scope {
            return Ok((upstream.clone(), params));
        }
        match method {
            "tools/call" | "prompts/get" => self.by_prefix(params),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => {
                let upstream = self.owner(text(&params, "uri")?).await?;
                Ok((upstream, params))
            }
            "completion/complete" => self.by_reference(params).await,
            _ => {
                let reason = format!("`{method}` has no upstream here: use `/mcp/<upstream>`");
                Err(refusal(Code::UnknownMethod, reason))
            }
        }
    }

    fn by_prefix(&self, mut params: Object) -> Result<(UpstreamName, Object), Refusal> {
        let (upstream, own) = self.split(text(&params, "name")?)?;
        params.set("name", own);
        Ok((upstream, params))
    }

    async fn by_reference(&self, mut params: Object) -> Result<(UpstreamName, Object), Refusal> {
        let Some(reference) = params.get_mut("ref").and_then(Json::as_object_mut) else {
            return Err(refusal(Code::UnknownName, "`ref` is not an object"));
        };
        if let Some(uri) = reference.get("uri").and_then(Json::as_str) {
            let upstream = self.owner(uri).await?;
            return Ok((upstream, params));
        }
        let (upstream, own) = self.split(text(reference, "name")?)?;
        reference.set("name", own);
        Ok((upstream, params))
    }

    /// The upstream and the name it has there.
    pub(crate) fn split(&self, name: &str) -> Result<(UpstreamName, String), Refusal> {
        let found = prefix::split(name).filter(|(upstream, _)| has(self.world, upstream));
        let Some((upstream, own)) = found else {
            return Err(refusal(Code::UnknownName, format!("`{name}` begins with no upstream")));
        };
        Ok((upstream, own.to_owned()))
    }

    /// The upstream that lists this address, or a template it fits; the first by name if several
    /// do.
    pub(crate) async fn owner(&self, uri: &str) -> Result<UpstreamName, Refusal> {
        let mut upstreams = self.scope.upstreams(self.world);
        let claims = join_all(upstreams.iter().map(|upstream| self.claim(upstream, uri))).await;
        // `max_by_key` takes the last of equals; reversed, that is the first by name.
        let best = claims.into_iter().enumerate().rev().max_by_key(|(_, claim)| *claim);
        match best {
            Some((at, claim)) if claim > Claim::None => Ok(upstreams.swap_remove(at)),
            _ => Err(refusal(Code::UnknownName, format!("no upstream lists `{uri}`"))),
        }
    }

    async fn claim(&self, upstream: &UpstreamName, uri: &str) -> Claim {
        let list = |kind| self.face.kernel.list(self.identity, self.caller, upstream, kind);
        let lists_it = |items: Vec<Json>, member: &str| {
            items.iter().any(|item| item.get(member).and_then(Json::as_str) == Some(uri))
        };
        if list(ListKind::Resources).await.is_ok_and(|list| lists_it(list.items, "uri")) {
            return Claim::Exact;
        }
        let Ok(templates) = list(ListKind::Templates).await else { return Claim::None };
        let templates = templates.items.iter().filter_map(|item| item.get("uriTemplate")?.as_str());
        templates.map(|template| claim_of_template(template, uri)).max().unwrap_or(Claim::None)
    }
}

/// How well an upstream's list fits an address: ordered from not at all to best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    None,
    /// A template, by how many of its bytes are literal.
    Template(usize),
    Exact,
}

/// A template (RFC 6570) fits what has its literal parts in their order, and itself (completions
/// refer to it so).
fn claim_of_template(template: &str, uri: &str) -> Claim {
    if template == uri {
        return Claim::Exact;
    }
    let mut literals = Vec::new();
    let mut rest = template;
    while let Some((literal, after)) = rest.split_once('{') {
        let Some((_, after)) = after.split_once('}') else { return Claim::None };
        literals.push(literal);
        rest = after;
    }
    let Some((first, middle)) = literals.split_first() else { return Claim::None };
    let Some(mut uri) = uri.strip_prefix(first).and_then(|uri| uri.strip_suffix(rest)) else {
        return Claim::None;
    };
    for literal in middle {
        match uri.split_once(literal) {
            Some((_, after)) => uri = after,
            None => return Claim::None,
        }
    }
    Claim::Template(literals.iter().map(|literal| literal.len()).sum::<usize>() + rest.len())
}

fn text<'a>(params: &'a Object, member: &str) -> Result<&'a str, Refusal> {
    let found = params.get(member).and_then(Json::as_str);
    found.ok_or_else(|| refusal(Code::UnknownName, format!("`{member}` is not a string")))
}

/// A refusal with what exactly is wrong.
pub(crate) fn refusal(code: Code, reason: impl Into<String>) -> Refusal {
    let mut refusal = Refusal::of(code);
    refusal.reason = reason.into();
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_fits_what_has_its_literal_parts() {
        let claim = claim_of_template;
        assert_eq!(claim("test://{id}/data", "test://7/data"), Claim::Template(12));
        assert_eq!(claim("test://{id}/data", "test://{id}/data"), Claim::Exact);
        assert_eq!(claim("test://{id}/data", "test://7/date"), Claim::None);
        assert_eq!(claim("a{b}c{d}e", "axcye"), Claim::Template(3));
        assert_eq!(claim("a{b}c{d}e", "axye"), Claim::None);
        assert_eq!(claim("plain", "other"), Claim::None);
        assert_eq!(claim("broken{", "broken"), Claim::None);
        assert!(Claim::Exact > Claim::Template(usize::MAX));
    }
}
