//! Runs, as tables and for all journals.

use super::entry::Answered;
use super::*;
use crate::world::{Files, World};
use lockgate_types::label::Label;
use lockgate_types::{CallId, Code, Digest, Micros};
use proptest::prelude::*;
use std::sync::OnceLock;

const GATE: &str = "environment = \"dev\"\n[upstream.desk]\ncommand = [\"desk\"]\n\
    [upstream.brain.model]\nfamily = \"openai\"\nbase_url = \"https://brain.example/v1\"\n";

const PROMPT: &str = "version = \"1\"\n[[segment]]\nkind = \"instructions\"\ntext = \"Do it.\"\n\
    [[segment]]\nkind = \"data\"\nname = \"outcomes\"\n[[segment]]\nkind = \"input\"\n";

const OPERATIONS: &str = "[tool.look]\neffect = \"read\"\naccepted = true\n\
    [tool.save]\neffect = \"write\"\naccepted = true\n";

fn world(run: &str) -> World {
    let task = format!(
        "models = [\"brain\"]\n[fallback]\ntemplate = \"Nobody answers.\"\n\
         [run]\nprompt = \"work\"\ntools = [\"desk/look\", \"desk/save\"]\n{run}"
    );
    let model = "upstream = \"brain\"\nversion = \"1\"\n\
        [price]\ncurrency = \"EUR\"\ninput = 100\noutput = 100\n";
    let files: Files = [
        ("lockgate.toml", GATE),
        ("operations/desk.toml", OPERATIONS),
        ("models/brain.toml", model),
        ("prompts/work.toml", PROMPT),
        ("tasks/t.toml", task.as_str()),
    ]
    .map(|(path, text)| (path.to_owned(), text.as_bytes().to_vec()))
    .into();
    World::load(&files).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"))
}

/// One that many journals are looked at under.
fn patient() -> &'static World {
    static PATIENT: OnceLock<World> = OnceLock::new();
    PATIENT.get_or_init(|| world("idle_max = 9\nrepeats_max = 99\nsteps_max = 99\n"))
}

fn call(number: usize) -> CallId {
    CallId::new(&format!("{number:032x}")).unwrap()
}

fn started() -> Event {
    Event::Started(Box::new(Started {
        task: TaskName::new("t").unwrap(),
        input: "go".to_owned(),
        tenant: "default".to_owned(),
        environment: "dev".to_owned(),
        within: None,
        fork_of: None,
    }))
}

fn proposal(name: &str, arguments: &str) -> Proposal {
    Proposal { name: name.to_owned(), arguments: arguments.to_owned() }
}

/// A run that is driven by numbers: what each model and tool says follows from the next one.
struct Drive<'w> {
    world: &'w World,
    state: RunState,
    journal: Vec<Entry>,
    keys: Vec<String>,
    now: i64,
}

impl<'w> Drive<'w> {
    fn new(world: &'w World) -> Self {
        let state = RunState::default();
        let mut drive =
            Self { world, state, journal: Vec::new(), keys: Vec::new(), now: 1_000_000 };
        drive.add(started());
        drive
    }

    fn add(&mut self, event: Event) {
        self.now += 1000;
        let entry = Entry { at: Micros(self.now), event };
        self.state.apply(&entry).unwrap_or_else(|fault| panic!("{fault}: {entry:?}"));
        self.journal.push(entry);
    }

    fn next(&self) -> Step {
        next(self.world, &self.state, &Moment { at: Some(Micros(self.now)), ..Moment::default() })
    }

    fn answer(&mut self, text: &str, proposals: &[(&str, &str)]) {
        let Step::Ask(ask) = self.next() else { panic!("nobody is asked: {:?}", self.next()) };
        let turn = ask.asked.turn;
        self.add(Event::Asked(ask.asked));
        self.add(Event::Answered(Box::new(Answered {
            turn,
            call: call(self.journal.len()),
            text: text.to_owned(),
            proposals: proposals
                .iter()
                .map(|(name, arguments)| proposal(name, arguments))
                .collect(),
            tokens: 50,
            spend: 100_000,
            digest: Digest::of(text.as_bytes()),
        })));
    }

    fn perform(&mut self, text: &str) {
        let Step::Perform(perform) = self.next() else { panic!("{:?}", self.next()) };
        self.keys.push(perform.key(&call(0)));
        self.add(Event::Performed(Box::new(Performed {
            turn: perform.turn,
            at: perform.at,
            call: call(self.journal.len()),
            text: text.to_owned(),
            value: None,
            label: Label::default(),
            is_error: false,
            used: [0; 3],
        })));
    }

