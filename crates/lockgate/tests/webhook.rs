//! Webhooks, against a channel that was written after the specification and knows nothing of the
//! gate: what it is told, until it takes it, and what it may answer.
#![cfg(test)]

mod support;

use lockgate_sim::conformance::free_address;
use lockgate_sim::wait;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use support::{Running, SOON, World, ended};

const ASKS: &str = r#"
@id("notes-need-somebody") @require_approval("group:operators")
forbid (principal, action == Action::"tool/note", resource)
unless { context.approvals.contains("group:operators") };
"#;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const NEXT: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";

/// A chat tool that is told.
struct Channel {
    address: SocketAddr,
    directory: tempfile::TempDir,
    running: Option<Running>,
}

impl Channel {
    fn new() -> Self {
        let channel = Self {
            address: free_address().unwrap(),
            directory: tempfile::tempdir().unwrap(),
            running: None,
        };
        channel.answers(204);
        fs::write(channel.directory.path().join("messages"), "").unwrap();
        channel
    }

    fn start(mut self, secret: &str) -> Self {
        let port = self.address.port().to_string();
        let mut command = Command::new("python3");
        command.arg(program()).args(["listen", &port, secret]).arg(self.directory.path());
        self.running = Some(Running(command.stdin(Stdio::null()).spawn().unwrap()));
        wait::until_listening(self.address, SOON).unwrap();
        self
    }

    fn answers(&self, status: u16) {
        let path = self.directory.path().join("status");
        fs::write(path.with_extension("new"), status.to_string()).unwrap();
        fs::rename(path.with_extension("new"), path).unwrap();
    }

    fn messages(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.directory.path().join("messages")).unwrap();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Once it was told that many times.
    fn told(&self, count: usize) -> Vec<Value> {
        let what = format!("{count} messages");
        wait::until(&what, SOON, || Some(self.messages()).filter(|it| it.len() >= count))
            .unwrap_or_else(|error| panic!("{error}: {:#?}", self.messages()))
    }

    fn declared(&self, name: &str, more: &str) -> String {
        let address = self.address;
        format!(
            "[[webhook]]\nname = \"{name}\"\nurl = \"http://{address}/hook\"\n\
             secret = \"env:LOCKGATE_TEST_CHAT\"\n{more}\n"
        )
    }
}

fn program() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/webhook/channel.py")
}

/// A gate whose notes need somebody, not started.
fn world(webhooks: &str) -> World {
    let mut world = World::new();
    world.gate.edit("policies/test.cedar", |text| format!("{text}{ASKS}")).unwrap();
    world.configure(webhooks);
    world.gate.set("LOCKGATE_TEST_CHAT", SECRET);
    world
}

fn asked(world: &World, text: &str) -> String {
    let notes = world.gate.directory().join("notes");
    let asked = world.alice().call("note", json!({"path": notes, "text": text}));
    assert_eq!(asked.code(), "LG-D008", "{}", asked.text());
    asked.refusal()["approval"]["call"].as_str().unwrap().to_owned()
}

fn shown(world: &World, request: &str) -> Value {
    let shown = world.gate.command(&["approvals", "show", request, "--json"]).unwrap();
    serde_json::from_str(&shown).unwrap()
}

/// A signed message of a channel's: the status of its answer, and what was said.
fn send(world: &World, to: &str, secret: &str, id: &str, age: i64, body: &Value) -> (u16, Value) {
    let url = format!("http://{}/webhook/{to}", world.address);
    let mut command = Command::new("python3");
    command.arg(program()).args(["send", &url, secret, id, &age.to_string(), &body.to_string()]);
    let (has_succeeded, printed) = ended(&mut command);
    assert!(has_succeeded, "{printed}");
    let answer: Value = serde_json::from_str(&printed).unwrap();
    (u16::try_from(answer["status"].as_u64().unwrap()).unwrap(), answer["said"].clone())
}

fn code(said: &Value) -> &str {
    said["error"]["code"].as_str().unwrap_or_default()
}

