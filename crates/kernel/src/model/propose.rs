//! What a model proposes, decided before anybody acts on it.
//!
//! The name that a model calls by is the client's: what frameworks put before the name of a tool of
//! the gate's is known here. A tool of the gate's is decided by the rules that hold when it is
//! called, and is recorded only if it is refused: it comes here again as a call, and then somebody
//! may be asked. A function of the client's own is an operation of the provider it was proposed
//! by: the client getting it is what is performed, so that approvals, caps and switches hold for it
//! as for anything.

use super::{ModelRequest, is_declared};
use crate::Kernel;
use crate::port::{Answer, Proposal, Refusal};
use crate::refusal::named;
use crate::reverse::{Origin, Within};
use crate::words::Words;
use lockgate_core::declare::FunctionsWord;
use lockgate_core::route::Pick;
use lockgate_core::rule::{Refused, Ruling, rule};
use lockgate_core::{World, decide};
use lockgate_types::call::Direction;
use lockgate_types::decision::Verdict as Decided;
use lockgate_types::{Code, Json, JsonLimits, Object, OperationName, UpstreamName};
use lockgate_wire::model::{Asked, Proposed, Verdict};
use lockgate_wire::prefix;
use std::collections::BTreeSet;
use std::sync::Arc;

/// The method by which a function of the client's is performed.
const HANDED_OUT: &str = "tools/call";
/// What the bundle declares servers as that a provider calls: the type by which they are offered.
const HOSTED_SERVER: &str = "mcp";
/// What frameworks put between the name of a server and the name of its tool.
const BETWEEN: &str = "__";
/// What helps where an answer is what a person would have to agree to.
const ASK_AGAIN: &str = "answer again: what was found of this answer is why somebody would have to \
                         agree, and nobody can be asked about an answer";

/// Where a proposed call would go.
enum Aim {
    /// A tool of the gate's, by one of these names.
    Gate(Vec<(UpstreamName, String)>),
    /// A function that the client runs, or a tool that the provider does.
    Client,
}

impl Kernel {
    /// What becomes of a call that a model has proposed.
    pub(crate) async fn judge(
        &self,
        origin: &Origin,
        within: &Within,
        proposed: &Proposed,
    ) -> Verdict {
        if origin.aside.is_driven && proposed.hosted.is_none() {
            return Verdict::Release;
        }
        match Box::pin(self.judged(origin, within, proposed)).await {
            Ok(()) => Verdict::Release,
            Err(refusal) => Verdict::Refuse(Box::new(refusal)),
        }
    }

    async fn judged(
        &self,
        origin: &Origin,
        within: &Within,
        proposed: &Proposed,
    ) -> Result<(), Refusal> {
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let arguments = arguments(proposed)?;
        match aim(&world, &origin.upstream, proposed) {
            Aim::Gate(places) => {
                for (upstream, tool) in places {
                    self.foresee(origin, within, (upstream, tool), arguments.clone()).await?;
                }
                Ok(())
            }
            Aim::Client if passes(&world, &origin.upstream, proposed) => Ok(()),
            Aim::Client => {
                let (name, arguments) = handed_out(proposed, arguments);
                self.hand_out(origin, within, &name, arguments).await
            }
        }
    }

    /// Whether the tools may be offered that a provider runs by itself: no call of most of them
    /// comes by here, so that offering one is what is decided.
    pub(crate) async fn admit_hosted(
        &self,
        world: &World,
        request: &ModelRequest,
        pick: &Pick,
    ) -> Result<(), Refusal> {
        let Some(model) = world.models.get(&pick.entry) else { return Ok(()) };
        let upstream = &model.upstream;
        let Ok(read) = Asked::of(request.api, &request.body) else { return Ok(()) };
        let origin = request.origin(upstream);
        for offered in &read.tools {
            let Some(hosted) = &offered.hosted else { continue };
            if !is_declared(world, upstream, hosted.kind) {
                // It is left out of what is sent.
                continue;
            }
            let arguments = Object::new()
                .with_some("address", hosted.address)
                .with_some("server", hosted.server);
            let params = Object::new().with("name", hosted.kind).with("arguments", arguments);
            let id = self.parts.clock.mint();
            let upstream = upstream.clone();
            let call = named(id, upstream, Direction::ToUpstream, HANDED_OUT, params);
            let (world, facts) = self.gather(&origin, call.map_err(Refusal::of)?).await?;
            if let Ruling::Refused(refused) = rule(&world, facts) {
                return Err(self.refuse(refused).await);
            }
        }
        Ok(())
    }

