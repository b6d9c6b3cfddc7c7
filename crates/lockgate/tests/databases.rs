//! A database behind the gate: its statements are tools, decided, narrowed, bounded and recorded.
#![cfg(test)]

mod support;

use lockgate_sim::wait;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use support::http::{Connection, Request};
use support::shop_database::{Asker, escapes, rows, sqlite_world};
use support::{SOON, World};

fn started() -> World {
    let mut world = sqlite_world();
    world.start();
    world
}

/// More rows than anybody counts.
fn endless() -> String {
    let tables: Vec<String> = (0..12).map(|at| format!("orders as t{at}")).collect();
    tables.join(" cross join ")
}

/// The entries of a call.
fn traced(world: &World, call: &str) -> String {
    world.gate.command(&["trace", call, "--json"]).unwrap()
}

#[test]
fn a_declared_statement_is_a_tool_that_is_decided_recorded_and_answered() {
    let world = started();
    let mut alice = Asker::of(&world, "alice");
    let listed = alice.request("tools/list", json!({})).json();
    let tools = listed["result"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["contact", "forget_notes", "orders_of", "query", "take_note"]);
    let tools = &tools[1..];
    let properties =
        json!({"customer": {"type": "integer", "description": "the customer's number"}});
    assert_eq!(
        tools[1]["inputSchema"],
        json!({
            "type": "object", "properties": properties, "required": ["customer"],
            "additionalProperties": false,
        })
    );
    assert!(tools[2]["description"].as_str().unwrap().contains("- customers (id, name, email"));
    assert!(tools[2]["outputSchema"]["properties"]["rows"].is_object());
    assert_eq!(tools[2]["annotations"]["readOnlyHint"], true);

    let answer = alice.call("orders_of", json!({"customer": 1}));
    assert_eq!(rows(&answer), json!([[10, 500], [11, 1500]]), "{}", answer.text());
    let story = traced(&world, answer.header("lockgate-call").unwrap());
    assert!(story.contains("rows:customers: tenant = 'acme'"), "{story}");
    assert!(story.contains("succeeded"), "{story}");
    for wrong in [json!({"customer": "1 or 1=1"}), json!({}), json!({"customer": 1, "x": 1})] {
        assert_eq!(alice.call("orders_of", wrong).code(), "LG-D006");
    }
    // Who has no permit sees none of it, and has none of it.
    let mut nobody = Asker::of(&world, "operator");
    assert_eq!(nobody.request("tools/list", json!({})).json()["result"]["tools"], json!([]));
    assert_eq!(nobody.ask("select 1").code(), "LG-D003");
    let other = alice.request("resources/list", json!({})).json();
    assert_eq!(other["result"]["resources"], json!([]), "{other}");
}

#[test]
fn what_policies_oblige_to_becomes_part_of_the_statement() {
    let world = started();
    let (mut alice, mut bob) = (Asker::of(&world, "alice"), Asker::of(&world, "bob"));
    // Rows, also where they are only counted, joined, or asked for by the value of a hidden one.
    assert_eq!(alice.rows("select count(*) from customers"), json!([[3]]));
    assert_eq!(bob.rows("select count(*) from customers"), json!([[5]]));
    let joined = "select o.id from orders o left join customers c on c.id = o.customer_id \
                  where o.total > 1000 or c.name = 'Chen'";
    assert_eq!(alice.rows(joined), json!([[11]]));
    assert_eq!(alice.rows("select name from customers where id = 3 or 1 = 1 order by id"), {
        json!([["Ada"], ["Bo"], ["Dara"]])
    });
    let told = &alice.ask("select 1").json()["result"]["_meta"]["dev.lockgate/filtered"];
    assert_eq!(*told, json!(["customers", "notes", "orders"]));
    // The values of a filter are those of whoever asks.
    assert_eq!(alice.rows("select text from notes"), json!([["mine"]]));
    assert_eq!(bob.rows("select text from notes order by text"), json!([["his"], ["mine"]]));
    // Masks, whatever the column is called or used for.
    let masked = "select email as e, email || '!' from customers where id = 1";
    assert_eq!(alice.rows(masked), json!([["****.com", "****.com!"]]));
    let guessed = "select id from customers where email like 'ada%'";
    assert_eq!(alice.rows(guessed), json!([]));
    assert_eq!(bob.rows(guessed), json!([[1]]));
    // What is redacted, in place of a column and wherever it is found in text.
    let contact = bob.call("contact", json!({"id": 1}));
    assert_eq!(rows(&contact), json!([[1, "[redacted]", "[redacted]"]]));
    // A cap is of rows, and the answer keeps its shape.
    let one = bob.call("orders_of", json!({"customer": 1})).json();
    let expected = json!({"columns": ["id", "total"], "rows": [[10, 500]], "truncated": true});
    assert_eq!(one["result"]["structuredContent"], expected);
    // What is null stays so.
    assert_eq!(alice.rows("select email from customers where id = 4"), json!([[null]]));
}