#[test]
fn a_channel_is_told_how_a_request_stands_from_beginning_to_end() {
    let (chat, whole, other) = (Channel::new(), Channel::new(), Channel::new());
    let webhooks = [
        chat.declared("chat", "requirements = [\"group:operators\"]"),
        whole.declared("whole", "arguments = true\nnext_secret = \"env:LOCKGATE_TEST_NEXT\""),
        other.declared("other", "requirements = [\"group:finance\"]"),
    ];
    let mut world = world(&webhooks.concat());
    world.gate.set("LOCKGATE_TEST_NEXT", NEXT);
    let (chat, whole, other) = (chat.start(SECRET), whole.start(NEXT), other.start(SECRET));
    world.start();
    let request = asked(&world, "for the channel");
    let told = chat.told(1);
    let (message, told) = (&told[0], &told[0]["body"]["data"]);
    assert_eq!((&message["is_signed"], &message["is_fresh"]), (&json!(true), &json!(true)));
    assert_eq!((&message["path"], &message["signatures"]), (&json!("/hook"), &json!(1)));
    assert_eq!(message["body"]["type"], "approval.pending");
    assert_eq!((&told["request"], &told["operation"]), (&json!(request), &json!("tool/note")));
    assert_eq!(told["requirements"], json!(["group:operators"]));
    let page = format!("http://{}/console/approvals/{request}", world.address);
    assert_eq!(told["url"], page);
    assert!(told["text"].as_str().unwrap().contains("tool/note by bot"), "{told}");
    assert!(told["expires_at"].as_str().unwrap().ends_with('Z'), "{told}");
    assert!(!message.to_string().contains("for the channel"), "{message}");
    assert!(!message.to_string().contains("alice"), "{message}");
    let more = whole.told(1);
    assert_eq!((&more[0]["is_signed"], &more[0]["signatures"]), (&json!(true), &json!(2)));
    assert_eq!(more[0]["body"]["data"]["arguments"]["text"], "for the channel");

    world.gate.command(&["approvals", "give", &request, "--reason", "fine"]).unwrap();
    assert_eq!(chat.told(2)[1]["body"]["type"], "approval.given");
    let notes = world.gate.directory().join("notes");
    let done = world.alice().call("note", json!({"path": notes, "text": "for the channel"}));
    assert_eq!(done.code(), "", "{}", done.text());
    let all = chat.told(3);
    assert_eq!(all[2]["body"]["type"], "approval.spent");
    let ids: std::collections::BTreeSet<_> = all.iter().map(|it| it["id"].to_string()).collect();
    assert_eq!(ids.len(), 3, "each is a message of its own: {all:?}");
    let denied = asked(&world, "no");
    chat.told(4);
    world.gate.command(&["approvals", "deny", &denied, "--reason", "no"]).unwrap();
    assert_eq!(chat.told(5)[4]["body"]["type"], "approval.denied");
    let cancelled = asked(&world, "stopped");
    chat.told(6);
    world.gate.command(&["kill", "--agent", "bot", "--reason", "drill"]).unwrap();
    assert_eq!(chat.told(7)[6]["body"]["data"]["state"], "cancelled");

    let text = "the delivery is kept";
    let told = wait::until(text, SOON, || {
        let deliveries = shown(&world, &cancelled)["deliveries"].clone();
        let all = deliveries.as_array().unwrap().clone();
        Some(all).filter(|all| all.len() == 2 && all.iter().all(|it| it["state"] == "told"))
    });
    assert_eq!(told.unwrap()[0]["webhook"], "chat");
    let printed = world.gate.command(&["approvals", "show", &cancelled]).unwrap();
    assert!(printed.contains("told: `chat`"), "{printed}");
    assert_eq!(other.messages(), [] as [Value; 0], "it is about others");
    has_no_secret(&mut world);
}