    /// What is recorded next.
    fn recorded(&self) -> Event {
        match self.next() {
            Step::Record(event) => *event,
            step => panic!("{step:?}"),
        }
    }

    fn stopped(&self) -> String {
        match self.recorded() {
            Event::Over(Over::Stopped { why, .. }) => why,
            event => panic!("{event:?}"),
        }
    }

    /// One step, as a number says. Whether there was one.
    fn step(&mut self, choice: u8) -> bool {
        match self.next() {
            Step::Nothing => return false,
            Step::Record(event) => self.add(*event),
            Step::Ask(ask) => {
                let turn = ask.asked.turn;
                if choice.is_multiple_of(7) {
                    self.add(Event::Asked(ask.asked));
                    let (code, reason) = (Code::UpstreamTimeout, String::new());
                    self.add(Event::Unanswered { turn, call: None, code, reason });
                    return true;
                }
                let arguments = format!("{{\"n\":{}}}", choice / 8);
                let all: [(&str, &str); 4] = [
                    ("desk__look", &arguments),
                    ("desk__save", &arguments),
                    ("desk__wipe", "{}"),
                    ("desk__save", "{\"n\":"),
                ];
                let count = usize::from(choice % 5).min(all.len());
                self.answer(if count == 0 { "done" } else { "" }, &all[..count]);
            }
            Step::Perform(perform) => {
                let (turn, at) = (perform.turn, perform.at);
                match choice % 4 {
                    0 => {
                        let (code, reason) = (Code::Forbidden, "no".to_owned());
                        self.add(Event::Refused { turn, at, call: None, code, reason });
                    }
                    1 if perform.resumes.is_none() => {
                        let request = call(self.journal.len());
                        let expires = Micros(i64::MAX);
                        self.add(Event::Parked(Parked::Approval { turn, at, request, expires }));
                    }
                    _ => self.perform(&format!("it is {choice}")),
                }
            }
            Step::Wait(_) => {
                let why = "given".to_owned();
                self.add(Event::Resumed { why, was_gone: choice.is_multiple_of(3) });
            }
        }
        true
    }
}

#[test]
fn a_loop_asks_performs_and_ends_with_what_the_model_says() {
    let world = world("");
    let mut drive = Drive::new(&world);
    drive.answer("", &[("desk__look", "{}"), ("desk__save", "{}")]);
    drive.perform("seen");
    drive.perform("saved");
    drive.answer("All done.", &[]);
    let Event::Over(Over::Finished { text, .. }) = drive.recorded() else { panic!() };
    assert_eq!(text, "All done.");
    assert_eq!(drive.keys.len(), 2);
    assert_ne!(drive.keys[0], drive.keys[1]);
}

#[test]
fn an_answer_is_compared_with_further_ones_to_the_same_prompt() {
    let rules = "[run.verify]\nsamples = 2\n";
    for (more, others, ends) in [
        ("", ["It is 40.", "It is 40!"], "finished"),
        ("", ["It is 40.", "It is 41."], "unverified"),
        ("agree_min = 1\n", ["It is 40.", "It is 41."], "finished"),
        ("on_failure = \"flag\"\n", ["It is 40.", "It is 41."], "flagged"),
    ] {
        let world = world(&format!("{rules}{more}"));
        let mut drive = Drive::new(&world);
        drive.answer("", &[("desk__look", "{}")]);
        drive.perform("The price is 40.");
        drive.answer("It is 40.", &[]);
        let Some(Turn { prompt, .. }) = drive.state.turns.last().cloned() else { panic!() };
        for other in others {
            let Step::Ask(ask) = drive.next() else { panic!("{:?}", drive.next()) };
            assert_eq!((ask.asked.purpose, Some(ask.asked.digest)), (Purpose::Sample, prompt));
            // One that nobody answers is asked for again.
            let turn = ask.asked.turn;
            drive.add(Event::Asked(ask.asked));
            let (code, reason) = (Code::UpstreamTimeout, String::new());
            drive.add(Event::Unanswered { turn, call: None, code, reason });
            drive.answer(other, &[]);
        }
        let found = drive.recorded();
        assert!(matches!(&found, Event::Verified { by, .. } if by == "samples"), "{found:?}");
        drive.add(found);
        let ended = match drive.recorded() {
            Event::Over(Over::Stopped { why, .. }) => why,
            Event::Over(Over::Finished { uncertain, text, .. }) => {
                assert_eq!(text, "It is 40.");
                if uncertain.is_empty() { "finished" } else { "flagged" }.to_owned()
            }
            event => panic!("{event:?}"),
        };
        assert_eq!(ended, ends, "{more}{others:?}");
    }
}

