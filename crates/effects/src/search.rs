//! An upstream that is the gate's own search in registered sources of documents, and counts them.
//!
//! It is reached like any other, by a permit, past the switches and within its bounds. What is
//! found, and which document somebody may be shown, is the business of whoever searches: this crate
//! knows no policies. The facts that the call was decided from go along, since each document is
//! decided from the same ones.

use crate::bundled::{besides_tools, in_era};
use crate::exchange::{End, FarEnd};
use crate::perform::perform_here;
use crate::trouble::Trouble;
use crate::upstream::Upstream;
use crate::upstreams::Through;
use futures_util::future::BoxFuture;
use lockgate_core::World;
use lockgate_core::bundle::search::{COUNT, COUNT_TOOL, SEARCH, SEARCH_TOOL, description};
use lockgate_types::call::Call;
use lockgate_types::decision::Decision;
use lockgate_types::facts::Facts;
use lockgate_types::label::Label;
use lockgate_types::{Code, Digest, Json, Object};
use lockgate_wire::Era;
use std::sync::Arc;

/// Whoever searches and counts.
pub trait Search: Send + Sync {
    /// Finds or counts what a call asks for, of what its facts allow.
    fn search(&self, facts: Arc<Facts>, decision: Decision) -> BoxFuture<'static, Searched>;
}

/// What a search comes to.
pub type Searched = Result<Found, Unfound>;

/// What was found.
#[derive(Clone, Debug)]
pub struct Found {
    /// The result of the tool.
    pub result: Object,
    /// What whoever reads it meets. `None`: nothing was found.
    pub met: Option<Label>,
}

/// Why nothing could be looked for.
#[derive(Clone, Debug)]
pub struct Unfound {
    /// The stable code.
    pub code: Code,
    /// For operators.
    pub detail: String,
}

/// The search of one bundle.
pub(crate) struct Library {
    /// The bundle whose sources it searches.
    pub(crate) bundle: Digest,
    tools: Vec<Json>,
}

impl Library {
    pub(crate) const fn new(bundle: Digest, tools: Vec<Json>) -> Self {
        Self { bundle, tools }
    }

    /// The definitions of the tools, as `tools/list` gives them.
    pub(crate) fn tools(&self) -> Vec<Json> {
        self.tools.clone()
    }
}

/// The definitions of search and count: with what the bundle says their arguments are.
pub(crate) fn tools(world: &World) -> Vec<Json> {
    let tool = |(operation, name): (&str, &str)| {
        let schema = world.operations.iter().find(|(name, _)| name.as_str() == operation);
        let schema = schema.and_then(|(_, operation)| operation.schema.clone());
        let hints = Object::new()
            .with("readOnlyHint", true)
            .with("destructiveHint", false)
            .with("idempotentHint", true)
            .with("openWorldHint", false);
        let tool = Object::new()
            .with("name", name)
            .with_some("description", description(operation))
            .with_some("inputSchema", schema)
            .with("annotations", hints);
        Json::from(tool)
    };
    [(SEARCH, SEARCH_TOOL), (COUNT, COUNT_TOOL)].into_iter().map(tool).collect()
}

/// What a call is performed with.
pub(crate) struct Hands {
    pub(crate) searcher: Option<Arc<dyn Search>>,
    pub(crate) facts: Option<Arc<Facts>>,
    pub(crate) decision: Option<Decision>,
    pub(crate) era: Era,
}

/// Performs a call that a recorded decision allows, to its end.
pub(crate) async fn perform(
    upstream: Arc<Upstream>,
    call: Call,
    hands: Hands,
    through: Through,
    far: FarEnd,
) {
    perform_here(&upstream, through, &far, answer(&upstream, &call, hands)).await;
}

async fn answer(
    upstream: &Upstream,
    call: &Call,
    hands: Hands,
) -> Result<(End, Option<Label>), Trouble> {
    let Hands { searcher: Some(searcher), facts: Some(facts), decision: Some(decision), era } =
        hands
    else {
        return Err(Trouble::before(Code::InvariantBroken, "no decision about a search"));
    };
    if upstream.bundle() != Some(&decision.bundle) {
        let detail = "another bundle says what the sources are by now";
        return Err(Trouble::before(Code::FactsMoved, detail));
    }
    if call.method != "tools/call" {
        return Ok((besides_tools(&call.method), None));
    }
    let searching = searcher.search(facts, decision);
    let found = tokio::time::timeout(upstream.timeout, searching).await;
    let found = found.map_err(|_| Trouble::before(Code::UpstreamTimeout, "the search is slow"))?;
    let found = found.map_err(|unfound| Trouble::before(unfound.code, unfound.detail))?;
    Ok((End::Result(in_era(found.result, era)), found.met))
}
