//! One call on its way: what comes from the upstream meanwhile, and how it ends.
//!
//! The call runs in a task of its own. This is the handle to it; dropping the handle does not stop
//! the task, except for a subscription, whose end is exactly that.

use crate::credential::Speaker;
use crate::upstream::Changes;
use lockgate_store::{Pass, Spent};
use lockgate_types::label::Label;
use lockgate_types::{Code, Json, Object, UpstreamName};
use lockgate_wire::sse::SseEvent;
use lockgate_wire::{RequestId, RpcError};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Events waiting to be read. A reader that does not keep up holds up its own call, no other.
const EVENTS_MAX: usize = 64;
/// Commands waiting to be carried out: answers, notifications, a cancellation.
const COMMANDS_MAX: usize = 64;

/// The handle to a call on its way.
pub struct Exchange {
    running: Running,
    spent: Option<Spent>,
}

/// What an upstream says while a call is on its way, and outside of calls.
pub enum Event {
    /// A notification.
    Notification {
        /// The method.
        method: String,
        /// Its params.
        params: Object,
    },
    /// A request that the client is to answer, with [`Exchange::answer`].
    Request {
        /// The upstream's id for it.
        id: RequestId,
        /// The method.
        method: String,
        /// Its params.
        params: Object,
    },
    /// The upstream closed its stream in mid-call; the gate comes back by itself.
    StreamClosed {
        /// Milliseconds after which it wants to be asked again.
        retry_ms: Option<u64>,
    },
    /// A provider of models answers in events: status and headers, before the first of them.
    Begins(Json),
    /// Events of a provider of models, in their order.
    Events(Vec<SseEvent>),
    /// What comes has been read of what others had met: whoever gets it has met that, too.
    Met(Box<Label>),
    /// The call is over. Nothing follows.
    Finished(Finished),
}

/// A call that is over.
pub struct Finished {
    /// Proof that the permit was consumed, for the record of the outcome.
    pub spent: Spent,
    /// How it ended.
    pub end: End,
}

/// How a call ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The upstream's result.
    Result(Json),
    /// The upstream's error.
    Error(RpcError),
    /// There is no answer.
    Failed {
        /// Why.
        code: Code,
        /// What exactly, for the operator.
        detail: String,
        /// Whether bytes of the call may have reached the upstream: then its effect may have
        /// happened.
        dispatched: bool,
    },
}

impl Exchange {
    pub(crate) const fn new(running: Running, spent: Spent) -> Self {
        Self { running, spent: Some(spent) }
    }

    /// Whether it is with a database, which meets the obligations about rows and columns itself.
    pub const fn is_with_database(&self) -> bool {
        self.running.is_with_database
    }

    /// The next event. After [`Event::Finished`] there is none, and this waits for ever.
    pub async fn next(&mut self) -> Event {
        match self.running.next().await {
            Signal::Notification { method, params } => Event::Notification { method, params },
            Signal::Request { id, method, params } => Event::Request { id, method, params },
            Signal::StreamClosed { retry_ms } => Event::StreamClosed { retry_ms },
            Signal::Begins(reply) => Event::Begins(reply),
            Signal::Events(events) => Event::Events(events),
            Signal::Met(label) => Event::Met(label),
            Signal::End(end) => match self.spent.take() {
                Some(spent) => Event::Finished(Finished { spent, end }),
                None => std::future::pending().await,
            },
        }
    }

    /// Answers a request of the upstream's.
    pub fn answer(&self, request: &RequestId, outcome: Result<Json, RpcError>) {
        self.running.command(Command::Answer { id: request.clone(), outcome });
    }

    /// Sends a notification that belongs to this call, such as progress on a request of the
    /// upstream's.
    pub fn notify_upstream(&self, method: &str, params: Object) {
        self.running.command(Command::Notify { method: method.to_owned(), params });
    }

    /// Asks for the call to be given up: it is not sent if it was not, and the upstream is told if
    /// it was.
    pub fn cancel(&self, reason: Option<&str>) {
        self.running.command(Command::Cancel { reason: reason.map(str::to_owned) });
    }
}

/// The near end of a running call, without the proof. Boxed messages: a channel has room for many
/// from the start, and most calls say only how they ended.
pub(crate) struct Running {
    signals: mpsc::Receiver<Box<Signal>>,
    commands: mpsc::Sender<Box<Command>>,
    pub(crate) is_with_database: bool,
}

/// What the task of a call says.
#[derive(Debug)]
pub(crate) enum Signal {
    Notification { method: String, params: Object },
    Request { id: RequestId, method: String, params: Object },
    StreamClosed { retry_ms: Option<u64> },
    Begins(Json),
    Events(Vec<SseEvent>),
    Met(Box<Label>),
    End(End),
}

/// What the task of a call is told.
#[derive(Debug)]
pub(crate) enum Command {
    Answer { id: RequestId, outcome: Result<Json, RpcError> },
    Notify { method: String, params: Object },
    Cancel { reason: Option<String> },
}

