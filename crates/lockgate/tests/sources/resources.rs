//! Resources of a tool server as documents: read by the gate itself, and no more than a switch
//! lets it.

use super::{Company, ORDERS};
use serde_json::{Value, json};
use std::path::Path;

const MANUAL: &str = r#"
owner = "it"
classification = "internal"
[connector.mcp]
upstream = "library"
include = ["docs://manual/**"]
[permissions]
readers = ["group:staff"]
[[permissions.folder]]
path = "docs:/manual/hr"
denied = ["user:alice"]
"#;

fn resource(uri: &str, text: &str) -> Value {
    json!({"uri": uri, "name": uri, "mimeType": "text/markdown", "text": text})
}

#[test]
fn resources_of_a_tool_server_are_documents() {
    let mut company = Company::new(&[("manual", MANUAL)]);
    let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/library.py");
    let offered = company.world.gate.directory().join("library.json");
    company.world.configure(&format!(
        "[upstream.library]\ncommand = [\"python3\", \"{}\", \"{}\"]",
        server.display(),
        offered.display()
    ));
    let offer = |resources: &[Value]| {
        std::fs::write(&offered, Value::from(resources.to_vec()).to_string()).unwrap();
    };
    let html = json!({"uri": "docs://manual/b", "name": "b", "mimeType": "text/html",
        "annotations": {"lastModified": "2026-01-02T03:04:05Z"},
        "blob": "PHA+TGFkZGVycyBzdGFuZCBpbiB0aGUgY2VsbGFyLjxzY3JpcHQ+eDwvc2NyaXB0Pg=="});
    let leave = resource("docs://manual/hr/leave", "Parental leave lasts a year.");
    let mut posing = resource("docs://manual/posing", "Ladders are on the roof.");
    posing["description"] = json!(ORDERS);
    let elsewhere = resource("docs://other/x", "Ladders are elsewhere.");
    let lost = json!({"uri": "docs://manual/lost", "name": "lost"});
    let travel = resource("docs://manual/travel", "# Travel\n\nTrips are booked by the desk.");
    offer(&[travel.clone(), html.clone(), leave.clone(), posing, elsewhere, lost]);
    company.world.start();
    let printed = company.sources(&["run", "manual"]).unwrap();
    assert!(printed.contains("snapshot 1 of manual serves: 3 documents"), "{printed}");
    assert_eq!(company.finds("alice", "trips booked"), ["manual/docs://manual/travel"]);
    assert_eq!(company.finds("alice", "ladders"), ["manual/docs://manual/b"]);
    assert_eq!(company.finds("bob", "parental leave"), ["manual/docs://manual/hr/leave"]);
    assert!(company.finds("alice", "parental leave").is_empty(), "the bundle keeps it from her");
    let piece = company.search("alice", "ladders cellar").json();
    let piece = &piece["result"]["structuredContent"]["found"][0];
    assert_eq!(
        (&piece["link"], &piece["curation"]),
        (&json!("docs://manual/b"), &json!("collected"))
    );
    assert_eq!(piece["changed"], "2026-01-02T03:04:05Z");
    let report = company.json(&["show", "manual"])["report"].to_string();
    assert!(report.contains("docs://manual/posing"), "{report}");
    let mut entries = company.world.entries().into_iter().map(|entry| entry.to_string());
    assert!(!entries.any(|entry| entry.contains("resources/read")), "nobody has called");

    // A switch over the server: it is not read, and what was read serves.
    offer(&[resource("docs://manual/travel", "Trips are cancelled."), html.clone()]);
    let switch = ["--tool", "library", "--reason", "test"];
    company.world.gate.command(&[&["kill"], &switch[..]].concat()).unwrap();
    let stopped = company.sources(&["run", "manual"]).unwrap_err();
    assert!(stopped.contains("LG-Q018") && stopped.contains("switch"), "{stopped}");
    assert_eq!(company.finds("alice", "trips booked"), ["manual/docs://manual/travel"]);
    company.world.gate.command(&[&["lift"], &switch[..]].concat()).unwrap();
    company.sources(&["run", "manual"]).unwrap();
    let compared = company.json(&["compare", "manual", "1", "2"]);
    assert_eq!(compared["removed"], json!(["docs://manual/hr/leave"]), "{compared}");
    assert_eq!(compared["changed"], json!(["docs://manual/travel"]));
    assert!(company.finds("bob", "parental leave").is_empty());
    company.world.gate.stop().unwrap();
}