#[test]
fn a_channel_is_told_of_what_ends_by_itself() {
    let chat = Channel::new();
    let mut world = world(&chat.declared("chat", ""));
    let chat = chat.start(SECRET);
    let short = "body_bytes_max = 65536\napproval_ms = 5000";
    let edited =
        world.gate.edit("lockgate.toml", |text| text.replace("body_bytes_max = 65536", short));
    edited.unwrap();
    world.start();
    let types = |count: usize| -> Vec<Value> {
        chat.told(count).iter().map(|message| message["body"]["type"].clone()).collect()
    };
    asked(&world, "nobody looks");
    assert_eq!(types(2), ["approval.pending", "approval.expired"]);
    // Somebody agrees to what the rules do not lead to any more.
    let request = asked(&world, "too late");
    let forbid = "\nforbid (principal, action == Action::\"tool/note\", resource);\n";
    world.gate.edit("policies/test.cedar", |text| format!("{text}{forbid}")).unwrap();
    world.gate.command(&["reload"]).unwrap();
    let given = world.gate.command(&["approvals", "give", &request, "--reason", "fine"]);
    assert!(given.unwrap_err().contains("LG-D004"));
    assert_eq!(types(4)[2..], ["approval.pending", "approval.superseded"]);
    world.gate.stop().unwrap();
}

/// Neither log nor record nor answer has what signs.
fn has_no_secret(world: &mut World) {
    world.gate.command(&["export", "--records", "records"]).unwrap();
    let records = world.gate.directory().join("records");
    let status = world.gate.command(&["status", "--json"]).unwrap();
    world.gate.stop().unwrap();
    let mut places: Vec<PathBuf> = fs::read_dir(world.gate.state())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .collect();
    places.push(records);
    for secret in [SECRET, NEXT].map(|secret| secret.trim_start_matches("whsec_")) {
        assert!(!world.gate.log().contains(secret) && !status.contains(secret));
        for place in &places {
            let bytes = fs::read(place).unwrap();
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{}", place.display());
        }
    }
}

#[test]
fn a_channel_that_is_away_holds_nobody_up_and_is_told_after_a_restart() {
    let chat = Channel::new();
    chat.answers(500);
    let mut world = world(&chat.declared("chat", ""));
    // Nobody is there yet: the call is answered all the same, and the request waits.
    world.start();
    let request = asked(&world, "a");
    let first = wait::until("an attempt that failed", SOON, || {
        let deliveries = shown(&world, &request)["deliveries"].clone();
        Some(deliveries).filter(|it| it[0]["why"] == "it cannot be reached")
    });
    assert_eq!(first.unwrap()[0]["state"], "trying");
    let chat = chat.start(SECRET);
    let failed = chat.told(2);
    assert_eq!(failed[0]["id"], failed[1]["id"], "it is one message");
    let printed = world.gate.command(&["approvals", "show", &request]).unwrap();
    assert!(printed.contains("not told yet: `chat`"), "{printed}");
    world.gate.kill();
    chat.answers(302);
    let before = chat.messages().len();
    world.start();
    let redirected = chat.told(before + 1);
    assert_eq!(redirected[before]["id"], failed[0]["id"], "a restart tells the same message");
    assert!(redirected.iter().all(|it| it["path"] == "/hook"), "redirects lead nowhere");
    chat.answers(204);
    wait::until("the message is taken", SOON, || {
        (shown(&world, &request)["deliveries"][0]["state"] == "told").then_some(())
    })
    .unwrap();
    let taken = chat.messages();
    assert_eq!(taken.iter().filter(|it| it["status"] == 204).count(), 1, "{taken:#?}");
    assert!(taken.iter().all(|it| it["id"] == failed[0]["id"] && it["is_signed"] == true));
    world.gate.stop().unwrap();
}

