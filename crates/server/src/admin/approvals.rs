//! Requests for approval: shown with their evidence, and answered.
//!
//! Who may answer is for policies to say: giving and denying are operations whose arguments name
//! the requirement, the operation that waits, and the agent that asks.

use super::problem::Problem;
use super::{Asked, Parts, Reading, records};
use lockgate_store::{ApprovalRequest, ApprovalState, Delivery, Given, REQUESTS_READ_MAX};
use lockgate_types::{CallId, Code, Json, JsonLimits, Object};
use std::sync::Arc;

pub(super) async fn list(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let store = parts.kernel.store();
        let max = asked.number("max").and_then(|max| u32::try_from(max).ok());
        let max = max.unwrap_or(REQUESTS_READ_MAX).min(REQUESTS_READ_MAX);
        let requests = match asked.text("after") {
            "" => store.approval_requests(max).await?,
            after => {
                let after = CallId::new(after).map_err(|_| Code::AdminBadRequest)?;
                let found = store.approval_requests_after(&after, max).await?;
                found.ok_or(Code::RecordNotFound)?
            }
        };
        let is_full = requests.len() >= usize::try_from(max).unwrap_or(usize::MAX);
        let next = requests.last().filter(|_| is_full).map(|last| last.call.to_string());
        let mut shown = Vec::with_capacity(requests.len());
        for request in &requests {
            let about = parts.about(request).await?;
            shown.push(Json::from(summary(request, &about)));
        }
        let page = Object::new().with("approvals", Json::Array(shown));
        Ok(Reading::json(page.with_some("next", next)))
    };
    parts.govern(&asked, "approvals_read", perform).await
}

pub(super) async fn show(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let call = CallId::new(asked.text("call")).map_err(|_| Code::AdminBadRequest)?;
        let store = parts.kernel.store();
        let request = store.approval_request(&call).await?.ok_or(Code::RecordNotFound)?;
        let trace = store.trace(&call).await?.ok_or(Code::RecordNotFound)?;
        let about = parts.about(&request).await?;
        let trace = records::trace_json(&call, trace)?;
        let evidence = evidence(&call, &trace);
        let bundle = parts.kernel.world().map(|world| world.digest.to_string());
        let decided_by = evidence.as_ref().and_then(|it| it.get("bundle")?.as_str());
        let has_changed = decided_by.map(|then| bundle.as_deref() != Some(then));
        let (entry, deliveries) = store.deliveries(&call).await?;
        let answered = match entry.filter(|_| request.state != ApprovalState::Pending) {
            Some(entry) => Some(parts.leaf_at(entry).await?),
            None => None,
        };
        let mut shown = summary(&request, &about);
        shown.set("given", parts.by_whom(&request).await?);
        let shown = shown
            .with_some("bundle_changed", has_changed)
            .with_some("answered", answered)
            .with("deliveries", deliveries.iter().map(delivery).collect::<Vec<_>>());
        Ok(Reading::json(shown.with_some("evidence", evidence).with("trace", trace)))
    };
    parts.govern(&asked, "approvals_read", perform).await
}

/// How a request stands, for who asked: it shows nothing of what was asked for.
pub(super) async fn state(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let call = CallId::new(asked.text("call")).map_err(|_| Code::AdminBadRequest)?;
        let waits = parts.kernel.own_request(&asked.identity, &call).await?;
        Ok(Reading::json(waits.to_json()))
    };
    parts.govern(&asked, "approval_state", perform).await
}

pub(super) async fn give(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let (call, asked) = parts.with_what_waits(asked).await?;
    let perform = async |by: CallId| {
        let identity = &asked.identity;
        let given = (asked.text("requirement"), asked.text("answer"));
        // A claim proves nobody, and is enough to say no.
        let claimed = asked.text("claimed_by");
        if !claimed.is_empty() && parts.kernel.could_be_requester(&call, claimed).await? {
            return Err(Code::SelfApproval.into());
        }
        parts.kernel.approve(&call, given, identity, &by).await?;
        parts.state(&call).await
    };
    parts.govern_call(&asked, "approval_give", None, perform).await
}

