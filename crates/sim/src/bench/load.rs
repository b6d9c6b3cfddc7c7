//! Closed-loop load: each connection sends the next call when it has the answer to the last.
//!
//! Requests are written out before the clock starts and answers are read by length, so that the
//! generator, which shares the machine with what it measures, costs little.

use anyhow::{Context, Result, bail};
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A protocol era.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Era {
    /// 2025-11-25.
    Sessions,
    /// 2026-07-28.
    Stateless,
}

impl Era {
    /// The protocol version.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sessions => "2025-11-25",
            Self::Stateless => "2026-07-28",
        }
    }
}

/// What is sent.
#[derive(Clone, Debug)]
pub struct Load {
    /// Where to.
    pub target: SocketAddr,
    /// The path.
    pub path: String,
    /// The bearer token.
    pub token: Option<String>,
    /// The tool.
    pub tool: &'static str,
    /// The era.
    pub era: Era,
    /// Connections.
    pub connections: usize,
    /// Seconds measured; as much as a fifth of it goes before as warm-up.
    pub seconds: f64,
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Measured {
    /// Microseconds, sorted.
    latencies: Vec<f64>,
    /// Calls per second.
    pub rate: f64,
    /// Calls measured.
    pub calls: usize,
}

impl Measured {
    /// Of loads that ran at the same time.
    pub fn sum(all: Vec<Self>) -> Self {
        let mut latencies = Vec::new();
        let (mut rate, mut calls) = (0.0, 0);
        for one in all {
            latencies.extend(one.latencies);
            rate += one.rate;
            calls += one.calls;
        }
        latencies.sort_by(f64::total_cmp);
        Self { latencies, rate, calls }
    }

    /// The latency that this share of calls stayed within, in microseconds.
    pub fn percentile(&self, share: f64) -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index from a share between 0 and 1"
        )]
        let at = (self.latencies.len() as f64 * share) as usize;
        let last = self.latencies.len().saturating_sub(1);
        self.latencies.get(at.min(last)).copied().unwrap_or(0.0)
    }
}

/// Runs the load.
pub async fn run(load: &Load) -> Result<Measured> {
    let warm_up = Duration::from_secs_f64(load.seconds / 5.0);
    let measure = Duration::from_secs_f64(load.seconds);
    let mut connections = Vec::new();
    for _ in 0..load.connections {
        connections.push(Connection::open(load).await?);
    }
    let begin = Instant::now() + warm_up;
    let end = begin + measure;
    let tasks: Vec<_> = connections
        .into_iter()
        .map(|connection| tokio::spawn(connection.repeat(begin, end)))
        .collect();
    let mut latencies = Vec::new();
    for task in tasks {
        latencies.extend(task.await??);
    }
    latencies.sort_by(f64::total_cmp);
    let calls = latencies.len();
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    let rate = calls as f64 / load.seconds;
    Ok(Measured { latencies, rate, calls })
}

/// The header of a write's idempotency key, and how long keys are.
const KEY_HEADER: &str = "idempotency-key";
const KEY_DIGITS: usize = 20;
/// The next key. Runs by hand go on where no earlier one has been, else they would be repeats.
static KEYS: LazyLock<AtomicU64> = LazyLock::new(|| {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    AtomicU64::new(u64::try_from(since.as_micros()).unwrap_or_default())
});

struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    /// Where the digits of the idempotency key begin in it.
    key_at: usize,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(load: &Load) -> Result<Self> {
        let stream = TcpStream::connect(load.target).await.context("connecting")?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream, request: Vec::new(), key_at: 0, buffer: Vec::new() };
        let session = match load.era {
            Era::Stateless => None,
            Era::Sessions => connection.initialize(load).await?,
        };
        connection.request = call(load, session.as_deref());
        let key = format!("{KEY_HEADER}: ");
        let text = String::from_utf8_lossy(&connection.request);
        let at = text.find(&key).context("a request has a key")?;
        connection.key_at = at + key.len();
        Ok(connection)
    }

    async fn initialize(&mut self, load: &Load) -> Result<Option<String>> {
        // tidy: allow line-length: one message, as it is sent
        let body = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"load","version":"1"}}}"#;
        self.request = post(load, &[], body);
        let (head, _) = self.exchange().await?;
        let session = header(&head, "mcp-session-id").map(str::to_owned);
        let body = r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#;
        let headers = session_headers(session.as_deref());
        self.request = post(load, &headers, body);
        self.exchange().await?;
        Ok(session)
    }

    async fn repeat(mut self, begin: Instant, end: Instant) -> Result<Vec<f64>> {
        let mut latencies = Vec::new();
        loop {
            let started = Instant::now();
            if started >= end {
                return Ok(latencies);
            }
            self.renew_key();
            let (head, body) = self.exchange().await?;
            let took = started.elapsed();
            if !head.starts_with("HTTP/1.1 200")
                || !body.contains("\"content\"")
                || body.contains("isError\":true")
            {
                bail!("not the expected answer: {head}\n{body}");
            }
            if started >= begin {
                latencies.push(took.as_secs_f64() * 1e6);
            }
        }
    }

    /// Every write is meant to be another: each has a key of its own.
    fn renew_key(&mut self) {
        let key = format!("{:0width$}", KEYS.fetch_add(1, Ordering::Relaxed), width = KEY_DIGITS);
        if let Some(place) = self.request.get_mut(self.key_at..self.key_at + KEY_DIGITS) {
            place.copy_from_slice(key.as_bytes());
        }
    }

    async fn exchange(&mut self) -> Result<(String, String)> {
        self.stream.write_all(&self.request).await?;
        self.buffer.clear();
        loop {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                bail!("the connection was closed");
            }
            let text = std::str::from_utf8(&self.buffer).context("the answer is not text")?;
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let length = header(head, "content-length").unwrap_or("0").parse::<usize>()?;
            if body.len() >= length {
                return Ok((head.to_owned(), body.to_owned()));
            }
        }
    }
}

/// A header of a head, without the line that it begins with.
pub(super) fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        key.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn session_headers(session: Option<&str>) -> Vec<(&'static str, String)> {
    let mut headers = vec![("mcp-protocol-version", "2025-11-25".to_owned())];
    if let Some(session) = session {
        headers.push(("mcp-session-id", session.to_owned()));
    }
    headers.push((KEY_HEADER, "0".repeat(KEY_DIGITS)));
    headers
}

/// About 400 bytes of arguments, so that a record is about 1 KiB.
fn call(load: &Load, session: Option<&str>) -> Vec<u8> {
    let note = "The customer asked twice about the same invoice. ".repeat(8);
    let arguments =
        format!(r#"{{"customer":"c27","amount":420,"note":"{note}","channel":"mail"}}"#);
    let tool = load.tool;
    match load.era {
        Era::Sessions => {
            let params = format!(r#"{{"name":"{tool}","arguments":{arguments}}}"#);
            let body = request(&params);
            post(load, &session_headers(session), &body)
        }
        Era::Stateless => {
            // tidy: allow line-length: one message, as it is sent
            let meta = r#"{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"load","version":"1"}}"#;
            let params = format!(r#"{{"name":"{tool}","arguments":{arguments},"_meta":{meta}}}"#);
            let body = request(&params);
            let headers = [
                ("mcp-protocol-version", "2026-07-28".to_owned()),
                ("mcp-method", "tools/call".to_owned()),
                ("mcp-name", tool.to_owned()),
                (KEY_HEADER, "0".repeat(KEY_DIGITS)),
            ];
            post(load, &headers, &body)
        }
    }
}

fn request(params: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{params}}}"#)
}

fn post(load: &Load, headers: &[(&str, String)], body: &str) -> Vec<u8> {
    let mut text = format!(
        "POST {} HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n\
         accept: application/json, text/event-stream\r\ncontent-length: {}\r\n",
        load.path,
        load.target,
        body.len()
    );
    if let Some(token) = &load.token {
        text.push_str(&format!("authorization: Bearer {token}\r\n"));
    }
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body);
    text.into_bytes()
}
