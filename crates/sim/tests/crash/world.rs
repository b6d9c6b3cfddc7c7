//! What is there beside the gate, and outlives it: the upstream, messages on their way, the client
//! and the time.

use crate::script::{Luck, Script, Tool};
use lockgate_types::Micros;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};

/// How many worlds may be explored at once: each has a clock of its own.
pub(crate) const WORLDS_MAX: usize = 8;
/// A Monday noon: no window of a cap ends soon.
const BEGINS: i64 = 1_800_010_800_000_000;
/// When what is late arrives at the latest: upstreams promise it in `settles_ms`.
pub(crate) const LATE_US: i64 = 900_000;

static CLOCKS: [AtomicI64; WORLDS_MAX] = [const { AtomicI64::new(BEGINS) }; WORLDS_MAX];

fn now<const N: usize>() -> Micros {
    Micros(CLOCKS[N].load(Ordering::Relaxed))
}

/// A store takes a plain function for its clock: one for each world.
pub(crate) const NOW: [fn() -> Micros; WORLDS_MAX] =
    [now::<0>, now::<1>, now::<2>, now::<3>, now::<4>, now::<5>, now::<6>, now::<7>];

/// A write as it arrives at the upstream.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) tool: Tool,
    pub(crate) n: usize,
    /// What it is to be known by, where it carries that.
    pub(crate) reference: Option<String>,
}

/// An effect.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) message: Message,
    pub(crate) answer: String,
}

/// When a message arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    At(i64),
    /// Once the upstream has answered another, and then at the latest.
    AfterAnother(i64),
}

/// What became of a message that was on its way when the gate ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Never,
    AtOnce,
    AfterAnother,
    Late,
}

impl Fate {
    pub(crate) const ALL: [Self; 4] = [Self::Never, Self::AtOnce, Self::AfterAnother, Self::Late];
}

/// What a client was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// What was answered, without what the gate says about repeats.
    Done(String),
    InDoubt,
    /// The upstream has refused it.
    Refused,
    /// It had been in doubt, and has not happened.
    HasNotHappened,
    Else(String),
}

/// A call that was answered as done.
#[derive(Clone, Debug)]
pub(crate) struct Answered {
    pub(crate) call: String,
    /// Whether that cost one message to the upstream or none: then its own record says so, and no
    /// other call's.
    pub(crate) by_itself: bool,
}

/// The state of everything that a crash of the gate leaves alone.
#[derive(Clone, Debug)]
pub(crate) struct World {
    slot: usize,
    now: i64,
    ids: u64,
    pub(crate) done: Vec<Done>,
    /// Sent by the gate, and not at work in the upstream yet, each with its number.
    pub(crate) on_their_way: BTreeMap<u64, Message>,
    late: Vec<(Due, Message)>,
    luck: BTreeMap<usize, Luck>,
    /// What the client was told, for each ask of its script.
    pub(crate) said: Vec<Vec<Said>>,
    /// The asks that the client is done with.
    pub(crate) is_over: Vec<bool>,
    /// What the client has kept of the log, to hold later ones against.
    pub(crate) checkpoints: BTreeMap<&'static str, String>,
    /// How often the upstream was asked for something.
    pub(crate) asked: usize,
    /// Calls that were answered as done.
    pub(crate) answered: Vec<Answered>,
    pub(crate) violations: Vec<String>,
}

impl World {
    pub(crate) fn new(slot: usize, script: &Script) -> Self {
        let luck = script.asks.iter().rev().map(|ask| (ask.n, ask.luck)).collect();
        Self {
            slot,
            now: BEGINS,
            ids: 0,
            done: Vec::new(),
            on_their_way: BTreeMap::new(),
            late: Vec::new(),
            luck,
            said: vec![Vec::new(); script.asks.len()],
            is_over: vec![false; script.asks.len()],
            checkpoints: BTreeMap::new(),
            asked: 0,
            answered: Vec::new(),
            violations: Vec::new(),
        }
    }

