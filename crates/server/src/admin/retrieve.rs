//! A search in registered sources, for whoever speaks no protocol of tools: the call
//! `retrieval/search`, as the MCP face makes it. And how sources do, and what people say of their
//! documents.
//!
//! Of a search nothing of its own is decided or recorded here. The session is that whose token is
//! shown, if one is, and the task that of the caller's token: what is narrowed by them there is
//! narrowed here.

use super::answers::object;
use super::problem::Problem;
use super::{Asked, Parts, Reading};
use crate::joining::SESSION_TOKEN_HEADER;
use lockgate_core::bundle::search::{RETRIEVAL, SEARCH_TOOL};
use lockgate_core::retrieve::watch::{Counts, Health, Verdict};
use lockgate_effects::{Caller, Presented};
use lockgate_kernel::{Answer, Proposal, Refusal, Words};
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Code, Json, Micros, Object, SessionId, UpstreamName};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Searches, and answers with what was found, under the id of the call.
pub(super) async fn retrieve(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let mut arguments = asked.arguments.clone();
    let shown = arguments.remove(&SESSION_TOKEN_HEADER.replace('-', "_"));
    let session = match shown.as_ref().and_then(Json::as_str) {
        Some(token) => Some(parts.kernel.join_session(&asked.identity, token).await?),
        None => None,
    };
    // Held until the end: a client that is gone cancels a read.
    let (client, _heard) = mpsc::channel(1);
    let proposal = Proposal { client, ..search(&asked.identity, session, arguments)? };
    let reply = parts.kernel.call(proposal).await;
    let found = match reply.answer {
        Answer::Result(mut result) => {
            let found = result.as_object_mut().and_then(|it| it.remove("structuredContent"));
            found.ok_or(Code::InvariantBroken)
        }
        Answer::Refused(refusal) => return Err(Problem::from(refusal).with_call(reply.call)),
        Answer::Error(_) => Err(Code::InvariantBroken),
    };
    match found {
        Ok(Json::Object(found)) => Ok(Reading::json(found.with("call", reply.call.as_str()))),
        Ok(_) | Err(_) => Err(Problem::from(Code::InvariantBroken).with_call(reply.call)),
    }
}

fn search(
    identity: &Arc<Identity>,
    session: Option<SessionId>,
    arguments: Object,
) -> Result<Proposal, Problem> {
    let broken = |_| Problem::from(Refusal::of(Code::InvariantBroken));
    let session_key = session.as_ref().map(|it| it.as_str().to_owned()).unwrap_or_default();
    let identified = Some(Arc::clone(identity));
    let caller = Caller { session_key, identity: identified, ..Caller::default() };
    let (nobody, _) = mpsc::channel(1);
    Ok(Proposal {
        identity: Arc::clone(identity),
        session,
        caller: Arc::new(caller),
        presented: Presented::Nothing,
        upstream: UpstreamName::new(RETRIEVAL).map_err(broken)?,
        method: "tools/call".to_owned(),
        params: Object::new().with("name", SEARCH_TOOL).with("arguments", arguments),
        words: Words::default(),
        traceparent: None,
        key: None,
        model: None,
        client: nobody,
    })
}

/// The shape of what was found.
pub(super) fn retrieved() -> Value {
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    let piece = json!({
        "type": "object",
        "required": ["document", "title", "text"],
        "description": "A piece of a document, and where it comes from. It is data.",
        "properties": {
            "document": { "type": "string", "description": "By what it is cited." },
            "title": { "type": "string" },
            "text": { "type": "string" },
        },
    });
    object(
        &["call", "complete", "found", "notes", "truncated"],
        json!({
            "call": { "type": "string", "description": "Under which it is recorded." },
            "complete": {
                "type": "boolean",
                "description": "Whether all was searched that may be seen.",
            },
            "found": { "type": "array", "items": piece, "description": "The best first." },
            "notes": texts,
            "truncated": {
                "type": "boolean",
                "description": "Whether there was no room for more.",
            },
        }),
    )
}

/// What may be said of a document.
pub(super) const VERDICTS: [&str; 3] =
    [Verdict::Useful.as_str(), Verdict::Wrong.as_str(), Verdict::Suspicious.as_str()];

/// How sources do.
#[derive(Serialize, JsonSchema)]
pub(super) struct All {
    /// By name; those that were searched since this node began.
    sources: Vec<One>,
}

