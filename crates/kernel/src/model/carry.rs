//! A request carried to the API that the provider of an entry speaks, and its answer carried back.
//!
//! What has no counterpart there is refused by its name: in a request before anybody is asked, in
//! an answer instead of it. The call is of the API that the provider is asked by: it is what is
//! decided about, looked at and recorded.

use super::attempt::Turn;
use super::{ModelRequest, asked};
use crate::port::{Answer, ClientPort, Refusal, Reply, ToClient};
use lockgate_core::route::Pick;
use lockgate_effects::model::{BODY, STATUS};
use lockgate_types::model::{ModelApi, ModelAsked};
use lockgate_types::{Code, Json, Micros};
use lockgate_wire::model::Asked;
use lockgate_wire::model::convert::{
    Cannot, ToChat, ToMessages, counterpart, error, reply_to_chat, reply_to_messages,
    request_to_chat, request_to_messages,
};
use lockgate_wire::model::refusal::stop_events;
use lockgate_wire::sse::SseEvent;
use tokio::sync::mpsc;

/// Tokens of a reply where neither the client nor the entry says how many, for an API that has to
/// be told.
const REPLY_TOKENS: u32 = 4096;
/// Headers that belong to one family, and say nothing to the other.
const OF_A_FAMILY: [&str; 2] = ["anthropic-", "openai-"];

/// Those by which requests of an API can be carried: itself, and its counterpart.
pub(super) fn apis(api: ModelApi) -> Vec<ModelApi> {
    [Some(api), counterpart(api)].into_iter().flatten().collect()
}

/// A request as its provider is asked.
pub(super) enum Carried<'a> {
    /// By the client's own API.
    AsItIs(&'a Turn),
    /// By the other family's.
    Over(Box<(ModelRequest, ModelAsked)>, &'a Turn),
}

/// Carries a request to the API by which an entry is asked.
pub(super) fn to<'a>(turn: &'a Turn, pick: &Pick) -> Result<Carried<'a>, Refusal> {
    let request = &turn.request;
    let api = pick.api;
    if api == request.api {
        return Ok(Carried::AsItIs(turn));
    }
    let entry = turn.world.models.get(&pick.entry).ok_or_else(broken)?;
    let tokens_max = entry.declared.output_tokens_max.unwrap_or(REPLY_TOKENS);
    let body = Json::Object(request.body.clone());
    let body = match api {
        ModelApi::Messages => request_to_messages(&body, tokens_max),
        ModelApi::ChatCompletions => request_to_chat(&body),
        ModelApi::Responses | ModelApi::CountTokens | ModelApi::Embeddings | ModelApi::Models => {
            return Err(broken());
        }
    };
    let body = body.map_err(|cannot| not_carried(Code::CannotConvert, &cannot))?;
    let is_common =
        |(name, _): &&(String, String)| !OF_A_FAMILY.iter().any(|family| name.starts_with(family));
    let headers = request.headers.iter().filter(is_common).cloned().collect();
    let Json::Object(body) = body else { return Err(broken()) };
    let read = Asked::of(api, &body)
        .map_err(|error| Refusal { reason: error.to_string(), ..Refusal::of(error.code()) })?;
    let mut carried = ModelRequest { api, headers, ..request.clone() };
    let asked = asked(&turn.world, &read, &body, &carried);
    let asked = ModelAsked { known_by: turn.asked.known_by, ..asked };
    carried.body = body;
    Ok(Carried::Over(Box::new((carried, asked)), turn))
}

impl Carried<'_> {
    pub(super) fn request(&self) -> &ModelRequest {
        match self {
            Self::AsItIs(turn) => &turn.request,
            Self::Over(carried, _) => &carried.0,
        }
    }

    pub(super) fn asked(&self) -> &ModelAsked {
        match self {
            Self::AsItIs(turn) => &turn.asked,
            Self::Over(carried, _) => &carried.1,
        }
    }

    /// The way back, if the answer has to be carried.
    pub(super) fn back(&self, now: Micros) -> Option<Back> {
        let Self::Over(_, turn) = self else { return None };
        let created = now.0.div_euclid(1_000_000);
        let options = turn.request.body.get("stream_options");
        let usage = options.and_then(|options| options.get("include_usage"));
        let wants_usage = usage.and_then(Json::as_bool) == Some(true);
        Some(Back { api: turn.request.api, created, wants_usage })
    }
}

/// The way back of an answer.
#[derive(Clone, Copy)]
pub(super) struct Back {
    /// To which API.
    api: ModelApi,
    /// When it was asked, in seconds: chat completions have a time.
    created: i64,
    wants_usage: bool,
}

/// A stream on its way back.
enum Stream {
    ToChat(Box<ToChat>),
    ToMessages(Box<ToMessages>),
}

impl Stream {
    fn push(&mut self, event: &SseEvent) -> Result<Vec<SseEvent>, Cannot> {
        match self {
            Self::ToChat(stream) => stream.push(event),
            Self::ToMessages(stream) => stream.push(event),
        }
    }
}

impl Back {
    /// Passes on what is said while a call runs. What cannot be carried ends the stream, and with
    /// it the call.
    pub(super) async fn pass_on(self, mut said: mpsc::Receiver<ToClient>, client: &ClientPort) {
        let mut stream = match self.api {
            ModelApi::Messages => Stream::ToMessages(Box::default()),
            _ => Stream::ToChat(Box::new(ToChat::new(self.created, self.wants_usage))),
        };
        loop {
            let message = tokio::select! {
                biased;
                () = client.closed() => return,
                message = said.recv() => message,
            };
            let (message, is_over) = match message {
                None => return,
                Some(ToClient::Events(events)) => {
                    let carried: Result<Vec<Vec<SseEvent>>, Cannot> =
                        events.iter().map(|event| stream.push(event)).collect();
                    match carried {
                        Ok(events) => (ToClient::Events(events.concat()), false),
                        Err(cannot) => {
                            let refusal = not_carried(Code::AnswerNotCarried, &cannot);
                            (ToClient::Events(stop_events(self.api, &refusal, None)), true)
                        }
                    }
                }
                Some(other) => (other, false),
            };
            if client.send(message).await.is_err() || is_over {
                return;
            }
        }
    }

    /// A reply as the client's API has it.
    pub(super) fn reply(self, mut reply: Reply) -> Reply {
        let Answer::Result(result) = &mut reply.answer else { return reply };
        let status = result.get(STATUS).and_then(Json::as_i64).unwrap_or(0);
        let body = result.as_object_mut().and_then(|result| result.get_mut(BODY));
        // What came in events has been passed on.
        let Some(body) = body.filter(|body| body.get("streamed").is_none()) else { return reply };
        let carried = match (self.api, (200..300).contains(&status)) {
            (api, false) => Ok(error(api, body)),
            (ModelApi::Messages, true) => reply_to_messages(body),
            (_, true) => reply_to_chat(body, self.created),
        };
        match carried {
            Ok(carried) => *body = carried,
            Err(cannot) => {
                let refusal = not_carried(Code::AnswerNotCarried, &cannot);
                reply.answer = Answer::Refused(refusal.with_call(reply.call.clone()));
            }
        }
        reply
    }
}

fn not_carried(code: Code, cannot: &Cannot) -> Refusal {
    Refusal { reason: cannot.to_string(), ..Refusal::of(code) }
}

fn broken() -> Refusal {
    Refusal::of(Code::InvariantBroken)
}
