//! Permits: the unforgeable proof that a recorded decision allows one exact effect.
//!
//! Only the store makes them, nothing copies them, and performing the effect consumes them. What is
//! left after that, [`Spent`], is needed once to record the outcome. Whichever of them is dropped
//! on the way, the call still gets an outcome: not dispatched, in doubt, or truncated.
//!
//! A permit cannot be made from its parts:
//! ```compile_fail,E0451
//! fn forge(call: lockgate_types::call::Call) -> lockgate_store::Permit {
//!     lockgate_store::Permit { call, decision: unimplemented!(), ticket: unimplemented!(),
//!         pass: unimplemented!() }
//! }
//! ```
//! It cannot be cloned:
//! ```compile_fail,E0599
//! fn twice(permit: lockgate_store::Permit) -> (lockgate_store::Permit, lockgate_store::Permit) {
//!     (permit.clone(), permit)
//! }
//! ```
//! It cannot be spent twice:
//! ```compile_fail,E0382
//! fn twice(permit: lockgate_store::Permit) {
//!     permit.spend();
//!     permit.spend();
//! }
//! ```
//! A read permit is no permit for anything else:
//! ```compile_fail,E0308
//! fn stretch(permit: lockgate_store::ReadPermit) -> lockgate_store::Permit {
//!     permit
//! }
//! ```
//! And an outcome is recorded once:
//! ```compile_fail,E0382
//! use lockgate_store::{OutcomeRecord, Spent, Store};
//! async fn twice(store: Store, spent: Spent, of: fn() -> OutcomeRecord) {
//!     let _ = store.conclude(spent, of()).await;
//!     let _ = store.conclude(spent, of()).await;
//! }
//! ```
//! The same lines compile where they are allowed:
//! ```
//! use lockgate_store::{OutcomeRecord, Permit, Store};
//! async fn once(store: Store, permit: Permit, of: fn() -> OutcomeRecord) {
//!     let (_call, _decision, spent) = permit.spend();
//!     let _ = store.conclude(spent, of()).await;
//! }
//! ```

use crate::cap::Reservation;
use crate::effect_key::EffectKey;
use crate::job::{Change, Write};
use crate::payload::Prepared;
use crate::queue::Queue;
use crate::remembered::RESULT_REMEMBERED_BYTES_MAX;
use crate::subject::Subject;
use crate::switch::{Pass, Switches};
use crate::used::ShownDocument;
use lockgate_core::caps::{Charge, Settles};
use lockgate_core::risk::Raise;
use lockgate_types::call::{Call, Effect};
use lockgate_types::decision::Decision;
use lockgate_types::facts::Facts;
use lockgate_types::flow::Author;
use lockgate_types::history::History;
use lockgate_types::identity::Identity;
use lockgate_types::label::{Confidentiality, Label};
use lockgate_types::{CallId, Code, Digest, Micros, SessionId, Tenant};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Where an entry stands, durably.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Receipt {
    /// Its index in its log.
    pub index: u64,
    /// Its leaf hash.
    pub leaf: Digest,
    /// Its place in the order of all that its node writes.
    pub(crate) place: u64,
}

/// How an effect ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutcomeState {
    /// It happened.
    Succeeded,
    /// It did not happen, or the upstream says that it failed.
    Failed,
    /// It may have happened.
    InDoubt,
    /// A read whose answer did not arrive whole.
    Truncated,
}

impl OutcomeState {
    /// The word in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::InDoubt => "in_doubt",
            Self::Truncated => "truncated",
        }
    }
}

/// What came back, to be recorded.
#[derive(Clone, Debug)]
pub struct OutcomeRecord {
    /// How it ended.
    pub state: OutcomeState,
    /// When.
    pub at: Micros,
    /// Why not, if it did not succeed.
    pub code: Option<Code>,
    /// Whether the result is kept whatever its size (the `log` obligation).
    pub keep_all: bool,
    /// What was answered, obligations met: the bytes of the JSON value.
    pub result: Option<Vec<u8>>,
    /// What the session is now exposed to.
    pub label: Label,
    /// From the proposal to the answer.
    pub duration_us: i64,
    /// How many values were redacted, masked or cut off.
    pub redactions: u32,
    /// Whether the result is a protocol error.
    pub is_error: bool,
    /// Whether the upstream asked the client something on the way: then asking again is another
    /// conversation.
    pub has_asked: bool,
    /// Whether the call certainly never left the gate.
    pub never_left: bool,
    /// What there is to say of it as the answer of a model.
    pub answer: Option<Box<AnswerRecord>>,
    /// The documents that the answer has shown, at most [`SHOWN_MAX`](crate::SHOWN_MAX).
    pub shown: BTreeSet<ShownDocument>,
}

