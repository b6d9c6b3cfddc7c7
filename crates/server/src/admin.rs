//! The admin API: the one way by which anything reads or changes a running gate (I12).
//!
//! Every request is an operation of the reserved upstream `lockgate`: decided by the same policies
//! and recorded like any other call, through `Kernel::admin`. Two things are answered to every
//! identity without a decision: the description of this API, which says nothing about this gate,
//! and that an address or method does not exist.
//!
//! One table (`table::ROUTES`) is what the router and the OpenAPI description are both built
//! from. A call runs in a task of its own, so that a client that hangs up takes no record with it.
//!
//! Verifying a log reads thousands of tiles, and recording each read would make the log grow under
//! its verifier. So `checkpoint_read` is decided and recorded once and leaves a grant (`grants`):
//! for five minutes the same identity reads tiles up to that checkpoint, unless another bundle
//! comes to rule. Tiles hold commitments, no payloads.

mod answers;
mod approvals;
mod asked;
mod bundles;
mod effects;
mod evaluations;
mod grants;
mod kept;
mod known;
mod ledger;
mod limits;
mod memory;
mod offers;
mod openapi;
mod opened;
mod operations;
mod problem;
mod records;
mod retrieve;
mod risk;
mod runs;
mod sources;
mod status;
mod switches;
mod table;

pub use bundles::{Reload, ReloadError};
pub use openapi::openapi;

use crate::http::{Body, BoxError, collect};
use asked::Asked;
use axum::Router;
use axum::extract::{Extension, RawPathParams, RawQuery};
use axum::routing::{MethodFilter, on};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use grants::Grants;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::BodyExt;
use lockgate_core::eval::REPORT_BYTES_MAX;
use lockgate_core::flow::WORDS_BYTES_MAX;
use lockgate_kernel::{Ahead, Answer, Kernel, Refusal};
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Code, Json, Micros};
use problem::Problem;
use std::sync::Arc;
use std::time::Duration;
use table::{Method, ROUTES, Route};
use tokio::sync::Semaphore;
use tower::ServiceExt;

/// Bytes of a request's body: few operations take more than a few members.
const BODY_BYTES_MAX: usize = 16 * 1024;
/// The same where a person's words are told: those, as they are escaped, and the rest.
const WORDS_BODY_BYTES_MAX: usize = 2 * WORDS_BYTES_MAX + BODY_BYTES_MAX;
/// The same where a report of an evaluation is handed in, as it is escaped.
const REPORT_BODY_BYTES_MAX: usize = 2 * REPORT_BYTES_MAX + BODY_BYTES_MAX;
/// Bytes of a claim of who is behind an answer.
const CLAIM_BYTES_MAX: usize = 256;
/// How long a body may take to arrive.
const BODY_WITHIN: Duration = Duration::from_secs(15);
/// Proofs built at once: each keeps a thread busy.
const PROOFS_MAX: usize = 4;

/// The admin API of one gate. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    parts: Arc<Parts>,
    router: Router,
}

/// What the operations work with.
pub(crate) struct Parts {
    kernel: Kernel,
    reload: Reload,
    started: Micros,
    grants: Grants,
    proofs: Semaphore,
    /// Journals that may be followed at once.
    streams: Arc<Semaphore>,
}

/// What an operation answers.
pub(crate) struct Reading {
    status: StatusCode,
    kind: &'static str,
    body: axum::body::Body,
}

/// Who a channel says is behind an answer. Only another face of this gate can say it.
#[derive(Clone)]
pub(crate) struct Claimed(String);

impl Claimed {
    /// A claim, if it could be a name.
    pub(crate) fn of(text: &str) -> Result<Self, Refusal> {
        if text.len() > CLAIM_BYTES_MAX || text.chars().any(char::is_control) {
            let mut refusal = Refusal::of(Code::AdminBadRequest);
            refusal.reason = format!("`by` is at most {CLAIM_BYTES_MAX} bytes of plain text");
            return Err(refusal);
        }
        Ok(Self(text.to_owned()))
    }
}

/// How an operation of the table is performed.
pub(crate) type Handler = fn(Arc<Parts>, Asked) -> BoxFuture<'static, Result<Reading, Problem>>;

impl Admin {
    /// The API of that kernel. `reload` reads the bundle anew from where this gate has it.
    pub fn new(kernel: Kernel, reload: Reload) -> Self {
        let started = kernel.clock().now();
        let parts = Arc::new(Parts {
            kernel,
            reload,
            started,
            grants: Grants::new(),
            proofs: Semaphore::new(PROOFS_MAX),
            streams: Arc::new(Semaphore::new(runs::STREAMS_MAX)),
        });
        let router = router(&parts);
        Self { parts, router }
    }

    /// Answers one request of a known identity.
    pub async fn handle<B>(&self, identity: Arc<Identity>, request: Request<B>) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut request = request.map(axum::body::Body::new);
        request.extensions_mut().insert(identity);
        let answered = self.router.clone().oneshot(request).await;
        let answered = answered.unwrap_or_else(|never| match never {});
        answered.map(|body| body.map_err(Into::into).boxed_unsync())
    }

    /// The kernel whose API this is.
    pub fn kernel(&self) -> &Kernel {
        &self.parts.kernel
    }
}

