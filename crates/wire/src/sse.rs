//! Server-sent events: a decoder that takes bytes as they come, and an encoder.
//!
//! The decoder follows the HTML standard (§9.2.6) with two differences: text that is not UTF-8 is
//! an error instead of being patched, and an event that sets only an id or a retry time is reported
//! too, because resuming a stream needs it. Lines and events are bounded; what exceeds a bound is
//! an error, and the stream is given up.

use lockgate_types::Code;

/// One event, or a change of the stream's position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// Where to resume after it.
    pub id: Option<String>,
    /// Its type; absent, `message`.
    pub event: Option<String>,
    /// How long to wait before reconnecting, in milliseconds.
    pub retry_ms: Option<u64>,
    /// Its data, lines joined by a line feed. `None` if it has no `data` field, so nothing
    /// happened.
    pub data: Option<String>,
}

/// Why a stream is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SseError {
    /// A line is longer than allowed.
    #[error("a line of the event stream is longer than {max} bytes")]
    LineTooLong {
        /// The bound.
        max: usize,
    },
    /// An event's data is larger than allowed.
    #[error("an event of the stream is larger than {max} bytes")]
    EventTooLarge {
        /// The bound.
        max: usize,
    },
    /// A field is not UTF-8.
    #[error("the event stream is not UTF-8")]
    NotUtf8,
}

impl SseError {
    /// The stable code.
    pub const fn code(self) -> Code {
        match self {
            Self::LineTooLong { .. } | Self::EventTooLarge { .. } => Code::UpstreamTooLarge,
            Self::NotUtf8 => Code::UpstreamProtocol,
        }
    }
}

/// The bounds of a stream.
#[derive(Clone, Copy, Debug)]
pub struct SseLimits {
    /// Bytes of one line.
    pub line_bytes_max: usize,
    /// Bytes of one event's fields together.
    pub event_bytes_max: usize,
}

impl SseLimits {
    /// A message of the largest size, on one line, and its field name.
    pub const MESSAGE: Self = Self {
        line_bytes_max: lockgate_types::JsonLimits::MESSAGE.bytes_max + 64,
        event_bytes_max: lockgate_types::JsonLimits::MESSAGE.bytes_max + 4096,
    };
}

/// Reads a stream piece by piece. Where the pieces are cut makes no difference.
#[derive(Debug)]
pub struct SseDecoder {
    limits: SseLimits,
    line: Vec<u8>,
    event: SseEvent,
    event_bytes: usize,
    is_first_line: bool,
    follows_carriage_return: bool,
    failed: Option<SseError>,
}

impl SseDecoder {
    /// A decoder at the start of a stream.
    pub fn new(limits: SseLimits) -> Self {
        Self {
            limits,
            line: Vec::new(),
            event: SseEvent::default(),
            event_bytes: 0,
            is_first_line: true,
            follows_carriage_return: false,
            failed: None,
        }
    }

    /// Takes the next bytes and appends the events that they complete. After an error, only that
    /// error.
    pub fn push(&mut self, bytes: &[u8], events: &mut Vec<SseEvent>) -> Result<(), SseError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = self.take(bytes, events);
        self.failed = result.err();
        result
    }

    /// Whether the stream ends in the middle of an event, which is then lost.
    pub fn is_within_event(&self) -> bool {
        !self.line.is_empty() || self.event != SseEvent::default()
    }

    fn take(&mut self, mut bytes: &[u8], events: &mut Vec<SseEvent>) -> Result<(), SseError> {
        while let Some((&first, rest)) = bytes.split_first() {
            if std::mem::take(&mut self.follows_carriage_return) && first == b'\n' {
                bytes = rest;
                continue;
            }
            let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r'));
            let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            if self.line.len() + part.len() > self.limits.line_bytes_max {
                return Err(SseError::LineTooLong { max: self.limits.line_bytes_max });
            }
            self.line.extend_from_slice(part);
            let Some((&ending, rest)) = rest.split_first() else { return Ok(()) };
            self.follows_carriage_return = ending == b'\r';
            bytes = rest;
            let line = std::mem::take(&mut self.line);
            self.end_of_line(&line, events)?;
            // The buffer is kept, if it is not one large line that would be kept for ever.
            self.line = line;
            self.line.clear();
            self.line.shrink_to(LINE_KEPT_BYTES);
        }
        Ok(())
    }

    fn end_of_line(&mut self, line: &[u8], events: &mut Vec<SseEvent>) -> Result<(), SseError> {
        let is_first = std::mem::take(&mut self.is_first_line);
        let line = match line.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) if is_first => rest,
            _ => line,
        };
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            self.event_bytes = 0;
            if event.data.is_some() || event.id.is_some() || event.retry_ms.is_some() {
                events.push(event);
            }
            return Ok(());
        }
        if line.starts_with(b":") {
            return Ok(());
        }
        let line = std::str::from_utf8(line).map_err(|_| SseError::NotUtf8)?;
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        self.field(field, value.strip_prefix(' ').unwrap_or(value))
    }

    fn field(&mut self, field: &str, value: &str) -> Result<(), SseError> {
        self.event_bytes = self.event_bytes.saturating_add(value.len() + 1);
        if self.event_bytes > self.limits.event_bytes_max {
            return Err(SseError::EventTooLarge { max: self.limits.event_bytes_max });
        }
        match field {
            "data" => match &mut self.event.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                none => *none = Some(value.to_owned()),
            },
            "event" => self.event.event = (!value.is_empty()).then(|| value.to_owned()),
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.event.retry_ms = value.parse().ok();
            }
            // The standard says to ignore what it does not define.
            _ => {}
        }
        Ok(())
    }
}

/// Bytes of a line buffer that are kept for the next line.
const LINE_KEPT_BYTES: usize = 64 * 1024;

/// A comment, sent to keep a quiet connection open.
pub const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// Writes an event. Its data may have line breaks of any kind; they arrive as line feeds.
///
/// A line break in an id or type would end the field, and a null makes an id void; such a field is
/// left out.
pub fn write_event(event: &SseEvent, out: &mut Vec<u8>) {
    if let Some(id) = event.id.as_ref().filter(|id| !id.contains(['\n', '\r', '\0'])) {
        write_field("id", id, out);
    }
    if let Some(kind) = event.event.as_ref().filter(|kind| !kind.contains(['\n', '\r'])) {
        write_field("event", kind, out);
    }
    if let Some(retry_ms) = event.retry_ms {
        write_field("retry", &retry_ms.to_string(), out);
    }
    if let Some(data) = &event.data {
        let mut rest = data.as_str();
        while let Some((line, after)) = rest.split_once(['\n', '\r']) {
            write_field("data", line, out);
            let is_pair = rest.as_bytes().get(line.len()) == Some(&b'\r');
            rest = if is_pair { after.strip_prefix('\n').unwrap_or(after) } else { after };
        }
        write_field("data", rest, out);
    }
    out.push(b'\n');
}

/// Writes a message as an event. Compact JSON has no line breaks, so it is one line.
pub fn write_message(id: Option<&str>, json: &[u8], out: &mut Vec<u8>) {
    out.reserve(json.len() + 64);
    if let Some(id) = id.filter(|id| !id.contains(['\n', '\r', '\0'])) {
        write_field("id", id, out);
    }
    out.extend_from_slice(b"event: message\ndata: ");
    out.extend_from_slice(json);
    out.extend_from_slice(b"\n\n");
}

fn write_field(field: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(field.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.push(b'\n');
}
