//! Small things every face needs of HTTP: bodies read within bounds, responses written.
//!
//! It does not know what a body means, nor which face it is for.

use bytes::{Bytes, BytesMut};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use std::time::Duration;

/// Bytes that are made room for at once, where a body says how long it is and has begun to come.
const ROOM_BYTES_MAX: usize = 1 << 20;

/// Any error of a body.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of every response.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// Why a request's body could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It is longer than allowed.
    #[error("the body is longer than {max} bytes")]
    TooLarge {
        /// The bound.
        max: usize,
    },
    /// It did not arrive in time.
    #[error("the body did not arrive within {within_ms} ms")]
    TooSlow {
        /// The bound.
        within_ms: u128,
    },
    /// The connection broke.
    #[error("the body ended early")]
    Broken,
}

/// Reads a whole body of at most `max` bytes, within a time.
pub async fn collect<B>(body: B, max: usize, within: Duration) -> Result<Bytes, BodyError>
where
    B: http_body::Body<Data = Bytes>,
{
    // The hint comes from `Content-Length`: what says that it is too large need not be read to be
    // refused.
    if body.size_hint().lower() > u64::try_from(max).unwrap_or(u64::MAX) {
        return Err(BodyError::TooLarge { max });
    }
    let reading = read(body, max);
    let late = |_| BodyError::TooSlow { within_ms: within.as_millis() };
    tokio::time::timeout(within, reading).await.map_err(late)?
}

async fn read<B>(body: B, max: usize) -> Result<Bytes, BodyError>
where
    B: http_body::Body<Data = Bytes>,
{
    let mut body = std::pin::pin!(body);
    // Most bodies come in one piece, which is not copied.
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| BodyError::Broken)?;
        let Ok(piece) = frame.into_data() else { continue };
        if first.len() + all.len() + piece.len() > max {
            return Err(BodyError::TooLarge { max });
        }
        if first.is_empty() && all.is_empty() {
            first = piece;
            continue;
        }
        if all.is_empty() {
            // What is left of it, where it says so: without that it would be copied each time that
            // it has outgrown its room, into twice as much.
            let left = usize::try_from(body.size_hint().lower()).unwrap_or(ROOM_BYTES_MAX);
            all.reserve(first.len() + piece.len() + left.min(ROOM_BYTES_MAX));
        }
        all.extend_from_slice(&std::mem::take(&mut first));
        all.extend_from_slice(&piece);
    }
    Ok(if all.is_empty() { first } else { all.freeze() })
}

/// The value of a header that must not occur twice and must be text. `Err`: it is not.
pub fn single<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, NotSingle> {
    let mut values = headers.get_all(name).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(NotSingle);
    }
    first.to_str().map(|text| Some(text.trim_matches([' ', '\t']))).map_err(|_| NotSingle)
}

/// A header occurs more than once, or is not visible ASCII.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSingle;

/// A body that is there already.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A response without a body.
pub fn empty(status: StatusCode) -> Response<Body> {
    respond(status, Empty::new().map_err(|never| match never {}).boxed_unsync())
}

/// A response with a JSON body.
pub fn json(status: StatusCode, bytes: Vec<u8>) -> Response<Body> {
    let mut response = respond(status, full(bytes));
    set(&mut response, CONTENT_TYPE, "application/json");
    response
}

/// A stream of server-sent events, which no proxy may hold back or keep.
pub fn events<B>(body: B) -> Response<Body>
where
    B: http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static,
{
    let mut response = respond(StatusCode::OK, body.boxed_unsync());
    set(&mut response, CONTENT_TYPE, "text/event-stream");
    set(&mut response, CACHE_CONTROL, "no-cache, no-transform");
    set(&mut response, HeaderName::from_static("x-accel-buffering"), "no");
    response
}

/// Sets a header to a text of the gate's own.
pub fn set(response: &mut Response<Body>, name: HeaderName, value: &'static str) {
    response.headers_mut().insert(name, HeaderValue::from_static(value));
}

fn respond(status: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_body_is_read_up_to_its_bound() {
        let read =
            |text: &'static str| collect(Full::new(Bytes::from_static(text.as_bytes())), 4, SOON);
        assert_eq!(read("four").await, Ok(Bytes::from_static(b"four")));
        assert_eq!(read("fives").await, Err(BodyError::TooLarge { max: 4 }));
    }

    #[tokio::test]
    async fn a_body_without_a_length_is_read_up_to_its_bound() {
        let frames = ["ab", "cd", "e"].map(|text| {
            Ok::<_, std::convert::Infallible>(http_body::Frame::data(Bytes::from_static(
                text.as_bytes(),
            )))
        });
        let body = http_body_util::StreamBody::new(futures_util::stream::iter(frames));
        assert_eq!(collect(body, 4, SOON).await, Err(BodyError::TooLarge { max: 4 }));
    }

    #[tokio::test]
    async fn a_body_that_never_comes_is_given_up() {
        let body = http_body_util::StreamBody::new(futures_util::stream::pending::<
            Result<http_body::Frame<Bytes>, std::convert::Infallible>,
        >());
        let within = Duration::from_millis(1);
        assert_eq!(collect(body, 4, within).await, Err(BodyError::TooSlow { within_ms: 1 }));
    }

    #[test]
    fn a_header_that_occurs_twice_is_not_single() {
        let mut headers = HeaderMap::new();
        assert_eq!(single(&headers, "mcp-method"), Ok(None));
        headers.append("mcp-method", HeaderValue::from_static(" tools/call "));
        assert_eq!(single(&headers, "mcp-method"), Ok(Some("tools/call")));
        headers.append("mcp-method", HeaderValue::from_static("tools/list"));
        assert_eq!(single(&headers, "mcp-method"), Err(NotSingle));
    }
}
