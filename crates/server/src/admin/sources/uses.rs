//! What documents have fed: the calls that have shown them, and what came after.

use super::super::problem::Problem;
use super::super::{Asked, Parts, Reading};
use lockgate_kernel::{FedSession, Followed, Refusal, Use};
use lockgate_store::LoggedCall;
use lockgate_types::{CallId, Code, Json};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Uses of one answer.
pub(in super::super) const USES_MAX: i64 = 64;
/// Uses of one answer, where nothing is asked for.
const USES_DEFAULT: u32 = 20;

/// What a document, or all of a source, has fed.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Uses {
    /// The source.
    source: String,
    /// The document's id there; absent if it is all of the source.
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<String>,
    /// How many of these calls were for each task; those for none are not counted.
    tasks: BTreeMap<String, u32>,
    /// The sessions that were shown something, that of the newest call first.
    sessions: Vec<Fed>,
    /// The `before` of the next answer; absent if there are no more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A session that was shown something.
#[derive(Serialize, JsonSchema)]
struct Fed {
    /// The session, as records call it.
    session: String,
    /// Through whom.
    agent: String,
    /// For whom: the pseudonym in records. The trace of a call says who that is.
    subject: String,
    /// `normal`, `approvals`, `read_only` or `locked`: how it stands now.
    mode: &'static str,
    /// The calls that have shown it something, newest first.
    uses: Vec<Shown>,
    /// Reads since the first of them, until two days after the last. This and what follows is
    /// counted up to 10,000.
    reads: u32,
    /// Changes that were let out.
    changes: u32,
    /// Calls that were refused, or wait for somebody.
    refused: u32,
    /// The first 32 changes, and the first 32 that were refused or wait, in order.
    followed: Vec<After>,
    /// Whether there were more than are told or counted here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    is_cut: bool,
}

/// A call that has shown something.
#[derive(Serialize, JsonSchema)]
struct Shown {
    /// The call.
    call: String,
    /// When it was answered, in microseconds since 1970.
    at: i64,
    /// What it asked for.
    operation: String,
    /// For which task.
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    /// Within which run or call.
    #[serde(skip_serializing_if = "Option::is_none")]
    within: Option<String>,
    /// The documents that are asked about, `<source>/<id>`; absent if the answer was erased, or not
    /// kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    documents: Option<Vec<String>>,
}

/// A call that came after.
#[derive(Serialize, JsonSchema)]
struct After {
    /// The call.
    call: String,
    /// When it was decided, in microseconds since 1970.
    at: i64,
    /// What it asked for; empty if nobody has declared that.
    operation: String,
    /// `read`, `write`, `destructive` or `external`.
    effect: String,
    /// `allow`, `deny` or `require_approval`.
    verdict: String,
    /// `succeeded`, `failed`, `in_doubt` or `truncated`; absent if it never left, or is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<String>,
    /// Why it was refused, or has failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    /// Whether it cites what is asked about.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    cites: bool,
}

pub(in super::super) async fn uses(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let asked = parts.about_source(asked);
    let perform = async || {
        let source = asked.text("source");
        let document = Some(asked.text("document")).filter(|document| !document.is_empty());
        let before = match asked.text("before") {
            "" => None,
            text => {
                let call = CallId::new(text).map_err(|_| Code::AdminBadRequest)?;
                let at = parts.kernel.store().concluded_at(&call).await?;
                Some((at.ok_or_else(|| Refusal::of(Code::RecordNotFound))?, call))
            }
        };
        let max = asked.number("max").and_then(|max| u32::try_from(max).ok());
        let max = max.unwrap_or(USES_DEFAULT);
        let found = parts.kernel.uses_of(&asked.identity, (source, document), before, max).await?;
        let sessions: Vec<Fed> = found.sessions.into_iter().map(Fed::of).collect();
        let mut tasks = BTreeMap::new();
        for task in sessions.iter().flat_map(|fed| &fed.uses).filter_map(|it| it.task.clone()) {
            let count: &mut u32 = tasks.entry(task).or_default();
            *count = count.saturating_add(1);
        }
        Reading::typed(&Uses {
            source: source.to_owned(),
            document: found.document,
            tasks,
            sessions,
            next: found.next.map(|(_, call)| call.as_str().to_owned()),
        })
    };
    parts.govern(&asked, "source_uses_read", perform).await
}

impl Fed {
    fn of(session: FedSession) -> Self {
        let first = session.uses.first().map(|it| &it.logged);
        let said = |name| first.and_then(|it| text(&it.decided, name)).unwrap_or_default();
        Self {
            agent: said("agent"),
            subject: said("subject"),
            session: session.id.as_str().to_owned(),
            mode: session.mode.as_str(),
            uses: session.uses.into_iter().map(Shown::of).collect(),
            reads: session.reads,
            changes: session.changes,
            refused: session.refused,
            followed: session.followed.into_iter().map(After::of).collect(),
            is_cut: session.is_cut,
        }
    }
}

impl Shown {
    fn of(one: Use) -> Self {
        let LoggedCall { call, at, decided, .. } = one.logged;
        Self {
            call: call.as_str().to_owned(),
            at: at.0,
            operation: text(&decided, "operation").unwrap_or_default(),
            task: text(&decided, "task"),
            within: text(&decided, "within"),
            documents: one.documents.map(|all| all.into_iter().collect()),
        }
    }
}

impl After {
    fn of(one: Followed) -> Self {
        let LoggedCall { call, at, decided, outcome } = one.logged;
        let said = |name| text(&decided, name).unwrap_or_default();
        let of_outcome = |name| outcome.as_ref().and_then(|outcome| text(outcome, name));
        Self {
            call: call.as_str().to_owned(),
            at: at.0,
            operation: said("operation"),
            effect: said("effect"),
            verdict: said("verdict"),
            state: of_outcome("state"),
            code: text(&decided, "code").or_else(|| of_outcome("code")),
            cites: one.cites,
        }
    }
}

fn text(leaf: &Json, name: &str) -> Option<String> {
    leaf.get(name).and_then(Json::as_str).map(str::to_owned)
}
