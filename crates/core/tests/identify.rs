//! Who a verified token makes of a request: a table.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail by panicking")]

use lockgate_core::World;
use lockgate_core::identify::{fixed_claims, identify};
use lockgate_core::world::Files;
use lockgate_types::identity::Claims;
use lockgate_types::{Code, Json, JsonLimits};

const GATE: &str = r#"
environment = "dev"
tenant = "acme"
[development]
users = ["alice"]
[[listen]]
address = "127.0.0.1:1"
identity = { subject = "alice", agent = "bot" }
[[issuer]]
name = "corp"
url = "https://corp.example"
audience = "lockgate"
jwks = "https://corp.example/jwks"
algorithms = ["ES256"]
subject_prefix = "corp:"
claims = { tenant = "org.tenant", groups = "groups", roles = "realm.roles", task = "task" }
"#;

const PRINCIPALS: &str = r#"
[user.alice]
groups = ["support"]
[user."corp:bob"]
groups = ["finance"]
roles = ["approver"]
[agent.bot]
environments = ["dev"]
groups = ["support"]
client_ids = ["bot-client"]
[agent.prod-bot]
environments = ["prod"]
client_ids = ["bot-client", "prod-client"]
[group.support]
member_of = ["staff"]
[group.staff]
member_of = ["everybody"]
[group.everybody]
"#;

fn world(principals: &str) -> World {
    let files = [("lockgate.toml", GATE), ("principals.toml", principals)];
    let files: Files =
        files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
    World::load(&files).unwrap()
}

fn claims(issuer: &str, text: &str) -> Claims {
    let json = Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap();
    Claims { issuer: issuer.to_owned(), claims: json.as_object().unwrap().clone() }
}