#[test]
fn policies_see_the_tables_and_columns_of_a_statement() {
    let world = started();
    let mut bob = Asker::of(&world, "bob");
    for sql in [
        "select country from customers",
        "select name from customers order by country",
        "select * from customers",
        "select x from (select country as x from customers) t",
        "select name from customers c where exists (select 1 from orders where c.country = note)",
        "with t as (select id from customers where country = 'SE') select id from t",
        "select name from customers union select country from customers",
        "select count(*) filter (where country = 'SE') from customers",
    ] {
        let answer = bob.ask(sql);
        assert_eq!(answer.code(), "LG-D004", "{sql}: {}", answer.text());
        assert!(answer.text().contains("nobody-reads-countries"));
    }
    assert_eq!(bob.rows("select name from customers where id = 1"), json!([["Ada"]]));
    // The same name elsewhere is another column.
    assert_eq!(bob.rows("select note as country from orders where id = 10"), json!([["gift"]]));
}

#[test]
fn parameters_are_bound_and_never_spliced() {
    let world = started();
    let mut bob = Asker::of(&world, "bob");
    let mut ask = |sql: &str, parameters: Value| {
        bob.call("query", json!({"sql": sql, "parameters": parameters}))
    };
    let name = "select id from customers where name = ?1";
    assert_eq!(rows(&ask(name, json!(["O'Neil"]))), json!([[5]]));
    assert_eq!(rows(&ask(name, json!(["x' or '1'='1"]))), json!([]));
    assert_eq!(ask(name, json!([])).code(), "LG-D025");
    assert_eq!(ask(name, json!(["a", "b"])).code(), "LG-D025");
    assert_eq!(ask(name, json!([{"a": 1}])).code(), "LG-D006");
    assert_eq!(ask(name, json!("O'Neil")).code(), "LG-D006");
}

#[test]
fn no_escape_of_the_corpus_passes_the_gate() {
    let world = started();
    let path = world.gate.directory().join("shop.db");
    let before = std::fs::read(&path).unwrap();
    let mut bob = Asker::of(&world, "bob");
    let escapes = escapes("sqlite");
    for escape in &escapes {
        let answer = bob.ask(escape);
        assert_eq!(answer.code(), "LG-D025", "{escape}: {}", answer.text());
        assert!(!answer.text().contains("combination"), "{escape}");
    }
    assert!(escapes.len() > 400, "{}", escapes.len());
    assert_eq!(std::fs::read(&path).unwrap(), before);
    // Each is recorded, with its code.
    let is_refusal = |entry: &&Value| entry["k"] == "refusal" && entry["code"] == "LG-D025";
    assert_eq!(world.entries().iter().filter(is_refusal).count(), escapes.len());
    let refused = bob.ask("select value from secrets");
    assert!(refused.refusal()["reason"].as_str().unwrap().contains("`secrets`"));
    let story = traced(&world, refused.header("lockgate-call").unwrap());
    assert!(story.contains("LG-D025"), "{story}");
}

