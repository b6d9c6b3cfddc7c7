//! I9: what a person has said is known of applications that tell it, and of those it is missed.

use crate::bed::{Bed, Plan, identity};
use crate::upstream::{Fake, says};
use lockgate_types::Code;
use lockgate_types::identity::Identity;
use std::sync::Arc;

pub(crate) const SEND: &str = r#"
[tool.send]
effect = "egress"
accepted = true
schema = '{"type":"object","properties":{"to":{"type":"string"}}}'
roles = { to = "principal" }
"#;

pub(crate) const RULES: &str = r#"
@id("send")
permit (principal, action == Action::"desk/send", resource);

@id("named")
forbid (principal, action == Action::"desk/send", resource)
unless { !context.flow.has_words || ["user"].containsAll(context.flow.principal) };
"#;

const PRINCIPALS: &str = r#"
undeclared_users = true
[agent.bot]
environments = ["dev"]
relays_user_words = true
[agent.second]
environments = ["dev"]
"#;

/// A restart, another node and forgetting leave no words: that is not as if nobody told any.
#[tokio::test]
async fn an_application_that_tells_words_and_of_which_none_are_known_is_held_to_the_rules() {
    let plan = Plan {
        operations: SEND.to_owned(),
        files: vec![("principals.toml", PRINCIPALS.to_owned())],
        ..Plan::policy(RULES)
    };
    let bed = Bed::with(Fake::start("[]", says("done")).await, plan).await;
    let to = r#"{"to":"eve@evil.example"}"#;
    assert_eq!(bed.tool("send", to).await.code(), Code::Forbidden);
    // Of another agent nobody was ever going to tell what the person says.
    let second =
        Identity { agent: "second".parse().unwrap(), ..Identity::clone(&identity("alice")) };
    bed.tool_as(&Arc::new(second), "send", to).await.result();
    bed.audit().await;
}
