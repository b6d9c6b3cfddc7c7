//! What sessions remember of people's words, who opens and joins them, and that erasing a person
//! leaves nothing of it.

use crate::bed::{Bed, Plan, identity, json, object, params};
use crate::upstream::{Fake, says};
use crate::words::{RULES, SEND};
use lockgate_kernel::{Answer, Clock, OPENED_LASTS_S, Words, system_now};
use lockgate_store::{OPENED_MAX, TOLD_MAX};
use lockgate_types::identity::Identity;
use lockgate_types::{AgentId, CallId, Code, Json, Micros, SessionId, SubjectId};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

const PRINCIPALS: &str = r#"
undeclared_users = true
[agent.bot]
environments = ["dev"]
[agent.desk]
environments = ["dev"]
relays_user_words = true
[agent.elsewhere]
environments = ["prod"]
"#;

/// Nothing is saved unless somebody's words are known.
const POLICIES: &str = r#"
@id("sessions")
permit (principal, action in [
    Action::"lockgate/session_open", Action::"lockgate/session_words"
], resource);

@id("nothing-without-words")
forbid (principal, action == Action::"desk/save", resource)
unless { context.flow.has_words };
"#;

fn plan() -> Plan {
    let principals = ("principals.toml", PRINCIPALS.to_owned());
    Plan { files: vec![principals], ..Plan::policy(POLICIES) }
}

async fn bed() -> Bed {
    Bed::with(Fake::start("[]", says("done")).await, plan()).await
}

fn through(subject: &str, agent: &str) -> Arc<Identity> {
    let who = Identity::clone(&identity(subject));
    Arc::new(Identity { agent: agent.parse().unwrap(), ..who })
}

struct Opened {
    session: SessionId,
    token: String,
}

/// Opens a session for alice's bot.
async fn open(bed: &Bed, words: &str) -> Result<Opened, Code> {
    let (desk, bot) = (through("alice", "desk"), AgentId::new("bot").unwrap());
    let minted = bed.kernel.mint_session(&desk, &bot, None).await.unwrap();
    let words = json(words);
    let arguments = object("{}").with("words", words.clone());
    let perform = async |by: CallId| {
        let opened = bed.kernel.open_session(&desk, &minted, &words, &by).await;
        opened.map(|until| until.0.into())
    };
    let reply = bed.kernel.admin(&desk, ("session_open", arguments), None, perform).await;
    match reply.answer {
        Answer::Result(_) => {}
        Answer::Refused(refusal) => return Err(refusal.code),
        Answer::Error(_) => unreachable!(),
    }
    Ok(Opened { session: minted.session, token: minted.token.expose().clone() })
}

async fn tell(bed: &Bed, session: &SessionId, words: &str) -> Option<Code> {
    let (desk, words) = (through("alice", "desk"), json(words));
    let arguments = object("{}").with("words", words.clone());
    let perform = async |by: CallId| {
        let told = bed.kernel.tell_session(&desk, session, &words, &by).await;
        told.map(|()| Json::Null)
    };
    let reply = bed.kernel.admin(&desk, ("session_words", arguments), None, perform).await;
    match reply.answer {
        Answer::Refused(refusal) => Some(refusal.code),
        Answer::Result(_) | Answer::Error(_) => None,
    }
}

async fn join(bed: &Bed, token: &str) -> Result<SessionId, Code> {
    let joined = bed.kernel.join_session(&through("alice", "bot"), token).await;
    joined.map_err(|refusal| refusal.code)
}

/// Whether alice's bot may save, which it may if it knows words.
async fn knows(bed: &Bed, session: Option<&SessionId>) -> bool {
    let bot = through("alice", "bot");
    let done = match session {
        Some(session) => bed.tool_in(&bot, session.as_str(), "save", "{}").await,
        None => bed.tool_as(&bot, "save", "{}").await,
    };
    match done.reply.answer {
        Answer::Refused(refusal) => {
            assert_eq!(refusal.code, Code::Forbidden);
            false
        }
        Answer::Result(_) | Answer::Error(_) => true,
    }
}

/// Looks with alice's words, as the application that is believed.
async fn say(bed: &Bed, words: &str) {
    let mut params = params("look", "{}");
    params.set("_meta", object("{}").with("dev.lockgate/user-words", words));
    bed.call(&through("alice", "desk"), "tools/call", params).await.result();
}

