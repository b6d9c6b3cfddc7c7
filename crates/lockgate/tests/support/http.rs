//! HTTP/1.1 byte by byte: what tests send is exactly what they say, sound or not.

use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// A request, to be bent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        let headers = [
            ("Host", "localhost"),
            ("Content-Type", "application/json"),
            ("Accept", "application/json, text/event-stream"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: headers.to_vec(),
            body: Vec::new(),
        }
    }

    pub(crate) fn post(path: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..Self::new("POST", path) }
    }

    /// Says this and nothing else under that name.
    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        self.without(name).also(name, value)
    }

    /// Says this as well.
    pub(crate) fn also(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(own, _)| !own.eq_ignore_ascii_case(name));
        self
    }

    /// The bytes on the wire. The length is said unless the request says it itself.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {} HTTP/1.1\r\n", self.method, self.path).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        let says = |wanted: &str| self.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(wanted));
        if !says("content-length") && !says("transfer-encoding") {
            bytes.extend_from_slice(format!("Content-Length: {}\r\n", self.body.len()).as_bytes());
        }
        bytes.extend_from_slice(b"\r\n");
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// A connection that is kept.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(ANSWER_LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream: BufReader::new(stream) }
    }

    /// Where it leads.
    pub(crate) fn peer(&self) -> SocketAddr {
        self.stream.get_ref().peer_addr().unwrap()
    }

    /// Sends a request and reads the whole answer.
    pub(crate) fn exchange(&mut self, request: &Request) -> Answer {
        self.try_exchange(request).unwrap()
    }

    /// The same, for a gate that may be gone.
    pub(crate) fn try_exchange(&mut self, request: &Request) -> std::io::Result<Answer> {
        self.send(&request.to_bytes())?;
        self.receive()
    }

    /// Reads one answer.
    pub(crate) fn receive(&mut self) -> std::io::Result<Answer> {
        read_answer(&mut self.stream)
    }

    /// Sends bytes and reads nothing.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }
}

/// One request on a connection of its own.
pub(crate) fn exchange(address: SocketAddr, request: &Request) -> Answer {
    Connection::open(address).exchange(request)
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body, or the last message of an event stream.
    pub(crate) fn json(&self) -> Value {
        let text = self.text();
        let last = text.lines().rev().find_map(|line| line.strip_prefix("data: "));
        serde_json::from_str(last.unwrap_or(&text)).unwrap_or(Value::Null)
    }

    /// The refusal in it, wherever its kind of answer carries it.
    pub(crate) fn refusal(&self) -> Value {
        let json = self.json();
        let places = [&json["result"]["_meta"]["dev.lockgate/refusal"], &json["error"]["data"]];
        let found = places.into_iter().find(|place| place.is_object());
        found.cloned().unwrap_or(Value::Null)
    }

    /// The code of the refusal in it; empty if it is none.
    pub(crate) fn code(&self) -> String {
        self.refusal()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// Reads one answer, with a length, in chunks, or to the end.
pub(crate) fn read_answer(stream: &mut impl BufRead) -> std::io::Result<Answer> {
    let broken = |what: &str| std::io::Error::new(std::io::ErrorKind::UnexpectedEof, what);
    let status = read_line(stream)?;
    let status = status.split(' ').nth(1).and_then(|it| it.parse().ok());
    let status = status.ok_or_else(|| broken("no status line"))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(stream)?;
        let Some((name, value)) = line.split_once(':') else { break };
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut answer = Answer { status, headers, body: Vec::new() };
    if answer.header("transfer-encoding").is_some() {
        loop {
            let size = read_line(stream)?;
            let size = u64::from_str_radix(&size, 16).map_err(|_| broken("no chunk size"))?;
            read_exactly(stream, size, &mut answer.body)?;
            read_line(stream)?;
            if size == 0 {
                return Ok(answer);
            }
        }
    }
    match answer.header("content-length").map(str::parse) {
        Some(length) => {
            let length = length.map_err(|_| broken("no length"))?;
            read_exactly(stream, length, &mut answer.body)?;
        }
        None if matches!(status, 202 | 204) => {}
        None => {
            stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer.body)?;
        }
    }
    Ok(answer)
}

pub(crate) fn read_line(stream: &mut impl BufRead) -> std::io::Result<String> {
    let mut line = String::new();
    if stream.take(1 << 16).read_line(&mut line)? == 0 {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}

fn read_exactly(stream: &mut impl Read, size: u64, into: &mut Vec<u8>) -> std::io::Result<()> {
    assert!(size <= ANSWER_BYTES_MAX);
    if stream.take(size).read_to_end(into)? as u64 == size {
        return Ok(());
    }
    Err(std::io::ErrorKind::UnexpectedEof.into())
}

/// Reads the head of a request without a body.
pub(crate) fn read_request(stream: &mut impl BufRead) -> std::io::Result<()> {
    while !read_line(stream)?.is_empty() {}
    Ok(())
}
