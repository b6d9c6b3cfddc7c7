//! Calls that wait for people: how a client hears of it, and what comes of what it says.
//!
//! The client is the agent's, and so is whoever sits before it as far as the gate can know: it is
//! shown where people answer, and what it says back is no answer. `accept` means that somebody has
//! seen the address; `decline` and `cancel` give the request up.
//!
//! The `requestState` that a stateless client brings back is only the name of the request. It needs
//! no seal and no key: whose request it is, and for what, is looked up in the record, where another
//! node finds it as well, and after a restart. What can be gained by making one up is to look again
//! at a request of one's own.

use crate::mcp::ask::Ask;
use lockgate_effects::Caller;
use lockgate_kernel::{Answer, Kernel, Reply, Resumes, ToClient, Waits};
use lockgate_store::ApprovalState;
use lockgate_types::{CallId, Code, Digest, Json, Micros, Object, methods};
use lockgate_wire::Era;
use lockgate_wire::bridge::{InputRequest, InputRequired, check_declared, input_required};
use lockgate_wire::era::V2025_11_25;
use lockgate_wire::refusal::REFUSAL_META;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// What a state that names a request begins with.
const PREFIX: &str = "lockgate.approval.";
/// The key of the question.
const KEY: &str = "approval";
/// Of the calls that may wait, how many are one agent's at most: a fourth.
const SHARE: usize = 4;

/// How a client hears that its call waits for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Telling {
    /// By the refusal alone.
    Refusal,
    /// By a request to the client while the call waits.
    Elicitation,
    /// By a result that asks; the call that comes back from it waits for a while.
    InputRequired,
}

/// What can be told to a client of that era with these capabilities.
pub(crate) fn telling(caller: &Caller, version: &str) -> Telling {
    let params = Object::new().with("mode", "url");
    if check_declared(&caller.capabilities, "elicitation/create", &params).is_err() {
        return Telling::Refusal;
    }
    match caller.era {
        Era::Stateless => Telling::InputRequired,
        Era::Sessions if version == V2025_11_25 => Telling::Elicitation,
        // The version before knows forms only, and no link belongs in a form.
        Era::Sessions => Telling::Refusal,
    }
}

/// Takes what a client brings back about a request of its own out of the params, so that the call
/// is the one that was stopped. `None`: it brings back nothing of the kind.
pub(crate) fn take_resumption(params: &mut Object) -> Result<Option<Resumes>, Code> {
    let state = params.get("requestState").and_then(Json::as_str);
    let Some(name) = state.and_then(|state| state.strip_prefix(PREFIX)) else { return Ok(None) };
    let request = CallId::new(name).map_err(|_| Code::StateRejected)?;
    let said = match params.get("inputResponses") {
        None => None,
        Some(Json::Object(responses)) => responses.get(KEY),
        Some(_) => return Err(Code::ParamsNotObject),
    };
    let is_withdrawn = match said.map(|said| said.get("action").and_then(Json::as_str)) {
        None | Some(Some("accept")) => false,
        Some(Some("decline" | "cancel")) => true,
        Some(_) => return Err(Code::ParamsNotObject),
    };
    params.remove("requestState");
    params.remove("inputResponses");
    Ok(Some(Resumes { request, is_withdrawn }))
}

/// Whether a call is a later step of one that its upstream takes in several: then the places for a
/// state and for answers are taken.
pub(crate) fn is_step(params: &Object) -> bool {
    params.contains("requestState") || params.contains("inputResponses")
}

/// The result that asks a stateless client, if its call waits for people.
pub(crate) fn input_result(reply: &Reply, method: &str, now: Micros) -> Option<Json> {
    let (waits, url) = pending(reply)?;
    let Answer::Refused(refusal) = &reply.answer else { return None };
    let params = question(waits, url, now);
    let request = InputRequest { key: KEY.to_owned(), method: ELICIT.to_owned(), params };
    let state = Some(format!("{PREFIX}{}", waits.call));
    let required = InputRequired { requests: vec![request], state };
    let mut result = input_required(methods::find(method)?, &required).ok()?;
    let told = refusal.clone().with_call(reply.call.clone()).to_json();
    result.as_object_mut()?.set("_meta", Object::new().with(REFUSAL_META, told));
    Some(result)
}

const ELICIT: &str = "elicitation/create";

/// The request that a reply says its call waits for, and where people answer it.
fn pending(reply: &Reply) -> Option<(&Waits, &str)> {
    let Answer::Refused(refusal) = &reply.answer else { return None };
    let waits = refusal.approval.as_deref().filter(|waits| waits.is_pending())?;
    Some((waits, waits.url.as_deref()?))
}

/// What a client shows. Names of the bundle's, and nothing that a model wrote.
fn question(waits: &Waits, url: &str, now: Micros) -> Object {
    let minutes = waits.expires_at.0.saturating_sub(now.0).max(0) / 60_000_000;
    let needs = waits.requirements.join(", ");
    let message = format!(
        "`{}` waits until somebody agrees to exactly this call: {needs}. They can see it and \
         answer at this address for {minutes} more minutes. Whoever asked for it cannot.",
        waits.operation
    );
    Object::new().with("mode", "url").with("message", message).with("url", url)
}

