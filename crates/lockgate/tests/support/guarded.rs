//! An upstream that lets in who shows a credential, and a token endpoint that issues some: both
//! remember what they were shown.

use super::http::read_line;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// A request, as it came.
#[derive(Clone, Debug, Default)]
struct Request {
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> String {
        self.headers.get(name).cloned().unwrap_or_default()
    }
}

fn receive(reader: &mut BufReader<TcpStream>) -> std::io::Result<Request> {
    let mut request = Request::default();
    read_line(reader)?;
    loop {
        let line = read_line(reader)?;
        let Some((name, value)) = line.split_once(':') else { break };
        request.headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = request.header("content-length").parse().unwrap_or(0);
    request.body = vec![0; length];
    reader.read_exact(&mut request.body)?;
    Ok(request)
}

fn reply(
    reader: &mut BufReader<TcpStream>,
    status: u16,
    more: &str,
    body: &str,
) -> std::io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n{more}content-length: {length}\r\n\r\n"
    );
    reader.get_mut().write_all((head + body).as_bytes())
}

/// Serves until the test's process ends.
fn serve(
    answer: impl Fn(&mut BufReader<TcpStream>, Request) -> std::io::Result<()> + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                stream.set_nodelay(true).unwrap();
                let mut reader = BufReader::new(stream);
                while let Ok(request) = receive(&mut reader) {
                    if answer(&mut reader, request).is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

/// An upstream.
pub(crate) struct Guarded {
    pub(crate) address: SocketAddr,
    door: Arc<Mutex<Door>>,
}

#[derive(Default)]
struct Door {
    /// What was asked, and with which `Authorization`: tools by their names.
    seen: Vec<(String, String)>,
    /// What it answers instead, if it does.
    status: Option<u16>,
    /// What it does not accept any more.
    withdrawn: BTreeSet<String>,
    /// Until when what it accepts is good, where it knows.
    ends: Arc<Mutex<BTreeMap<String, Instant>>>,
}

impl Guarded {
    pub(crate) fn start() -> Self {
        let door = Arc::new(Mutex::new(Door::default()));
        let state = Arc::clone(&door);
        let address = serve(move |reader, request| {
            let message: Value = serde_json::from_slice(&request.body).unwrap_or_default();
            let method = message["method"].as_str().unwrap_or_default();
            let tool = message["params"]["name"].as_str().unwrap_or(method).to_owned();
            let shown = request.header("authorization");
            let mut door = state.lock().unwrap();
            let ended =
                door.ends.lock().unwrap().get(&shown).is_some_and(|end| *end < Instant::now());
            let refused = ended || door.withdrawn.contains(&shown) || shown.is_empty();
            door.seen.push((tool, shown));
            let status = door.status.or(refused.then_some(401));
            drop(door);
            match status {
                // It may have been done, and nobody says so.
                Some(0) => Err(std::io::ErrorKind::ConnectionReset.into()),
                Some(status) => reply(reader, status, "", "no"),
                None => reply(reader, 200, "mcp-session-id: s\r\n", &answer(method, &message)),
            }
        });
        Self { address, door }
    }

    /// Everything that was asked since, with what was shown.
    pub(crate) fn take(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.door.lock().unwrap().seen)
    }

    /// The same, of tools alone.
    pub(crate) fn take_calls(&self) -> Vec<(String, String)> {
        let is_call = |(tool, _): &(String, String)| ["echo", "note"].contains(&tool.as_str());
        self.take().into_iter().filter(is_call).collect()
    }

    /// Answers everything with a status from now on, or with 0 nothing; `None`: as it should.
    pub(crate) fn set_status(&self, status: Option<u16>) {
        self.door.lock().unwrap().status = status;
    }

    /// Does not accept this any more.
    pub(crate) fn withdraw(&self, shown: &str) {
        self.door.lock().unwrap().withdrawn.insert(shown.to_owned());
    }

    /// Accepts the tokens of an endpoint until they end.
    pub(crate) fn knows(&self, endpoint: &Endpoint) {
        self.door.lock().unwrap().ends = Arc::clone(&endpoint.desk.ends);
    }
}

fn answer(method: &str, message: &Value) -> String {
    let result = match method {
        "initialize" => json!({"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
            "serverInfo": {"name": "guarded", "version": "1"}}),
        "server/discover" => json!({"supportedVersions": ["2026-07-28"], "ttlMs": 3_600_000,
            "capabilities": {"tools": {}}, "cacheScope": "public", "resultType": "complete"}),
        "tools/list" => json!({"tools": [], "ttlMs": 3_600_000, "cacheScope": "public",
            "resultType": "complete"}),
        _ => json!({"content": [{"type": "text", "text": "done"}], "resultType": "complete"}),
    };
    json!({"jsonrpc": "2.0", "id": message["id"], "result": result}).to_string()
}

/// A token endpoint.
pub(crate) struct Endpoint {
    pub(crate) address: SocketAddr,
    desk: Arc<Desk>,
}

/// What an endpoint was asked.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) authorization: String,
    pub(crate) form: BTreeMap<String, String>,
}

