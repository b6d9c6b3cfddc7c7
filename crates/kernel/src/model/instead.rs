//! What is answered when no model does: as the task says, plainly, in the form of the API.
//!
//! A recorded answer, or the words of a person, is a call of the gate's own: decided, recorded, and
//! met by its session. A text of the bundle is nobody's call.

use super::attempt::Turn;
use super::intake::take_in;
use super::{MadeOf, ModelRequest};
use crate::Kernel;
use crate::own::LetOut;
use crate::port::{Answer, ClientPort, Refusal, Reply, ToClient};
use crate::refusal::not_recorded;
use crate::reverse::Origin;
use lockgate_core::bundle::admin::{RESERVED, STANDS_IN};
use lockgate_core::declare::{Fallback, PromptGuard};
use lockgate_core::stand_in::{EXPIRES_AT, KIND, PERSON, RECORDED, RIGHTS, rights};
use lockgate_effects::model::{BODY, HEADERS, STATUS};
use lockgate_store::{AnswerTo, Ended, KeptAnswer};
use lockgate_types::call::{Call, Direction};
use lockgate_types::flow::Author;
use lockgate_types::identity::Identity;
use lockgate_types::label::Label;
use lockgate_types::model::ModelApi;
use lockgate_types::{CallId, Code, Digest, Json, Micros, Object, UpstreamName};
use lockgate_wire::model::reply::Reply as Read;
use lockgate_wire::model::{Asked, Role, spoken};
use std::sync::Arc;

/// The header that says that no model has answered, and what did.
const SAYS_SO: &str = "lockgate-fallback";
/// The header that names the request to the person who was asked.
const REQUEST: &str = "lockgate-request";
/// Bytes of a prompt that a person is shown. Who could not see it whole is not asked.
const SHOWN_BYTES_MAX: usize = 32 << 10;
/// Bytes of an answer that is kept.
pub const KEPT_BYTES_MAX: usize = 64 << 10;

/// The last minute that is written out: in the year 9999.
const MINUTES_MAX: i64 = 8029 * 365 * 1440;

/// An answer that no model gave.
struct Said {
    /// The call that it is recorded as.
    call: CallId,
    kind: &'static str,
    text: String,
    request: Option<CallId>,
}

/// An answer that a model gave once.
struct Given {
    text: String,
    label: Label,
    at: Micros,
}

impl Kernel {
    /// The answer of the task in place of one that failed, if it has one.
    pub(super) async fn instead(&self, turn: &Turn, last: Reply, client: &ClientPort) -> Reply {
        let task = turn.request.identity.task.as_ref();
        let task = task.and_then(|task| turn.world.tasks.get(task));
        let Some(fallback) = task.and_then(|task| task.fallback.as_ref()) else { return last };
        match self.standing_in(turn, fallback, &last.call).await {
            Ok(Some(said)) => say(&turn.request, said, last, client).await,
            Ok(None) => last,
            Err(refusal) => Reply { call: last.call, answer: Answer::Refused(refusal) },
        }
    }

    /// What stands in: a recorded answer, a person, a text. What is not to be had, or not allowed,
    /// is passed over.
    async fn standing_in(
        &self,
        turn: &Turn,
        fallback: &Fallback,
        failed: &CallId,
    ) -> Result<Option<Said>, Refusal> {
        if fallback.recorded_s.is_some() {
            match self.recorded_answer(turn).await {
                Ok(Some(said)) => return Ok(Some(said)),
                Ok(None) => {}
                Err(refusal) => {
                    tracing::warn!(code = %refusal.code, "a recorded answer could not be given");
                }
            }
        }
        let template = |request: Option<CallId>| {
            let text = fallback.template.clone()?;
            let kind = if request.is_some() { PERSON } else { "template" };
            Some(Said { call: failed.clone(), kind, text, request })
        };
        if fallback.person.is_none() {
            return Ok(template(None));
        }
        match self.words_of_a_person(turn).await {
            Ok(said) => Ok(Some(said)),
            Err(refusal) => match &refusal.approval {
                Some(waits) => match template(Some(waits.call.clone())) {
                    Some(said) => Ok(Some(said)),
                    None => Err(asked(refusal)),
                },
                None => {
                    tracing::warn!(code = %refusal.code, "no person could be asked to answer");
                    Ok(template(None))
                }
            },
        }
    }