/// What is recorded of a model's answer beside what all results have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnswerRecord {
    /// Who made it: provider, entry and version, in the bundle's names.
    pub generated_by: String,
    /// What was found about it: words of the gate.
    pub findings: BTreeSet<&'static str>,
}

/// A request that was refused before there was a call to decide.
#[derive(Clone, Debug)]
pub struct TurnedAway {
    /// Why.
    pub code: Code,
    /// When.
    pub at: Micros,
    /// The configured issuer and the subject that the request named, if any. Recorded only as a
    /// known pseudonym.
    pub who: Option<(String, String)>,
    /// The name of the listener.
    pub listener: String,
}

/// On what terms an allowed call gets its permit.
#[derive(Clone, Debug, Default)]
pub struct Terms {
    /// How long another call with the same arguments is the same effect; `None` if there is nothing
    /// that could be asked for twice.
    pub window_us: Option<i64>,
    /// The request for approval that is used up with the intent.
    pub approval: Option<CallId>,
    /// What it takes of caps.
    pub charges: Vec<Charge>,
}

/// How many rows a change may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomForRows {
    /// The cap that has the least room.
    pub cap: String,
    /// How much it has.
    pub max: u32,
}

/// The proof that a durable decision allows this exact call.
#[must_use = "a permit that is dropped is recorded as not dispatched"]
pub struct Permit {
    call: Call,
    decision: Decision,
    ticket: Ticket,
    pass: Pass,
}

/// The proof that a decision allows this exact read. Intent and outcome become durable together,
/// before the reply.
#[must_use = "a permit that is dropped is recorded as not dispatched"]
pub struct ReadPermit {
    call: Call,
    decision: Decision,
    ticket: Ticket,
    pass: Pass,
}

/// Who asks, and what their session had met when it was decided.
#[derive(Clone, Debug)]
pub struct Asker {
    /// Who.
    pub who: Arc<Identity>,
    /// What it had met.
    pub met: Label,
    /// What it was decided from: of a search in documents, each of which is decided from the same.
    pub facts: Option<Arc<Facts>>,
}

/// The proof that a permit was consumed: the call is being performed, and owes an outcome.
#[must_use = "an effect whose outcome is not recorded is recorded as in doubt"]
pub struct Spent {
    ticket: Ticket,
}

impl Permit {
    pub(crate) const fn new(call: Call, decision: Decision, ticket: Ticket, pass: Pass) -> Self {
        Self { call, decision, ticket, pass }
    }

    /// What is asked immediately before bytes leave.
    pub fn pass(&self) -> Pass {
        self.pass.clone()
    }

    /// What is allowed.
    pub const fn call(&self) -> &Call {
        &self.call
    }

    /// How many rows the change may change: what caps had left. `None`: no cap counts them.
    pub fn room_for_rows(&self) -> Option<RoomForRows> {
        let open = self.ticket.open.iter().flat_map(|open| &open.reservations);
        let rows = open.filter(|reservation| reservation.settles == Some(Settles::Rows));
        let least = rows.min_by_key(|reservation| reservation.amount)?;
        let max = u32::try_from(least.amount).unwrap_or(u32::MAX);
        Some(RoomForRows { cap: least.cap.clone(), max })
    }

    /// Why, and what must be done.
    pub const fn decision(&self) -> &Decision {
        &self.decision
    }

    /// For whom it is.
    pub fn asker(&self) -> Option<Asker> {
        self.ticket.asker()
    }

    /// Consumes the permit, to perform exactly this.
    pub fn spend(mut self) -> (Call, Decision, Spent) {
        self.ticket.is_spent = true;
        (self.call, self.decision, Spent { ticket: self.ticket })
    }
}

impl ReadPermit {
    pub(crate) const fn new(call: Call, decision: Decision, ticket: Ticket, pass: Pass) -> Self {
        Self { call, decision, ticket, pass }
    }

    /// What is asked immediately before bytes leave.
    pub fn pass(&self) -> Pass {
        self.pass.clone()
    }

    /// What is allowed.
    pub const fn call(&self) -> &Call {
        &self.call
    }

    /// Why, and what must be done.
    pub const fn decision(&self) -> &Decision {
        &self.decision
    }

    /// For whom it is.
    pub fn asker(&self) -> Option<Asker> {
        self.ticket.asker()
    }

    /// Consumes the permit, to perform exactly this.
    pub fn spend(mut self) -> (Call, Decision, Spent) {
        self.ticket.is_spent = true;
        (self.call, self.decision, Spent { ticket: self.ticket })
    }
}

