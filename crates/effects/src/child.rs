//! One child process: lines of JSON in and out, and who gets which of them.
//!
//! On standard streams nothing says to which call a notification or a question belongs. A progress
//! notification goes by its token and a subscription's by its mark; the rest goes to the call that
//! was begun last, or to whoever listens outside of calls. A process serves one caller's key only,
//! so nothing reaches another caller.

use crate::exchange::{Command, FarEnd, Signal};
use crate::post::{Answer, answer_bytes, cancellation, nobody_there, read_message};
use crate::progress::Progress;
use crate::trouble::{Trouble, stopped};
use crate::upstream::Changes;
use lockgate_types::{Code, Json, Object};
use lockgate_wire::era::meta;
use lockgate_wire::{Era, Message, Notification, Request, RequestId};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Messages waiting for one call.
const INBOX_MAX: usize = 256;
/// Lines that are no messages, after which the process is not spoken to any more.
const NOISE_LINES_MAX: u32 = 64;
/// How long one call that does not read may hold up the others of the same caller.
const SLOW_MAX: Duration = Duration::from_secs(10);

/// A running child process.
pub(crate) struct Child {
    pub(crate) pid: u32,
    pub(crate) era: Era,
    /// The result of `initialize`, or of `server/discover`, as it came.
    pub(crate) opening: Json,
    pub(crate) link: Link,
}

/// The lines to and from a process.
#[derive(Clone)]
pub(crate) struct Link {
    lines: mpsc::Sender<Vec<u8>>,
    routes: Arc<Routes>,
    /// Ends the process.
    pub(crate) stop: CancellationToken,
    /// Whether the gate itself ends it, because nobody uses it any more.
    pub(crate) is_let_go: Arc<AtomicBool>,
}

/// Who waits for what.
pub(crate) struct Routes {
    state: Mutex<RouteState>,
    changes: Arc<Changes>,
}

#[derive(Default)]
struct RouteState {
    /// By order of their beginning: ids only grow.
    waiting: BTreeMap<RequestId, Waiting>,
    listener: Option<mpsc::Sender<Signal>>,
    ended: Option<Trouble>,
}

struct Waiting {
    inbox: mpsc::Sender<Result<Message, Trouble>>,
    progress_token: Option<Json>,
    is_subscription: bool,
}

impl Link {
    pub(crate) fn new(lines: mpsc::Sender<Vec<u8>>, changes: Arc<Changes>) -> Self {
        let routes = Routes { state: Mutex::new(RouteState::default()), changes };
        let (stop, is_let_go) = (CancellationToken::new(), Arc::default());
        Self { lines, routes: Arc::new(routes), stop, is_let_go }
    }

    /// Whether nothing can be said any more.
    pub(crate) fn has_ended(&self) -> bool {
        self.routes.lock().ended.is_some()
    }

    /// The process is gone, or not to be spoken to: every call on its way ends.
    pub(crate) fn end(&self, trouble: &Trouble) {
        let waiting = {
            let mut state = self.routes.lock();
            state.ended.get_or_insert_with(|| trouble.clone());
            state.listener = None;
            std::mem::take(&mut state.waiting)
        };
        for waiting in waiting.into_values() {
            // A full inbox: its call finds the end when it has read the rest.
            let _ = waiting.inbox.try_send(Err(trouble.clone()));
        }
        self.stop.cancel();
    }

    /// Hands a line to the process.
    pub(crate) async fn write(&self, line: Vec<u8>) -> Result<(), Trouble> {
        self.lines.send(line).await.map_err(|_| self.ended())
    }

    fn ended(&self) -> Trouble {
        let ended = self.routes.lock().ended.clone();
        let unknown = || Trouble::before(Code::UpstreamExited, "the process has ended");
        Trouble { dispatched: false, ..ended.unwrap_or_else(unknown) }
    }

    fn write_aside(&self, line: Vec<u8>) {
        let _ = self.lines.try_send(line);
    }

    /// Asks one thing while nobody else speaks: the opening.
    pub(crate) async fn ask(&self, request: &Request) -> Result<Answer, Trouble> {
        let (_registered, mut inbox) = self.register(request)?;
        self.write(request.to_bytes()).await?;
        loop {
            match inbox.recv().await {
                Some(Ok(Message::Response(response))) => {
                    return Ok(match response.outcome {
                        Ok(result) => Answer::Result(result),
                        Err(error) => Answer::Error(error),
                    });
                }
                Some(Ok(_)) => {}
                Some(Err(trouble)) => return Err(Trouble { dispatched: false, ..trouble }),
                None => return Err(self.ended()),
            }
        }
    }