    /// Whether a tool of the gate's would certainly be refused.
    async fn foresee(
        &self,
        origin: &Origin,
        within: &Within,
        (upstream, tool): (UpstreamName, String),
        arguments: Object,
    ) -> Result<(), Refusal> {
        let params = Object::new().with("name", tool).with("arguments", arguments);
        let id = self.parts.clock.mint();
        let call = named(id, upstream.clone(), Direction::ToUpstream, HANDED_OUT, params);
        let mut call = call.map_err(Refusal::of)?;
        Within::mark(Some(within), &mut call);
        let origin = Origin { upstream, within: Some(within.clone()), ..origin.clone() };
        let (world, facts) = self.gather(&origin, call).await?;
        match rule(&world, facts) {
            Ruling::Allowed(_) => Ok(()),
            Ruling::Refused(refused) if is_asked_for_answer(&world, &refused) => {
                let refusal = self.refuse(refused).await;
                Err(Refusal { remedy: ASK_AGAIN.to_owned(), ..refusal })
            }
            Ruling::Refused(refused) if refused.decision().verdict != Decided::Deny => Ok(()),
            Ruling::Refused(refused) => Err(self.refuse(refused).await),
        }
    }

    /// Has a function of the client's performed, which is that the client gets it.
    async fn hand_out(
        &self,
        origin: &Origin,
        within: &Within,
        name: &str,
        arguments: Object,
    ) -> Result<(), Refusal> {
        let params = Object::new().with("name", name).with("arguments", arguments);
        // Nobody hears what is said meanwhile.
        let (client, _heard) = tokio::sync::mpsc::channel(1);
        let proposal = Proposal {
            identity: Arc::clone(&origin.identity),
            session: origin.session.clone(),
            caller: Arc::clone(&origin.caller),
            presented: origin.presented.clone(),
            upstream: origin.upstream.clone(),
            method: HANDED_OUT.to_owned(),
            params,
            words: Words::default(),
            traceparent: None,
            key: None,
            model: None,
            client,
        };
        let reply = self.call_within(proposal, Some(within.clone())).await;
        match reply.answer {
            Answer::Result(_) => Ok(()),
            Answer::Refused(refusal) => Err(refusal),
            Answer::Error(_) => Err(Refusal::of(Code::InvariantBroken)),
        }
    }
}

/// Whether somebody has to agree for what was found of the answer alone. The call itself, once the
/// client makes it, does not carry that: it can only be refused now.
fn is_asked_for_answer(world: &World, refused: &Refused) -> bool {
    let facts = refused.facts();
    if facts.call.found.as_ref().is_none_or(BTreeSet::is_empty) {
        return false;
    }
    let mut without = facts.clone();
    without.call.found = Some(BTreeSet::new());
    decide(world, &without).verdict == Decided::Allow
}

/// The function, and its arguments. Of a server that a provider calls it is the server that the
/// bundle declares, as one tool.
fn handed_out(proposed: &Proposed, arguments: Object) -> (String, Object) {
    match &proposed.server {
        Some(server) => {
            let whole = Object::new()
                .with("arguments", arguments)
                .with("server", server.as_str())
                .with("tool", proposed.name.as_str());
            (HOSTED_SERVER.to_owned(), whole)
        }
        None => (proposed.name.clone(), arguments),
    }
}

/// The arguments of a proposed call. What is no object is one argument, `input`.
fn arguments(proposed: &Proposed) -> Result<Object, Refusal> {
    let text = proposed.arguments.as_str();
    if text.trim().is_empty() {
        return Ok(Object::new());
    }
    match Json::parse(text.as_bytes(), &JsonLimits::MESSAGE) {
        Ok(Json::Object(arguments)) => Ok(arguments),
        Ok(_) | Err(_) if proposed.hosted.is_some() || !text.trim_start().starts_with('{') => {
            Ok(Object::new().with("input", text))
        }
        Ok(_) | Err(_) => {
            let reason = "the arguments of the call are no JSON that can be read one way only";
            Err(Refusal { reason: reason.to_owned(), ..Refusal::of(Code::ArgumentsRefused) })
        }
    }
}