impl Spent {
    pub(crate) fn into_open_call(mut self) -> Option<Box<OpenCall>> {
        self.ticket.open.take()
    }

    /// Says how much the call really took of its caps, where that was not known before. `None` from
    /// `actual`: it stays what was reserved.
    pub fn settle(&mut self, actual: impl Fn(&Settles) -> Option<i64>) {
        let open = self.ticket.open.iter_mut();
        for reservation in open.flat_map(|open| &mut open.reservations) {
            reservation.actual = reservation.settles.as_ref().and_then(&actual);
        }
    }

    /// Holds against the session what its outcome has shown, in the transaction of the outcome.
    pub fn hold(&mut self, raise: Raise) {
        if let Some(open) = &mut self.ticket.open {
            open.raise = Some(raise);
        }
    }

    /// Which call.
    pub fn call(&self) -> Option<&CallId> {
        self.ticket.open.as_ref().map(|open| &open.call)
    }
}

/// A call that owes an outcome.
pub(crate) struct OpenCall {
    pub(crate) call: CallId,
    pub(crate) session: SessionId,
    pub(crate) tenant: Tenant,
    pub(crate) subject: Arc<Subject>,
    pub(crate) effect: Effect,
    pub(crate) intent: IntentEntry,
    /// By what it is remembered, and for whom.
    pub(crate) history: Option<Arc<History>>,
    /// Whether its session remembers its result.
    pub(crate) is_remembered: bool,
    /// What makes another call the same effect.
    pub(crate) key: Option<EffectKey>,
    /// What it has taken of caps.
    pub(crate) reservations: Vec<Reservation>,
    /// Who asked.
    pub(crate) who: Arc<Identity>,
    /// What the session had met when it was decided.
    pub(crate) met: Label,
    /// What is held against the session with its outcome.
    pub(crate) raise: Option<Raise>,
    /// What it was decided from, where performing it decides more.
    pub(crate) facts: Option<Arc<Facts>>,
}

impl OpenCall {
    /// Whether a result of so many bytes is needed later: who asks for the same effect again gets
    /// the same answer, and a session remembers what it has seen.
    pub(crate) fn keeps(&self, bytes: usize) -> bool {
        // What was found is bounded by itself, and cited later however much it was.
        let is_found = self.is_remembered && self.facts.is_some();
        let is_small = bytes <= RESULT_REMEMBERED_BYTES_MAX;
        self.key.is_some() || is_found || (self.is_remembered && is_small)
    }
}

/// Where the intent of an open call is.
pub(crate) enum IntentEntry {
    /// In the log.
    Durable(Receipt),
    /// To be written in one transaction with the outcome.
    Shared(Box<Prepared>),
}

/// The debt of an outcome. Whoever drops it unpaid has it paid by the store.
pub(crate) struct Ticket {
    open: Option<Box<OpenCall>>,
    queue: Queue,
    switches: Arc<Switches>,
    is_spent: bool,
}

impl Ticket {
    /// A ticket for nothing yet.
    pub(crate) const fn blank(queue: Queue, switches: Arc<Switches>) -> Self {
        Self { open: None, queue, switches, is_spent: false }
    }

    fn asker(&self) -> Option<Asker> {
        let open = self.open.as_ref()?;
        let facts = open.facts.clone();
        Some(Asker { who: Arc::clone(&open.who), met: open.met.clone(), facts })
    }

    /// From now on an outcome is owed.
    pub(crate) fn arm(&mut self, open: OpenCall) {
        self.open = Some(Box::new(open));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        self.switches.ended(&open.call);
        let record = abandoned(&open, self.is_spent, self.queue.now());
        // If even this does not fit in the queue, the next start finds the intent open and says so.
        let _ = self.queue.end(Write::new(Change::conclude(open, record), None));
    }
}

/// The outcome of a call that nobody concluded.
fn abandoned(open: &OpenCall, is_spent: bool, at: Micros) -> OutcomeRecord {
    let (state, code) = match (is_spent, open.effect) {
        (false, _) => (OutcomeState::Failed, None),
        (true, Effect::Read) => (OutcomeState::Truncated, Some(Code::UpstreamTruncated)),
        (true, _) => (OutcomeState::InDoubt, Some(Code::OutcomeInDoubt)),
    };
    let label = Label::of(Author::Anyone, Confidentiality::Public);
    OutcomeRecord {
        state,
        at,
        code,
        keep_all: false,
        result: None,
        label: if is_spent { label } else { Label::default() },
        duration_us: 0,
        redactions: 0,
        is_error: false,
        has_asked: false,
        never_left: !is_spent,
        answer: None,
        shown: BTreeSet::new(),
    }
}