/// A gate that a channel may answer, and one that may call and satisfies nothing.
fn answerable() -> World {
    let chat = Channel::new();
    let next = "next_secret = \"env:LOCKGATE_TEST_NEXT\"";
    let webhooks =
        [chat.declared("chat", next), chat.declared("plain", ""), chat.declared("nobody", "")];
    let mut world = world(&webhooks.concat());
    world.gate.set("LOCKGATE_TEST_NEXT", NEXT);
    world.gate.edit("principals.toml", |text| {
        format!(
            "undeclared_users = true\n{text}[agent.lockgate-webhook]\nenvironments = [\"dev\"]\ngroups = [\"operators\"]\n\
             [user.\"channel:chat\"]\ngroups = [\"operators\"]\n[user.\"channel:plain\"]\n"
        )
    }).unwrap();
    world
        .gate
        .edit("lockgate.toml", |text| {
            text.replace("\"operator\"]", "\"operator\", \"channel:chat\"]")
        })
        .unwrap();
    let rules = r#"
permit (principal == User::"channel:plain", action == Action::"lockgate/approval_give", resource);
@id("not-mallory")
forbid (principal, action == Action::"lockgate/approval_give", resource)
when { context.input has claimed_by && context.input.claimed_by == "mallory" };
"#;
    world.gate.edit("policies/test.cedar", |text| format!("{text}{rules}")).unwrap();
    world.start();
    world
}

fn answer(request: &str, by: &str) -> Value {
    let (requirement, reason) = ("group:operators", "seen in the chat");
    json!({"request": request, "requirement": requirement, "answer": "give", "reason": reason, "by": by})
}

#[test]
fn what_a_channel_answers_counts_once_as_the_channels_answer() {
    let mut world = answerable();
    let request = asked(&world, "a");
    let give = answer(&request, "bob");
    let given = send(&world, "chat", SECRET, "m-1", 0, &give);
    assert_eq!(given, (200, json!({"call": request, "state": "given"})));
    // Told again it is the same answer, with a new time and under the next secret too.
    assert_eq!(send(&world, "chat", NEXT, "m-1", 30, &give), given);
    world.gate.kill();
    world.start();
    assert_eq!(send(&world, "chat", SECRET, "m-1", 0, &give), given, "a restart forgets nothing");
    let of_request = |entry: &Value| entry["k"] == "approval" && entry["call"] == json!(request);
    let entries = world.entries();
    assert_eq!(entries.iter().filter(|entry| of_request(entry)).count(), 1);
    let agreed = shown(&world, &request)["given"][0].clone();
    assert_eq!(agreed["subject"], "channel:chat");
    let printed = world.gate.command(&["approvals", "show", &request]).unwrap();
    assert!(printed.contains("agreed: channel:chat for group:operators"), "{printed}");
    let by = agreed["by_call"].as_str().unwrap().to_owned();
    let trace = world.gate.command(&["trace", &by, "--json"]).unwrap();
    let trace: Value = serde_json::from_str(&trace).unwrap();
    let payload = &trace["entries"][0]["payload"];
    assert_eq!(payload["identity"]["subject"], "channel:chat");
    assert_eq!(payload["call"]["params"]["arguments"]["claimed_by"], "bob");
    let notes = world.gate.directory().join("notes");
    let done = world.alice().call("note", json!({"path": notes, "text": "a"}));
    assert_eq!(done.code(), "", "{}", done.text());
    let denied = asked(&world, "b");
    let deny = json!({"request": denied, "answer": "deny", "reason": "no"});
    assert_eq!(send(&world, "chat", SECRET, "m-2", 0, &deny).1["state"], "denied");
    assert!(world.gate.command(&["replay"]).is_ok());
    has_no_secret(&mut world);
}

