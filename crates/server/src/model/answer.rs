//! A reply as its API has it: whole, in events as they come, or an error.

use crate::http::{self, Body, BoxError};
use crate::mcp::KEEP_ALIVE;
use crate::running::{Running, Step};
use ::http::header::{HeaderName, HeaderValue};
use ::http::{Response, StatusCode};
use bytes::Bytes;
use http_body::Frame;
use lockgate_effects::model::{BODY, HEADERS, STATUS};
use lockgate_kernel::{Answer, Listed, Refusal, Reply, ToClient};
use lockgate_types::model::ModelApi;
use lockgate_types::{Code, Json, Object};
use lockgate_wire::model::gate::keep_alive;
use lockgate_wire::model::refusal;
use lockgate_wire::sse::write_event;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::time::{Instant, Sleep};

/// The header that names the call, for `lockgate trace`.
const CALL_HEADER: HeaderName = HeaderName::from_static("lockgate-call");

/// The answer to a call on its way: whole if it ends before there is an event.
pub(super) async fn of(mut running: Running, api: ModelApi) -> Response<Body> {
    loop {
        match running.next().await {
            Step::Interim(ToClient::Begins { call, head }) => {
                let mut response = http::events(Events::new(running, api));
                dress(&mut response, &head);
                name_call(&mut response, call.as_str());
                return response;
            }
            Step::Interim(_) => {}
            Step::Done(reply) => return whole(api, reply),
            Step::Lost => return refuse(api, &Refusal::of(Code::InvariantBroken)),
        }
    }
}

fn whole(api: ModelApi, reply: Reply) -> Response<Body> {
    let mut response = match reply.answer {
        Answer::Result(result) => {
            let body = result.get(BODY).unwrap_or(&Json::Null).to_bytes();
            let mut response = http::json(StatusCode::OK, body);
            dress(&mut response, &result);
            response
        }
        Answer::Refused(refusal) => refuse(api, &refusal),
        // No provider of models answers so.
        Answer::Error(_) => refuse(api, &Refusal::of(Code::InvariantBroken)),
    };
    name_call(&mut response, reply.call.as_str());
    response
}

/// Status and headers, as its provider said them.
fn dress(response: &mut Response<Body>, head: &Json) {
    let status = head.get(STATUS).and_then(Json::as_i64).and_then(|it| u16::try_from(it).ok());
    if let Some(status) = status.and_then(|status| StatusCode::from_u16(status).ok()) {
        *response.status_mut() = status;
    }
    let headers = head.get(HEADERS).and_then(Json::as_object);
    for (name, value) in headers.into_iter().flat_map(Object::iter) {
        let name = HeaderName::try_from(name).ok();
        let value = value.as_str().and_then(|text| HeaderValue::try_from(text).ok());
        if let (Some(name), Some(value)) = (name, value) {
            response.headers_mut().insert(name, value);
        }
    }
}

fn name_call(response: &mut Response<Body>, call: &str) {
    if let Ok(value) = HeaderValue::from_str(call) {
        response.headers_mut().insert(CALL_HEADER, value);
    }
}

/// A refusal as the API says errors.
pub(super) fn refuse(api: ModelApi, refused: &Refusal) -> Response<Body> {
    let answer = refusal::answer(api, refused);
    let status = StatusCode::from_u16(answer.status);
    let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = http::json(status, answer.body.to_bytes());
    for (name, value) in answer.headers {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// Which models there are: with what clients of either family look for.
pub(super) fn list(models: &[Listed]) -> Json {
    let data = models.iter().map(|model| {
        Object::new()
            .with("id", model.name.as_str())
            .with("object", "model")
            .with("type", "model")
            .with("display_name", model.name.as_str())
            .with("created", 0)
            .with("created_at", "1970-01-01T00:00:00Z")
            .with("owned_by", model.owned_by.as_str())
            .into()
    });
    let data: Vec<Json> = data.collect();
    let name = |model: Option<&Listed>| model.map(|model| model.name.clone());
    Object::new()
        .with("object", "list")
        .with("data", data)
        .with("has_more", false)
        .with_some("first_id", name(models.first()))
        .with_some("last_id", name(models.last()))
        .into()
}

/// The body of an answer in events. Dropped, it cancels the call.
struct Events {
    running: Option<Running>,
    api: ModelApi,
    alarm: Pin<Box<Sleep>>,
}

impl Events {
    fn new(running: Running, api: ModelApi) -> Self {
        let alarm = Box::pin(tokio::time::sleep(KEEP_ALIVE));
        Self { running: Some(running), api, alarm }
    }

    fn wake_later(&mut self) {
        self.alarm.as_mut().reset(Instant::now() + KEEP_ALIVE);
    }
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.get_mut();
        loop {
            let Some(mut running) = this.running.take() else { return Poll::Ready(None) };
            let Poll::Ready(step) = running.poll_next(context) else {
                this.running = Some(running);
                if this.alarm.as_mut().poll(context).is_pending() {
                    return Poll::Pending;
                }
                this.wake_later();
                let bytes = Bytes::from_static(keep_alive(this.api));
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            };
            match step {
                Step::Interim(ToClient::Events(events)) => {
                    this.running = Some(running);
                    let mut bytes = Vec::with_capacity(256 * events.len());
                    events.iter().for_each(|event| write_event(event, &mut bytes));
                    if bytes.is_empty() {
                        continue;
                    }
                    this.wake_later();
                    return Poll::Ready(Some(Ok(Frame::data(bytes.into()))));
                }
                Step::Interim(_) => this.running = Some(running),
                // Whatever is to be said of its end was said in events.
                Step::Done(_) | Step::Lost => return Poll::Ready(None),
            }
        }
    }
}