/// How one source does.
#[derive(Serialize, JsonSchema)]
struct One {
    /// The source.
    source: String,
    #[serde(flatten)]
    all: Counted,
    /// The same by task; that of none is empty.
    tasks: BTreeMap<String, Counted>,
    /// When it was searched last, in microseconds since 1970.
    last: i64,
    /// Thousandths by which the questions of the last hundred searches differ from those before.
    #[serde(skip_serializing_if = "Option::is_none")]
    query_drift: Option<u32>,
    /// The same of the documents that were shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    result_drift: Option<u32>,
    /// The document that answers most different questions.
    #[serde(skip_serializing_if = "Option::is_none")]
    first: Option<First>,
    /// What somebody should look at, the latest first.
    suspicions: Vec<Suspected>,
    /// What people say of its documents, the latest first.
    feedback: Vec<Said>,
}

/// Counts of searches.
#[derive(Serialize, JsonSchema)]
struct Counted {
    /// Searches in it.
    searches: u64,
    /// Those that found something that was shown.
    hits: u64,
    /// Those that did not.
    misses: u64,
    /// Documents that fitted and were refused to whoever asked.
    withheld: u64,
}

/// A document, and its share.
#[derive(Serialize, JsonSchema)]
struct First {
    /// The document.
    document: String,
    /// Thousandths of different questions.
    share: u32,
}

/// Something that somebody should look at.
#[derive(Serialize, JsonSchema)]
struct Suspected {
    /// When, in microseconds since 1970.
    at: i64,
    /// `dominance`, `orders`, `contradiction`, `query_drift` or `result_drift`.
    kind: &'static str,
    /// The document, where it is one's.
    #[serde(skip_serializing_if = "String::is_empty")]
    document: String,
    /// Thousandths: how large a share, how sure, how many agree, how different.
    value: u32,
    /// The share in the window before.
    before: u32,
}

/// What people say of a document.
#[derive(Serialize, JsonSchema)]
struct Said {
    /// The document.
    document: String,
    /// How many found it useful.
    useful: u32,
    /// How many found it wrong.
    wrong: u32,
    /// How many found it suspicious.
    suspicious: u32,
    /// When somebody said something last, in microseconds since 1970.
    at: i64,
}

/// What was kept.
#[derive(Serialize, JsonSchema)]
pub(super) struct Kept {
    /// The document.
    document: String,
    /// What was said.
    verdict: String,
}

impl Counted {
    fn of(counts: Counts) -> Self {
        let Counts { searches, hits, withheld } = counts;
        Self { searches, hits, misses: searches.saturating_sub(hits), withheld }
    }
}

impl One {
    fn of(health: Health) -> Self {
        let suspicions = health.suspicions.into_iter().map(|it| Suspected {
            at: it.at.0,
            kind: it.kind.as_str(),
            document: it.document,
            value: it.value,
            before: it.before,
        });
        let feedback = health.feedback.into_iter().map(|it| {
            let [useful, wrong, suspicious] = it.counts;
            Said { document: it.document, useful, wrong, suspicious, at: it.at.0 }
        });
        let tasks = health.tasks.into_iter();
        let Micros(last) = health.last;
        Self {
            source: health.source,
            all: Counted::of(health.all),
            tasks: tasks.map(|(task, counts)| (task, Counted::of(counts))).collect(),
            last,
            query_drift: health.query_drift,
            result_drift: health.result_drift,
            first: health.first.map(|(document, share)| First { document, share }),
            suspicions: suspicions.collect(),
            feedback: feedback.collect(),
        }
    }
}

/// How sources do.
pub(super) async fn health(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let tenant = asked.text("tenant");
        let is_of = |health: &Health| {
            let of = parts.kernel.tenant_of_source(&health.source);
            tenant.is_empty() || of.is_some_and(|of| of.as_str() == tenant)
        };
        let sources = parts.kernel.sources_health().into_iter().filter(is_of).map(One::of);
        Reading::typed(&All { sources: sources.collect() })
    };
    parts.govern(&asked, "retrieval_read", perform).await
}

/// Keeps what somebody says of a document that they were shown.
pub(super) async fn feedback(parts: Arc<Parts>, asked: Asked) -> Result<Reading, Problem> {
    let perform = async || {
        let call = CallId::new(asked.text("call")).map_err(|_| Code::AdminBadRequest)?;
        let document = asked.text("document");
        let verdict = Verdict::from_word(asked.text("verdict")).ok_or(Code::AdminBadRequest)?;
        parts.kernel.say_of_document(&asked.identity, (&call, document), verdict).await?;
        let verdict = verdict.as_str().to_owned();
        Reading::typed(&Kept { document: document.to_owned(), verdict })
    };
    parts.govern(&asked, "retrieval_feedback", perform).await
}
