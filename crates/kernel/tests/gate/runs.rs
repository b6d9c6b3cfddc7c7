//! Runs: whatever ends the gate, what a run does is done once, and it comes to the same.

use crate::approvals::{finance, give};
use crate::bed::{Bed, Plan, identity, soon};
use crate::upstream::{Fake, Seen, answer, text_result};
use lockgate_kernel::{Answer, Refusal};
use lockgate_sim::brain::{Reply, StandIn};
use lockgate_types::facts::Switch;
use lockgate_types::identity::Identity;
use lockgate_types::{CallId, Code, Json, Object};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const OPERATIONS: &str = r#"
[tool.pay]
effect = "write"
accepted = true
class = "idempotent"
key = { argument = "reference" }
schema = '{"type":"object","properties":{"amount":{"type":"integer"},"reference":{"type":"string"}}}'

[tool.mail]
effect = "egress"
accepted = true
repeat_window_s = 0
schema = '{"type":"object","properties":{"note":{"type":"string"}}}'
"#;

const POLICIES: &str = r#"
permit (principal, action in [
    Action::"brain:chat/completions", Action::"desk/pay", Action::"desk/mail",
    Action::"lockgate/run_start",
    Action::"lockgate/run_fork"
], resource);
"#;

pub(crate) const PROMPT: &str = r#"
version = "1"
[[segment]]
kind = "instructions"
text = "Do it."
[[segment]]
kind = "data"
name = "outcomes"
[[segment]]
kind = "input"
"#;

const TASK: &str = "models = [\"brain\"]\n[run]\nprompt = \"work\"\n\
    tools = [\"desk/look\", \"desk/save\", \"desk/pay\", \"desk/wipe\", \"desk/mail\"]\n";

