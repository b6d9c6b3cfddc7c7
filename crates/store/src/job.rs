//! What callers hand to the committer, and what they get for it.

use crate::approval::{ApprovalAnswer, Question};
use crate::breaker::Turned;
use crate::canary::CanarySeen;
use crate::cap::Full;
use crate::effect::{Blocked, Means};
use crate::error::StoreError;
use crate::evaluation::Evaluation;
use crate::held::Holding;
use crate::lane::Reply;
use crate::notice::{Heard, Notice, Told};
use crate::payload::{Prepared, SealedResult};
use crate::permit::{OpenCall, OutcomeRecord, OutcomeState, Receipt, Ticket, TurnedAway};
use crate::rate::Slice;
use crate::risk::{Folded, ModeSet, Setting};
use crate::source::RunOfSource;
use crate::subject::Subject;
use crate::used::ShownName;
use crate::writer::Writer;
use lockgate_core::canary::Canary;
use lockgate_core::risk::Rules;
use lockgate_core::risk::baseline::Baseline;
use lockgate_types::facts::{SessionState, Switch};
use lockgate_types::history::{History, Step};
use lockgate_types::label::Label;
use lockgate_types::{CallId, Digest, Micros, SessionId, SubjectId};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::oneshot;

/// A unit of the committer's work.
pub(crate) enum Job {
    /// Joins the next transaction.
    Write(Write),
    /// Runs between transactions.
    Read(Box<dyn FnOnce(&mut Writer) + Send>),
    /// Ends the log in order.
    Close(oneshot::Sender<Result<(), StoreError>>),
}

/// A change, and who waits for it.
pub(crate) struct Write {
    pub(crate) change: Change,
    pub(crate) reply: Option<Reply>,
    /// Since when it waits.
    pub(crate) since: Instant,
}

impl Write {
    /// A change that waits from now on.
    pub(crate) fn new(change: Change, reply: Option<Reply>) -> Self {
        Self { change, reply, since: Instant::now() }
    }
}

/// What is to be written.
pub(crate) enum Change {
    /// An allowed call whose intent has to be durable before the effect.
    Intent { prepared: Box<Prepared>, ticket: Option<Ticket> },
    /// A refused call.
    Refusal(Box<Prepared>),
    /// An allowed call that is answered with the outcome of an earlier one.
    Repeat { prepared: Box<Prepared>, label: Label },
    /// A refused call that asks for approval.
    Ask { prepared: Box<Prepared>, question: Question },
    /// Somebody's answer to a request for approval, by a call to the admin API.
    Answer { call: CallId, answer: ApprovalAnswer, by: CallId },
    /// What is due for a webhook is taken, to be told to it.
    ClaimNotices { webhook: String, max: u32 },
    /// What came of telling a webhook.
    Told { webhook: String, notice: Notice, told: Told },
    /// A message of a channel's has arrived.
    Hear { webhook: String, id: String, body: Digest },
    /// It was answered.
    AnswerHeard { webhook: String, id: String, answer: String },
    /// A switch was thrown or lifted, by a call to the admin API.
    Switch { switch: Switch, is_on: bool, by: CallId },
    /// It became known what came of an effect in doubt.
    Resolve { call: CallId, state: OutcomeState, means: Means },
    /// An outcome, with its intent if they share the transaction.
    Conclude(Box<Conclusion>),
    /// A subject is looked up, or made.
    Subject { lookup: [u8; 32] },
    /// A bundle becomes the one that rules.
    Bundle { digest: Digest, files: Vec<u8>, count: usize },
    /// This node has taken up the bundle that rules its fleet.
    Followed { digest: Digest, count: usize },
    /// Timers loosen what is due: of a session, of its tenant.
    SettleModes { ids: [SessionId; 2], rules: Arc<Rules>, at: Micros },
    /// A new session begins with what is held against agent and subject.
    Inherit { id: SessionId, base: SessionId },
    /// A person sets a mode.
    SetMode(Box<Setting>),
    /// Something is held against a session.
    Hold(Box<Holding>),
    /// A window is added to what is usual.
    Fold(Box<Folded>),
    /// A circuit breaker changed its state.
    Breaker(Turned),
    /// A source of documents was run.
    Source(Box<RunOfSource>),
    /// Answers of a model that is tried out were counted.
    Canary(Box<CanarySeen>),
    /// A result of behaviour tests was handed in.
    Evaluation(Box<Evaluation>),
    /// A session has met something before the outcome of the call by which it did.
    Met(Box<Met>),
    /// A request was refused before there was a call.
    TurnedAway { turned: TurnedAway, lookup: Option<[u8; 32]> },
    /// A slice of a rate is taken.
    Slice(Slice),
    /// A subject's key is destroyed.
    Erase { issuer: String, subject: SubjectId },
}

impl Change {
    pub(crate) fn conclude(open: Box<OpenCall>, record: OutcomeRecord) -> Self {
        Self::Conclude(Box::new(Conclusion {
            open,
            record,
            result: None,
            bytes: 0,
            shown: Vec::new(),
        }))
    }
}

/// What a session has met.
pub(crate) struct Met {
    pub(crate) session: SessionId,
    pub(crate) history: Option<History>,
    pub(crate) label: Label,
    pub(crate) step: Step,
}

/// An outcome, ready to be written.
pub(crate) struct Conclusion {
    pub(crate) open: Box<OpenCall>,
    /// Without the result, which has been sealed.
    pub(crate) record: OutcomeRecord,
    pub(crate) result: Option<SealedResult>,
    pub(crate) bytes: u64,
    /// The documents that it has shown.
    pub(crate) shown: Vec<ShownName>,
}

/// What a durable change gives back.
pub(crate) enum Written {
    Entry(Receipt),
    /// The intent is written, and so much taken of each of its reservations.
    Intended {
        receipt: Receipt,
        taken: Vec<i64>,
    },
    /// The intent is durable; its ticket is armed.
    Admitted(Ticket),
    Subject(Arc<Subject>),
    /// The request for approval that now waits, or did already.
    Asked {
        call: CallId,
        expires: Micros,
    },
    /// How many tokens the slice has, or when there is one.
    Sliced(Result<u32, i64>),
    /// An answer was taken.
    Answered,
    /// What is to be told to a webhook.
    Claimed(Vec<Notice>),
    /// What was known of a message.
    Heard(Heard),
    /// A session and its tenant, once timers have loosened what was due.
    Settled(Box<(SessionState, SessionState)>),
    /// What became of a mode that a person set.
    Set(ModeSet),
    /// What is usual now.
    Folded(Box<Baseline>),
    /// How a model stands that is tried out.
    Canary(Box<Canary>),
    /// There was nothing to do, or nothing to say about it.
    Nothing,
}

/// Why a change was not made.
pub(crate) enum Rejected {
    /// The session is no longer as the decision saw it, or another bundle rules.
    Moved,
    /// The same effect was asked for before, or is being performed.
    Blocked(Blocked),
    /// That counter of its reservations has no room.
    Exhausted(Full),
    Failed(StoreError),
}

impl From<StoreError> for Rejected {
    fn from(error: StoreError) -> Self {
        Self::Failed(error)
    }
}