    /// Its clock is the one that counts from now on.
    pub(crate) fn begin(&self) {
        CLOCKS[self.slot].store(self.now, Ordering::Relaxed);
    }

    pub(crate) fn clock(&self) -> fn() -> Micros {
        NOW[self.slot]
    }

    pub(crate) fn mint(&mut self) -> String {
        self.ids += 1;
        format!("{:032x}", self.ids)
    }

    /// Time passes, and what is due arrives.
    pub(crate) fn pass(&mut self, us: i64) {
        self.now += us;
        self.begin();
        let now = self.now;
        self.deliver(|due| matches!(due, Due::At(at) | Due::AfterAnother(at) if *at <= now));
    }

    /// Nothing goes wrong at the upstream any more.
    pub(crate) fn calm(&mut self) {
        self.luck.clear();
    }

    /// The upstream has answered something.
    pub(crate) fn has_answered(&mut self) {
        self.asked += 1;
        self.deliver(|due| matches!(due, Due::AfterAnother(_)));
    }

    fn deliver(&mut self, is_due: impl Fn(&Due) -> bool) {
        let (due, later) = std::mem::take(&mut self.late).into_iter().partition(|it| is_due(&it.0));
        self.late = later;
        let due: Vec<(Due, Message)> = due;
        for (_, message) in due {
            self.perform(message);
        }
    }

    /// The gate ends, and this becomes of each message that it had sent.
    pub(crate) fn crash(&mut self, fates: &[Fate]) {
        let at_latest = self.now + LATE_US;
        for (message, fate) in std::mem::take(&mut self.on_their_way).into_values().zip(fates) {
            match fate {
                Fate::Never => {}
                Fate::AtOnce => drop(self.perform(message)),
                Fate::AfterAnother => self.late.push((Due::AfterAnother(at_latest), message)),
                Fate::Late => self.late.push((Due::At(at_latest), message)),
            }
        }
    }

    /// The gate sends a message. Gives its number.
    pub(crate) fn send(&mut self, message: Message) -> u64 {
        self.ids += 1;
        self.on_their_way.insert(self.ids, message);
        self.ids
    }

    /// A message that was on its way arrives. `None`: no answer comes back.
    pub(crate) fn arrive(&mut self, number: u64) -> Option<Result<String, String>> {
        let message = self.on_their_way.remove(&number)?;
        match self.luck.remove(&message.n).unwrap_or(Luck::Good) {
            Luck::Good => Some(Ok(self.perform(message))),
            Luck::AnswerLost => {
                self.perform(message);
                None
            }
            luck @ (Luck::Late | Luck::LateAndBusy) => {
                if luck == Luck::LateAndBusy {
                    self.luck.insert(message.n, Luck::Refused);
                }
                self.late.push((Due::At(self.now + LATE_US), message));
                None
            }
            Luck::Lost => None,
            Luck::Refused => Some(Err("busy".to_owned())),
        }
    }

    /// Does it. What is idempotent it does once for each key.
    fn perform(&mut self, message: Message) -> String {
        let is_same = |done: &&Done| {
            message.tool == Tool::Pay
                && done.message.tool == Tool::Pay
                && done.message.reference == message.reference
        };
        if let Some(done) = self.done.iter().find(is_same) {
            return done.answer.clone();
        }
        let answer = format!("{} {} is number {}", message.tool.name(), message.n, self.done.len());
        self.done.push(Done { message, answer: answer.clone() });
        let last = self.done.last().map(|done| done.message.n).unwrap_or_default();
        if self.count(last) > 1 {
            self.violations.push(format!("{answer}: it happened before"));
        }
        answer
    }

    pub(crate) fn is_there(&self, reference: &str) -> bool {
        self.done.iter().any(|done| done.message.reference.as_deref() == Some(reference))
    }

    /// How often it has happened.
    pub(crate) fn count(&self, n: usize) -> usize {
        self.done.iter().filter(|done| done.message.n == n).count()
    }

    /// Whether it may still happen.
    pub(crate) fn is_late(&self, n: usize) -> bool {
        self.late.iter().any(|(_, message)| message.n == n)
    }
}
