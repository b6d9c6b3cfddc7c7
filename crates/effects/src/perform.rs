//! The way of one call through its upstream: readied, sent, stayed with, translated where the eras
//! differ.
//!
//! What is sent are the params of the call as policy saw them, and the envelope that the upstream's
//! era needs. A call is sent once; it is sent again only when the upstream certainly did nothing
//! with it (it did not know the session), or asked for it (`input_required`).

use crate::breaker::{Watch, shown};
use crate::caller::Caller;
use crate::credential::Speaker;
use crate::exchange::{Command, End, FarEnd, LogLevel, Signal};
use crate::post::Answer;
use crate::progress::Progress;
use crate::share::Share;
use crate::trouble::{Came, Trouble, stopped};
use crate::upstream::{Extra, Upstream, Voice};
use crate::upstreams::Through;
use lockgate_core::breaker::Shown;
use lockgate_store::Pass;
use lockgate_types::call::Call;
use lockgate_types::label::Label;
use lockgate_types::{Code, Json, Object};
use lockgate_wire::bridge::{self, ClientProfile, Crossing, InputRequired};
use lockgate_wire::headers::MirroredArgument;
use lockgate_wire::{Era, Method, Request, RequestId, RpcError, WireError, numbers};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;

/// How often one call may be asked for input.
const INPUT_ROUNDS_MAX: u32 = 16;
/// How often the clock is looked at while its deadline may move.
pub(crate) const STEP: Duration = Duration::from_secs(1);

/// Performs a call, to its end. Nothing here fails: a failure is how the call ends.
pub(crate) async fn perform(
    upstream: Arc<Upstream>,
    call: Call,
    caller: Arc<Caller>,
    (pass, watch): (Option<Pass>, Watch),
    far: FarEnd,
) {
    let mut far = far;
    far.pass = pass;
    let key = call.key_header.clone().map(|name| (name, call.effect_key()));
    let is_subscription = call.method == "subscriptions/listen";
    far.ends_with_reader = is_subscription;
    let progress = Progress::within((!is_subscription).then_some(upstream.timeout));
    let step = upstream.timeout.min(STEP);
    if let Some(pass) = &far.pass {
        pass.ready().await;
    }
    let end = match admit(&upstream, &far.speaker, is_subscription) {
        Ok(_place) => {
            let mut journey =
                Journey { upstream: &upstream, caller: &caller, key: key.as_ref(), voice: None };
            let ended = {
                let work = pin!(journey.run(call, &mut far, &progress));
                progress.bound(step, work).await
            };
            if ended.is_err() {
                journey.give_up(&progress);
            }
            ended
        }
        Err(trouble) => Err(trouble),
    };
    conclude(&upstream, watch, end, &far).await;
}

/// The end of every call: remembered for what it says about the upstream, and told.
pub(crate) async fn conclude(
    upstream: &Upstream,
    watch: Watch,
    ended: Result<End, Trouble>,
    far: &FarEnd,
) {
    let end = match ended {
        Ok(end) => {
            upstream.pulse.is_well();
            watch.over(Shown::Answer);
            end
        }
        Err(trouble) => {
            note(upstream, &trouble);
            watch.over(shown(&trouble));
            trouble.into_end()
        }
    };
    far.say(Signal::End(end)).await;
}

/// Performs a call that the gate answers itself, within the bounds of its upstream and past the
/// switches: nothing of `answer` is done before. What whoever reads it meets is said before its
/// end, with whose outcome that is recorded.
pub(crate) async fn perform_here(
    upstream: &Upstream,
    through: Through,
    far: &FarEnd,
    answer: impl Future<Output = Result<(End, Option<Label>), Trouble>>,
) {
    let Through { pass, watch, .. } = through;
    let answered = match admit(upstream, &far.speaker, false) {
        Ok(_place) => {
            if let Some(pass) = &pass {
                pass.ready().await;
            }
            match pass.map_or(Ok(()), |pass| pass.leave()) {
                Ok(()) => answer.await,
                Err(stop) => Err(stopped(&stop)),
            }
        }
        Err(trouble) => Err(trouble),
    };
    let ended = match answered {
        Ok((end, met)) => {
            if let Some(met) = met {
                far.say(Signal::Met(Box::new(met))).await;
            }
            Ok(end)
        }
        Err(trouble) => Err(trouble),
    };
    conclude(upstream, watch, ended, far).await;
}