#[test]
fn refuses_what_it_cannot_attribute() {
    let world = world(PRINCIPALS);
    for (issuer, token, code) in [
        ("corp", r#"{"sub":"bob"}"#, Code::NoAgent),
        ("corp", r#"{"sub":"bob","client_id":"nobody"}"#, Code::NoAgent),
        ("corp", r#"{"sub":"bob","client_id":7}"#, Code::TokenMalformed),
        // An `act` that names nobody is not mended by a client id.
        ("corp", r#"{"sub":"bob","act":{},"client_id":"bot-client"}"#, Code::TokenMalformed),
        ("corp", r#"{"sub":"bob","act":"bot"}"#, Code::TokenMalformed),
        ("corp", r#"{"sub":"bob","act":null}"#, Code::TokenMalformed),
        ("corp", r#"{"sub":"bob","act":{"sub":""}}"#, Code::TokenMalformed),
        ("corp", r#"{"sub":"bob","act":{"sub":"stranger"}}"#, Code::UnknownAgent),
        ("corp", r#"{"sub":"bob","act":{"sub":"BOT"}}"#, Code::UnknownAgent),
        ("corp", r#"{"sub":"bob","act":{"sub":"prod-bot"}}"#, Code::UnknownAgent),
        ("corp", r#"{"sub":"bob","azp":"prod-client"}"#, Code::UnknownAgent),
        // Only the outermost actor counts.
        (
            "corp",
            r#"{"sub":"bob","act":{"sub":"stranger","act":{"sub":"bot"}}}"#,
            Code::UnknownAgent,
        ),
        ("corp", r#"{"sub":"alice","act":{"sub":"bot"}}"#, Code::UnknownSubject),
        ("corp", r#"{"act":{"sub":"bot"}}"#, Code::TokenMalformed),
        ("corp", r#"{"sub":"","act":{"sub":"bot"}}"#, Code::TokenMalformed),
        ("corp", r#"{"sub":["bob"],"act":{"sub":"bot"}}"#, Code::TokenMalformed),
        ("corp", r#"{"sub":"bob","act":{"sub":"bot"},"groups":"finance"}"#, Code::TokenMalformed),
        ("corp", r#"{"sub":"bob","act":{"sub":"bot"},"groups":[1]}"#, Code::TokenMalformed),
        (
            "corp",
            r#"{"sub":"bob","act":{"sub":"bot"},"org":{"tenant":"No!"}}"#,
            Code::TokenMalformed,
        ),
        ("corp", r#"{"sub":"bob","act":{"sub":"bot"},"task":7}"#, Code::TokenMalformed),
        ("other", r#"{"sub":"bob","act":{"sub":"bot"}}"#, Code::UnknownIssuer),
        ("development", r#"{"sub":"corp:bob","act":{"sub":"bot"}}"#, Code::UnknownSubject),
    ] {
        assert_eq!(identify(&world, &claims(issuer, token)), Err(code), "{issuer} {token}");
    }
}

#[test]
fn maps_what_it_can() {
    let world = world(PRINCIPALS);
    for (issuer, token, expected) in [
        (
            "corp",
            r#"{"sub":"bob","act":{"sub":"bot","act":{"sub":"older"}}}"#,
            r#"{"agent":"bot","agent_groups":["everybody","staff","support"],"environment":"dev","issuer":"corp","subject":"corp:bob","subject_groups":["finance"],"subject_roles":["approver"],"tenant":"acme"}"#,
        ),
        (
            "corp",
            r#"{"sub":"bob","client_id":"bot-client","groups":["support","guests"],"realm":{"roles":["auditor"]},"org":{"tenant":"t1"},"task":"triage"}"#,
            r#"{"agent":"bot","agent_groups":["everybody","staff","support"],"environment":"dev","issuer":"corp","subject":"corp:bob","subject_groups":["everybody","finance","guests","staff","support"],"subject_roles":["approver","auditor"],"task":"triage","tenant":"t1"}"#,
        ),
        (
            "development",
            r#"{"sub":"alice","azp":"bot-client","groups":["finance"]}"#,
            r#"{"agent":"bot","agent_groups":["everybody","staff","support"],"environment":"dev","issuer":"development","subject":"alice","subject_groups":["everybody","staff","support"],"subject_roles":[],"tenant":"acme"}"#,
        ),
    ] {
        let identity = identify(&world, &claims(issuer, token)).unwrap();
        assert_eq!(identity.to_json().to_string(), expected, "{issuer} {token}");
    }
    let fixed = identify(&world, &fixed_claims("alice", "bot")).unwrap();
    assert_eq!((fixed.issuer.as_str(), fixed.subject.as_str()), ("fixed", "alice"));
}

#[test]
fn undeclared_users_bring_the_groups_their_token_claims() {
    let world = world(&format!("undeclared_users = true\n{PRINCIPALS}"));
    let token = r#"{"sub":"carol","act":{"sub":"bot"},"groups":["support"]}"#;
    let identity = identify(&world, &claims("corp", token)).unwrap();
    let groups: Vec<&str> = identity.subject_groups.iter().map(|group| group.as_str()).collect();
    assert_eq!(groups, ["everybody", "staff", "support"]);
    let other = identify(&world, &claims("development", r#"{"sub":"carol","act":{"sub":"bot"}}"#));
    assert_eq!(other, Err(Code::UnknownSubject), "the development issuer names only its users");
}

#[test]
fn closures_end_on_cycles_too() {
    let mut world = world(PRINCIPALS);
    // A cycle does not load; a world that has one all the same must not hang.
    world.principals.group.get_mut("everybody").unwrap().member_of = vec!["support".to_owned()];
    let identity = identify(&world, &fixed_claims("alice", "bot")).unwrap();
    assert_eq!(identity.subject_groups.len(), 3);
}

#[test]
fn a_channel_is_somebody_by_name_alone_and_nobody_else_is_one() {
    use lockgate_core::identify::channel_claims;
    let gate = format!(
        "{GATE}[[webhook]]\nname = \"chat\"\nurl = \"https://chat.example\"\nsecret = \"env:C\"\n\
         [[webhook]]\nname = \"other\"\nurl = \"https://chat.example\"\nsecret = \"env:C\"\n\
         [[issuer]]\nname = \"bare\"\nurl = \"https://bare.example\"\naudience = \"lockgate\"\n\
         jwks = \"https://bare.example/jwks\"\nalgorithms = [\"ES256\"]\nsubject_prefix = \"channel\"\n"
    );
    let principals = format!(
        "undeclared_users = true\n{PRINCIPALS}[agent.lockgate-webhook]\nenvironments = [\"dev\"]\n\
         [user.\"channel:chat\"]\ngroups = [\"finance\"]\n"
    );
    let files = [("lockgate.toml", gate.as_str()), ("principals.toml", principals.as_str())];
    let files: Files =
        files.iter().map(|(path, text)| ((*path).to_owned(), text.as_bytes().to_vec())).collect();
    let world = World::load(&files).unwrap();
    let chat = identify(&world, &channel_claims("chat")).unwrap();
    assert_eq!((chat.subject.as_str(), chat.agent.as_str()), ("channel:chat", "lockgate-webhook"));
    assert!(chat.subject_groups.iter().any(|group| group.as_str() == "finance"));
    assert_eq!(identify(&world, &channel_claims("other")), Err(Code::UnknownSubject));
    let posing = claims("bare", r#"{"sub":":chat","act":{"sub":"bot"}}"#);
    assert_eq!(identify(&world, &posing), Err(Code::UnknownSubject));
    // Where there are no webhooks, nobody is one.
    let none = self::world(PRINCIPALS);
    assert_eq!(identify(&none, &channel_claims("chat")), Err(Code::UnknownIssuer));
}
