//! What is answered when no model does: as the task says, plainly, in the form of the API.

use super::ModelRequest;
use crate::port::{Answer, ClientPort, Reply, ToClient};
use lockgate_core::World;
use lockgate_effects::model::{BODY, HEADERS, STATUS};
use lockgate_types::{Json, Object};
use lockgate_wire::model::spoken;

/// The header that says that no model has answered.
const SAYS_SO: &str = "lockgate-fallback";

/// The text of the task in place of an answer that failed, if it has one.
pub(super) async fn of(
    world: &World,
    request: &ModelRequest,
    last: Reply,
    client: &ClientPort,
) -> Reply {
    let task = request.identity.task.as_ref().and_then(|task| world.tasks.get(task));
    let Some(fallback) = task.and_then(|task| task.fallback.as_ref()) else { return last };
    let text = fallback.template.as_str();
    let model = request.body.get("model").and_then(Json::as_str).unwrap_or_default();
    let is_stream = request.body.get("stream").and_then(Json::as_bool) == Some(true);
    let id = last.call.as_str();
    let headers = Object::new().with(SAYS_SO, "template");
    let head = Object::new().with(STATUS, 200).with(HEADERS, headers);
    let answer = match (spoken::whole(request.api, id, model, text), is_stream) {
        (Some(_), true) => {
            let head = Json::from(head);
            let begins = ToClient::Begins { call: last.call.clone(), head: head.clone() };
            // A client that is gone misses it.
            let _ = client.send(begins).await;
            let events = spoken::events(request.api, id, model, text);
            let _ = client.send(ToClient::Events(events)).await;
            Answer::Result(head)
        }
        (Some(body), false) => Answer::Result(head.with(BODY, body).into()),
        (None, _) => return last,
    };
    Reply { call: last.call, answer }
}