/// The far end of a running call: held by its task.
pub(crate) struct FarEnd {
    signals: mpsc::Sender<Box<Signal>>,
    commands: mpsc::Receiver<Box<Command>>,
    /// Commands that came before there was anybody to carry them out.
    early: VecDeque<Command>,
    changes: Arc<Changes>,
    /// What is asked immediately before bytes leave. `None`: the gate speaks for itself.
    pub(crate) pass: Option<Pass>,
    /// Who speaks, for the credential that goes with it.
    pub(crate) speaker: Speaker,
    /// Whether the end of its reader is the end of the call: so it is with a subscription.
    pub(crate) ends_with_reader: bool,
    /// From which level on log messages pass.
    pub(crate) log_level: LogLevel,
}

/// From which level on log messages pass: a stateless caller hears those it asked for, while a
/// session may send all of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct LogLevel(usize);

impl LogLevel {
    /// From harmless to grave.
    const WORDS: [&str; 8] =
        ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"];
    const ALL: Self = Self(0);
    const NONE: Self = Self(Self::WORDS.len());

    /// `None`: no messages at all.
    pub(crate) fn from_word(word: Option<&str>) -> Self {
        let position = Self::WORDS.iter().position(|known| Some(*known) == word);
        position.map_or(Self::NONE, Self)
    }

    /// Whether a notification passes.
    fn passes(self, signal: &Signal) -> bool {
        match signal {
            Signal::Notification { method, params } if method == "notifications/message" => {
                self == Self::ALL
                    || Self::from_word(params.get("level").and_then(Json::as_str)) >= self
                        && self != Self::NONE
            }
            _ => true,
        }
    }
}

/// Both ends.
pub(crate) fn pair(changes: &Arc<Changes>) -> (Running, FarEnd) {
    let (signal_sender, signals) = mpsc::channel(EVENTS_MAX);
    let (command_sender, commands) = mpsc::channel(COMMANDS_MAX);
    let changes = Arc::clone(changes);
    let far = FarEnd {
        signals: signal_sender,
        commands,
        early: VecDeque::new(),
        changes,
        pass: None,
        speaker: Speaker::gate(),
        ends_with_reader: false,
        log_level: LogLevel::ALL,
    };
    (Running { signals, commands: command_sender, is_with_database: false }, far)
}

impl Running {
    /// A call that cannot be sent, because there is nobody to send it to.
    pub(crate) fn unsendable(upstream: &UpstreamName) -> Self {
        let (running, far) = pair(&Arc::default());
        let end = End::Failed {
            code: Code::UpstreamUnreachable,
            detail: format!("there is no upstream `{upstream}`"),
            dispatched: false,
        };
        // There is room for one.
        let _ = far.signals.try_send(Box::new(Signal::End(end)));
        running
    }

    pub(crate) async fn next(&mut self) -> Signal {
        let lost = || End::Failed {
            code: Code::InvariantBroken,
            detail: "the task of the call ended without an answer".to_owned(),
            dispatched: true,
        };
        self.signals.recv().await.map_or_else(|| Signal::End(lost()), |signal| *signal)
    }

    pub(crate) fn command(&self, command: Command) {
        // Full or closed: the call is over, or its upstream is so far behind that its deadline will
        // end it.
        let _ = self.commands.try_send(Box::new(command));
    }
}

impl FarEnd {
    /// The next command; waits for ever once the handle is gone, because nobody will say anything
    /// any more.
    pub(crate) async fn command(&mut self) -> Command {
        if let Some(command) = self.early.pop_front() {
            return command;
        }
        match self.commands.recv().await {
            Some(command) => *command,
            None if std::mem::take(&mut self.ends_with_reader) => Command::Cancel { reason: None },
            None => std::future::pending().await,
        }
    }

    /// Waits until the call is cancelled, keeping whatever else is said for later.
    pub(crate) async fn cancelled(&mut self) -> Option<String> {
        loop {
            match self.commands.recv().await.map(|command| *command) {
                Some(Command::Cancel { reason }) => return reason,
                Some(command) if self.early.len() < COMMANDS_MAX => self.early.push_back(command),
                Some(_) => {}
                None => return std::future::pending().await,
            }
        }
    }

    /// Says something. `false`: nobody listens any more.
    pub(crate) async fn say(&self, signal: Signal) -> bool {
        if let Signal::Notification { method, .. } = &signal {
            self.changes.note(method);
        }
        if !self.log_level.passes(&signal) {
            return true;
        }
        self.signals.send(Box::new(signal)).await.is_ok()
    }
}

/// What is said outside of calls, as the outside sees it.
pub(crate) fn to_event(signal: Signal) -> Option<Event> {
    match signal {
        Signal::Notification { method, params } => Some(Event::Notification { method, params }),
        Signal::Request { id, method, params } => Some(Event::Request { id, method, params }),
        Signal::StreamClosed { .. }
        | Signal::Begins(_)
        | Signal::Events(_)
        | Signal::Met(_)
        | Signal::End(_) => None,
    }
}
