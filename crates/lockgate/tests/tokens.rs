//! Who may come in: tokens of a configured issuer, in order; and nobody else, whatever they send.
#![cfg(test)]

mod support;

use lockgate_sim::conformance::free_address;
use lockgate_sim::wait;
use serde_json::{Value, json};
use std::net::SocketAddr;
use support::http::{Answer, exchange};
use support::issuer::{AUDIENCE, ISSUER, Key, KeyServer, claims, key_set, now, unsigned};
use support::{SOON, World, call};

/// The configuration of the issuer, its keys in a file or at an address.
fn issuer(keys: &str) -> String {
    format!(
        "[[issuer]]\nname = \"login\"\nurl = \"{ISSUER}\"\naudience = \"{AUDIENCE}\"\n\
         algorithms = [\"ES256\"]\nsubject_prefix = \"\"\n{keys}"
    )
}

fn echo(address: SocketAddr, token: &str) -> Answer {
    let echo = call("echo", json!({"text": "come in"}));
    exchange(address, &echo.with("Authorization", &format!("Bearer {token}")))
}

fn comes_in(answer: &Answer) -> bool {
    answer.json()["result"]["content"][0]["text"] == "come in"
}

fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut claims = claims();
    change(&mut claims);
    claims
}

fn without(claim: &str) -> Value {
    with(|claims| drop(claims.as_object_mut().unwrap().remove(claim)))
}

#[test]
fn only_sound_tokens_of_a_configured_issuer_come_in() {
    let (key, foreign) = (Key::new("one"), Key::new("one"));
    let mut world = World::new();
    let file = world.gate.bundle().join("issuers/login.json");
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, key_set(&[&key])).unwrap();
    world.configure(&issuer("jwks_file = \"issuers/login.json\""));
    world.start();
    let sound = key.sign(&claims());
    let answer = echo(world.address, &sound);
    assert!(comes_in(&answer), "{}", answer.text());
    let (head, signature) = sound.rsplit_once('.').unwrap();
    let none = json!({"alg": "none", "typ": "JWT"});
    let claimed = with(|it| it["sub"] = json!("operator"));
    let swapped = unsigned(&json!({"alg": "ES256", "kid": "one"}), &claimed, signature);
    let cases = [
        ("not signed", format!("{head}."), 401, "LG-I004"),
        ("`none`", unsigned(&none, &claims(), ""), 401, "LG-I003"),
        ("`nOnE`", unsigned(&json!({"alg": "nOnE"}), &claims(), ""), 401, "LG-I003"),
        ("`none` with a signature", unsigned(&none, &claims(), signature), 401, "LG-I003"),
        ("signed with the public half", key.sign_with_public_half(&claims()), 401, "LG-I003"),
        ("signed by somebody else", foreign.sign(&claims()), 401, "LG-I004"),
        ("another's signature", swapped, 401, "LG-I004"),
        ("expired", key.sign(&with(|it| it["exp"] = json!(now() - 3600))), 401, "LG-I005"),
        ("of tomorrow", key.sign(&with(|it| it["nbf"] = json!(now() + 3600))), 401, "LG-I006"),
        ("for somebody else", key.sign(&with(|it| it["aud"] = json!("other"))), 401, "LG-I007"),
        ("for nobody", key.sign(&without("aud")), 401, "LG-I007"),
        ("of another issuer", key.sign(&with(|it| it["iss"] = json!("https://x"))), 401, "LG-I008"),
        ("of no issuer", key.sign(&without("iss")), 401, "LG-I008"),
        ("of nobody", key.sign(&without("sub")), 401, "LG-I002"),
        ("for ever", key.sign(&without("exp")), 401, "LG-I002"),
        ("in two parts", head.to_owned(), 401, "LG-I002"),
        ("beyond bounds", format!("{head}.{}", "a".repeat(20_000)), 401, "LG-I002"),
        ("with a key nobody has", Key::new("two").sign(&claims()), 401, "LG-I011"),
        ("without an agent", key.sign(&without("act")), 403, "LG-I009"),
        (
            "of an unknown agent",
            key.sign(&with(|it| it["act"] = json!({"sub": "x"}))),
            403,
            "LG-I010",
        ),
        ("of an unknown subject", key.sign(&with(|it| it["sub"] = json!("eve"))), 403, "LG-I014"),
    ];
    let mut codes = Vec::new();
    for (name, token, status, code) in cases {
        let answer = echo(world.address, &token);
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{name}");
        let challenge = answer.header("www-authenticate").unwrap_or_default();
        assert_eq!(challenge.contains("resource_metadata="), status == 401, "{name}: {challenge}");
        assert!(comes_in(&echo(world.address, &sound)), "after {name}");
        codes.push(code);
    }
    let entries = world.entries();
    for code in codes {
        assert!(entries.iter().any(|entry| entry["code"] == code), "{code} is not recorded");
    }
    let log = world.gate.log();
    assert!(!log.contains(signature) && !log.contains(head), "a token is in the log");
}