    /// The answer that somebody has approved for exactly this, said to be that.
    async fn recorded_answer(&self, turn: &Turn) -> Result<Option<Said>, Refusal> {
        let identity = &turn.request.identity;
        let Some(prompt) = &turn.asked.known_by else { return Ok(None) };
        let rights = rights(identity);
        let to = AnswerTo { tenant: &identity.tenant, prompt, rights: &rights };
        let kept = self.parts.store.kept_answer(to).await;
        let Some(kept) = kept.map_err(|error| not_recorded(&error))? else { return Ok(None) };
        if !self.still_may(&turn.world, &kept.by).await? {
            return Ok(None);
        }
        let Some(Given { text: answer, label, at }) = self.answer_of(&kept.call).await? else {
            return Ok(None);
        };
        let arguments = about(turn, RECORDED)
            .with("answer_of", kept.call.as_str())
            .with(RIGHTS, rights.to_string())
            .with(EXPIRES_AT, kept.until.0);
        let (call, out) = self.let_in_place(turn, arguments).await?;
        let at = utc(at);
        let text = format!(
            "[No model answers now. This is a recorded answer of {at}, which somebody has \
             approved.]\n\n{answer}"
        );
        self.concluded((out.spent, out.effect, out.started), spoken_text(&text), label).await?;
        Ok(Some(Said { call, kind: RECORDED, text, request: None }))
    }

    /// What a person has written for exactly this; else the refusal, which waits for them.
    async fn words_of_a_person(&self, turn: &Turn) -> Result<Said, Refusal> {
        let prompt = shown(&turn.request)?;
        let arguments = about(turn, PERSON).with("prompt", prompt);
        let (call, out) = self.let_in_place(turn, arguments).await?;
        let LetOut { spent, effect, given, started } = out;
        let by = given.as_ref().and_then(|given| given.given.last()).map(|given| &given.by);
        let text = match by {
            Some(by) => self.facts_of(by).await?.and_then(|facts| {
                let arguments = facts.call.arguments()?;
                arguments.get("answer").and_then(Json::as_str).map(str::to_owned)
            }),
            None => None,
        };
        let Some(text) = text.filter(|text| !text.trim().is_empty()) else {
            let erased = Refusal::of(Code::PayloadErased);
            self.finish(spent, &Err(erased.clone()), effect, started).await?;
            return Err(erased);
        };
        let own = Label::of(Author::Tenant, turn.asked.carries.confidentiality);
        let label = own.join(&turn.asked.carries);
        self.concluded((spent, effect, started), spoken_text(&text), label).await?;
        Ok(Said { call, kind: PERSON, text, request: given.map(|given| given.call) })
    }

    /// Decides that something answers in place of a model.
    async fn let_in_place(
        &self,
        turn: &Turn,
        arguments: Object,
    ) -> Result<(CallId, LetOut), Refusal> {
        let broken = || Refusal::of(Code::InvariantBroken);
        let upstream = UpstreamName::new(RESERVED).map_err(|_| broken())?;
        let (_, name) = STANDS_IN.split_once('/').ok_or_else(broken)?;
        let params = Object::new().with("name", name).with("arguments", arguments);
        let id = self.parts.clock.mint();
        let call =
            Call::new(id.clone(), upstream.clone(), Direction::ToUpstream, "tools/call", params);
        let request = &turn.request;
        let origin = Origin {
            session: request.session.clone(),
            ..Origin::of_the_gate(Arc::clone(&request.identity), upstream)
        };
        let out = Box::pin(self.let_out(&origin, call.map_err(|_| broken())?)).await?;
        Ok((id, out))
    }