/// A place among the calls on their way. Nobody waits for one: a queue would hide that the upstream
/// is too slow.
pub(crate) fn admit(
    upstream: &Upstream,
    speaker: &Speaker,
    is_subscription: bool,
) -> Result<Place, Trouble> {
    let (places, shares) = match is_subscription {
        true => (&upstream.subscriptions, &upstream.subscription_shares),
        false => (&upstream.calls, &upstream.shares),
    };
    let place = Arc::clone(places).try_acquire_owned().map_err(|_| {
        let detail = "as many calls as `in_flight_max` allows are on their way";
        Trouble::before(Code::UpstreamBusy, detail)
    })?;
    let share = speaker.who().map(|who| shares.take(who)).transpose()?;
    Ok(Place { _place: place, _share: share })
}

/// A place among the calls on their way, of the upstream's and of the caller's. Both are free again
/// when this is gone.
pub(crate) struct Place {
    _place: OwnedSemaphorePermit,
    _share: Option<Share>,
}

/// Remembers what a failure says about the upstream.
pub(crate) fn note(upstream: &Upstream, trouble: &Trouble) {
    match trouble.code {
        // What the caller or a bound ended says nothing about the upstream.
        Code::CallCancelled
        | Code::UpstreamBusy
        | Code::ShareTaken
        | Code::UpstreamTooLarge
        | Code::SwitchEngaged
        | Code::LeaseExpired
        | Code::FactsMoved
        | Code::StatementRefused
        | Code::RequestRefused
        | Code::ObligationUnknown
        | Code::MemoryFull
        | Code::MemoTooLarge
        | Code::NothingToExchange
        | Code::CannotCrossEras => {}
        // These are told, and say nothing about whether it is there.
        Code::CredentialRefused
        | Code::CredentialInsufficient
        | Code::TokenEndpointAway
        | Code::TokenRefused
        | Code::SecretUnreadable => upstream.pulse.was_wronged(trouble),
        Code::UpstreamProtocol => {
            upstream.eras.doubt();
            upstream.pulse.is_unwell(trouble);
        }
        _ => upstream.pulse.is_unwell(trouble),
    }
}

struct Journey<'a> {
    upstream: &'a Arc<Upstream>,
    caller: &'a Caller,
    /// The header for the call's idempotency key, and the key.
    key: Option<&'a (String, String)>,
    voice: Option<Voice>,
}