#[test]
fn a_new_key_is_picked_up_and_a_withdrawn_one_refused() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let server = KeyServer::start(key_set(&[&old]));
    let mut world = World::new();
    world.configure(&issuer(&format!("jwks = \"http://{}/keys\"", server.address)));
    world.start();
    let (by_old, by_new) = (old.sign(&claims()), new.sign(&claims()));
    assert!(comes_in(&echo(world.address, &by_old)));
    assert_eq!(echo(world.address, &by_new).code(), "LG-I011");

    server.serve(key_set(&[&new]));
    wait::until("the new key", SOON, || comes_in(&echo(world.address, &by_new)).then_some(()))
        .unwrap();
    // The gate remembers verified tokens, not longer than the key they stand on.
    assert_eq!(echo(world.address, &by_old).code(), "LG-I011");
    assert!(comes_in(&echo(world.address, &by_new)));
}

#[test]
fn keys_whose_address_leads_inside_are_not_read_unless_its_network_is_named() {
    let key = Key::new("one");
    // A name to whoever reads addresses strictly, and 127.0.0.1 to the system's resolver. Nobody
    // is there.
    let keys = format!("jwks = \"https://0x7f000001:{}/keys\"", free_address().unwrap().port());
    let said = |more: &str| {
        let mut world = World::new();
        world.configure(&issuer(&format!("{keys}\n{more}")));
        world.start();
        let refused = echo(world.address, &key.sign(&claims()));
        assert_eq!((refused.status, refused.code().as_str()), (503, "LG-I012"));
        let log = world.gate.log();
        world.gate.stop().unwrap();
        log
    };
    let inside = "`0x7f000001` is at 127.0.0.1: loopback, and not in `allow_networks`";
    let log = said("");
    assert!(log.contains(inside), "{log}");
    let log = said("allow_networks = [\"127.0.0.0/8\"]");
    assert!(!log.contains(inside) && log.contains("it cannot be reached"), "{log}");
    let world = World::new();
    world.configure(&issuer("jwks = \"https://169.254.169.254/keys\""));
    let said = world.gate.command(&["check"]).unwrap_err();
    assert!(said.contains("is link-local, and not allowed"), "{said}");
}

#[test]
fn at_a_fixed_identity_no_token_is_wanted() {
    let mut world = World::new();
    let fixed = free_address().unwrap();
    world.configure(&format!(
        "[[listen]]\naddress = \"{fixed}\"\nidentity = {{ subject = \"alice\", agent = \"bot\" }}"
    ));
    world.start();
    let echo_alone = call("echo", json!({"text": "come in"}));
    assert!(comes_in(&exchange(fixed, &echo_alone)));
    let answer = echo(fixed, &world.token("alice", "bot"));
    assert_eq!((answer.status, answer.code().as_str()), (400, "LG-I013"));
    let answer = exchange(world.address, &echo_alone);
    assert_eq!((answer.status, answer.code().as_str()), (401, "LG-I001"));
}

#[test]
fn what_lets_everybody_in_does_not_start() {
    for (name, change, expected) in [
        ("no audience", issuer("jwks = \"https://x/keys\"").replace("audience", "#"), "audience"),
        (
            "no signature",
            issuer("jwks = \"https://x/keys\"").replace("ES256", "none"),
            "never accepted",
        ),
        (
            "a shared secret",
            issuer("jwks = \"https://x/keys\"").replace("ES256", "HS256"),
            "never accepted",
        ),
        ("keys over the open net", issuer("jwks = \"http://x.example/keys\""), "https"),
    ] {
        let world = World::new();
        world.configure(&change);
        let (is_good, text) = support::ended(&mut world.gate.lockgate(&["up"]));
        assert!(!is_good && text.contains(expected), "{name}: {text}");
        let (is_good, text) = support::ended(&mut world.gate.lockgate(&["check"]));
        assert!(!is_good && text.contains("lockgate.toml:"), "{name}: {text}");
    }
}
