//! The evidence of a request for approval: one document, made when the call was stopped, for
//! whoever has to agree to it.
//!
//! Its shape is read by others: members are added, never given another meaning. Numbers are
//! integers; what was not known is left out.

use crate::call::Effect;
use crate::flow::Traced;
use crate::{CallId, Code, Json, Micros, Object};

/// The version of the document's shape.
pub const EVIDENCE_VERSION: i64 = 1;

/// Where the value of an argument came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The caller has given it: a model, or the program around it.
    Caller,
    /// The caller has given it, and a plan had offered exactly that.
    Plan,
    /// The gate has filled it in: the key of the effect.
    Gate,
}

impl Origin {
    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Plan => "plan",
            Self::Gate => "gate",
        }
    }
}

/// What would happen, as far as it can be known beforehand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DryRun {
    /// The upstream's own preview: the call that asked for it, and what it shows.
    Preview {
        /// A call within the one that asks.
        call: CallId,
        /// Absent: too large for the evidence; it is in the record of that call.
        shown: Option<Json>,
    },
    /// The upstream has none: the request itself is all there is.
    Request,
}

/// What a cap has had of its window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CapUse {
    /// The cap's name.
    pub cap: String,
    /// What this call would take.
    pub amount: i64,
    /// What has been taken.
    pub used: i64,
    /// What there is in the window.
    pub max: i64,
    /// When the window ends. `None`: it counts calls under way.
    pub resets_at: Option<Micros>,
}

/// A circuit breaker of the upstream that is not closed, at the node that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakerSeen {
    /// The operation; `None`: the whole upstream.
    pub operation: Option<String>,
    /// `open` or `half_open`.
    pub state: &'static str,
    /// The failure that opened it.
    pub cause: Option<Code>,
}

/// What the agent has asked people for lately.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// Milliseconds that were looked back.
    pub window_ms: i64,
    /// Requests by how they stand, without this one.
    pub requests: Vec<(String, i64)>,
}

/// What is known of the risk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Risk {
    /// Caps that the call falls under.
    pub caps: Vec<CapUse>,
    /// Breakers that are not closed.
    pub breakers: Vec<BreakerSeen>,
    /// What the agent has asked for lately.
    pub history: History,
}

/// The evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Who asks, and for whom: names as the decision saw them.
    pub who: Object,
    /// Which operation, with what effect.
    pub operation: String,
    /// What it does.
    pub effect: Effect,
    /// What may be done about it if nobody knows whether it happened. `None`: nothing is repeated.
    pub class: Option<&'static str>,
    /// The protocol's method.
    pub method: String,
    /// Everything that would be sent. `None`: too large for the evidence; it is in the record of
    /// the call.
    pub request: Option<Json>,
    /// The digest of that.
    pub request_digest: String,
    /// What it touches: the arguments that have a role.
    pub affected: Vec<Json>,
    /// Where the value of each argument came from.
    pub arguments: Vec<(String, Origin)>,
    /// How it is established where each value came from, where a policy asks that: what could not
    /// be, with where it was seen and what looks most like it.
    pub provenance: Vec<Traced>,
    /// Why it was stopped.
    pub why: Object,
    /// What would happen.
    pub dry_run: DryRun,
    /// How the session was.
    pub session: Object,
    /// What is known of the risk.
    pub risk: Risk,
    /// The bundle that stopped it.
    pub bundle: String,
    /// When.
    pub at: Micros,
}

impl Evidence {
    /// As recorded and shown.
    pub fn to_json(&self) -> Json {
        let arguments = self.arguments.iter().map(|(argument, origin)| {
            Object::new().with("argument", argument.as_str()).with("origin", origin.as_str()).into()
        });
        let provenance: Vec<Json> = self.provenance.iter().map(Traced::to_json).collect();
        let what = Object::new()
            .with("operation", self.operation.as_str())
            .with("effect", self.effect.as_str())
            .with_some("class", self.class)
            .with("method", self.method.as_str())
            .with("request_digest", self.request_digest.as_str())
            .with_some("request", self.request.clone())
            .with("affected", self.affected.clone());
        Object::new()
            .with("version", EVIDENCE_VERSION)
            .with("at", self.at.0)
            .with("bundle", self.bundle.as_str())
            .with("who", self.who.clone())
            .with("what", what)
            .with("why", self.why.clone())
            .with("arguments", arguments.collect::<Vec<Json>>())
            .with_some("provenance", (!provenance.is_empty()).then_some(provenance))
            .with("dry_run", self.dry_run.to_json())
            .with("risk", self.risk.to_json(&self.session))
            .into()
    }
}

impl DryRun {
    fn to_json(&self) -> Json {
        match self {
            Self::Preview { call, shown } => Object::new()
                .with("kind", "preview")
                .with("call", call.as_str())
                .with_some("result", shown.clone())
                .into(),
            Self::Request => Object::new().with("kind", "request").into(),
        }
    }
}

impl Risk {
    fn to_json(&self, session: &Object) -> Json {
        let caps = self.caps.iter().map(|cap| {
            Object::new()
                .with("cap", cap.cap.as_str())
                .with("amount", cap.amount)
                .with("used", cap.used)
                .with("remaining", cap.max.saturating_sub(cap.used).max(0))
                .with("max", cap.max)
                .with_some("resets_at", cap.resets_at.map(|at| at.0))
                .into()
        });
        let breakers = self.breakers.iter().map(|breaker| {
            Object::new()
                .with_some("operation", breaker.operation.as_deref())
                .with("state", breaker.state)
                .with_some("cause", breaker.cause.map(Code::as_str))
                .into()
        });
        let requests = self.history.requests.iter();
        let requests: Object =
            requests.map(|(state, count)| (state.clone(), Json::from(*count))).collect();
        let earlier =
            Object::new().with("window_ms", self.history.window_ms).with("requests", requests);
        Object::new()
            .with("session", session.clone())
            .with("caps", caps.collect::<Vec<Json>>())
            .with("breakers", breakers.collect::<Vec<Json>>())
            .with("agent_requests", earlier)
            .into()
    }
}