#[derive(Default)]
struct Desk {
    asked: Mutex<Vec<Asked>>,
    issued: Mutex<Vec<String>>,
    lives_s: Mutex<u64>,
    status: Mutex<Option<u16>>,
    /// Put into issued tokens instead of what belongs there.
    instead: Mutex<BTreeMap<String, Value>>,
    ends: Arc<Mutex<BTreeMap<String, Instant>>>,
}

impl Endpoint {
    /// One whose tokens are good for so long.
    pub(crate) fn start(lives_s: u64) -> Self {
        let desk = Arc::new(Desk { lives_s: Mutex::new(lives_s), ..Desk::default() });
        let state = Arc::clone(&desk);
        let address = serve(move |reader, request| {
            let form = form(&String::from_utf8(request.body.clone()).unwrap());
            let asked = Asked { authorization: request.header("authorization"), form };
            state.asked.lock().unwrap().push(asked.clone());
            match *state.status.lock().unwrap() {
                Some(302) => reply(reader, 302, "location: /elsewhere\r\n", ""),
                // It repeats what it was sent, as some do.
                Some(status) => {
                    let body = json!({"error": "invalid_grant", "error_description": asked.form});
                    reply(reader, status, "", &body.to_string())
                }
                None => reply(reader, 200, "", &state.issue(&asked).to_string()),
            }
        });
        Self { address, desk }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.desk.asked.lock().unwrap().clone()
    }

    /// How often it was asked.
    pub(crate) fn count(&self) -> usize {
        self.desk.asked.lock().unwrap().len()
    }

    /// Every token that it has issued.
    pub(crate) fn issued(&self) -> Vec<String> {
        self.desk.issued.lock().unwrap().clone()
    }

    /// Answers with a status from now on; `None`: as it should.
    pub(crate) fn set_status(&self, status: Option<u16>) {
        *self.desk.status.lock().unwrap() = status;
    }

    /// Answers nobody until this is dropped.
    pub(crate) fn held(&self) -> MutexGuard<'_, Option<u16>> {
        self.desk.status.lock().unwrap()
    }

    /// Puts something else into its tokens; for `all` it gives back what it was given.
    pub(crate) fn puts_instead(&self, claim: &str, value: Value) {
        let mut instead = self.desk.instead.lock().unwrap();
        *instead = BTreeMap::from([(claim.to_owned(), value)]);
    }
}

impl Desk {
    fn issue(&self, asked: &Asked) -> Value {
        let lives_s = *self.lives_s.lock().unwrap();
        let mut issued = self.issued.lock().unwrap();
        let number = issued.len() + 1;
        let token = match asked.form.get("subject_token") {
            Some(subject) if self.instead.lock().unwrap().contains_key("all") => subject.clone(),
            None => format!("gates-own-token-{number}"),
            Some(subject) => {
                let callers = claims(subject);
                let act = json!({"sub": "lockgate", "act": callers["act"]});
                let audience = asked.form.get("audience").or(asked.form.get("resource"));
                let mut claims = json!({"sub": callers["sub"], "act": act, "aud": audience,
                    "jti": format!("exchanged-{number}")});
                for (claim, value) in &*self.instead.lock().unwrap() {
                    claims[claim] = value.clone();
                }
                format!("e30.{}.c2lnbmVk", URL_SAFE_NO_PAD.encode(claims.to_string()))
            }
        };
        issued.push(token.clone());
        let end = Instant::now() + Duration::from_secs(lives_s);
        self.ends.lock().unwrap().insert(format!("Bearer {token}"), end);
        json!({"access_token": token, "token_type": "Bearer", "expires_in": lives_s,
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token"})
    }
}

/// What a token says, whoever signed it.
pub(crate) fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap_or_default();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

fn form(body: &str) -> BTreeMap<String, String> {
    let pairs = body.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = text.bytes();
    let mut all = Vec::new();
    while let Some(byte) = bytes.next() {
        all.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [bytes.next().unwrap(), bytes.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    String::from_utf8(all).unwrap()
}