#[tokio::test]
async fn what_was_told_is_gone_with_an_erased_subject() {
    let bed = bed().await;
    let Opened { session, token } = open(&bed, r#"["save it"]"#).await.unwrap();
    let joined = join(&bed, &token).await.unwrap();
    assert!(knows(&bed, Some(&joined)).await);
    assert!(!knows(&bed, None).await, "only whoever joins knows");
    let bot = through("alice", "bot");
    let recalled = bed.store().recall(&bot, &session).await.unwrap();
    assert_eq!(recalled.len(), 2, "what opened it, and the call in it");
    let alice = SubjectId::new("alice").unwrap();
    bed.store().erase("test", &alice).await.unwrap().unwrap();
    assert_eq!(join(&bed, &token).await, Err(Code::SessionTokenRefused));
    assert!(!knows(&bed, Some(&joined)).await);
    // What is left under the old name opens under no key that there is.
    assert!(bed.store().recall(&bot, &session).await.is_err());
    let bed = bed.restart(plan()).await;
    assert_eq!(join(&bed, &token).await, Err(Code::SessionTokenRefused));
    assert!(!knows(&bed, Some(&joined)).await);
}

#[tokio::test]
async fn words_in_a_call_survive_a_restart_and_end_with_their_conversation() {
    let plan = || Plan {
        operations: SEND.to_owned(),
        files: vec![("principals.toml", PRINCIPALS.to_owned())],
        ..Plan::policy(RULES)
    };
    let bed = Bed::with(Fake::start("[]", says("done")).await, plan()).await;
    let desk = through("alice", "desk");
    let sends = async |bed: &Bed| {
        let done = bed.tool_as(&desk, "send", r#"{"to":"bob@mail.example"}"#).await;
        matches!(done.reply.answer, Answer::Result(_))
    };
    assert!(!sends(&bed).await);
    say(&bed, "write to bob@mail.example").await;
    assert!(sends(&bed).await);
    let bed = bed.restart(plan()).await;
    assert!(sends(&bed).await);
    bed.audit().await;
}

#[tokio::test]
async fn a_face_hands_over_words_that_an_application_was_believed_for() {
    let bed = bed().await;
    let world = bed.kernel.world().unwrap();
    let told = Json::from("save it");
    assert!(Words::told(&world, &through("alice", "bot"), &told).is_none());
    let words = Words::told(&world, &through("alice", "desk"), &told).unwrap();
    *bed.words.lock().unwrap() = words;
    bed.tool("look", "{}").await.result();
    *bed.words.lock().unwrap() = Words::default();
    bed.tool("save", "{}").await.result();
    bed.audit().await;
}

#[tokio::test]
async fn a_session_ends_by_itself() {
    let at = Arc::new(AtomicI64::new(0));
    let clock = {
        let (at, real) = (Arc::clone(&at), Clock::system());
        let now = move || Micros(system_now().0 + at.load(Ordering::Relaxed));
        Clock::custom(now, move |_| real.mint())
    };
    let bed = Bed::with(Fake::start("[]", says("done")).await, Plan { clock, ..plan() }).await;
    let Opened { token, .. } = open(&bed, "\"save it\"").await.unwrap();
    assert!(join(&bed, &token).await.is_ok());
    // Also for who has joined it before, and is remembered.
    at.store(OPENED_LASTS_S * 1_000_000, Ordering::Relaxed);
    assert!(join(&bed, &token).await.is_ok(), "the record has its own clock");
    at.store(-(OPENED_LASTS_S + 60) * 1_000_000, Ordering::Relaxed);
    let Opened { token, session } = open(&bed, "\"save it\"").await.unwrap();
    assert_eq!(join(&bed, &token).await, Err(Code::SessionTokenRefused));
    assert_eq!(tell(&bed, &session, "\"x\"").await, Some(Code::RecordNotFound));
}

#[tokio::test]
async fn sessions_and_what_they_are_told_are_bounded() {
    let bed = bed().await;
    let first = open(&bed, "[]").await.unwrap();
    for _ in 1..OPENED_MAX {
        open(&bed, "[]").await.unwrap();
    }
    assert_eq!(open(&bed, "[]").await.err(), Some(Code::TooManySessions));
    for _ in 1..TOLD_MAX {
        assert_eq!(tell(&bed, &first.session, "[]").await, None);
    }
    assert_eq!(tell(&bed, &first.session, "[]").await, Some(Code::TooManySessions));
    // Nothing is known of who was told nothing.
    let joined = join(&bed, &first.token).await.unwrap();
    assert!(!knows(&bed, Some(&joined)).await);
}