    fn register(
        &self,
        request: &Request,
    ) -> Result<(Registered, mpsc::Receiver<Result<Message, Trouble>>), Trouble> {
        let (inbox, messages) = mpsc::channel(INBOX_MAX);
        let token = request.params.get("_meta").and_then(|given| given.get(meta::PROGRESS_TOKEN));
        let waiting = Waiting {
            inbox,
            progress_token: token.cloned(),
            is_subscription: request.method == "subscriptions/listen",
        };
        let mut state = self.routes.lock();
        if let Some(trouble) = &state.ended {
            return Err(Trouble { dispatched: false, ..trouble.clone() });
        }
        state.waiting.insert(request.id.clone(), waiting);
        let (routes, id) = (Arc::clone(&self.routes), request.id.clone());
        Ok((Registered { routes, id }, messages))
    }
}

/// Takes a call out of the routes when it ends, however it ends.
struct Registered {
    routes: Arc<Routes>,
    id: RequestId,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.routes.lock().waiting.remove(&self.id);
    }
}

impl Child {
    /// Whether it can be spoken to.
    pub(crate) fn has_ended(&self) -> bool {
        self.link.has_ended()
    }

    /// Says something that has no answer.
    pub(crate) async fn write(&self, line: Vec<u8>) -> Result<(), Trouble> {
        self.link.write(line).await
    }

    /// Says something that has no answer, if it can be said at once.
    pub(crate) fn write_aside(&self, line: Vec<u8>) {
        self.link.write_aside(line);
    }

    /// From now on, this gets what is said outside of calls.
    pub(crate) fn listen(&self, listener: mpsc::Sender<Signal>) {
        self.link.routes.lock().listener = Some(listener);
    }

    /// Sends a request and stays with it until its answer.
    pub(crate) async fn run(
        &self,
        request: &Request,
        far: &mut FarEnd,
        progress: &Progress,
    ) -> Result<Answer, Trouble> {
        let (_registered, mut inbox) = self.link.register(request)?;
        let Ok(place) = self.link.lines.reserve().await else { return Err(self.link.ended()) };
        if let Some(pass) = &far.pass {
            pass.leave().map_err(|stop| stopped(&stop))?;
        }
        progress.leaves(&request.id);
        place.send(request.to_bytes());
        loop {
            let message = tokio::select! {
                biased;
                message = inbox.recv() => message,
                command = far.command() => {
                    self.obey(command, &request.id, progress);
                    continue;
                }
            };
            let message = message.unwrap_or_else(|| Err(self.link.ended()));
            match message.map_err(|trouble| Trouble { dispatched: true, ..trouble })? {
                Message::Response(response) => {
                    return Ok(match response.outcome {
                        Ok(result) => Answer::Result(result),
                        Err(error) => Answer::Error(error),
                    });
                }
                Message::Notification(Notification { method, params, .. }) => {
                    far.say(Signal::Notification { method, params }).await;
                }
                Message::Request(Request { id, method, params, .. }) => {
                    progress.asked();
                    let unheard = id.clone();
                    if !far.say(Signal::Request { id, method, params }).await {
                        progress.answered();
                        self.write_aside(answer_bytes(unheard, Err(nobody_there())));
                    }
                }
            }
        }
    }

    fn obey(&self, command: Command, request: &RequestId, progress: &Progress) {
        match command {
            Command::Answer { id, outcome } => {
                progress.answered();
                self.write_aside(answer_bytes(id, outcome));
            }
            Command::Notify { method, params } => {
                self.write_aside(Notification::new(method, params).to_bytes());
            }
            Command::Cancel { reason } => {
                progress.cancelled();
                self.write_aside(cancellation(request, reason.as_deref()));
            }
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.link.is_let_go.store(true, Ordering::Release);
        self.link.stop.cancel();
    }
}

impl Routes {
    fn lock(&self) -> std::sync::MutexGuard<'_, RouteState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a message goes.
    fn inbox(&self, message: &Message) -> Option<mpsc::Sender<Result<Message, Trouble>>> {
        let mut state = self.lock();
        let (method, params) = match message {
            Message::Response(response) => {
                let id = response.id.as_ref()?;
                return state.waiting.remove(id).map(|waiting| waiting.inbox);
            }
            Message::Notification(notification) => (&notification.method, &notification.params),
            Message::Request(request) => (&request.method, &request.params),
        };
        if let Some(marked) = subscription(method, params) {
            return state.waiting.get(&marked).map(|waiting| waiting.inbox.clone());
        }
        if method == "notifications/progress" {
            let token = params.get("progressToken");
            let of_token = |waiting: &&Waiting| waiting.progress_token.as_ref() == token;
            return state.waiting.values().find(of_token).map(|waiting| waiting.inbox.clone());
        }
        let is_outside = method.ends_with("/list_changed") || method.ends_with("/updated");
        if is_outside && state.listener.is_some() {
            return None;
        }
        let calls = state.waiting.values().rev().filter(|waiting| !waiting.is_subscription);
        calls.map(|waiting| waiting.inbox.clone()).next()
    }