impl Journey<'_> {
    async fn run(
        &mut self,
        call: Call,
        far: &mut FarEnd,
        progress: &Progress,
    ) -> Result<End, Trouble> {
        let era = self.ready(far).await?.era();
        let Call { method, params, .. } = call;
        let known = lockgate_types::methods::find(&method);
        let crossing =
            known.map_or(Crossing::Same, |known| bridge::crossing(known, self.caller.era, era));
        match (crossing, self.caller.era, era) {
            (Crossing::Gate, Era::Sessions, Era::Stateless) if is_answered_here(&method) => {
                Ok(End::Result(Object::new().into()))
            }
            (Crossing::Gate | Crossing::Never, _, _) => {
                Err(crossed(bridge::cannot_cross(&method, era)))
            }
            // Boxed, so that a call which crosses nothing does not carry the room for it.
            (Crossing::Same, Era::Sessions, Era::Stateless) => {
                Box::pin(self.cross_to_stateless(method, params, known, far, progress)).await
            }
            (Crossing::Same, Era::Stateless, Era::Sessions) => {
                far.log_level = LogLevel::from_word(self.caller.log_level.as_deref());
                Box::pin(self.cross_to_sessions(method, params, known, far, progress)).await
            }
            (Crossing::Same, _, _) => {
                let mut request = Request::new(self.upstream.fresh_id(), method, params);
                self.send(&mut request, far, progress).await
            }
        }
    }

    /// Opens the line. Until then, a cancelled call simply is not sent.
    async fn ready(&mut self, far: &mut FarEnd) -> Result<Voice, Trouble> {
        let speaker = far.speaker.clone();
        let voice = tokio::select! {
            biased;
            voice = self.upstream.voice(self.caller, &speaker) => voice?,
            _ = far.cancelled() => {
                let detail = "the call was cancelled before it was sent";
                return Err(Trouble::before(Code::UpstreamTimeout, detail).by(Came::ByCaller));
            }
        };
        self.voice = Some(voice.clone());
        Ok(voice)
    }

    /// Sends a request, a second time if the upstream did not know the session or the headers had
    /// to change.
    async fn send(
        &mut self,
        request: &mut Request,
        far: &mut FarEnd,
        progress: &Progress,
    ) -> Result<End, Trouble> {
        let mirrored = self.mirrored(request).await;
        match self.attempt(request, &mirrored, far, progress).await? {
            Answer::SessionGone => {}
            Answer::Error(error) if error.number == numbers::HEADER_MISMATCH => {
                return Box::pin(self.send_mirrored(request, &mirrored, error, far, progress))
                    .await;
            }
            answer => return finish(answer),
        }
        Box::pin(self.send_anew(request, &mirrored, far, progress)).await
    }

    /// Sends a request again whose headers were refused, if the headers it needs have changed.
    async fn send_mirrored(
        &self,
        request: &mut Request,
        before: &[MirroredArgument],
        error: RpcError,
        far: &mut FarEnd,
        progress: &Progress,
    ) -> Result<End, Trouble> {
        let Some(again) = self.mirrored_again(request, before).await else {
            return Ok(End::Error(error));
        };
        request.id = self.upstream.fresh_id();
        finish(self.attempt(request, &again, far, progress).await?)
    }

    /// Sends a request again in a new session.
    async fn send_anew(
        &mut self,
        request: &mut Request,
        mirrored: &[MirroredArgument],
        far: &mut FarEnd,
        progress: &Progress,
    ) -> Result<End, Trouble> {
        if let Some(voice) = &self.voice {
            self.upstream.forget(self.caller, voice);
        }
        self.ready(far).await?;
        request.id = self.upstream.fresh_id();
        finish(self.attempt(request, mirrored, far, progress).await?)
    }

    async fn attempt(
        &self,
        request: &Request,
        mirrored: &[MirroredArgument],
        far: &mut FarEnd,
        progress: &Progress,
    ) -> Result<Answer, Trouble> {
        let Some(voice) = &self.voice else {
            return Err(Trouble::before(Code::InvariantBroken, "the line is not open"));
        };
        let extra = Extra { mirrored, key: self.key };
        self.upstream.attempt(voice, request, extra, far, progress).await
    }

    /// The arguments of a tool that have to be repeated in headers.
    async fn mirrored(&self, request: &Request) -> Arc<[MirroredArgument]> {
        let is_needed =
            request.method == "tools/call" && matches!(self.voice, Some(Voice::Stateless(_)));
        let tool = request.params.get("name").and_then(Json::as_str);
        match tool {
            Some(tool) if is_needed => Box::pin(self.upstream.mirrored(self.caller, tool)).await,
            _ => Arc::new([]),
        }
    }

    /// The same, asked again because the upstream says that they were wrong; `None` if they have
    /// not changed.
    async fn mirrored_again(
        &self,
        request: &Request,
        before: &[MirroredArgument],
    ) -> Option<Arc<[MirroredArgument]>> {
        self.upstream.changes.note("notifications/tools/list_changed");
        let now = self.mirrored(request).await;
        (*now != *before).then_some(now)
    }

    /// A stateless caller at an upstream with sessions.
    async fn cross_to_sessions(
        &mut self,
        method: String,
        params: Object,
        known: Option<&'static Method>,
        far: &mut FarEnd,
        progress: &Progress,
    ) -> Result<End, Trouble> {
        let params = bridge::params_to_sessions(params);
        let mut request = Request::new(self.upstream.fresh_id(), method, params);
        let end = self.send(&mut request, far, progress).await?;
        let info = self.server_info();
        match (end, known) {
            (End::Result(result), Some(known)) => {
                bridge::result_to_stateless(known, result, info.as_ref())
                    .map(End::Result)
                    .map_err(crossed_back)
            }
            (End::Error(error), _) => Ok(End::Error(bridge::error_to_stateless(error))),
            (end, _) => Ok(end),
        }
    }

    fn server_info(&self) -> Option<Object> {
        let opening = match self.voice.as_ref()? {
            Voice::Session(_, session) => &session.opening,
            Voice::Child(child) => &child.opening,
            Voice::Stateless(_) => return None,
        };
        opening.get("serverInfo").and_then(Json::as_object).cloned()
    }

    /// A caller with a session at a stateless upstream: what it asks for becomes requests to the
    /// caller.
    async fn cross_to_stateless(
        &mut self,
        method: String,
        params: Object,
        known: Option<&'static Method>,
        far: &mut FarEnd,
        progress: &Progress,
    ) -> Result<End, Trouble> {
        let profile = ClientProfile {
            info: self.caller.info().as_object().cloned(),
            capabilities: self.caller.capabilities.clone(),
            log_level: self.caller.log_level.clone(),
        };
        let params = bridge::params_to_stateless(params, &profile).map_err(crossed)?;
        let mut request = Request::new(self.upstream.fresh_id(), method, params);
        for round in 0..INPUT_ROUNDS_MAX {
            let end = self.send(&mut request, far, progress).await?;
            let (result, known) = match (end, known) {
                (End::Result(result), Some(known)) => (result, known),
                (end, _) => return Ok(end),
            };
            let asked = bridge::read_input_required(known, &result).map_err(misspoken)?;
            let Some(asked) = asked else {
                let result = bridge::result_to_sessions(known, result);
                return result.map(End::Result).map_err(crossed_back);
            };
            let responses = match self.gather(round, &asked, far, progress).await? {
                Gathered::All(responses) => responses,
                Gathered::Refused(end) => return Ok(end),
            };
            // The retry is a request of its own.
            let Request { method, params, .. } = request;
            let params = bridge::retry_params(params, responses, asked.state.as_deref());
            request = Request::new(self.upstream.fresh_id(), method, params);
        }
        let detail = "the upstream asks for input without an end";
        Err(Trouble::after(Code::UpstreamProtocol, detail))
    }

    /// Has the client answer everything that was asked.
    async fn gather(
        &self,
        round: u32,
        asked: &InputRequired,
        far: &mut FarEnd,
        progress: &Progress,
    ) -> Result<Gathered, Trouble> {
        let mut open = BTreeMap::new();
        for (at, question) in asked.requests.iter().enumerate() {
            let id = RequestId::text(&format!("input-{round}-{at}"));
            let (method, params) = (question.method.clone(), question.params.clone());
            progress.asked();
            open.insert(id.clone(), question);
            if !far.say(Signal::Request { id, method, params }).await {
                let detail = "nobody is there to answer what the upstream asks";
                return Err(Trouble::before(Code::CallCancelled, detail));
            }
        }
        let mut responses = Object::new();
        while !open.is_empty() {
            match far.command().await {
                Command::Answer { id, outcome } => {
                    let Some(question) = open.remove(&id) else { continue };
                    progress.answered();
                    match bridge::input_response(&question.method, outcome) {
                        Ok(response) => responses.set(question.key.as_str(), response),
                        // What the client cannot answer, it is told in the words it used.
                        Err(error) => return Ok(Gathered::Refused(End::Error(error))),
                    }
                }
                // Between two requests nothing is on its way to which a notification could belong.
                Command::Notify { .. } => {}
                Command::Cancel { .. } => {
                    let detail = "the call was cancelled while the upstream waited for input";
                    return Err(Trouble::before(Code::CallCancelled, detail));
                }
            }
        }
        Ok(Gathered::All(responses))
    }

    /// Tells the upstream that nobody waits any more for what has left.
    fn give_up(&self, progress: &Progress) {
        if let (Some(voice), Some(id), true) =
            (&self.voice, progress.request(), progress.has_left())
        {
            voice.give_up(&id, "the gate does not wait any longer");
        }
    }
}

enum Gathered {
    All(Object),
    Refused(End),
}

fn finish(answer: Answer) -> Result<End, Trouble> {
    match answer {
        Answer::Result(result) => Ok(End::Result(result)),
        Answer::Error(error) => Ok(End::Error(error)),
        Answer::SessionGone => {
            let detail = "the upstream forgets every session at once";
            Err(Trouble::before(Code::UpstreamProtocol, detail))
        }
    }
}

/// What a caller with a session may say to any upstream, because the gate knows what to do about
/// it: the level of log messages goes with every request, and the line is alive.
fn is_answered_here(method: &str) -> bool {
    matches!(method, "ping" | "logging/setLevel")
}

fn crossed(error: WireError) -> Trouble {
    Trouble::before(error.code(), error.to_string())
}

fn crossed_back(error: WireError) -> Trouble {
    Trouble::after(error.code(), error.to_string())
}

fn misspoken(error: WireError) -> Trouble {
    Trouble::after(Code::UpstreamProtocol, error.to_string())
}
