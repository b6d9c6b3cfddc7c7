//! Which operation a message is: by its method's name alone, never by its shape (I2).
//!
//! A typed model that falls back to "custom" when the parameters do not fit lets `tools/call` slip
//! past whoever checks for tool calls. Here the name decides, and parameters that do not fit are
//! refused later, as that method.

use crate::error::{Problem, WireError};
use crate::message::Message;
use lockgate_types::call::Direction;
use lockgate_types::methods::{self, Era, Kind, Method};

/// The method of a message that travels that way in that era; `None` if no revision knows it, or it
/// is an answer.
///
/// A method that the revisions know but not here is refused: one of the other era, one that travels
/// the other way, a request without an id, a notification with one.
pub fn classify(
    message: &Message,
    era: Era,
    direction: Direction,
) -> Result<Option<&'static Method>, WireError> {
    let Some(method) = message.method().and_then(methods::find) else { return Ok(None) };
    let id = match message {
        Message::Request(request) => Some(&request.id),
        Message::Notification(_) | Message::Response(_) => None,
    };
    let reason = if !method.may_travel(era, direction) {
        match method.sender(era) {
            None => "it is not part of this protocol version",
            Some(_) => "it is not sent in this direction",
        }
    } else if method.kind == Kind::Notification && id.is_some() {
        "it is a notification and takes no id"
    } else if method.kind != Kind::Notification && id.is_none() {
        "it is a request and needs an id"
    } else {
        return Ok(Some(method));
    };
    let method = method.name.to_owned();
    Err(WireError { problem: Box::new(Problem::UnknownMethod { method, reason }), id: id.cloned() })
}

/// The refusal of a request whose method no revision knows.
pub fn unknown(message: &Message) -> WireError {
    let method = message.method().unwrap_or_default().to_owned();
    let problem = Problem::UnknownMethod { method, reason: "no protocol version knows it" };
    match message {
        Message::Request(request) => WireError::of(problem, &request.id),
        Message::Notification(_) | Message::Response(_) => WireError::new(problem),
    }
}