fn plan(brain: &StandIn, more: &[(&'static str, &str)]) -> Plan {
    let provider = format!(
        "[upstream.brain.model]\nfamily = \"openai\"\nbase_url = \"http://{}/v1\"\n",
        brain.address
    );
    let model = "upstream = \"brain\"\nversion = \"1\"\nceiling = \"restricted\"\n";
    let files =
        [("models/brain.toml", model), ("prompts/work.toml", PROMPT), ("tasks/t.toml", TASK)];
    let mut files: Vec<(&'static str, String)> =
        files.map(|(path, text)| (path, text.to_owned())).to_vec();
    for (path, text) in more {
        files.retain(|(known, _)| known != path);
        files.push((path, (*text).to_owned()));
    }
    Plan {
        more: provider,
        operations: OPERATIONS.to_owned(),
        policies: POLICIES.to_owned(),
        files,
        ..Plan::new()
    }
}

/// An upstream that counts what it does: each tool with its arguments, keys left out.
async fn desk() -> (Fake, Arc<Mutex<Vec<String>>>) {
    let done: Arc<Mutex<Vec<String>>> = Arc::default();
    let log = Arc::clone(&done);
    let handler = move |seen: Seen| -> crate::upstream::Later {
        let mut arguments = seen.body.at(&["params", "arguments"]).unwrap().clone();
        arguments.as_object_mut().unwrap().remove("reference");
        log.lock().unwrap().push(format!("{} {arguments}", seen.tool()));
        Box::pin(async move { answer(&seen, &text_result("it is done")) })
    };
    (Fake::start("[]", handler).await, done)
}

/// Looks, saves and pays at once, and pays more.
fn errand() -> StandIn {
    let replies = vec![
        Reply::call("desk__look", r#"{"who":"ada"}"#),
        Reply::Calls(vec![
            ("desk__mail", r#"{"note":"n"}"#),
            ("desk__wipe", "{}"),
            ("desk__pay", r#"{"amount":1}"#),
        ]),
        Reply::Fails,
        Reply::Fails,
        Reply::text("All of it is done."),
    ];
    StandIn::of(replies).unwrap()
}

pub(crate) async fn begin(bed: &Bed, input: &str) -> CallId {
    let alice = identity("alice");
    let kernel = &bed.kernel;
    let arguments = Object::new().with("task", "t").with("input", input);
    let mut run = None;
    let begin = async |by: CallId| {
        run = Some(kernel.start_run(&alice, &by, ("t", input), None).await?);
        Ok(Json::Null)
    };
    let reply = kernel.admin(&alice, ("run_start", arguments), None, begin).await;
    assert!(matches!(reply.answer, Answer::Result(_)));
    let other = Arc::new(Identity {
        task: Some("other".parse().unwrap()),
        ..Identity::clone(&identity("alice"))
    });
    let refused = kernel.start_run(&other, &reply.call, ("t", input), None).await;
    assert_eq!(refused.unwrap_err().code, Code::TaskDiffers, "a token's task narrows");
    run.unwrap()
}

async fn fork(
    bed: &Bed,
    run: &CallId,
    turn: Option<u32>,
    input: Option<&str>,
) -> Result<CallId, Refusal> {
    let alice = identity("alice");
    let kernel = &bed.kernel;
    let arguments = Object::new().with("run", run.as_str()).with("task", "t");
    let mut forked = Err(Refusal::of(Code::InvariantBroken));
    let begin = async |by: CallId| {
        forked = kernel.fork_run(&alice, (run, &by), turn, input).await;
        Ok(Json::Null)
    };
    kernel.admin(&alice, ("run_fork", arguments), None, begin).await;
    forked
}

pub(crate) async fn show(bed: &Bed, run: &CallId) -> Json {
    bed.kernel.show_run(&identity("alice"), run).await.unwrap()
}

/// What of a journal does not depend on when it was written and by which calls.
async fn journal(bed: &Bed, run: &CallId) -> Vec<String> {
    let followed = bed.kernel.follow_run(&identity("alice"), run, 0, Duration::ZERO).await.unwrap();
    let plain = |(_, kind, entry): (u32, &'static str, Json)| {
        let mut entry = entry.as_object().unwrap().clone();
        for member in ["at", "call", "fork_of", "label"] {
            entry.remove(member);
        }
        (kind != "resumed").then(|| Json::from(entry).to_string())
    };
    followed.entries.into_iter().filter_map(plain).collect()
}

pub(crate) fn at<'j>(json: &'j Json, path: &[&str]) -> &'j str {
    json.at(path).and_then(Json::as_str).unwrap_or_default()
}

#[tokio::test]
async fn a_run_that_ends_at_any_point_of_its_journal_does_everything_once_and_comes_to_the_same() {
    let expected = {
        let (fake, done) = desk().await;
        let brain = errand();
        let bed = Bed::with(fake, plan(&brain, &[])).await;
        let run = begin(&bed, "go").await;
        bed.kernel.drive_runs_by(usize::MAX).await;
        assert_eq!(at(&show(&bed, &run).await, &["outcome", "text"]), "All of it is done.");
        bed.audit().await;
        let done = done.lock().unwrap().clone();
        assert_eq!(done.len(), 3, "{done:?}");
        (journal(&bed, &run).await, done)
    };
    let entries = expected.0.len();
    assert!(entries >= 11, "{:#?}", expected.0);
    // After each entry, and after what it is about has happened but before it is written.
    for halves in 0..2 * (entries - 1) {
        let (fake, done) = desk().await;
        let brain = errand();
        let bed = Bed::with(fake, plan(&brain, &[])).await;
        let run = begin(&bed, "go").await;
        bed.kernel.drive_runs_by(halves).await;
        let before = journal(&bed, &run).await;
        assert_eq!(before.len(), 1 + halves.div_ceil(2), "crashes where it says");
        let bed = bed.crash(plan(&brain, &[])).await;
        bed.kernel.drive_runs_by(usize::MAX).await;
        let came = (journal(&bed, &run).await, done.lock().unwrap().clone());
        // A model that was asked when it ended is asked again.
        let mut asked = came.0.clone();
        asked.dedup();
        assert_eq!(asked, expected.0, "after {halves} half steps");
        let effects = |done: &[String]| -> Vec<String> {
            done.iter().filter(|it| !it.starts_with("look")).cloned().collect()
        };
        assert_eq!(effects(&came.1), effects(&expected.1), "after {halves} half steps");
        bed.audit().await;
    }
}

#[tokio::test]
async fn a_fork_with_recorded_replies_comes_to_the_same_bytes_and_does_nothing() {
    let (fake, done) = desk().await;
    let brain = errand();
    let bed = Bed::with(fake, plan(&brain, &[])).await;
    let run = begin(&bed, "go").await;
    bed.kernel.drive_runs_by(usize::MAX).await;
    let (asked, effects) = (brain.count(), done.lock().unwrap().len());

    let forked = fork(&bed, &run, None, None).await.unwrap();
    bed.kernel.drive_runs_by(usize::MAX).await;
    assert_eq!(journal(&bed, &forked).await, journal(&bed, &run).await);
    let prompts = |run: &Json| run.get("prompts").unwrap().to_string();
    assert_eq!(prompts(&show(&bed, &forked).await), prompts(&show(&bed, &run).await));
    assert_eq!((brain.count(), done.lock().unwrap().len()), (asked, effects), "nobody is asked");

    // From a turn on, with something else asked: what was before is not done again.
    let other = fork(&bed, &run, Some(1), Some("go, and be quick")).await.unwrap();
    bed.kernel.drive_runs_by(usize::MAX).await;
    let shown = show(&bed, &other).await;
    assert_eq!(at(&shown, &["state"]), "finished", "{shown}");
    assert!(prompts(&shown) != prompts(&show(&bed, &run).await));
    let looked = done.lock().unwrap().iter().filter(|it| it.starts_with("look")).count();
    assert_eq!(looked, 1);
    assert_eq!(done.lock().unwrap().len(), effects + 2, "the rest is done for the fork");

    // What it came to where it was interrupted is not known, and is not done under another key.
    let open = begin(&bed, "go again").await;
    bed.kernel.drive_runs_by(4).await;
    assert_eq!(fork(&bed, &open, None, None).await.unwrap_err().code, Code::RunDiffers);
    assert!(fork(&bed, &open, Some(0), None).await.is_ok());

    // Under another prompt it does not come to the same.
    let changed = PROMPT.replace("Do it.", "Do it well.");
    bed.load(plan(&brain, &[("prompts/work.toml", &changed)])).await;
    assert_eq!(fork(&bed, &run, None, None).await.unwrap_err().code, Code::RunDiffers);
    bed.audit().await;
}

#[tokio::test]
async fn what_a_model_says_is_checked_before_anybody_sees_it() {
    let check = "version = \"1\"\n[[segment]]\nkind = \"instructions\"\ntext = \"Check.\"\n\
        [[segment]]\nkind = \"data\"\nname = \"outcomes\"\n\
        [[segment]]\nkind = \"data\"\nname = \"claims\"\n";
    let prompt = format!("{PROMPT}[[segment]]\nkind = \"data\"\nname = \"findings\"\n")
        .replace("[[segment]]\nkind = \"input\"\n", "")
        + "[[segment]]\nkind = \"input\"\n";
    let verify = |rest: &str| format!("{TASK}[run.verify]\n{rest}");
    let by_model = "citations_min = 1\nmodel = \"brain\"\nprompt = \"check\"\n";
    for (rest, state, text, asked) in [
        ("citations_min = 1\non_failure = \"stop\"\n", "stopped", "", 2),
        ("citations_min = 1\non_failure = \"flag\"\n", "finished", "It is so.", 2),
        ("citations_min = 1\non_failure = \"retry\"\n", "finished", "It is so [1].", 3),
        (by_model, "stopped", "", 2),
        (&format!("on_failure = \"retry\"\n{by_model}"), "finished", "It is so [1].", 4),
    ] {
        let (fake, _done) = desk().await;
        let brain = StandIn::scripted(|asked| {
            if asked.system.starts_with("Check.") {
                return Reply::text("Supported: it says so.");
            }
            match (asked.data(), asked.blocks.iter().any(|it| it.contains("check by rule"))) {
                (0, _) => Reply::call("desk__look", r#"{"who":"ada"}"#),
                (_, false) => Reply::text("It is so."),
                (_, true) => Reply::text("It is so [1]."),
            }
        });
        let brain = brain.unwrap();
        let files = [
            ("prompts/check.toml", check),
            ("prompts/work.toml", prompt.as_str()),
            ("tasks/t.toml", &verify(rest)),
        ];
        let bed = Bed::with(fake, plan(&brain, &files)).await;
        let run = begin(&bed, "go").await;
        bed.kernel.drive_runs_by(usize::MAX).await;
        let shown = show(&bed, &run).await;
        let came = (at(&shown, &["state"]), at(&shown, &["outcome", "text"]), brain.count());
        assert_eq!(came, (state, text, asked), "{rest}: {shown}");
        let uncertain = shown.at(&["outcome", "uncertain"]).and_then(Json::as_array);
        let is_flagged = uncertain.is_some_and(|found| !found.is_empty());
        assert_eq!(is_flagged, rest.contains("flag"), "{shown}");
        bed.audit().await;
    }
}

#[tokio::test]
async fn an_answer_that_is_another_one_each_time_is_not_given() {
    for (rest, state, text) in [
        ("samples = 2\n", "stopped", ""),
        ("samples = 2\nagree_min = 1\n", "finished", "It is 40."),
        ("samples = 2\non_failure = \"flag\"\n", "finished", "It is 40."),
    ] {
        let (fake, _done) = desk().await;
        let said = std::sync::atomic::AtomicUsize::new(0);
        let brain = StandIn::scripted(move |asked| match asked.data() {
            0 => Reply::call("desk__look", r#"{"who":"ada"}"#),
            // The third time it is another number.
            _ => match said.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
                2 => Reply::text("It is 41."),
                _ => Reply::text("It is 40."),
            },
        });
        let brain = brain.unwrap();
        let task = format!("{TASK}[run.verify]\n{rest}");
        let bed = Bed::with(fake, plan(&brain, &[("tasks/t.toml", task.as_str())])).await;
        let run = begin(&bed, "go").await;
        bed.kernel.drive_runs_by(usize::MAX).await;
        let shown = show(&bed, &run).await;
        let came = (at(&shown, &["state"]), at(&shown, &["outcome", "text"]), brain.count());
        assert_eq!(came, (state, text, 4), "{rest}: {shown}");
        let uncertain = shown.at(&["outcome", "uncertain"]).and_then(Json::as_array);
        let is_flagged = uncertain.is_some_and(|found| !found.is_empty());
        assert_eq!(is_flagged, rest.contains("flag"), "{shown}");
        // Whoever looks again at what the model said comes to the same.
        let fork = fork(&bed, &run, None, None).await.unwrap();
        bed.kernel.drive_runs_by(usize::MAX).await;
        let forked = show(&bed, &fork).await;
        assert_eq!(at(&forked, &["state"]), state, "{forked}");
        bed.audit().await;
    }
}

const FLOW: &str = r#"
[[step]]
id = "look"
kind = "tool"
tool = "desk/look"
arguments = { who = "$input.who" }
[[step]]
id = "say"
kind = "model"
prompt = "work"
[[step]]
id = "pay"
kind = "tool"
tool = "desk/pay"
arguments = { amount = "$say.amount" }
when = { path = "$say.pays", equals = true }
on_refusal = "fallback"
fallback = "sorry"
[[step]]
id = "forbidden"
kind = "tool"
tool = "desk/wipe"
on_refusal = "continue"
[[step]]
id = "last"
kind = "tool"
tool = "desk/save"
arguments = { note = "all well" }
[[step]]
id = "sorry"
kind = "tool"
tool = "desk/save"
arguments = { note = "$$sorry" }
when = { path = "$pay", not = true }
"#;

#[tokio::test]
async fn a_workflow_takes_its_steps_by_their_conditions_and_what_came_before() {
    for (said, expected) in [
        (
            r#"{"pays":true,"amount":7}"#,
            &[r#"look {"who":"ada"}"#, r#"pay {"amount":7}"#, r#"save {"note":"all well"}"#][..],
        ),
        (
            r#"{"pays":false}"#,
            &[r#"look {"who":"ada"}"#, r#"save {"note":"all well"}"#, r#"save {"note":"$sorry"}"#],
        ),
        (r#"{"pays":true}"#, &[r#"look {"who":"ada"}"#, r#"save {"note":"$sorry"}"#]),
    ] {
        let (fake, done) = desk().await;
        let brain = StandIn::of(vec![Reply::text(said)]).unwrap();
        let task = TASK.replace("prompt = \"work\"", "workflow = \"flow\"");
        let files = [("tasks/t.toml", task.as_str()), ("workflows/flow.toml", FLOW)];
        let bed = Bed::with(fake, plan(&brain, &files)).await;
        let run = begin(&bed, r#"{"who":"ada"}"#).await;
        bed.kernel.drive_runs_by(usize::MAX).await;
        let shown = show(&bed, &run).await;
        assert_eq!(at(&shown, &["state"]), "finished", "{shown}");
        assert_eq!(*done.lock().unwrap(), expected, "{said}: {shown}");
        bed.audit().await;
    }
}

#[tokio::test]
async fn a_run_within_a_run_has_less_and_what_it_uses_counts_for_both() {
    let (fake, done) = desk().await;
    let brain = StandIn::scripted(|asked| {
        let input = asked.blocks.last().cloned().unwrap_or_default();
        match (input.as_str(), asked.data()) {
            ("part", 0) => Reply::Calls(vec![
                ("desk__save", r#"{"note":"n"}"#),
                ("desk__pay", r#"{"amount":1}"#),
            ]),
            ("part", _) => Reply::text("The part is done."),
            (_, 0) => Reply::call("run__part", r#"{"input":"part"}"#),
            (_, _) => Reply::text("All is done."),
        }
    });
    let brain = brain.unwrap();
    let task = "models = [\"brain\"]\n[run]\nprompt = \"work\"\ntools = [\"desk/save\"]\n\
        children = [\"part\"]\nsteps_max = 4\n";
    let files = [("tasks/t.toml", task), ("tasks/part.toml", TASK)];
    let bed = Bed::with(fake, plan(&brain, &files)).await;
    let run = begin(&bed, "all").await;
    // The run, the one within it, and the run again.
    for _ in 0..3 {
        bed.kernel.drive_runs_by(usize::MAX).await;
    }
    let shown = show(&bed, &run).await;
    assert_eq!(at(&shown, &["outcome", "text"]), "All is done.", "{shown}");
    assert_eq!(*done.lock().unwrap(), [r#"save {"note":"n"}"#], "it may not pay: the run may not");
    assert_eq!(shown.get("steps").and_then(Json::as_i64), Some(4), "{shown}");
    let runs = bed.kernel.runs(&identity("alice"), None, 10).await.unwrap();
    let within: Vec<&str> = runs.iter().map(|it| at(it, &["within"])).collect();
    assert!(within.contains(&run.as_str()) && within.len() == 2, "{within:?}");
    bed.audit().await;
}

#[tokio::test]
async fn whoever_is_erased_has_no_run_that_goes_on() {
    let (fake, done) = desk().await;
    let brain = errand();
    let bed = Bed::with(fake, plan(&brain, &[])).await;
    let run = begin(&bed, "go").await;
    bed.kernel.drive_runs_by(4).await;
    let alice = identity("alice");
    bed.store().erase(&alice.issuer, &alice.subject).await.unwrap().unwrap();
    let bed = bed.crash(plan(&brain, &[])).await;
    let before = done.lock().unwrap().len();
    bed.kernel.drive_runs_by(usize::MAX).await;
    assert_eq!(done.lock().unwrap().len(), before);
    // Whoever comes by that name now is somebody else.
    assert!(bed.kernel.show_run(&identity("alice"), &run).await.is_err());
}

#[tokio::test]
async fn a_switch_pauses_a_run_until_it_is_lifted() {
    let (fake, done) = desk().await;
    let brain = errand();
    let bed = Bed::with(fake, plan(&brain, &[])).await;
    let run = begin(&bed, "go").await;
    // The first call is made.
    bed.kernel.drive_runs_by(8).await;
    let before = done.lock().unwrap().len();
    let switch = Switch { scope: "agent".to_owned(), name: "bot".to_owned() };
    bed.store().throw(&switch).await.unwrap();
    bed.store().record_thrown(switch.clone(), &run).await.unwrap();
    let bed = bed.crash(plan(&brain, &[])).await;
    bed.kernel.drive_runs_by(usize::MAX).await;
    let shown = show(&bed, &run).await;
    assert_eq!(at(&shown, &["waits", "for"]), "switch", "{shown}");
    assert_eq!(done.lock().unwrap().len(), before);
    bed.store().lift(switch, &run).await.unwrap().unwrap();
    let goes_on = async {
        while at(&show(&bed, &run).await, &["state"]) != "finished" {
            bed.kernel.drive_runs_by(usize::MAX).await;
        }
    };
    soon(goes_on).await;
    assert_eq!(done.lock().unwrap().len(), 3);
    bed.audit().await;
}

#[tokio::test]
async fn where_the_task_says_so_a_plan_comes_first_and_the_model_takes_it_up() {
    let (fake, done) = desk().await;
    let brain = StandIn::scripted(|asked| {
        let plan = asked.blocks.iter().find_map(|block| block.split_once(r#""plan":""#));
        let plan = plan.and_then(|(_, rest)| rest.split_once('"')).map(|(plan, _)| plan);
        match (asked.data(), plan) {
            (0, _) => Reply::call("desk__save", r#"{"note":"n"}"#),
            (1, Some(plan)) => {
                let arguments = format!(r#"{{"note":"n","lockgate_plan":"{plan}"}}"#);
                Reply::call("desk__save", arguments.leak())
            }
            (_, _) => Reply::text("It is saved."),
        }
    });
    let brain = brain.unwrap();
    let task = format!("two_phase = true\n{TASK}");
    let bed = Bed::with(fake, plan(&brain, &[("tasks/t.toml", &task)])).await;
    let run = begin(&bed, "go").await;
    // What is offered is written down, and nothing is done.
    bed.kernel.drive_runs_by(8).await;
    assert_eq!(*done.lock().unwrap(), [""; 0]);
    let bed = bed.crash(plan(&brain, &[("tasks/t.toml", &task)])).await;
    bed.kernel.drive_runs_by(usize::MAX).await;
    let shown = show(&bed, &run).await;
    assert_eq!(at(&shown, &["outcome", "text"]), "It is saved.", "{shown}");
    assert_eq!(*done.lock().unwrap(), [r#"save {"note":"n"}"#], "{shown}");
    bed.audit().await;
}

#[tokio::test]
async fn only_what_a_run_is_asked_is_a_persons_word_and_only_of_who_is_believed() {
    for (relays, performed) in [(true, 1), (false, 0)] {
        let (fake, done) = desk().await;
        let brain = StandIn::of(vec![
            Reply::call("desk__look", r#"{"who":"ada"}"#),
            Reply::call("desk__save", r#"{"note":"n"}"#),
            Reply::text("It is saved."),
        ]);
        let principals = format!(
            "undeclared_users = true\n[agent.bot]\nenvironments = [\"dev\"]\n\
             relays_user_words = {relays}\n"
        );
        let brain = brain.unwrap();
        let mut wanted = plan(&brain, &[("principals.toml", &principals)]);
        wanted.policies.push_str(
            "@id(\"words\") forbid (principal, action == Action::\"desk/save\", resource)\n\
             unless { context.flow.has_words };\n",
        );
        let bed = Bed::with(fake, wanted).await;
        let run = begin(&bed, "go and save").await;
        bed.kernel.drive_runs_by(usize::MAX).await;
        let saved = done.lock().unwrap().iter().filter(|it| it.starts_with("save")).count();
        assert_eq!(saved, performed, "{}", show(&bed, &run).await);
        let alice = identity("alice");
        let journal = bed.kernel.follow_run(&alice, &run, 0, Duration::ZERO).await.unwrap();
        let answered = journal.entries.iter().filter(|(_, kind, _)| *kind == "answered");
        for (_, _, entry) in answered {
            let call = CallId::new(at(entry, &["call"])).unwrap();
            let facts = bed.store().facts_of(&call).await.unwrap().unwrap();
            let words: &[&str] = if relays { &["go and save"] } else { &[] };
            assert_eq!(facts.flow.unwrap().heard, words, "what a tool said is no person's word");
        }
        bed.audit().await;
    }
}

#[tokio::test]
async fn the_calls_of_a_run_count_against_rates_like_anybodys() {
    let (fake, done) = desk().await;
    let brain = StandIn::of(vec![
        Reply::call("desk__save", r#"{"note":"a"}"#),
        Reply::call("desk__save", r#"{"note":"b"}"#),
        Reply::text("One of them."),
    ]);
    let brain = brain.unwrap();
    let mut limited = plan(&brain, &[]);
    limited.more.push_str(
        "[[rate]]\nname = \"some\"\nper = \"agent\"\namount = 1\ninterval_s = 86400\n\
         burst = 1\noperations = [\"desk/save\"]\n",
    );
    let bed = Bed::with(fake, limited).await;
    let run = begin(&bed, "go").await;
    bed.kernel.drive_runs_by(usize::MAX).await;
    let shown = show(&bed, &run).await;
    assert_eq!(*done.lock().unwrap(), [r#"save {"note":"a"}"#], "{shown}");
    bed.audit().await;
}

#[tokio::test]
async fn what_a_model_asks_of_a_run_within_its_own_is_nobodys_word() {
    let (fake, _done) = desk().await;
    let brain = StandIn::scripted(|asked| {
        let input = asked.blocks.last().cloned().unwrap_or_default();
        match (input.as_str(), asked.data()) {
            ("go", 0) => Reply::call("run__part", r#"{"input":"pay mallory"}"#),
            (_, _) => Reply::text("It is said."),
        }
    });
    let brain = brain.unwrap();
    let principals = "undeclared_users = true\n[agent.bot]\nenvironments = [\"dev\"]\n\
                      relays_user_words = true\n";
    let task = format!("{TASK}children = [\"part\"]\n");
    let files =
        [("principals.toml", principals), ("tasks/t.toml", &task), ("tasks/part.toml", TASK)];
    let mut wanted = plan(&brain, &files);
    wanted.policies.push_str(
        "@id(\"words\") forbid (principal, action == Action::\"desk/save\", resource)\n\
         unless { context.flow.has_words };\n",
    );
    let bed = Bed::with(fake, wanted).await;
    begin(&bed, "go").await;
    for _ in 0..3 {
        bed.kernel.drive_runs_by(usize::MAX).await;
    }
    let alice = identity("alice");
    let runs = bed.kernel.runs(&alice, None, 10).await.unwrap();
    let within = runs.iter().find(|run| run.get("within").is_some()).unwrap();
    let run = CallId::new(at(within, &["run"])).unwrap();
    let journal = bed.kernel.follow_run(&alice, &run, 0, Duration::ZERO).await.unwrap();
    let (_, _, answered) = journal.entries.iter().find(|(_, kind, _)| *kind == "answered").unwrap();
    let call = CallId::new(at(answered, &["call"])).unwrap();
    let facts = bed.store().facts_of(&call).await.unwrap().unwrap();
    assert_eq!(facts.flow.unwrap().heard, [""; 0]);
    bed.audit().await;
}

const ASKS: &str = r#"
[[step]]
id = "agreed"
kind = "approve"
whom = "group:finance"
question = "Is that to be paid?"
show = { amount = "$input.amount" }

[[step]]
id = "pay"
kind = "tool"
tool = "desk/pay"
arguments = { amount = "$input.amount" }
"#;

#[tokio::test]
async fn a_step_that_asks_people_is_agreed_to_once_wherever_the_gate_ends() {
    let asking = |brain: &StandIn| {
        let task = TASK.replace("prompt = \"work\"", "workflow = \"flow\"");
        let files = [("tasks/t.toml", task.as_str()), ("workflows/flow.toml", ASKS)];
        let mut plan = plan(brain, &files);
        plan.policies.push_str(
            "permit (principal, action in [Action::\"lockgate/run_approve\",
             Action::\"lockgate/approval_give\"], resource);",
        );
        plan
    };
    for halves in 0..12 {
        let (fake, done) = desk().await;
        let brain = StandIn::of(vec![Reply::Fails]).unwrap();
        let bed = Bed::with(fake, asking(&brain)).await;
        let run = begin(&bed, r#"{"amount":7}"#).await;
        bed.kernel.drive_runs_by(usize::MAX).await;
        let shown = show(&bed, &run).await;
        assert_eq!(at(&shown, &["state"]), "parked", "{shown}");
        let request = CallId::new(at(&shown, &["waits", "call"])).unwrap();
        let other = give(&bed, &identity("carol"), &request, "group:finance").await;
        assert!(other.is_err(), "carol is not of finance, and acts through the same agent");
        give(&bed, &finance("fred"), &request, "group:finance").await.unwrap();
        bed.kernel.drive_runs_by(halves).await;
        let bed = bed.crash(asking(&brain)).await;
        bed.kernel.drive_runs_by(usize::MAX).await;
        let shown = show(&bed, &run).await;
        assert_eq!(at(&shown, &["state"]), "finished", "after {halves}: {shown}");
        assert_eq!(*done.lock().unwrap(), [r#"pay {"amount":7}"#], "after {halves}");
        let journal = journal(&bed, &run).await;
        let parked = journal.iter().filter(|entry| entry.contains("parked"));
        assert_eq!(parked.count(), 1, "nobody is asked twice: after {halves}: {journal:#?}");
        bed.audit().await;
    }
}

#[tokio::test]
async fn a_step_that_is_not_there_lets_nobody_through() {
    let (fake, _) = desk().await;
    let brain = StandIn::of(vec![Reply::Fails]).unwrap();
    let task = TASK.replace("prompt = \"work\"", "workflow = \"flow\"");
    let files = [("tasks/t.toml", task.as_str()), ("workflows/flow.toml", ASKS)];
    let mut plan = plan(&brain, &files);
    plan.policies
        .push_str("permit (principal, action == Action::\"lockgate/run_approve\", resource);");
    let bed = Bed::with(fake, plan).await;
    for (task, step, code) in [
        ("t", "agreed", Code::ApprovalRequired),
        ("t", "pay", Code::NoRuns),
        ("t", "nothing", Code::NoRuns),
        ("other", "agreed", Code::NoRuns),
    ] {
        let arguments = Object::new().with("task", task).with("step", step);
        let asked = ("run_approve", arguments);
        let reply =
            bed.kernel.admin(&identity("alice"), asked, None, async |_| Ok(Json::Null)).await;
        let Answer::Refused(refusal) = reply.answer else { panic!("{task} {step} is let through") };
        assert_eq!(refusal.code, code, "{task} {step}");
    }
    bed.audit().await;
}
