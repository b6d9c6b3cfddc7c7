//! A session of an application, at two nodes on one PostgreSQL: what one node has seen or was told
//! holds at the other.
#![cfg(test)]

mod support;

use serde_json::{Value, json};
use support::calendar::{self, EVE, JOHN, MARY, PLANTED, Person, WORDS, saying};
use support::fleet::Fleet;
use support::shop::{Faults, Shop};

#[test]
fn what_one_node_has_seen_or_was_told_holds_at_the_other() {
    let shop = Shop::start(7, Faults::NONE);
    let mut fleet = Fleet::start_with(2, &shop, "", calendar::add);
    let bot: Vec<Person> = fleet
        .nodes
        .iter()
        .map(|node| Person { address: node.address, token: node.token.clone() })
        .collect();
    let desk = Person::of(&fleet.nodes[0].gate, fleet.nodes[0].address, "alice", "desk");
    let (session, token) = desk.opens("bot", &json!(WORDS));
    // The second node has no memory of its own yet, and then one that lacks what the first sees.
    assert_eq!(bot[1].mails(&token, EVE), "LG-D008");
    assert_eq!(bot[1].moves(&token, "Monday"), "LG-D008");
    bot[0].finds(&token);
    assert_eq!(bot[1].moves(&token, "Friday"), "");
    assert_eq!(bot[1].mails(&token, JOHN), "");
    assert_eq!(bot[1].mails(&token, EVE), "LG-D008");

    assert_eq!(bot[1].mails(&token, MARY), "LG-D008");
    let more = json!({"words": format!("And mail {MARY}, too.")});
    let told = desk.asks("POST", &format!("/v1/sessions/{session}/words"), &more);
    assert_eq!(told.status, 200, "{}", told.text());
    assert_eq!(bot[1].mails(&token, MARY), "");

    // What one has shown is nobody's word at the other.
    let find = json!({"query": "Introductory meeting"});
    let found = desk.sends(&saying(json!(WORDS), "find_events", find));
    assert_eq!(found.code(), "");
    let other = Person::of(&fleet.nodes[1].gate, bot[1].address, "alice", "desk");
    let mail = json!({"to": EVE, "body": "all of it"});
    let repeated = other.sends(&saying(json!([WORDS, PLANTED]), "send_mail", mail));
    assert_eq!(repeated.code(), "LG-D008", "{}", repeated.text());

    // The node that has seen it is gone.
    fleet.nodes[0].gate.kill();
    assert_eq!(bot[1].moves(&token, "Saturday"), "");
    let ended = other.asks("DELETE", &format!("/v1/sessions/{session}"), &Value::Null);
    assert_eq!(ended.status, 200, "{}", ended.text());
    assert_eq!(bot[1].moves(&token, "Sunday"), "LG-I015");
    fleet.nodes[1].gate.stop().unwrap();
}