#[test]
fn what_is_not_the_channels_or_not_its_to_give_is_refused() {
    let mut world = answerable();
    let request = asked(&world, "a");
    let give = answer(&request, "bob");
    let other = "whsec_YWFhYWFhYWFhYWFhYWFhYWFhYWFhYWFh";
    let refused =
        |to: &str, secret: &str, id: &str, age: i64, body: &Value, wanted: (u16, &str)| {
            let (status, said) = send(&world, to, secret, id, age, body);
            assert_eq!((status, code(&said)), wanted, "{to} {id}: {said}");
            assert_eq!(shown(&world, &request)["given"], json!([]), "{to} {id}");
        };
    refused("chat", other, "r-1", 0, &give, (401, "LG-A007"));
    refused("chat", SECRET, "r-2", 301, &give, (401, "LG-A008"));
    refused("chat", SECRET, "r-3", -330, &give, (401, "LG-A008"));
    refused("plain", SECRET, "r-4", 0, &give, (403, "LG-D023"));
    refused("nobody", SECRET, "r-5", 0, &give, (403, "LG-I014"));
    refused("unknown", SECRET, "r-6", 0, &give, (404, "LG-A002"));
    refused("chat", SECRET, "r-7", 0, &answer(&request, "Alice"), (403, "LG-D022"));
    refused("chat", SECRET, "r-8", 0, &answer(&request, "mallory"), (403, "LG-D004"));
    let more = json!({"request": request, "answer": "give", "claimed_by": "bob"});
    refused("chat", SECRET, "r-9", 0, &more, (400, "LG-A001"));
    // An id that was used for something else.
    refused("chat", SECRET, "r-7", 0, &give, (409, "LG-A009"));
    // A person who is named like a channel, and holds a token for that.
    let posing = world.client("channel:chat", "lockgate-cli").call("echo", json!({"text": "a"}));
    assert_eq!(posing.code(), "LG-I014", "{}", posing.text());
    let codes: Vec<_> =
        world.entries().iter().filter_map(|it| it["code"].as_str().map(str::to_owned)).collect();
    for code in ["LG-A007", "LG-A008", "LG-A009", "LG-I014"] {
        assert!(codes.iter().any(|it| it == code), "{code} is in the log: {codes:?}");
    }
    world.gate.stop().unwrap();
}

/// A file that only its owner can read.
fn keep(path: &Path, secret: &str) {
    let mut file = fs::File::create(path.with_extension("new")).unwrap();
    file.set_permissions(fs::Permissions::from_mode(0o600)).unwrap();
    writeln!(file, "{secret}").unwrap();
    fs::rename(path.with_extension("new"), path).unwrap();
}

#[test]
fn secrets_come_from_files_and_programs_too() {
    let chat = Channel::new();
    let kept = chat.directory.path().join("secret");
    let places = format!(
        "secret = \"file:{0}\"\nnext_secret = {{ command = [\"/bin/cat\", \"{0}.next\"] }}",
        kept.display()
    );
    let declared = chat.declared("chat", "");
    let mut world = world(&declared.replace("secret = \"env:LOCKGATE_TEST_CHAT\"", &places));
    keep(&kept, NEXT);
    keep(&chat.directory.path().join("secret.next"), NEXT);
    let chat = chat.start(SECRET);
    world.start();
    asked(&world, "with a secret that the channel does not know");
    let told = chat.told(1);
    assert_eq!((&told[0]["is_signed"], &told[0]["signatures"]), (&json!(false), &json!(2)));
    // A file that changes is read again, without a restart.
    keep(&kept, SECRET);
    let request = asked(&world, "with the one that it knows");
    assert_eq!(chat.told(2)[1]["is_signed"], true);
    let deny = json!({"request": request, "answer": "deny", "reason": "no"});
    let heard = |secret: &str, id: &str| send(&world, "chat", secret, id, 0, &deny).1;
    // Whose word it is comes later: it is taken as the channel's.
    assert_eq!([code(&heard(SECRET, "f-1")), code(&heard(NEXT, "f-2"))], ["LG-I010", "LG-I010"]);
    let other = SECRET.replace('M', "N");
    assert_eq!(code(&heard(&other, "f-3")), "LG-A007");
    has_no_secret(&mut world);
}