pub(super) async fn deny(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let (call, asked) = parts.with_what_waits(asked).await?;
    let perform = async |by: CallId| {
        parts.kernel.reject(&call, &by).await?;
        parts.state(&call).await
    };
    parts.govern_call(&asked, "approval_deny", None, perform).await
}

impl Parts {
    /// What was given so far, with the names of those who did, while their calls have not been
    /// erased.
    async fn by_whom(&self, request: &ApprovalRequest) -> Result<Vec<Json>, Problem> {
        let mut all = Vec::with_capacity(request.given.len());
        for given in &request.given {
            let facts = self.kernel.store().facts_of(&given.by).await?;
            let name = facts.map(|facts| facts.identity.subject.to_string());
            all.push(agreed(given).with_some("subject", name).into());
        }
        Ok(all)
    }

    /// What the log says of the call that asks.
    async fn about(&self, request: &ApprovalRequest) -> Result<Json, Problem> {
        self.leaf_at(request.entry).await
    }

    async fn leaf_at(&self, entry: u64) -> Result<Json, Problem> {
        let entry = self.kernel.store().entry_at(entry).await?;
        Json::parse(&entry.leaf, &JsonLimits::OWN).map_err(|_| Code::LedgerCorrupt.into())
    }

    /// The arguments with what policies may want to know of the call that asks. Of a call that does
    /// not, they know nothing.
    async fn with_what_waits(&self, asked: Asked) -> Result<(CallId, Asked), Problem> {
        let call = CallId::new(asked.text("call")).map_err(|_| Code::AdminBadRequest)?;
        let Some(request) = self.kernel.store().approval_request(&call).await? else {
            return Ok((call, asked));
        };
        let about = self.about(&request).await?;
        let mut arguments = asked.arguments.clone();
        for name in ["agent", "environment", "operation", "tenant"] {
            if let Some(value) = about.get(name) {
                arguments.set(name, value.clone());
            }
        }
        Ok((call, asked.with(arguments)))
    }

    async fn state(&self, call: &CallId) -> Result<Reading, Problem> {
        let request = self.kernel.store().approval_request(call).await?;
        let request = request.ok_or(Code::RecordNotFound)?;
        let state = Object::new().with("call", call.as_str()).with("state", request.state.as_str());
        Ok(Reading::json(state))
    }
}

/// The evidence as it was recorded with the request. `None`: it was erased, or the request is from
/// before there was any.
fn evidence(call: &CallId, trace: &Object) -> Option<Json> {
    // A preview, within the call, is recorded before it.
    let is_own =
        |entry: &&Json| entry.at(&["leaf", "call"]).and_then(Json::as_str) == Some(call.as_str());
    let mut own = trace.get("entries")?.as_array()?.iter().filter(is_own);
    own.find_map(|entry| entry.at(&["payload", "evidence"]).cloned())
}

/// How far a webhook is with it.
fn delivery(delivery: &Delivery) -> Json {
    let state = match (delivery.is_over, delivery.why.is_empty()) {
        (true, true) => "told",
        (true, false) => "given_up",
        (false, _) => "trying",
    };
    Object::new()
        .with("webhook", delivery.webhook.as_str())
        .with("state", state)
        .with("attempts", i64::from(delivery.attempts))
        .with("why", delivery.why.as_str())
        .into()
}

/// What somebody has agreed to.
fn agreed(given: &Given) -> Object {
    Object::new()
        .with("approver", given.approver.as_str())
        .with("by_call", given.by.as_str())
        .with("requirement", given.requirement.as_str())
}

fn summary(request: &ApprovalRequest, about: &Json) -> Object {
    let given = request.given.iter().map(|given| Json::from(agreed(given)));
    let requirements = request.requirements.iter().map(|it| Json::from(it.as_str()));
    let member = |name: &str| about.get(name).cloned();
    Object::new()
        .with("call", request.call.as_str())
        .with("state", request.state.as_str())
        .with("expires_at", request.expires.0)
        .with("requirements", requirements.collect::<Vec<_>>())
        .with("given", given.collect::<Vec<_>>())
        .with_some("operation", member("operation"))
        .with_some("agent", member("agent"))
        .with_some("subject", member("subject"))
        .with_some("policies", member("policies"))
        .with_some("at", member("t"))
}
