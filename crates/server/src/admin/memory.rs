//! What agents have written down for a person, as that person sees it: theirs to read, to confirm
//! and to delete. Of anybody else's nothing is said.

use super::problem::Problem;
use super::{Asked, Parts, Reading};
use lockgate_store::{MEMOS_READ_MAX, Memo};
use lockgate_types::{AgentId, CallId, TaskName};
use schemars::JsonSchema;
use serde::Serialize;
use std::sync::Arc;

/// A page of memos.
#[derive(Serialize, JsonSchema)]
pub(crate) struct All {
    /// The newest first.
    memos: Vec<One>,
    /// Where to go on, if there are more.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A memo.
#[derive(Serialize, JsonSchema)]
pub(crate) struct One {
    /// The memo.
    memo: String,
    /// In which memory it is.
    memory: String,
    /// The task for which it is kept, where each has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<String>,
    /// The agent for which it is kept, where each has its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    /// The name by which agents find it.
    key: String,
    /// What it says.
    text: String,
    /// The agent that wrote it: it is generated.
    written_by: String,
    /// The call by which it did.
    call: String,
    /// The bundle under which it did.
    bundle: String,
    /// When, in microseconds since 1970.
    written_at: i64,
    /// Until when it is kept, in microseconds since 1970.
    expires_at: i64,
    /// What its writer had met by then.
    met: Met,
    /// The call by which a person has confirmed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmed_by: Option<String>,
    /// When, in microseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    confirmed_at: Option<i64>,
}

/// What whoever wrote a memo had met.
#[derive(Serialize, JsonSchema)]
struct Met {
    /// `trusted` or `untrusted`.
    integrity: &'static str,
    /// `public`, `internal`, `confidential` or `restricted`.
    confidentiality: &'static str,
    /// Whose words: `system`, `directory`, `tenant`, `anyone`.
    origins: Vec<&'static str>,
    /// Kinds of personal data.
    pii: Vec<String>,
}

/// A memo that was deleted.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Forgotten {
    /// The memo.
    memo: String,
}

impl One {
    fn of(memo: Memo) -> Self {
        let Memo { label, scope, confirmed, .. } = memo;
        let (confirmed_by, confirmed_at) = confirmed.map(|(by, at)| (by.to_string(), at.0)).unzip();
        Self {
            memo: memo.id,
            memory: scope.memory,
            task: scope.task.flatten().as_ref().map(TaskName::to_string),
            agent: scope.agent.as_ref().map(AgentId::to_string),
            key: memo.key,
            text: memo.text,
            written_by: memo.agent.to_string(),
            call: memo.call.to_string(),
            bundle: memo.bundle.to_string(),
            written_at: memo.at.0,
            expires_at: memo.until.0,
            met: Met {
                integrity: label.integrity.as_str(),
                confidentiality: label.confidentiality.as_str(),
                origins: label.origins.iter().map(|origin| origin.as_str()).collect(),
                pii: label.pii.into_iter().collect(),
            },
            confirmed_by,
            confirmed_at,
        }
    }
}

pub(super) async fn list(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let max = asked.number("max").and_then(|max| u32::try_from(max).ok());
        let after = Some(asked.text("after")).filter(|after| !after.is_empty());
        let max = max.unwrap_or(MEMOS_READ_MAX);
        let page = parts.kernel.memos(&asked.identity, after, max).await?;
        let memos = page.memos.into_iter().map(One::of).collect();
        Reading::typed(&All { memos, next: page.next })
    };
    parts.govern(&asked, "memory_read", perform).await
}

pub(super) async fn show(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let memo = parts.kernel.memo(&asked.identity, asked.text("memo")).await?;
        Reading::typed(&One::of(memo))
    };
    parts.govern(&asked, "memory_read", perform).await
}

pub(super) async fn confirm(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async |by: CallId| {
        let memo = asked.text("memo");
        let confirmed = parts.kernel.confirm_memo(&asked.identity, memo, &by).await?;
        Reading::typed(&One::of(confirmed))
    };
    parts.govern_call(&asked, "memory_confirm", None, perform).await
}

pub(super) async fn forget(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let memo = asked.text("memo");
        parts.kernel.forget_memo(&asked.identity, memo).await?;
        Reading::typed(&Forgotten { memo: memo.to_owned() })
    };
    parts.govern(&asked, "memory_forget", perform).await
}
