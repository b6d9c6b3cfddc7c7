//! What the console refuses, byte by byte: what no browser would send, and what only some do.
#![cfg(test)]

mod support;

use lockgate_sim::conformance::free_address;
use serde_json::{Value, json};
use support::http::{Answer, Request, exchange};
use support::{World, ended};

const ASKS: &str = r#"
@id("notes-need-somebody") @require_approval("group:operators")
forbid (principal, action == Action::"tool/note", resource)
unless { context.approvals.contains("group:operators") };
"#;

/// Somebody who is signed in: their cookie, and what their forms carry.
struct SignedIn {
    cookie: String,
    form: String,
}

fn get(path: &str) -> Request {
    Request::new("GET", path).without("Content-Type").with("Accept", "text/html")
}

fn form(world: &World, path: &str, fields: &str) -> Request {
    Request::post(path, fields)
        .with("Content-Type", "application/x-www-form-urlencoded")
        .with("Host", &world.address.to_string())
        .with("Origin", &format!("http://{}", world.address))
}

fn sign_in(world: &World, token: &str) -> Answer {
    exchange(world.address, &form(world, "/console/sign-in", &format!("token={token}&next=")))
}

fn signed_in(world: &World) -> SignedIn {
    let answer = sign_in(world, &world.token("operator", "lockgate-console"));
    assert_eq!(answer.status, 303, "{}", answer.text());
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let page = exchange(world.address, &get("/console/approvals").with("Cookie", &cookie)).text();
    let (_, rest) = page.split_once("name=\"form\" value=\"").unwrap();
    SignedIn { cookie, form: rest.split('"').next().unwrap().to_owned() }
}

fn waiting(world: &World) -> String {
    let asked = world.alice().call("note", json!({"path": "/nowhere", "text": "a"}));
    asked.refusal()["approval"]["call"].as_str().unwrap().to_owned()
}

fn started(more: &str) -> World {
    let mut world = World::new();
    world.gate.edit("policies/test.cedar", |text| format!("{text}{ASKS}{more}")).unwrap();
    world.start();
    world
}

#[test]
fn an_answer_needs_cookie_origin_and_the_pages_own_token() {
    let mut world = started("");
    let (request, who) = (waiting(&world), signed_in(&world));
    let path = format!("/console/approvals/{request}/give");
    let fields = |form: &str| format!("form={form}&requirement=group%3Aoperators&reason=ok");
    let sound = form(&world, &path, &fields(&who.form)).with("Cookie", &who.cookie);
    let refused: [(&str, Request, &str); 7] = [
        ("no cookie", sound.clone().without("Cookie"), "LG-A006"),
        ("a guessed cookie", sound.clone().with("Cookie", "lockgate-console=guessed"), "LG-A006"),
        ("two cookies", sound.clone().also("Cookie", "lockgate-console=x"), "LG-A006"),
        ("no origin", sound.clone().without("Origin"), "LG-A005"),
        ("another port", sound.clone().with("Origin", "http://127.0.0.1:1"), "LG-A005"),
        ("another site", sound.clone().with("Sec-Fetch-Site", "same-site"), "LG-A005"),
        (
            "another form",
            form(&world, &path, &fields("guessed")).with("Cookie", &who.cookie),
            "LG-A005",
        ),
    ];
    for (what, request, code) in refused {
        let answer = exchange(world.address, &request);
        assert!(answer.status == 403 && answer.text().contains(code), "{what}: {}", answer.text());
    }
    let state = |world: &World| -> Value {
        let shown = world.gate.command(&["approvals", "show", &request, "--json"]).unwrap();
        serde_json::from_str::<Value>(&shown).unwrap()["state"].clone()
    };
    assert_eq!(state(&world), "pending");
    let given = exchange(world.address, &sound);
    assert_eq!(given.status, 303, "{}", given.text());
    assert_eq!(state(&world), "given");
    let turned_away = world.entries().into_iter().filter(|entry| entry["code"] == "LG-A005");
    assert_eq!(turned_away.count(), 4, "the log has what was refused");
    world.gate.stop().unwrap();
}

#[test]
fn the_console_has_no_rights_of_its_own() {
    // What policies deny to the console, or to the person, is denied there.
    let rule = "\nforbid (principal == Agent::\"lockgate-console\", \
                action == Action::\"lockgate/approval_give\", resource);\n";
    let mut world = started(rule);
    let (request, who) = (waiting(&world), signed_in(&world));
    let fields = format!("form={}&requirement=group%3Aoperators&reason=ok", who.form);
    let path = format!("/console/approvals/{request}/give");
    let answer = exchange(world.address, &form(&world, &path, &fields).with("Cookie", &who.cookie));
    assert!(answer.status == 403 && answer.text().contains("LG-D004"), "{}", answer.text());
    // Somebody who may not even look.
    let answer = sign_in(&world, &world.token("bob", "lockgate-console"));
    let cookie = answer.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    for path in ["/console/approvals".to_owned(), format!("/console/approvals/{request}")] {
        let page = exchange(world.address, &get(&path).with("Cookie", &cookie));
        assert!(page.status == 403 && page.text().contains("LG-D003"), "{}", page.text());
        assert!(!page.text().contains("/nowhere"), "{}", page.text());
    }
    world.gate.stop().unwrap();
}