    /// What a model has answered to a call, in words. `None`: nothing that could be said again: it
    /// is gone, has failed, or proposes calls.
    async fn answer_of(&self, call: &CallId) -> Result<Option<Given>, Refusal> {
        let ended = self.parts.store.ended(call).await.map_err(|error| not_recorded(&error))?;
        let (Some(facts), Some(Ended::Result(result))) = (self.facts_of(call).await?, ended) else {
            return Ok(None);
        };
        let (Some(made_of), Some(api)) =
            (MadeOf::of(&facts), ModelApi::from_method(&facts.call.method))
        else {
            return Ok(None);
        };
        let status = result.get(STATUS).and_then(Json::as_i64).unwrap_or(0);
        let body = result.get(BODY).filter(|_| (200..300).contains(&status));
        let Some(body) = body else { return Ok(None) };
        let offers = facts.call.model.as_ref().is_some_and(|asked| !asked.tools.is_empty());
        let text = match body.get("streamed").and_then(Json::as_str) {
            // Of a stream it is not recorded which calls it had.
            Some(_) if offers => None,
            Some(text) => Some(text.to_owned()),
            None => Read::read(api, body).ok().filter(|read| read.calls.is_empty()).map(|read| {
                read.texts.iter().map(|said| said.text.as_ref()).collect::<Vec<_>>().join("\n")
            }),
        };
        let text = text.filter(|it| !it.trim().is_empty() && it.len() <= KEPT_BYTES_MAX);
        Ok(text.map(|text| Given { text, label: made_of.label, at: facts.now }))
    }

    /// Keeps what a model has answered to a call, for when none answers. `by`: the call to the
    /// admin API, which policies have allowed.
    pub async fn keep_answer(
        &self,
        call: &CallId,
        approver: &Identity,
        by: &CallId,
    ) -> Result<KeptAnswer, Refusal> {
        let not_kept = |why: &str| {
            let reason = format!("{}: {why}", Code::AnswerNotKept.title());
            Refusal { reason, ..Refusal::of(Code::AnswerNotKept) }
        };
        let world = self.world().ok_or_else(|| Refusal::of(Code::NoBundle))?;
        let facts = self.facts_of(call).await?.ok_or_else(|| Refusal::of(Code::RecordNotFound))?;
        let asker = &facts.identity;
        if asker.subject == approver.subject || asker.agent == approver.agent {
            return Err(Refusal::of(Code::SelfApproval));
        }
        let prompt: Option<Digest> = facts.call.model.as_ref().and_then(|asked| asked.known_by);
        let prompt = prompt.ok_or_else(|| not_kept("its task kept none when it was given"))?;
        let task = asker.task.as_ref().and_then(|task| world.tasks.get(task));
        let lasts_s = task.and_then(|task| task.fallback.as_ref()?.recorded_s);
        let lasts_s = lasts_s.ok_or_else(|| not_kept("its task keeps none"))?;
        if self.answer_of(call).await?.is_none() {
            return Err(not_kept("it has failed, proposes calls, or is too long or gone"));
        }
        let at = self.parts.clock.now();
        let lasts_us = i64::from(lasts_s).saturating_mul(1_000_000);
        let until = Micros(at.0.saturating_add(lasts_us));
        let tenant = asker.tenant.clone();
        let kept = KeptAnswer { call: call.clone(), tenant, by: by.clone(), at, until };
        let rights = rights(asker);
        let to = AnswerTo { tenant: &asker.tenant, prompt: &prompt, rights: &rights };
        match self.parts.store.keep_answer(to, kept.clone()).await {
            Ok(true) => Ok(kept),
            Ok(false) => Err(not_kept("as many are kept as can be")),
            Err(error) => Err(not_recorded(&error)),
        }
    }
}

/// What everything that stands in is decided by.
fn about(turn: &Turn, kind: &str) -> Object {
    let task = turn.request.identity.task.as_ref().map(|task| task.as_str());
    Object::new()
        .with(KIND, kind)
        .with("confidentiality", turn.asked.carries.confidentiality.as_str())
        .with_some("task", task)
}

