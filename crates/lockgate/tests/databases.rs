//! A database behind the gate: its statements are tools, decided, narrowed, bounded and recorded.
#![cfg(test)]

mod support;

use serde_json::{Value, json};
use support::World;
use support::shop_database::{self, Asker, OPERATIONS, POLICIES, rows, sqlite_database};

fn started() -> World {
    let place = tempfile::tempdir().unwrap().keep();
    let path = sqlite_database(&place);
    let database = format!("dialect = \"sqlite\"\naddress = \"{}\"\nrows_max = 5", path.display());
    let mut world = shop_database::world(&database, OPERATIONS, POLICIES);
    world.start();
    world
}

#[test]
fn a_declared_statement_is_a_tool_that_is_decided_recorded_and_answered() {
    let world = started();
    let mut alice = Asker::of(&world, "alice");
    let listed = alice.request("tools/list", json!({})).json();
    let tools = listed["result"]["tools"].as_array().unwrap();
    let names: Vec<&str> = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["orders_of", "query"]);
    assert_eq!(
        tools[0]["inputSchema"],
        json!({
            "type": "object",
            "properties": {
                "customer": {"type": "integer", "description": "the customer's number"}
            },
            "required": ["customer"],
            "additionalProperties": false,
        })
    );
    assert!(tools[1]["description"].as_str().unwrap().contains("- customers (id, name, email"));
    assert!(tools[1]["outputSchema"]["properties"]["rows"].is_object());

    let answer = alice.call("orders_of", json!({"customer": 1}));
    assert_eq!(rows(&answer), json!([[10, 500], [11, 1500]]), "{}", answer.text());
    let call = answer.header("lockgate-call").unwrap();
    let traced = world.gate.command(&["trace", call, "--json"]).unwrap();
    let traced: Value = serde_json::from_str(&traced).unwrap();
    assert!(traced.to_string().contains("rows:customers: tenant = 'acme'"), "{traced}");
    let other = alice.call("orders_of", json!({"customer": "1 or 1=1"}));
    assert_eq!(other.code(), "LG-D006");
}