    fn listener(&self) -> Option<mpsc::Sender<Signal>> {
        self.lock().listener.clone()
    }

    fn waiting(&self) -> usize {
        self.lock().waiting.len()
    }
}

/// The subscription that a notification belongs to.
fn subscription(method: &str, params: &Object) -> Option<RequestId> {
    let mark = params.get("_meta").and_then(|given| given.get(meta::SUBSCRIPTION_ID));
    // A server ends a subscription by cancelling the request that opened it.
    let ended = (method == "notifications/cancelled").then(|| params.get("requestId")).flatten();
    RequestId::from_json(mark.or(ended)?)
}

/// Reads what the process says until it says no more.
pub(crate) async fn read_lines(stdout: impl AsyncRead + Unpin, link: Link, line_bytes_max: usize) {
    let mut reader = BufReader::new(stdout);
    let mut line = Vec::new();
    let mut noise = 0;
    loop {
        match next_line(&mut reader, &mut line, line_bytes_max).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(trouble) => return link.end(&trouble),
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        match read_message(text, line_bytes_max) {
            Ok(message) => route(&link, message).await,
            // It is not said which call a spoiled message answers, so all of them are affected.
            Err(trouble) if text.starts_with(b"{") => return link.end(&trouble),
            Err(trouble) if noise >= NOISE_LINES_MAX => return link.end(&trouble),
            Err(_) => noise += 1,
        }
    }
}

/// Reads one line, up to a bound. `false`: there is none.
pub(crate) async fn next_line(
    reader: &mut (impl AsyncBufReadExt + Unpin),
    line: &mut Vec<u8>,
    bytes_max: usize,
) -> Result<bool, Trouble> {
    line.clear();
    loop {
        // Whatever breaks a pipe, nothing more comes through it.
        let Ok(piece) = reader.fill_buf().await else { return Ok(!line.is_empty()) };
        if piece.is_empty() {
            return Ok(!line.is_empty());
        }
        let end = piece.iter().position(|byte| *byte == b'\n');
        let part = piece.get(..end.unwrap_or(piece.len())).unwrap_or_default();
        if line.len() + part.len() > bytes_max {
            let detail = format!("a line is longer than {bytes_max} bytes");
            return Err(Trouble::after(Code::UpstreamTooLarge, detail));
        }
        line.extend_from_slice(part);
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

async fn route(link: &Link, message: Message) {
    if let Message::Notification(notification) = &message {
        link.routes.changes.note(&notification.method);
    }
    if let Some(inbox) = link.routes.inbox(&message) {
        let _ = inbox.send_timeout(Ok(message), SLOW_MAX).await;
        return;
    }
    let listener = link.routes.listener();
    match (message, listener) {
        (Message::Notification(Notification { method, params, .. }), Some(listener)) => {
            let _ = listener.try_send(Signal::Notification { method, params });
        }
        (Message::Request(Request { id, method, params, .. }), Some(listener)) => {
            let unheard = id.clone();
            if listener.try_send(Signal::Request { id, method, params }).is_err() {
                link.write_aside(answer_bytes(unheard, Err(nobody_there())));
            }
        }
        (Message::Request(Request { id, .. }), None) => {
            link.write_aside(answer_bytes(id, Err(nobody_there())));
        }
        (Message::Response(response), _) => {
            let waiting = link.routes.waiting();
            tracing::debug!(id = ?response.id, waiting, "an answer that nobody waits for");
        }
        (Message::Notification(_), None) => {}
    }
}