/// The prompt as a person is shown it, without secrets.
fn shown(request: &ModelRequest) -> Result<Vec<Json>, Refusal> {
    let (body, _) = take_in(&PromptGuard::default(), request.api, request.body.clone())?;
    let body = Json::Object(body);
    let read = Asked::read(request.api, &body)
        .map_err(|error| Refusal { reason: error.to_string(), ..Refusal::of(error.code()) })?;
    let bytes: usize = read.segments.iter().map(|segment| segment.text.len()).sum();
    if bytes > SHOWN_BYTES_MAX {
        return Err(Refusal::of(Code::TooLarge));
    }
    let segments = read.segments.iter().map(|segment| {
        let text = match segment.text.is_empty() {
            true => "(what cannot be shown as text)",
            false => segment.text.as_ref(),
        };
        Object::new().with("role", role(segment.role)).with("text", text).into()
    });
    Ok(segments.collect())
}

const fn role(role: Role) -> &'static str {
    match role {
        Role::System => "system",
        Role::Developer => "developer",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool => "tool",
        Role::Other => "other",
    }
}

/// The refusal that says that a person was asked.
fn asked(refusal: Refusal) -> Refusal {
    let Refusal { approval, retry, call, .. } = refusal;
    let mut asked = Refusal { approval, retry, call, ..Refusal::of(Code::PersonAsked) };
    if let Some(waits) = &asked.approval {
        asked.reason = format!("{}: request {}", asked.reason, waits.call);
    }
    asked
}

/// A text as the result of a call.
fn spoken_text(text: &str) -> Json {
    let part = Object::new().with("type", "text").with("text", text);
    Object::new().with("content", vec![part.into()]).into()
}

/// Says a text in the form of the API.
async fn say(request: &ModelRequest, said: Said, last: Reply, client: &ClientPort) -> Reply {
    let Said { call, kind, text, request: waits } = said;
    let model = request.body.get("model").and_then(Json::as_str).unwrap_or_default();
    let is_stream = request.body.get("stream").and_then(Json::as_bool) == Some(true);
    let headers = Object::new()
        .with(SAYS_SO, kind)
        .with_some(REQUEST, waits.as_ref().map(|waits| waits.as_str()));
    let head = Object::new().with(STATUS, 200).with(HEADERS, headers);
    let id = call.as_str();
    let answer = match (spoken::whole(request.api, id, model, &text), is_stream) {
        (Some(_), true) => {
            let head = Json::from(head);
            let begins = ToClient::Begins { call: call.clone(), head: head.clone() };
            // A client that is gone misses it.
            let _ = client.send(begins).await;
            let events = spoken::events(request.api, id, model, &text);
            let _ = client.send(ToClient::Events(events)).await;
            Answer::Result(head)
        }
        (Some(body), false) => Answer::Result(head.with(BODY, body).into()),
        (None, _) => return last,
    };
    Reply { call, answer }
}

/// A moment as people read it: `2026-11-27 09:45 UTC`.
fn utc(at: Micros) -> String {
    let minutes = at.0.div_euclid(60_000_000).clamp(0, MINUTES_MAX);
    let (mut days, minute) = (minutes / 1440, minutes % 1440);
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let mut year = 1970;
    while days >= 365 + i64::from(is_leap(year)) {
        days -= 365 + i64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + i64::from(is_leap(year));
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02} {:02}:{:02} UTC", days + 1, minute / 60, minute % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_people_read_it() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00 UTC"),
            (951_782_340, "2000-02-28 23:59 UTC"),
            (951_782_400, "2000-02-29 00:00 UTC"),
            (1_795_772_700, "2026-11-27 09:45 UTC"),
            (4_107_542_340, "2100-02-28 23:59 UTC"),
            (4_107_542_400, "2100-03-01 00:00 UTC"),
        ] {
            assert_eq!(utc(Micros(seconds * 1_000_000)), text);
        }
    }
}