#[test]
fn a_channel_whose_name_leads_inside_is_told_nothing_unless_its_network_is_named() {
    let chat = Channel::new();
    let port = chat.address.port();
    let inside = chat.declared("chat", "").replace(
        &format!("http://{}/", chat.address),
        // A name to whoever reads addresses strictly, and 127.0.0.1 to the system's resolver.
        &format!("https://0x7f000001:{port}/"),
    );
    let why = |webhook: &str| {
        let mut world = world(webhook);
        world.start();
        let request = asked(&world, "a");
        let said = wait::until("an attempt that failed", SOON, || {
            let why = shown(&world, &request)["deliveries"][0]["why"].clone();
            why.as_str().filter(|why| !why.is_empty()).map(str::to_owned)
        });
        world.gate.stop().unwrap();
        said.unwrap()
    };
    assert!(why(&inside).starts_with("LG-U020: `0x7f000001` is at 127.0.0.1"), "{}", why(&inside));
    let named = format!("{inside}allow_networks = [\"127.0.0.0/8\"]\n");
    assert_eq!(why(&named), "it cannot be reached");
    let metadata = chat
        .declared("chat", "")
        .replace(&format!("http://{}", chat.address), "https://169.254.169.254");
    let said = world(&metadata).gate.command(&["check"]).unwrap_err();
    assert!(said.contains("is link-local, and not allowed"), "{said}");
}

#[test]
fn a_webhook_without_its_secret_does_not_start() {
    let chat = Channel::new();
    let started = |world: &mut World| {
        let (has_succeeded, said) = ended(&mut world.gate.lockgate(&["up"]));
        assert!(!has_succeeded, "{said}");
        said
    };
    let mut unset = world(&chat.declared("chat", "next_secret = \"env:LOCKGATE_TEST_NONE\""));
    let said = started(&mut unset);
    let why = "`next_secret` of the webhook `chat` cannot be read: the environment variable \
               `LOCKGATE_TEST_NONE` is not set";
    assert!(said.contains(why), "{said}");
    let said = unset.gate.command(&["check"]).unwrap();
    assert!(said.contains("`webhook.chat.next_secret` cannot be read here"), "{said}");
    let mut short = world(&chat.declared("chat", "next_secret = \"env:LOCKGATE_TEST_SHORT\""));
    short.gate.set("LOCKGATE_TEST_SHORT", "whsec_c2hvcnQ=");
    let said = started(&mut short);
    assert!(said.contains("is not `whsec_`") && !said.contains("c2hvcnQ"), "{said}");
    let plain = world(&chat.declared("chat", "").replace("env:LOCKGATE_TEST_CHAT", SECRET));
    let said = plain.gate.command(&["check"]).unwrap_err();
    assert!(said.contains("a secret has no place in a bundle") && !said.contains(SECRET), "{said}");
}

#[test]
fn a_channel_that_asks_for_it_is_told_once_that_a_budget_nears_its_end() {
    let (wanted, other) = (Channel::new().start(SECRET), Channel::new().start(SECRET));
    let cap = "[[cap]]\nname = \"echoes\"\nper = \"subject\"\noperations = [\"tool/echo\"]\n\
               reads = true\nmax = 10\nwindow_s = 31622400\nalert_percent = 20\n";
    let webhooks =
        [wanted.declared("wanted", "alerts = true"), other.declared("other", "")].concat();
    let mut world = World::new();
    world.configure(&format!("{webhooks}{cap}"));
    world.gate.set("LOCKGATE_TEST_CHAT", SECRET);
    world.start();
    let mut alice = world.alice();
    for _ in 0..4 {
        assert_eq!(alice.call("echo", json!({"text": "a"})).code(), "");
    }
    let told = &wanted.told(1)[0];
    let body = &told["body"];
    assert_eq!(body["type"], "budget.alert", "{told}");
    let data = ["cap", "used", "max", "alert_at"].map(|name| body["data"][name].clone());
    assert_eq!(json!(data), json!(["echoes", 2, 10, 2]), "{told}");
    assert!(!told.to_string().contains("alice"), "whose it is, is for the log: {told}");
    let budgets = || {
        let entries = world.entries();
        entries.into_iter().filter(|it| it["k"] == "budget").collect::<Vec<_>>()
    };
    assert_eq!(budgets().len(), 1);
    assert_eq!(budgets()[0]["cap"], "echoes");
    world.gate.stop().unwrap();
    assert_eq!((wanted.messages().len(), other.messages().len()), (1, 0));
}