#[test]
fn rows_and_time_are_bounded() {
    let world = started();
    let mut bob = Asker::of(&world, "bob");
    let answer = bob.ask("select id from orders order by id").json();
    let structured = &answer["result"]["structuredContent"];
    assert_eq!(structured["rows"].as_array().unwrap().len(), 5);
    assert_eq!(structured["truncated"], true);
    let all = bob.ask("select id from orders order by id limit 5").json();
    assert_eq!(all["result"]["structuredContent"]["truncated"], false);

    let slow = bob.ask(&format!("select count(*) from {}", endless()));
    assert_eq!(slow.code(), "LG-U002", "{}", slow.text());
    let story = traced(&world, slow.header("lockgate-call").unwrap());
    assert!(story.contains("LG-U002") && story.contains("truncated"), "{story}");
    // A failure of the database's is one of the tool's, without the values it is about.
    let failed = bob.ask("select json_extract(name, '$') from customers").json();
    assert_eq!(failed["result"]["isError"], true);
    let text = failed["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.contains("LG-U009") && !text.contains("Ada"), "{text}");
}

#[test]
fn a_declared_change_happens_once_and_only_as_declared() {
    let world = started();
    let mut bob = Asker::of(&world, "bob");
    let note = json!({"owner": "bob', 'x'); drop table notes; --", "text": null});
    let refused = bob.call("take_note", note);
    assert_eq!(refused.code(), "LG-D006", "null is no text: {}", refused.text());
    let note = json!({"owner": "bob', 'x'); drop table notes; --"});
    let answer = bob.call("take_note", note.clone()).json();
    assert_eq!(answer["result"]["structuredContent"], json!({"changed": 1}), "{answer}");
    let again = bob.call("take_note", note).json();
    assert_eq!(again["result"]["_meta"]["dev.lockgate/effect"]["state"], "replayed", "{again}");
    assert_eq!(bob.rows("select count(*) from notes where text is null"), json!([[1]]));

    // More than the bound is nothing at all.
    for at in 0..6 {
        bob.call("take_note", json!({"owner": "carol", "text": at.to_string()}));
    }
    let forgot = bob.call("forget_notes", json!({"owner": "alice"})).json();
    assert_eq!(forgot["result"]["isError"], true, "{forgot}");
    assert_eq!(bob.rows("select count(*) from notes"), json!([[9]]));

    // Nothing is filtered where no query reads, so who may see some rows only changes none.
    let alice = Asker::of(&world, "alice").call("take_note", json!({"owner": "alice"}));
    assert_eq!(alice.code(), "LG-D013", "{}", alice.text());
}

#[test]
fn a_cap_of_rows_lets_no_more_change_than_it_has_room_for() {
    let mut world = sqlite_world();
    let cap = "\n[[cap]]\nname = \"rows\"\nper = \"global\"\nrows = true\nmax = 4\n\
               window_s = 31622400\noperations = [\"shop/take_note\", \"shop/forget_notes\"]\n";
    world.gate.edit("lockgate.toml", |text| format!("{text}{cap}")).unwrap();
    world.start();
    let mut bob = Asker::of(&world, "bob");
    let mut note = |n: usize| bob.call("take_note", json!({"owner": "bob", "text": n.to_string()}));
    for n in 0..3 {
        let answer = note(n).json();
        assert_eq!(answer["result"]["structuredContent"], json!({"changed": 1}), "{answer}");
    }
    // Four would be gone, and one is left: none is, and it is left still.
    let mut other = Asker::of(&world, "bob");
    let forgot = other.call("forget_notes", json!({"owner": "alice"})).json();
    let said = "the cap `rows` has room for 1 rows, and this would change more (LG-D024)";
    assert_eq!(forgot["result"]["content"][0]["text"], said, "{forgot}");
    assert_eq!(other.rows("select count(*) from notes"), json!([[5]]));
    assert_eq!(note(3).json()["result"]["structuredContent"], json!({"changed": 1}));
    let refused = note(4);
    assert_eq!(refused.code(), "LG-D024");
    assert!(refused.text().contains("the cap `rows` has no room for this (4 of 4 are used)"));
}

#[test]
fn a_switch_stops_statements_and_a_new_bundle_brings_its_own() {
    let world = started();
    let mut bob = Asker::of(&world, "bob");
    world.gate.command(&["kill", "--tool", "shop", "--reason", "a test"]).unwrap();
    assert_eq!(bob.ask("select 1").code(), "LG-D009");
    world.gate.command(&["lift", "--tool", "shop", "--reason", "over"]).unwrap();
    assert_eq!(bob.rows("select total from orders where id = 10"), json!([[500]]));
    let other = |text: String| text.replace("\"total\", ", "");
    world.gate.edit("lockgate.toml", other).unwrap();
    assert!(world.gate.command(&["reload"]).unwrap_err().contains("LG-C001"));
    let broken = world.gate.command(&["check"]).unwrap_err();
    let refused = "operations/shop.toml:8: the statement of `shop/orders_of` is refused";
    assert!(broken.contains(refused), "{broken}");
    world
        .gate
        .edit("operations/shop.toml", |text| text.replace("id, total from", "id from"))
        .unwrap();
    world.gate.command(&["reload"]).unwrap();
    assert_eq!(bob.ask("select total from orders where id = 10").code(), "LG-D025");
    assert_eq!(rows(&bob.call("orders_of", json!({"customer": 1}))), json!([[10]]));
}

#[test]
fn a_client_with_sessions_finds_it_among_all_servers() {
    let world = started();
    let token = world.token("alice", "bot");
    let mut connection = Connection::open(world.address);
    let mut send = |session: Option<&str>, method: &str, params: Value| {
        let message = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let mut request = Request::post("/mcp", message.to_string())
            .with("Authorization", &format!("Bearer {token}"));
        if let Some(session) = session {
            request = request.with("Mcp-Session-Id", session);
            request = request.with("MCP-Protocol-Version", "2025-11-25");
        }
        connection.exchange(&request)
    };
    let info = json!({"name": "test", "version": "1"});
    let opening = json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": info});
    let opened = send(None, "initialize", opening);
    let session = opened.header("mcp-session-id").expect("a session").to_owned();
    let listed = send(Some(&session), "tools/list", json!({})).json();
    let tools = listed["result"]["tools"].as_array().unwrap();
    assert!(tools.iter().any(|tool| tool["name"] == "shop__orders_of"), "{listed}");
    let asked = json!({"name": "shop__orders_of", "arguments": {"customer": 1}});
    let answer = send(Some(&session), "tools/call", asked);
    assert_eq!(rows(&answer), json!([[10, 500], [11, 1500]]), "{}", answer.text());
    assert!(answer.json()["result"].get("resultType").is_none());
}

#[test]
fn no_statement_is_dropped_while_bundles_change() {
    let world = started();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut bob = Asker::of(&world, "bob");
            let mut asked = 0_u32;
            while !is_over.load(Ordering::Relaxed) {
                let answer = bob.ask("select total from orders where id = 10");
                assert_eq!(rows(&answer), json!([[500]]), "{asked}: {}", answer.text());
                asked += 1;
            }
            asked
        });
        for round in 0..10 {
            let note = world.gate.bundle().join("README.md");
            std::fs::write(note, format!("{round}\n")).unwrap();
            world.gate.command(&["reload"]).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        assert!(asking.join().unwrap() > 10);
    });
}

