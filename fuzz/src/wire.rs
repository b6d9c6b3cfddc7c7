//! What arrives in messages and streams: JSON, JSON-RPC, MCP of both eras, SSE, headers.

use lockgate_types::call::Direction;
use lockgate_types::{Json, JsonLimits, Object};
use lockgate_wire::bridge::{self, ClientProfile};
use lockgate_wire::classify::classify;
use lockgate_wire::headers::{Headers, mirrored_arguments};
use lockgate_wire::sse::{SseDecoder, SseError, SseEvent, SseLimits, write_event};
use lockgate_wire::stateless::{check_mirrored, check_request, request_headers};
use lockgate_wire::subscriptions::Filter;
use lockgate_wire::{Era, Message, era};

const LIMITS: JsonLimits = JsonLimits { bytes_max: 1 << 16, depth_max: 32, members_max: 256 };

/// An accepted value is written and read back as the same value, and its canonical bytes are
/// canonical.
pub fn json(bytes: &[u8]) -> bool {
    let Ok(value) = Json::parse(bytes, &LIMITS) else { return false };
    let limits = JsonLimits { bytes_max: usize::MAX, ..LIMITS };
    assert_eq!(Json::parse(&value.to_bytes(), &limits).as_ref(), Ok(&value));
    let canonical = value.to_canonical();
    let again = Json::parse(&canonical, &limits).expect("canonical bytes are JSON");
    assert_eq!(again.to_canonical(), canonical);
    true
}

/// An accepted message is written and read back as the same message; a refusal is itself a message,
/// with the id.
pub fn message(bytes: &[u8]) -> bool {
    let limits = JsonLimits { bytes_max: usize::MAX, depth_max: 64, members_max: 512 };
    let message = match Message::parse(bytes, &LIMITS) {
        Ok(message) => message,
        Err(refusal) => {
            let answer = Message::parse(&refusal.to_response().to_bytes(), &limits);
            let Ok(Message::Response(answer)) = answer else { panic!("{answer:?}") };
            assert_eq!((answer.id, answer.outcome), (refusal.id.clone(), Err(refusal.to_rpc())));
            return false;
        }
    };
    assert_eq!(Message::parse(&message.to_bytes(), &limits).as_ref(), Ok(&message));
    for era in [Era::Sessions, Era::Stateless] {
        for direction in [Direction::ToUpstream, Direction::ToClient] {
            if let Ok(Some(method)) = classify(&message, era, direction) {
                assert_eq!(Some(method.name), message.method());
            }
        }
    }
    let Message::Request(request) = &message else { return true };
    if let Ok(filter) = Filter::from_params(&request.params) {
        let written = Object::new().with("notifications", filter.to_json());
        assert_eq!(Filter::from_params(&written), Ok(filter));
    }
    if let Ok(there) =
        bridge::params_to_stateless(request.params.clone(), &ClientProfile::default())
    {
        let back = bridge::params_to_sessions(there);
        // Only what belongs to the envelope may be gone.
        for (name, value) in back.iter().filter(|(name, _)| *name != "_meta") {
            assert_eq!(request.params.get(name), Some(value));
        }
        let dropped = request.params.len() - back.len();
        assert!(dropped <= 3, "{dropped} parameters were lost");
    }
    true
}

/// Where a stream is cut makes no difference, and what was read can be written and read again.
pub fn sse(bytes: &[u8]) -> bool {
    let (cut, stream) = bytes.split_first().map_or((0, bytes), |(cut, rest)| (*cut, rest));
    let at = usize::from(cut).min(stream.len());
    let (first, second) = stream.split_at(at);
    let whole = decode(&[stream]);
    assert_eq!(decode(&[first, second]), whole);
    let is_whole = whole.1.is_ok();
    assert_eq!(decode(&stream.iter().map(std::slice::from_ref).collect::<Vec<_>>()), whole);
    let events: Vec<SseEvent> = whole.0.into_iter().filter(|event| event.data.is_some()).collect();
    let mut out = Vec::new();
    events.iter().for_each(|event| write_event(event, &mut out));
    let limits = SseLimits { line_bytes_max: usize::MAX, event_bytes_max: usize::MAX };
    let mut again = Vec::new();
    SseDecoder::new(limits).push(&out, &mut again).expect("what we write is a stream");
    assert_eq!(again, events);
    is_whole && !again.is_empty()
}

fn decode(pieces: &[&[u8]]) -> (Vec<SseEvent>, Result<bool, SseError>) {
    let mut decoder = SseDecoder::new(SseLimits { line_bytes_max: 256, event_bytes_max: 512 });
    let mut events = Vec::new();
    for piece in pieces {
        if let Err(error) = decoder.push(piece, &mut events) {
            return (events, Err(error));
        }
    }
    (events, Ok(decoder.is_within_event()))
}

/// Headers, an empty line, a message, an empty line, an input schema: what is accepted would be
/// sent with headers that are accepted, and those that came in say the same.
pub fn stateless_headers(bytes: &[u8]) -> bool {
    let mut parts = split(bytes, b"\n\n");
    let (head, body, schema) = (parts.next(), parts.next(), parts.next());
    let received: Headers<'_> = split(head.unwrap_or_default(), b"\n")
        .filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let (name, value) = line.split_at(colon);
            Some((std::str::from_utf8(name).ok()?, value.get(1..)?))
        })
        .collect();
    let message = Message::parse(body.unwrap_or_default(), &LIMITS).ok();
    let detected = era::detect(&received, message.as_ref());
    let Some(Message::Request(request)) = &message else { return false };
    let schema = Json::parse(schema.unwrap_or(b"{}"), &LIMITS).unwrap_or(Json::Null);
    let mirrored = mirrored_arguments(&schema).unwrap_or_default();
    let sent = request_headers(request, &mirrored);
    let sent: Headers<'_> =
        sent.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    let is_accepted = check_request(&received, request).is_ok();
    let is_mirrored = check_mirrored(&received, request, &mirrored).is_ok();
    if is_accepted {
        assert_eq!(detected, Era::Stateless);
        assert!(check_request(&sent, request).is_ok());
        assert_eq!(received.first("mcp-method"), Some(request.method.as_bytes()));
    }
    if is_mirrored {
        assert!(check_mirrored(&sent, request, &mirrored).is_ok());
        for argument in &mirrored {
            let (theirs, ours) = (received.first(&argument.header), sent.first(&argument.header));
            assert_eq!(theirs.is_some(), ours.is_some());
        }
    }
    is_accepted && is_mirrored
}

fn split<'a>(bytes: &'a [u8], separator: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = Some(bytes);
    std::iter::from_fn(move || {
        let bytes = rest?;
        let at = bytes.windows(separator.len()).position(|window| window == separator);
        let (part, after) = match at {
            Some(at) => (bytes.get(..at)?, bytes.get(at + separator.len()..)),
            None => (bytes, None),
        };
        rest = after;
        Some(part)
    })
}
