//! Server-sent events: the standard's examples, the bounds, and that the cut of the bytes makes no
//! difference.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use lockgate_types::Code;
use lockgate_wire::sse::{
    KEEP_ALIVE, SseDecoder, SseError, SseEvent, SseLimits, write_event, write_message,
};
use proptest::prelude::*;

fn decode(bytes: &[u8]) -> (Vec<SseEvent>, bool) {
    let mut decoder = SseDecoder::new(SseLimits::MESSAGE);
    let mut events = Vec::new();
    decoder.push(bytes, &mut events).unwrap();
    (events, decoder.is_within_event())
}

fn data(text: &str) -> SseEvent {
    SseEvent { data: Some(text.into()), ..SseEvent::default() }
}

#[test]
fn streams_are_read_as_the_standard_shows() {
    let with_id = |id: &str, event: SseEvent| SseEvent { id: Some(id.into()), ..event };
    let cases: &[(&[u8], Vec<SseEvent>, bool)] = &[
        (b"", vec![], false),
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", vec![data("YHOO\n+2\n10")], false),
        (b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n", vec![with_id("1", data("first event")), with_id("", data("second event"))], true),
        (b"data\n\ndata\ndata\n\ndata:", vec![data(""), data("\n")], true),
        (b"data:test\n\ndata: test\n\n", vec![data("test"), data("test")], false),
        (b"data: a\r\ndata: b\r\n\r\n", vec![data("a\nb")], false),
        (b"data: a\rdata: b\r\r", vec![data("a\nb")], false),
        (b"data: a\n\r\n", vec![data("a")], false),
        (b"\xef\xbb\xbfdata: a\n\n", vec![data("a")], false),
        (b"data: x\n\n\xef\xbb\xbfdata: a\n\n", vec![data("x")], false),
        (b"event: message\ndata: {}\n\n", vec![SseEvent { event: Some("message".into()), ..data("{}") }], false),
        (b"id: 7\nretry: 500\ndata: \n\n", vec![SseEvent { id: Some("7".into()), retry_ms: Some(500), ..data("") }], false),
        (b"id: 7\n\n", vec![SseEvent { id: Some("7".into()), ..SseEvent::default() }], false),
        (b"event: nothing\n\n", vec![], false),
        (b"retry: 5x\nretry: -1\nretry:\nother: 1\ndata: a\n\n", vec![data("a")], false),
        (b"id: a\0b\ndata: a\n\n", vec![data("a")], false),
        (b"data: \xe4\xb8\x96\n\n", vec![data("世")], false),
        (b":\xff\xfe\ndata: a\n\n", vec![data("a")], false),
        (KEEP_ALIVE, vec![], false),
    ];
    for (bytes, events, is_open) in cases {
        assert_eq!(decode(bytes), (events.clone(), *is_open), "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn bounds_end_the_stream_for_good() {
    let limits = SseLimits { line_bytes_max: 16, event_bytes_max: 24 };
    let fail = |bytes: &[u8]| {
        let mut decoder = SseDecoder::new(limits);
        let mut events = Vec::new();
        let error = decoder.push(bytes, &mut events).unwrap_err();
        assert_eq!(decoder.push(b"\n\ndata: a\n\n", &mut events), Err(error));
        (events.len(), error, error.code())
    };
    let line = SseError::LineTooLong { max: 16 };
    assert_eq!(fail(b"data: 0123456789a"), (0, line, Code::UpstreamTooLarge));
    assert_eq!(fail(b"data: a\n\n:0123456789abcdef"), (1, line, Code::UpstreamTooLarge));
    let event = SseError::EventTooLarge { max: 24 };
    assert_eq!(
        fail(b"data: 12345678\ndata: 12345678\ndata: 12345678\n"),
        (0, event, Code::UpstreamTooLarge)
    );
    assert_eq!(
        fail(b"id: 1234567890\nid: 1234567890\nid: 12\n"),
        (0, event, Code::UpstreamTooLarge)
    );
    assert_eq!(fail(b"data: \xff\n"), (0, SseError::NotUtf8, Code::UpstreamProtocol));
    // The bound is of one event, not of the stream.
    let mut decoder = SseDecoder::new(limits);
    let mut events = Vec::new();
    for _ in 0..100 {
        decoder.push(b"data: 0123456789\n\n", &mut events).unwrap();
    }
    assert_eq!(events.len(), 100);
}

#[test]
fn no_field_can_be_smuggled_into_an_event() {
    let mut out = Vec::new();
    let event = SseEvent {
        id: Some("1\ndata: x".into()),
        event: Some("a\rb".into()),
        retry_ms: None,
        data: Some("a\n\nid: 9\r\nb\rc".into()),
    };
    write_event(&event, &mut out);
    assert_eq!(decode(&out), (vec![data("a\n\nid: 9\nb\nc")], false));
    out.clear();
    write_message(Some("1\n\n"), b"{}", &mut out);
    assert_eq!(out, b"event: message\ndata: {}\n\n");
}

fn any_event() -> impl Strategy<Value = SseEvent> {
    let line = "[^\\r\\n\\x00]{0,12}";
    let word = "[a-z:]{1,6}";
    (prop::option::of(line), prop::option::of(word), prop::option::of(any::<u64>()), "[^\\r]{0,40}")
        .prop_map(|(id, event, retry_ms, data)| SseEvent { id, event, retry_ms, data: Some(data) })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read_back(events in prop::collection::vec(any_event(), 0..5)) {
        let mut out = Vec::new();
        for event in &events {
            write_event(event, &mut out);
            out.extend_from_slice(KEEP_ALIVE);
        }
        prop_assert_eq!(decode(&out), (events, false));
    }

    #[test]
    fn the_cut_makes_no_difference(
        tokens in prop::collection::vec(prop::sample::select(vec![
            "data", ":", " ", "\n", "\r", "\r\n", "\n\n", "id", "retry: 1", "event", "x", "é", "\u{feff}", "\0",
        ]), 0..40),
        cuts in prop::collection::vec(0usize..80, 0..12),
    ) {
        let bytes = tokens.concat().into_bytes();
        let whole = decode(&bytes);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
        cuts.push(bytes.len());
        cuts.sort_unstable();
        let mut decoder = SseDecoder::new(SseLimits::MESSAGE);
        let (mut events, mut at) = (Vec::new(), 0);
        for cut in cuts {
            decoder.push(&bytes[at..cut], &mut events).unwrap();
            at = cut;
        }
        prop_assert_eq!((events, decoder.is_within_event()), whole);
    }
}