const QUERYABLE: &str = r#"
[tool.file_note]
effect = "write"
accepted = true
class = "queryable"
key = { argument = "reference" }
lookup = { tool = "find_note", argument = "reference", found = "rows", settles_ms = 0 }
statement = "insert into notes (owner, text) values (:reference, :text)"
argument = { reference = { type = "string", optional = true }, text = { type = "string" } }

[tool.find_note]
effect = "read"
accepted = true
statement = "select text from notes where owner = :reference"
argument = { reference = { type = "string" } }
"#;

#[test]
fn a_change_that_a_crash_left_in_doubt_is_looked_up() {
    let mut world = sqlite_world();
    world.gate.edit("operations/shop.toml", |text| text + QUERYABLE).unwrap();
    let longer = |text: String| text.replace("timeout_ms = 1500", "timeout_ms = 600000");
    world.gate.edit("lockgate.toml", longer).unwrap();
    world.start();
    let path = world.gate.directory().join("shop.db");
    // The change does not come to its end by itself.
    let trigger = format!(
        "CREATE TRIGGER endless BEFORE INSERT ON notes BEGIN SELECT count(*) FROM {}; END",
        endless()
    );
    rusqlite::Connection::open(&path).unwrap().execute_batch(&trigger).unwrap();
    let note = json!({"text": "only once"});
    let token = world.token("bob", "bot");
    let mut bob = Asker::with(&world, &token);
    let arguments = note.clone();
    let waiting = std::thread::spawn(move || bob.try_call("file_note", arguments).is_ok());
    let is_begun = |entry: &Value| entry["k"] == "intent" && entry["operation"] == "shop/file_note";
    wait::until("the intent", SOON, || world.entries().iter().any(is_begun).then_some(())).unwrap();
    world.gate.kill();
    assert!(!waiting.join().unwrap(), "the gate ended before the answer");
    rusqlite::Connection::open(&path).unwrap().execute_batch("DROP TRIGGER endless").unwrap();
    world.start();
    let mut bob = Asker::of(&world, "bob");
    // The gate looks it up by itself, too: who asks meanwhile is told that it is still in doubt.
    let answer = wait::until("the end of the doubt", SOON, || {
        let answer = bob.call("file_note", note.clone());
        (answer.code() != "LG-U007").then_some(answer)
    });
    let answer = answer.unwrap();
    let done = json!({"changed": 1});
    assert_eq!(answer.json()["result"]["structuredContent"], done, "{}", answer.text());
    let again = bob.call("file_note", note).json();
    assert_eq!(again["result"]["_meta"]["dev.lockgate/effect"]["state"], "replayed", "{again}");
    assert_eq!(bob.rows("select count(*) from notes where text = 'only once'"), json!([[1]]));
    let is_resolution = |entry: &Value| entry["k"] == "resolution";
    assert!(world.entries().iter().any(is_resolution));
}
