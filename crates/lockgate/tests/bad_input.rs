//! Whatever is wrong with a request, the gate refuses it with a code of its own, records that, and
//! goes on.
#![cfg(test)]

mod support;

use serde_json::json;
use support::http::{Connection, Request, exchange};
use support::{World, call, request};

/// What is sent, what is answered: a name, the request, the status, the code.
type Case = (&'static str, Request, u16, &'static str);

fn post(body: impl Into<Vec<u8>>) -> Request {
    Request::post("/mcp/tool", body)
}

fn ping(members: &str) -> Request {
    post(format!(r#"{{"jsonrpc":"2.0","method":"ping",{members}}}"#))
}

fn echo() -> Request {
    call("echo", json!({"text": "still here"}))
}

fn at(path: &str) -> Request {
    Request { path: path.to_owned(), ..echo() }
}

/// Sends every case as alice; after each, a sound call is answered. Then every code is in the
/// ledger.
fn refuses(cases: Vec<Case>) {
    let world = World::started();
    let bearer = format!("Bearer {}", world.token("alice", "bot"));
    let mut codes = Vec::new();
    for (name, request, status, code) in cases {
        let is_said = request.headers.iter().any(|(name, _)| name == "Authorization");
        let request = if is_said { request } else { request.with("Authorization", &bearer) };
        let answer = exchange(world.address, &request);
        let seen = (answer.status, answer.code());
        assert_eq!(seen, (status, code.to_owned()), "{name}: {}", answer.text());
        assert!(!answer.refusal()["remedy"].as_str().unwrap_or("").is_empty(), "{name}: no remedy");
        let sound = exchange(world.address, &echo().with("Authorization", &bearer));
        assert_eq!(sound.json()["result"]["content"][0]["text"], "still here", "after {name}");
        codes.push(code);
    }
    for entry in world.entries() {
        let code = entry["code"].as_str().unwrap_or_default();
        if let Some(at) = codes.iter().position(|known| *known == code) {
            codes.remove(at);
        }
    }
    assert_eq!(codes, [""; 0], "not recorded");
}

#[test]
fn messages_that_are_none() {
    let deep = |levels| format!("\"id\":1,\"params\":{{\"a\":{}}}", "[".repeat(levels));
    let not_text = b"{\"jsonrpc\":\"2.0\",\"id\":\"\xff\",\"method\":\"ping\"}";
    refuses(vec![
        ("nothing", post(""), 400, "LG-W001"),
        ("half a message", post(r#"{"jsonrpc":"#), 400, "LG-W001"),
        ("two messages", post("{} {}"), 400, "LG-W001"),
        ("not UTF-8", post(not_text.to_vec()), 400, "LG-W001"),
        ("half a character", ping(r#""id":"\ud800""#), 400, "LG-W001"),
        ("a byte order mark", post("\u{feff}{}"), 400, "LG-W001"),
        ("a number that is none", ping(r#""id":1,"params":{"a":01}"#), 400, "LG-W001"),
        ("a duplicate member", ping(r#""id":1,"id":2"#), 400, "LG-W002"),
        ("a duplicate in disguise", ping(r#""id":1,"\u0069d":2"#), 400, "LG-W002"),
        ("a duplicate in another case", ping(r#""id":1,"Method":"tools/call""#), 400, "LG-W002"),
        ("a duplicate far down", ping(r#""id":1,"params":{"a":[{"b":1,"b":2}]}"#), 400, "LG-W002"),
        ("levels", post("[".repeat(10_000)), 400, "LG-W003"),
        ("levels in params", ping(&deep(10_000)), 400, "LG-W003"),
        ("size", post(" ".repeat((64 << 10) + 1)), 413, "LG-W004"),
        ("a string", post("\"ping\""), 400, "LG-W005"),
        ("an older version", post(r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#), 400, "LG-W005"),
        ("a method that is none", post(r#"{"jsonrpc":"2.0","id":1,"method":5}"#), 400, "LG-W005"),
        ("an id of null", ping(r#""id":null"#), 400, "LG-W006"),
        ("an id that is true", ping(r#""id":true"#), 400, "LG-W006"),
        ("an id with a fraction", ping(r#""id":1.5"#), 400, "LG-W006"),
        ("an id beyond 64 bits", ping(r#""id":99999999999999999999"#), 400, "LG-W006"),
        ("an id beyond numbers", ping(r#""id":1e999"#), 400, "LG-W006"),
        ("an id with members", ping(r#""id":{}"#), 400, "LG-W006"),
        ("params in a row", ping(r#""id":1,"params":[]"#), 400, "LG-W007"),
        ("a batch", post(r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#), 400, "LG-W019"),
    ]);
}

#[test]
fn calls_that_do_not_fit_the_protocol() {
    let discover = || request("server/discover", json!({}));
    let without_meta = Request { body: ping(r#""id":1"#).body, ..request("ping", json!({})) };
    let another_version = {
        let text = String::from_utf8(discover().body).unwrap().replace("2026-07-28", "2027-01-01");
        Request { body: text.into(), ..discover() }.with("MCP-Protocol-Version", "2027-01-01")
    };
    refuses(vec![
        ("an unknown method", request("tools/destroy", json!({})), 404, "LG-W008"),
        ("another method's header", echo().with("Mcp-Method", "tools/list"), 400, "LG-W009"),
        ("a header twice", echo().also("Mcp-Method", "tools/call"), 400, "LG-W009"),
        ("no method header", echo().without("Mcp-Method"), 400, "LG-W009"),
        ("another tool's header", echo().with("Mcp-Name", "note"), 400, "LG-W009"),
        ("no tool header", echo().without("Mcp-Name"), 400, "LG-W009"),
        (
            "another version's header",
            echo().with("MCP-Protocol-Version", "2025-11-25"),
            400,
            "LG-W009",
        ),
        ("no session", ping(r#""id":1"#), 400, "LG-W009"),
        ("an unknown version", another_version, 400, "LG-W010"),
        ("no metadata", without_meta, 400, "LG-W011"),
        ("an unknown session", ping(r#""id":1"#).with("Mcp-Session-Id", "0123"), 404, "LG-W012"),
        ("another type", echo().with("Content-Type", "text/plain"), 415, "LG-W016"),
        ("nothing that can be answered", echo().with("Accept", "text/html"), 406, "LG-W016"),
        ("another HTTP method", Request::new("PUT", "/mcp/tool"), 405, "LG-W016"),
        ("arguments in a row", call("echo", json!([])), 400, "LG-W007"),
        ("an undeclared tool", call("nothing", json!({})), 200, "LG-D007"),
        ("an undeclared argument", call("echo", json!({"text": "", "a": 1})), 200, "LG-D006"),
        ("an argument of another type", call("echo", json!({"text": 1})), 200, "LG-D006"),
        ("a tool nobody may use", call("danger", json!({})), 200, "LG-D003"),
    ]);
}

#[test]
fn places_that_are_none_and_sites_that_are_not_ours() {
    refuses(vec![
        ("an unknown upstream", at("/mcp/nobody"), 404, "LG-W021"),
        ("the gate itself", at("/mcp/lockgate"), 404, "LG-W021"),
        ("a way up", at("/mcp/../v1/status"), 404, "LG-W021"),
        ("a hidden way up", at("/mcp/%2e%2e/v1/status"), 404, "LG-W021"),
        ("a way up from within", at("/mcp/tool/../../etc/passwd"), 404, "LG-W021"),
        ("an empty step", at("/mcp//tool"), 404, "LG-W021"),
        ("an end in disguise", at("/mcp/tool%00"), 404, "LG-W021"),
        ("another host", echo().with("Host", "evil.example"), 403, "LG-W014"),
        (
            "a host that begins like ours",
            echo().with("Host", "localhost.evil.example"),
            403,
            "LG-W014",
        ),
        ("no host", echo().without("Host"), 403, "LG-W014"),
        ("two hosts", echo().also("Host", "localhost"), 403, "LG-W014"),
        ("another host in the address", at("http://evil.example/mcp/tool"), 403, "LG-W014"),
        ("another origin", echo().with("Origin", "http://evil.example"), 403, "LG-W015"),
        ("an origin that hides", echo().with("Origin", "null"), 403, "LG-W015"),
        ("another kind of credential", echo().with("Authorization", "Basic eDp5"), 401, "LG-I001"),
        ("no token", echo().with("Authorization", "Bearer"), 401, "LG-I001"),
        ("a token that is none", echo().with("Authorization", "Bearer x.y"), 401, "LG-I002"),
        (
            "two tokens",
            echo().with("Authorization", "Bearer x").also("Authorization", "Bearer y"),
            401,
            "LG-I002",
        ),
    ]);
}

#[test]
fn what_is_not_even_http() {
    let world = World::started();
    let mut alice = world.alice();
    let long = "a".repeat(1 << 20);
    let many = "X: y\r\n".repeat(1000);
    let head = "POST /mcp/tool HTTP/1.1\r\nHost: localhost\r\n";
    for (name, bytes, status) in [
        ("garbage", "GARBAGE\r\n\r\n".to_owned(), 400),
        ("two lengths", format!("{head}Content-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}"), 400),
        ("a length below nothing", format!("{head}Content-Length: -1\r\n\r\n"), 400),
        ("a header beyond bounds", format!("{head}X: {long}\r\n\r\n"), 431),
        ("headers beyond bounds", format!("{head}{many}\r\n"), 431),
    ] {
        let mut connection = Connection::open(world.address);
        // The gate may stop reading before everything is sent.
        let _ = connection.send(bytes.as_bytes());
        match connection.receive() {
            Ok(answer) => assert_eq!(answer.status, status, "{name}"),
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{name}"),
        }
        assert_eq!(alice.call("echo", json!({"text": ""})).status, 200, "after {name}");
    }
}

#[test]
fn a_session_is_its_openers() {
    let world = World::started();
    let as_user = |request: Request, user: &str, agent: &str| {
        let bearer = format!("Bearer {}", world.token(user, agent));
        exchange(world.address, &request.with("Authorization", &bearer))
    };
    let initialize = post(
        json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "test", "version": "1"}}})
        .to_string(),
    );
    let opened = as_user(initialize, "alice", "bot");
    let session = opened.header("mcp-session-id").unwrap();
    let list = post(r#"{"jsonrpc":"2.0","id":2,"method":"tools/list"}"#);
    let list = list.with("Mcp-Session-Id", session).with("MCP-Protocol-Version", "2025-11-25");
    for (user, agent) in [("bob", "bot"), ("alice", "other-bot")] {
        let answer = as_user(list.clone(), user, agent);
        assert_eq!((answer.status, answer.code().as_str()), (404, "LG-W012"), "{user}, {agent}");
        let end = Request { method: "DELETE".to_owned(), ..list.clone() };
        assert_eq!(as_user(end, user, agent).status, 404);
    }
    let answer = as_user(list, "alice", "bot");
    assert_eq!(answer.status, 200, "{}", answer.text());
    // The record is less polite than the answer, which must not tell what exists.
    let codes: Vec<_> = world.entries().iter().map(|entry| entry["code"].clone()).collect();
    assert!(codes.contains(&json!("LG-W013")), "{codes:?}");
}