#[test]
fn where_answers_differ_another_is_asked_for_and_compared_anew() {
    let world = world("[run.verify]\nsamples = 1\non_failure = \"retry\"\n");
    let mut drive = Drive::new(&world);
    for (answer, other) in [("It is 40.", "It is 41."), ("It is 42.", "It is 42.")] {
        drive.answer(answer, &[]);
        drive.answer(other, &[]);
        let found = drive.recorded();
        drive.add(found);
    }
    let Event::Over(Over::Finished { text, .. }) = drive.recorded() else { panic!() };
    assert_eq!(text, "It is 42.");
}

#[test]
fn every_limit_stops_and_says_which() {
    let mut wrong = Vec::new();
    for (run, why) in [
        ("steps_max = 2\n", "steps"),
        ("tokens_max = 2300\n", "tokens"),
        ("spend_max = 1\nrepeats_max = 100\nidle_max = 100\n", "spend"),
        ("repeats_max = 2\nidle_max = 100\n", "repeats"),
        ("idle_max = 2\nrepeats_max = 100\n", "idle"),
        ("time_ms = 10\nidle_max = 100\nrepeats_max = 100\n", "time"),
    ] {
        let world = world(run);
        let mut drive = Drive::new(&world);
        for _ in 0..2000 {
            match drive.next() {
                Step::Ask(_) => drive.answer("", &[("desk__save", "{\"a\":1.0}")]),
                Step::Perform(_) => drive.perform("the same"),
                _ => break,
            }
        }
        wrong.extend((drive.stopped() != why).then(|| (run, drive.stopped())));
    }
    assert_eq!(wrong, []);
}

#[test]
fn what_is_no_tool_of_the_task_is_refused_and_never_performed() {
    let world = world("");
    let mut drive = Drive::new(&world);
    let many: Vec<(&str, &str)> = vec![("desk__save", "{}"); PROPOSALS_MAX + 1];
    drive.answer(
        "",
        &[&[("desk__wipe", "{}"), ("desk__save", "[]"), ("run__t", "{}")], &many[..]].concat(),
    );
    for code in [Code::UnknownName, Code::ArgumentsRefused, Code::UnknownName] {
        let Event::Refused { code: refused, .. } = drive.recorded() else { panic!() };
        assert_eq!(refused, code);
        drive.add(drive.recorded());
    }
}

#[test]
fn no_answer_is_asked_for_again_and_then_the_task_answers_by_itself() {
    let world = world("");
    let mut drive = Drive::new(&world);
    for _ in 0..FAILURES_MAX {
        let Step::Ask(ask) = drive.next() else { panic!() };
        let turn = ask.asked.turn;
        assert_eq!(turn, 0, "the same turn");
        drive.add(Event::Asked(ask.asked));
        let (code, reason) = (Code::UpstreamTimeout, String::new());
        drive.add(Event::Unanswered { turn, call: None, code, reason });
    }
    let Event::Over(Over::Finished { text, is_fallback, uncertain }) = drive.recorded() else {
        panic!()
    };
    assert_eq!((text.as_str(), is_fallback, uncertain.len()), ("Nobody answers.", true, 1));
}

#[test]
fn waiting_is_not_work_and_ends() {
    let world = world("time_ms = 1000\nwait_s = 100\n");
    let mut drive = Drive::new(&world);
    drive.answer("", &[("desk__save", "{}")]);
    let (request, expires) = (call(77), Micros(i64::MAX));
    drive.add(Event::Parked(Parked::Approval {
        turn: 0,
        at: 0,
        request: request.clone(),
        expires,
    }));
    drive.now += 99_000_000;
    let Step::Wait(_) = drive.next() else { panic!() };
    drive.now += 2_000_000;
    assert_eq!(drive.stopped(), "waiting");
    drive.now -= 2_000_000;
    drive.add(Event::Resumed { why: "given".to_owned(), was_gone: false });
    let Step::Perform(perform) = drive.next() else { panic!("it has worked for no second") };
    assert_eq!(perform.resumes, Some(request), "it comes back to what was agreed to");
    let cancelled = Moment { cancelled_by: Some(call(9)), ..Moment::default() };
    let Step::Record(event) = next(&world, &drive.state, &cancelled) else { panic!() };
    assert_eq!(event.kind(), "stopped");
    let switch = Moment { switch: Some("global".to_owned()), ..Moment::default() };
    let Step::Record(event) = next(&world, &drive.state, &switch) else { panic!() };
    assert_eq!(event.kind(), "parked");
}

