//! The MCP conformance suite through a gate with policy and log on counts what it counts directly.
#![cfg(test)]

use lockgate_sim::conformance::{REVISIONS, ReferenceServer, Suite, Tally, free_address};
use lockgate_sim::gate::Gate;

/// Everything the suite does is permitted, by policies that have to be evaluated for it.
const POLICIES: &str = r#"
@id("agents")
permit (principal is Agent, action in Action::"upstream:fixture", resource);

@id("people")
@obligation_log("more")
permit (principal in Group::"staff", action in Action::"upstream:fixture", resource);

@id("nothing-is-deleted")
forbid (principal, action in Action::"upstream:fixture", resource)
when { context has task && context.task == "deletion" };
"#;

#[test]
fn the_counts_through_the_gate_are_those_of_the_server() {
    let suite = Suite::install().unwrap();
    let server = ReferenceServer::start().unwrap();
    let mut gate = Gate::new(env!("CARGO_BIN_EXE_lockgate")).unwrap();
    let url = start(&mut gate, &server);
    for (revision, passed) in REVISIONS {
        let (direct, _) = suite.run(&server.url, revision).unwrap();
        let (through, log) = suite.run(&url, revision).unwrap();
        println!("{revision}: direct {direct:?}, through the gate {through:?}");
        let expected = Tally { passed, failed: 0 };
        assert_eq!((direct, through), (expected, expected), "{revision}\n{log}\n{}", gate.log());
    }
    let verified = gate.command(&["verify"]).unwrap();
    println!("{verified}");
    assert!(!verified.starts_with("verified 0 "), "nothing was recorded");
    gate.stop().unwrap();
}

/// A gate in front of the server, as `init` writes it, with every declaration accepted. The suite
/// cannot send headers, so it gets a listener with a fixed identity.
fn start(gate: &mut Gate, server: &ReferenceServer) -> String {
    let (with_tokens, fixed) = (free_address().unwrap(), free_address().unwrap());
    let upstream = format!("fixture={}", server.url);
    let address = with_tokens.to_string();
    gate.command(&["init", "--enforce", "--address", &address, "--upstream", &upstream]).unwrap();
    let accept = |text: String| text.replace("accepted = false", "accepted = true");
    gate.edit("operations/fixture.toml", accept).unwrap();
    gate.edit("policies/starter.cedar", |text| text + POLICIES).unwrap();
    let listener = format!(
        "\n[[listen]]\naddress = \"{fixed}\"\n\
         identity = {{ subject = \"alice\", agent = \"assistant\" }}\n"
    );
    gate.edit("lockgate.toml", |text| text + &listener).unwrap();
    gate.start(fixed).unwrap();
    format!("http://localhost:{}/mcp/fixture", fixed.port())
}