fn router(parts: &Arc<Parts>) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let parts = Arc::clone(parts);
        let handler = move |identity, path, query, request| {
            serve(Arc::clone(&parts), route, identity, path, query, request)
        };
        let filter = match route.method {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Delete => MethodFilter::DELETE,
        };
        router = router.route(route.path, on(filter, handler));
    }
    let nothing_here = async || Problem::from(Refusal::of(Code::AdminNotFound)).into_response();
    let wrong_method = async || {
        let mut refusal = Refusal::of(Code::AdminBadRequest);
        "this address is not asked with this method".clone_into(&mut refusal.reason);
        Problem::from(refusal).into_response_with(StatusCode::METHOD_NOT_ALLOWED)
    };
    router.fallback(nothing_here).method_not_allowed_fallback(wrong_method)
}

/// One request to a route of the table.
async fn serve(
    parts: Arc<Parts>,
    route: &'static Route,
    Extension(identity): Extension<Arc<Identity>>,
    path: Result<RawPathParams, axum::extract::rejection::RawPathParamsRejection>,
    RawQuery(query): RawQuery,
    request: axum::extract::Request,
) -> Response<axum::body::Body> {
    let answered = async {
        let path = path.map_err(|_| Problem::request("the path is not UTF-8"))?;
        let path = path.iter().map(|(name, value)| (name.to_owned(), value.to_owned()));
        let claimed = request.extensions().get::<Claimed>().cloned();
        let last_event = runs::last_event(route, request.headers())?;
        let (head, body) = request.into_parts();
        let body = collect(body, route.body_bytes_max(), BODY_WITHIN).await;
        let body = body.map_err(|error| Problem::body(&error))?;
        let given = (&head.headers, body.as_ref());
        let mut asked = Asked::read(route, identity, path.collect(), query.as_deref(), given)?;
        if let Some(Claimed(name)) = claimed {
            asked.arguments.set("claimed_by", name);
        }
        if let Some(last) = last_event {
            asked.arguments.set("after", last);
        }
        // In a task of its own: what was begun is recorded whether or not the client waits for it.
        let task = tokio::spawn((route.handler)(parts, asked));
        task.await.unwrap_or_else(|_| Err(Refusal::of(Code::InvariantBroken).into()))
    };
    match answered.await {
        Ok(reading) => reading.into_response(),
        Err(problem) => problem.into_response(),
    }
}

impl Parts {
    /// Has an operation decided and recorded, and performed if it is allowed.
    async fn govern<T>(
        &self,
        asked: &Asked,
        operation: &str,
        perform: impl AsyncFnOnce() -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        self.govern_call(asked, operation, None, async |_| perform().await).await
    }

    /// The same, for what records under which call it was done, and what is done ahead.
    async fn govern_call<T>(
        &self,
        asked: &Asked,
        operation: &str,
        ahead: Option<Ahead>,
        perform: impl AsyncFnOnce(CallId) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        let mut done = None;
        let arguments = asked.arguments.clone();
        let called = (operation, arguments);
        let reply = self.kernel.admin(&asked.identity, called, ahead, async |call| {
            let performed = perform(call).await;
            let told = match &performed {
                Ok(_) => Ok(Json::Null),
                Err(problem) => Err(Refusal::clone(&problem.refusal)),
            };
            done = Some(performed);
            told
        });
        let reply = reply.await;
        match (reply.answer, done) {
            (Answer::Result(_), Some(Ok(done))) => Ok(done),
            // A problem of its own has more to say than the refusal; what could not be recorded has
            // not.
            (Answer::Refused(refusal), Some(Err(problem))) if *problem.refusal == refusal => {
                Err(problem.with_call(reply.call))
            }
            (Answer::Refused(refusal), _) => Err(Problem::from(refusal).with_call(reply.call)),
            (Answer::Result(_) | Answer::Error(_), _) => {
                Err(Problem::from(Refusal::of(Code::InvariantBroken)).with_call(reply.call))
            }
        }
    }
}

impl Reading {
    pub(crate) fn json(value: impl Into<Json>) -> Self {
        Self::of("application/json", value.into().to_bytes())
    }

    fn of(kind: &'static str, bytes: Vec<u8>) -> Self {
        Self { status: StatusCode::OK, kind, body: axum::body::Body::from(bytes) }
    }

    /// Something that there is from now on.
    pub(crate) fn created(value: impl Into<Json>) -> Self {
        Self { status: StatusCode::CREATED, ..Self::json(value) }
    }

    /// Server-sent events, as they come.
    pub(crate) fn events(body: axum::body::Body) -> Self {
        Self { status: StatusCode::OK, kind: "text/event-stream", body }
    }

    /// An answer whose type describes itself in OpenAPI.
    pub(crate) fn typed(value: &impl serde::Serialize) -> Result<Self, Problem> {
        let bytes = serde_json::to_vec(value);
        let bytes = bytes.map_err(|_| Problem::from(Refusal::of(Code::InvariantBroken)))?;
        Ok(Self::of("application/json", bytes))
    }

    pub(crate) fn text(text: String) -> Self {
        Self::of("text/plain; charset=utf-8", text.into_bytes())
    }

    pub(crate) fn octets(bytes: Vec<u8>) -> Self {
        Self::of("application/octet-stream", bytes)
    }

    fn into_response(self) -> Response<axum::body::Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.kind));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        response
    }
}
