//! A provider of models that costs as little as one can: it answers chat completions with the same
//! bytes, whole or in 51 events, without a pause between them or slowly, and looks at nothing else.

use anyhow::{Context, Result};
use std::fmt::Write as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Events of a stream that carry something.
const EVENTS: usize = 50;
/// What a request says whose events are to come with pauses between them.
pub const SLOWLY: &str = r#""user":"slowly""#;
/// The pause before each of them: a stream lasts for ten seconds.
const SLOW_PAUSE: Duration = Duration::from_millis(200);
/// Pieces of text among them; the others are pieces of a call's arguments.
const PIECES_OF_TEXT: usize = 25;

/// Listens on a free port of loopback, prints it, and serves until killed.
pub async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    crate::bench::machine::announce(listener.local_addr()?);
    let (whole, events) = (whole(), events());
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let (whole, events) = (whole.clone(), events.clone());
        tokio::spawn(async move { answer(stream, &whole, &events).await });
    }
}

async fn answer(mut stream: TcpStream, whole: &[u8], events: &[Vec<u8>]) -> Result<()> {
    let mut buffer = Vec::with_capacity(1 << 16);
    loop {
        let (head_bytes, body_bytes) = loop {
            if let Some(lengths) = lengths(&buffer)?
                && buffer.len() >= lengths.0 + lengths.1
            {
                break lengths;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let body = buffer.get(head_bytes..head_bytes + body_bytes).unwrap_or_default();
        // The generator writes it last, and those between hand it on wherever they like.
        let is_stream = contains(body, b"\"stream\":true") || contains(body, b"\"stream\": true");
        if is_stream {
            let is_slow = contains(body, SLOWLY.as_bytes());
            for event in events {
                if is_slow {
                    tokio::time::sleep(SLOW_PAUSE).await;
                }
                stream.write_all(event).await?;
            }
        } else {
            stream.write_all(whole).await?;
        }
        buffer.drain(..head_bytes + body_bytes);
    }
}

/// The bytes of a request's head and of its body, once its head is there.
pub(super) fn lengths(bytes: &[u8]) -> Result<Option<(usize, usize)>> {
    let Some(end) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let head = std::str::from_utf8(bytes.get(..end).unwrap_or_default())?;
    let length = super::super::load::header(head, "content-length").unwrap_or("0");
    Ok(Some((end + 4, length.parse().context("reading a length")?)))
}

/// Where something stands.
pub(super) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

pub(super) fn contains(bytes: &[u8], what: &[u8]) -> bool {
    find(bytes, what).is_some()
}

/// An answer of about 700 bytes.
fn whole() -> Vec<u8> {
    // tidy: allow line-length: one message, as it is sent
    let body = r#"{"id":"chatcmpl-0123456789abcdef","object":"chat.completion","created":1790000000,"model":"bench-1","choices":[{"index":0,"message":{"role":"assistant","content":"The invoice was sent on the third of the month, and the customer has not answered since. It would be best to write to them once more before the end of the week, and to offer a call. If they do not answer, the account goes to somebody of the team that looks after contracts.","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":60,"completion_tokens":58,"total_tokens":118},"service_tier":"default","system_fingerprint":"fp_0123456789"}"#;
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length";
    format!("{head}: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// The head and the pieces of an answer in events, each as it is written.
fn events() -> Vec<Vec<u8>> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
                cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut written = vec![head.as_bytes().to_vec()];
    for number in 0..EVENTS {
        let (delta, finish) = delta(number);
        // tidy: allow line-length: one message, as it is sent
        let data = format!(
            r#"{{"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1790000000,"model":"bench-1","service_tier":"default","system_fingerprint":"fp_0123456789","choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}],"usage":null,"obfuscation":"0123456789abcdef0123456789"}}"#
        );
        written.push(chunk(&data));
    }
    written.push(chunk("[DONE]"));
    if let Some(last) = written.last_mut() {
        last.extend_from_slice(b"0\r\n\r\n");
    }
    written
}

/// What the piece with that number adds, and why the answer ends with it.
fn delta(number: usize) -> (String, &'static str) {
    if number < PIECES_OF_TEXT {
        return (format!(r#"{{"role":"assistant","content":"word{number} "}}"#), "null");
    }
    let call = |name: &str, arguments: &str| {
        let mut delta = r#"{"tool_calls":[{"index":0,"#.to_owned();
        let _ = write!(delta, r#"{name}"function":{{{arguments}}}}}]}}"#);
        delta
    };
    let last = EVENTS - 1;
    match number {
        PIECES_OF_TEXT => {
            let arguments = r#""name":"look_up","arguments":"{\"customer\":\"""#;
            (call(r#""id":"call_1","type":"function","#, arguments), "null")
        }
        _ if number == last => ("{}".to_owned(), "\"tool_calls\""),
        _ if number == last - 1 => (call("", r#""arguments":"\"}""#), "null"),
        _ => (call("", &format!(r#""arguments":"c{number} ""#)), "null"),
    }
}

fn chunk(data: &str) -> Vec<u8> {
    let event = format!("data: {data}\n\n");
    format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
}