#[test]
fn who_was_gone_has_not_worked() {
    let world = world("time_ms = 1000\n");
    let mut drive = Drive::new(&world);
    drive.answer("", &[("desk__save", "{}")]);
    drive.now += 3_600_000_000;
    drive.add(Event::Resumed { why: String::new(), was_gone: true });
    let Step::Perform(_) = drive.next() else { panic!("{:?}", drive.next()) };
}

proptest! {
    #[test]
    fn a_journal_says_all_there_is(choices in prop::collection::vec(any::<u8>(), 0..60)) {
        let mut drive = Drive::new(patient());
        for choice in choices {
            // Whoever takes it up from the journal alone does the same next.
            let read = drive.journal.iter().map(|entry| Entry::from_json(&entry.to_json()).unwrap());
            let read: Vec<Entry> = read.collect();
            prop_assert_eq!(&read, &drive.journal);
            let folded = RunState::of(&read).unwrap();
            prop_assert_eq!(&folded, &drive.state);
            if !drive.step(choice) {
                break;
            }
        }
        let mut keys = drive.keys.clone();
        keys.sort_unstable();
        keys.dedup();
        prop_assert_eq!(keys.len(), drive.keys.len(), "each effect has a key of its own");
    }

    /// Whatever anybody writes down, in whatever order: one effect for one proposal, and what is
    /// over stays so.
    #[test]
    fn no_order_of_events_takes_an_effect_twice(
        choices in prop::collection::vec(any::<u8>(), 0..40),
        noise in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..60),
    ) {
        let world = patient();
        let mut drive = Drive::new(world);
        for choice in choices {
            if !drive.step(choice) {
                break;
            }
        }
        let mut events: Vec<Entry> = drive.journal.clone();
        for (from, to) in noise {
            let entry = from.get(&events).clone();
            events.insert(to.index(events.len()), entry);
        }
        let mut state = RunState::default();
        let mut settled = std::collections::BTreeMap::new();
        for entry in &events {
            let before = state.clone();
            match state.apply(entry) {
                Err(_) => prop_assert_eq!(&state, &before, "what cannot follow changes nothing"),
                Ok(()) => {
                    prop_assert!(before.over.is_none(), "what is over stays so");
                    let place = match &entry.event {
                        Event::Performed(it) => Some((it.turn, it.at)),
                        Event::Refused { turn, at, .. } => Some((*turn, *at)),
                        _ => None,
                    };
                    if let Some(place) = place {
                        let count = settled.entry(place).or_insert(0);
                        *count += 1;
                        prop_assert_eq!(*count, 1);
                        let step = next(world, &state, &Moment::default());
                        let again = matches!(&step, Step::Perform(it) if (it.turn, it.at) == place);
                        prop_assert!(!again, "it is asked for again");
                    }
                }
            }
            if state.over.is_some() {
                prop_assert_eq!(next(world, &state, &Moment::default()), Step::Nothing);
            }
        }
    }

    #[test]
    fn a_fork_comes_to_the_same_prompts(choices in prop::collection::vec(any::<u8>(), 0..60)) {
        let world = patient();
        let mut drive = Drive::new(world);
        for choice in choices {
            if !drive.step(choice) {
                break;
            }
        }
        let now = Micros(drive.now);
        let forked = fork(world, &call(1), &drive.journal, None, (None, now)).unwrap();
        let state = RunState::of(&forked).unwrap();
        let prompts = |state: &RunState| -> Vec<Option<Digest>> {
            state.turns.iter().map(|turn| turn.prompt).collect()
        };
        prop_assert_eq!(prompts(&state), prompts(&drive.state));
        let outcomes = |state: &RunState| -> Vec<String> {
            let settled = state.turns.iter().flat_map(Turn::settled);
            settled.map(|(_, outcome)| outcome.text.clone()).collect()
        };
        prop_assert_eq!(outcomes(&state), outcomes(&drive.state));
    }
}