#[test]
fn nobody_signs_in_with_an_agents_token_or_where_everybody_is_somebody() {
    let mut world = World::new();
    let fixed = free_address().unwrap();
    world.configure(&format!(
        "[[listen]]\naddress = \"{fixed}\"\nhosts = [\"gate.example\"]\n\
         identity = {{ subject = \"operator\", agent = \"lockgate-console\" }}"
    ));
    world
        .gate
        .edit("lockgate.toml", |text| {
            text.replacen("[[listen]]\n", "[[listen]]\nhosts = [\"gate.example\"]\n", 1)
        })
        .unwrap();
    world.start();
    for path in ["/console/approvals", "/console/sign-in", "/console/"] {
        let page = exchange(fixed, &get(path));
        assert!(page.status == 404 && page.text().contains("LG-A003"), "{path}: {}", page.text());
    }
    // Under a name that others have to be asked for, in the clear.
    let page = exchange(world.address, &get("/console/sign-in").with("Host", "gate.example"));
    assert!(page.status == 404 && page.text().contains("LG-A003"), "{}", page.text());
    let refused = sign_in(&world, &world.token("operator", "bot"));
    assert!(refused.status == 403 && refused.text().contains("LG-A004"), "{}", refused.text());
    let refused = sign_in(&world, "no.such.token");
    assert!(refused.status == 403 && refused.text().contains("LG-I002"), "{}", refused.text());
    let mut command = world.gate.lockgate(&["console", "--token", &world.token("alice", "bot")]);
    let (has_succeeded, said) = ended(&mut command);
    assert!(!has_succeeded && said.contains("LG-A004"), "{said}");
    world.gate.stop().unwrap();
}

#[test]
fn pages_load_nothing_and_are_kept_by_nobody() {
    let mut world = World::started();
    let pages = ["/console/sign-in", "/console/style.css", "/console/nothing", "/console/link/x"];
    for path in pages {
        let page = exchange(world.address, &get(path));
        let policy = page.header("content-security-policy").unwrap();
        for part in ["default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("script-src"), "{policy}");
        assert_eq!(page.header("cache-control"), Some("no-store"), "{path}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert!(!page.text().contains("<script") && !page.text().contains("https://"), "{path}");
    }
    world.gate.stop().unwrap();
}

#[test]
fn behind_a_proxy_that_ends_tls_the_cookie_is_bound_to_the_host() {
    let mut world = World::new();
    world.configure("[console]\nurl = \"https://gate.example/\"");
    world
        .gate
        .edit("lockgate.toml", |text| {
            let names =
                "[[listen]]\nhosts = [\"gate.example\"]\norigins = [\"https://gate.example\"]\n";
            text.replacen("[[listen]]\n", names, 1)
        })
        .unwrap();
    world.start();
    let token = world.token("operator", "lockgate-console");
    let sound = form(&world, "/console/sign-in", &format!("token={token}&next="))
        .with("Host", "gate.example")
        .with("Origin", "https://gate.example");
    let answer = exchange(world.address, &sound);
    let cookie = answer.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-lockgate=") && cookie.ends_with("; Secure"), "{cookie}");
    world.gate.stop().unwrap();
}

#[test]
fn who_signs_in_comes_to_a_page_of_the_console_and_to_no_other_site() {
    let mut world = World::new();
    world.start();
    let token = world.token("operator", "lockgate-console");
    let (start, trace) = ("/console/approvals", "/console/traces/01a2");
    for (next, comes_to) in [
        ("", start),
        ("traces%2F01a2", trace),
        ("sources", "/console/sources"),
        ("https%3A%2F%2Felsewhere.example", start),
        ("%2F%2Felsewhere.example", start),
        ("traces%2F..%2F%2Felsewhere.example", start),
        ("sign-out", start),
    ] {
        let fields = format!("token={token}&next={next}");
        let answer = exchange(world.address, &form(&world, "/console/sign-in", &fields));
        assert_eq!(answer.header("location"), Some(comes_to), "{next}");
    }
    let asked = exchange(world.address, &get("/console/traces/01a2"));
    assert_eq!(asked.header("location"), Some("/console/sign-in?next=traces/01a2"));
    world.gate.stop().unwrap();
}