/// Calls that wait for people while their clients wait for them.
#[derive(Default)]
pub(crate) struct WaitingRoom(Mutex<HashMap<Digest, usize>>);

/// A place in it, until this is dropped.
struct Seat {
    room: Arc<WaitingRoom>,
    who: Digest,
}

impl WaitingRoom {
    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>, ask: &Ask, max: usize) -> Option<Seat> {
        let identity = &ask.identity;
        let who = Object::new()
            .with("agent", identity.agent.as_str())
            .with("environment", identity.environment.as_str())
            .with("tenant", identity.tenant.as_str());
        let who = Json::from(who).digest();
        let mut room = self.lock();
        let all: usize = room.values().sum();
        let own = room.get(&who).copied().unwrap_or_default();
        if all >= max || own >= max.div_ceil(SHARE) {
            return None;
        }
        room.insert(who, own + 1);
        drop(room);
        Some(Seat { room: Arc::clone(self), who })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut room = self.room.lock();
        if let Some(count) = room.get_mut(&self.who) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                room.remove(&self.who);
            }
        }
    }
}

/// What a client has said to the question.
enum Said {
    /// Nothing yet, or that it was shown.
    Nothing,
    GivenUp,
    /// It cannot show it.
    Nowhere,
}

/// Makes a call; if it waits for people, tells the client, waits for them within bounds, and has it
/// decided again. Nothing is held meanwhile but the client's own request.
pub(crate) async fn call(
    kernel: &Kernel,
    room: &Arc<WaitingRoom>,
    ask: Ask,
    client: mpsc::Sender<ToClient>,
) -> Reply {
    let may_wait = match ask.telling {
        Telling::Refusal => false,
        Telling::Elicitation => ask.resumes.is_none(),
        Telling::InputRequired => ask.resumes.as_ref().is_some_and(|it| !it.is_withdrawn),
    };
    if !may_wait {
        return perform(kernel, ask, client).await;
    }
    let reply = perform(kernel, ask.clone(), client.clone()).await;
    let Some(world) = kernel.world() else { return reply };
    let limits = &world.gate.limits;
    let until = kernel.clock().now().0.saturating_add(i64::from(limits.approval_wait_ms) * 1000);
    let max = usize::try_from(limits.approval_waits_max).unwrap_or(usize::MAX);
    drop(world);
    let Some((waits, url)) = pending(&reply) else { return reply };
    let Some(seat) = room.enter(&ask, max).filter(|_| until > kernel.clock().now().0) else {
        return reply;
    };
    let request = waits.call.clone();
    let answer = match ask.telling {
        Telling::Elicitation => {
            let params = question(waits, url, kernel.clock().now());
            let params = params.with("elicitationId", request.as_str());
            let (answer, said) = oneshot::channel();
            let asked = ToClient::Request { method: ELICIT.to_owned(), params, answer };
            let Ok(()) = client.send(asked).await else { return reply };
            Some(said)
        }
        Telling::Refusal | Telling::InputRequired => None,
    };
    let has_asked = answer.is_some();
    let waited = wait(kernel, &request, Micros(until), answer, &client).await;
    let Some(is_withdrawn) = waited else { return reply };
    if has_asked && !is_withdrawn {
        let params = Object::new().with("elicitationId", request.as_str());
        let method = "notifications/elicitation/complete".to_owned();
        // A client that is gone need not hear of it.
        let _ = client.send(ToClient::Notification { method, params }).await;
    }
    drop(seat);
    let resumes = Some(Resumes { request, is_withdrawn });
    perform(kernel, Ask { resumes, ..ask }, client).await
}

async fn perform(kernel: &Kernel, mut ask: Ask, client: mpsc::Sender<ToClient>) -> Reply {
    let resumes = ask.resumes.take();
    let proposal = ask.into_proposal(client);
    match resumes {
        Some(resumes) => kernel.call_again(proposal, resumes).await,
        None => kernel.call(proposal).await,
    }
}

/// Waits until the request does not wait any more, or is given up: whether it is. `None`: it still
/// waits, and nobody is there to wait for it.
async fn wait(
    kernel: &Kernel,
    request: &CallId,
    until: Micros,
    answer: Option<oneshot::Receiver<Result<Json, lockgate_wire::RpcError>>>,
    client: &mpsc::Sender<ToClient>,
) -> Option<bool> {
    let resolved = kernel.wait_for_request(request, until);
    let said = async {
        let Some(answer) = answer else { return std::future::pending().await };
        match read(answer.await) {
            Said::Nothing => std::future::pending().await,
            said => said,
        }
    };
    tokio::select! {
        biased;
        state = resolved => match state {
            Ok(ApprovalState::Pending) | Err(_) => None,
            Ok(_) => Some(false),
        },
        said = said => match said {
            Said::GivenUp => Some(true),
            Said::Nothing | Said::Nowhere => None,
        },
        () = client.closed() => None,
    }
}

fn read(answer: Result<Result<Json, lockgate_wire::RpcError>, oneshot::error::RecvError>) -> Said {
    let Ok(Ok(answer)) = answer else { return Said::Nowhere };
    match answer.get("action").and_then(Json::as_str) {
        Some("accept") => Said::Nothing,
        Some("decline" | "cancel") => Said::GivenUp,
        Some(_) | None => Said::Nowhere,
    }
}