/// Whether the bundle lets functions pass that nobody declared, and this is one.
fn passes(world: &World, provider: &UpstreamName, proposed: &Proposed) -> bool {
    let declared = world.gate.upstream.get(provider.as_str()).and_then(|it| it.model.as_ref());
    let own = OperationName::tool(provider, &proposed.name);
    proposed.hosted.is_none()
        && declared.is_some_and(|declared| declared.functions == FunctionsWord::Any)
        && !own.is_ok_and(|own| world.operations.contains_key(&own))
}

/// Where a proposed call would go. A function of the client's own comes first where the bundle
/// declares it.
fn aim(world: &World, provider: &UpstreamName, proposed: &Proposed) -> Aim {
    let own = OperationName::tool(provider, &proposed.name);
    let is_own = own.is_ok_and(|own| world.operations.contains_key(&own));
    if is_own || proposed.hosted.is_some() {
        return Aim::Client;
    }
    let mut places = Vec::new();
    for (operation, declared) in &world.operations {
        let Some((_, tool)) = operation.as_str().split_once('/') else { continue };
        if *provider != declared.upstream && is_called(&proposed.name, &declared.upstream, tool) {
            places.push((declared.upstream.clone(), tool.to_owned()));
        }
    }
    if places.is_empty() { Aim::Client } else { Aim::Gate(places) }
}

/// The operations that a client calls by that name: tools of the gate's, and functions of its own
/// that are declared.
pub(super) fn operations_called<'a>(
    world: &'a World,
    name: &'a str,
) -> impl Iterator<Item = &'a OperationName> {
    let known = folded(name);
    world.operations.iter().filter_map(move |(operation, declared)| {
        let (_, tool) = operation.as_str().split_once('/')?;
        let of = world.gate.upstream.get(declared.upstream.as_str());
        let is_function = of.is_some_and(|it| it.model.is_some()) && tool == name;
        // Most are told apart by their ends.
        let may_be = is_function || known.ends_with(&folded(tool));
        (may_be && (is_function || is_called(name, &declared.upstream, tool))).then_some(operation)
    })
}

/// Whether a client calls a tool of an upstream by that name: as the gate lists it, or behind
/// whatever its framework puts before. Some write names anew; then the upstream's has to stand
/// before the tool's, so that a function of the client's own which ends like a tool is none.
fn is_called(name: &str, upstream: &UpstreamName, tool: &str) -> bool {
    let listed = prefix::join(upstream, tool);
    let is_behind = |own: &str| {
        name.strip_suffix(own).is_some_and(|before| before.is_empty() || before.ends_with(BETWEEN))
    };
    if is_behind(&listed) || is_behind(tool) {
        return true;
    }
    let (name, listed) = (folded(name), folded(&listed));
    let before = name.strip_suffix(&listed);
    name == folded(tool) || before.is_some_and(|it| it.is_empty() || it.ends_with('_'))
}

/// A name as frameworks write it that know letters, digits and `_` alone.
fn folded(name: &str) -> String {
    let mut folded = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_ascii_alphanumeric() {
            folded.push(character.to_ascii_lowercase());
        } else if !folded.is_empty() && !folded.ends_with('_') {
            folded.push('_');
        }
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_are_known_by_the_names_that_frameworks_give_them() {
        let upstream: UpstreamName = "every".parse().unwrap();
        for (name, is) in [
            ("every__get-sum", true),
            ("get-sum", true),
            ("mcp__gate__every__get-sum", true),
            ("mcp__every__get-sum", true),
            ("mcp_127_0_0_1_7541_mcp_every_get_sum", true),
            ("Get_Sum", true),
            ("my_get_sum", false),
            ("forget-sum", false),
            ("other__get-sums", false),
        ] {
            assert_eq!(is_called(name, &upstream, "get-sum"), is, "{name}");
        }
    }
}
