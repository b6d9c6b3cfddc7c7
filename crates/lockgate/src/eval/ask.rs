//! One question, through the gate's own face: a model like any application asks it.

use crate::client::{Answered as Reply, GateClient};
use anyhow::{Result, bail};
use bytes::Bytes;
use lockgate_core::World;
use lockgate_core::declare::FamilyWord;
use lockgate_core::eval::{
    Answer, Answered, Asks, Held, Judgement, Question, Suite, VERDICT_TOKENS_MAX, Verdict,
    read_judgement,
};
use lockgate_kernel::{evaluation_answer, evaluation_request};
use lockgate_types::model::ModelApi;
use lockgate_types::{CallId, Json, JsonLimits};
use std::time::Duration;

/// How often a question is asked that is turned away for now.
const TRIES_MAX: u32 = 4;
/// Before it is asked again, times how often it was.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Characters of a refusal that are said.
const SAID_CHARS: usize = 300;

/// The entries that are asked.
pub(super) struct Models<'a> {
    entry: (&'a str, FamilyWord),
    judge: Option<(&'a str, FamilyWord)>,
    /// The entry's version.
    pub(super) version: String,
}

/// What one question came to.
pub(super) struct Asked {
    pub(super) answered: Answered,
    /// Why it is not as it should be.
    pub(super) why: Vec<String>,
    /// Why no question will be answered.
    pub(super) forbidden: Option<String>,
}

/// What a model has answered, and by which call.
struct Heard {
    answer: Answer,
    call: CallId,
}

/// Why there is no answer.
struct Unheard {
    call: Option<CallId>,
    why: String,
    /// Whether the gate has turned it away, and not the provider.
    is_refused: bool,
}

impl<'a> Models<'a> {
    pub(super) fn new(world: &'a World, suite: &'a Suite, entry: &'a str) -> Result<Self> {
        let known = || world.models.iter().map(|(name, _)| name).collect::<Vec<_>>().join("`, `");
        let Some(model) = world.models.get(entry) else {
            bail!("there is no model `{entry}` (hint: known here: `{}`)", known());
        };
        let judge = suite.judge.as_deref();
        let judge = judge.and_then(|name| Some((name, world.models.get(name)?.family)));
        let version = model.declared.version.clone();
        Ok(Self { entry: (entry, model.family), judge, version })
    }

    /// Asks a question, and the judge about its answer where no rule can say.
    pub(super) async fn ask(
        &self,
        client: &GateClient,
        suite: &Suite,
        question: &Question<'_>,
    ) -> Result<Asked> {
        let heard = ask(client, self.entry, question.asks, suite.output_tokens_max).await?;
        let Heard { answer, call } = match heard {
            Ok(heard) => heard,
            Err(Unheard { call, why, is_refused }) => {
                let calls = call.into_iter().collect();
                let answered = question.answered(Verdict::Unanswered, None, calls);
                let forbidden = is_refused.then(|| why.clone());
                return Ok(Asked { answered, why: vec![why], forbidden });
            }
        };
        let (held, score) = suite.hold(question.of, &answer);
        let mut calls = vec![call];
        let (verdict, why) = match held {
            Held::Settled(verdict, why) => (verdict, why),
            Held::Judge(criterion) => {
                let asks = question.to_judge(&criterion, &answer);
                let judgement = self.judge(client, &asks, &mut calls).await?;
                Suite::judged(question.of, judgement)
            }
        };
        Ok(Asked { answered: question.answered(verdict, score, calls), why, forbidden: None })
    }

    async fn judge(
        &self,
        client: &GateClient,
        asks: &Asks,
        calls: &mut Vec<CallId>,
    ) -> Result<Judgement> {
        let Some(judge) = self.judge else {
            return Ok(Judgement::Unreadable("the suite has no judge".to_owned()));
        };
        Ok(match ask(client, judge, asks, VERDICT_TOKENS_MAX).await? {
            Ok(Heard { answer, call }) => {
                calls.push(call);
                read_judgement(&answer.text)
            }
            Err(Unheard { call, why, .. }) => {
                calls.extend(call);
                Judgement::Unreadable(why)
            }
        })
    }
}

/// Asks an entry, and again while it is turned away for now.
async fn ask(
    client: &GateClient,
    (entry, family): (&str, FamilyWord),
    asks: &Asks,
    tokens_max: u32,
) -> Result<Result<Heard, Unheard>> {
    let (api, body) = evaluation_request(family, entry, asks, tokens_max);
    let path = format!("/v1/{}", api.method());
    let bytes = Bytes::from(Json::from(body).to_bytes());
    let headers = [("content-type", "application/json")];
    let mut tries = 0;
    loop {
        tries += 1;
        let reply = client.send(http::Method::POST, &path, &headers, bytes.clone()).await?;
        let is_for_now = matches!(reply.status.as_u16(), 429 | 502 | 503 | 529);
        if !is_for_now || tries >= TRIES_MAX {
            return Ok(read(api, &reply));
        }
        tokio::time::sleep(AGAIN_AFTER * tries).await;
    }
}

fn read(api: ModelApi, reply: &Reply) -> Result<Heard, Unheard> {
    let call = reply.headers.get("lockgate-call").and_then(|call| call.to_str().ok());
    let call = call.and_then(|call| CallId::new(call).ok());
    let unheard = |why: String| Unheard { call: call.clone(), why, is_refused: false };
    let body = Json::parse(&reply.body, &JsonLimits::MESSAGE);
    let body = body.map_err(|error| unheard(format!("the answer cannot be read: {error}")))?;
    if !reply.status.is_success() {
        let said = said(&body);
        let is_refused = reply.status.is_client_error() && said.contains("LG-");
        let why = format!("answered with {}: {said}", reply.status.as_u16());
        return Err(Unheard { call, why, is_refused });
    }
    let answer = evaluation_answer(api, &body).map_err(unheard)?;
    match call {
        Some(call) => Ok(Heard { answer, call }),
        None => Err(unheard("the gate does not name the call".to_owned())),
    }
}

/// What an error says, in whichever form.
fn said(body: &Json) -> String {
    let error = body.get("error").unwrap_or(body);
    let message = error.get("message").and_then(Json::as_str).map(str::to_owned);
    let message = message.unwrap_or_else(|| body.to_string());
    let code = error.get("code").and_then(Json::as_str).filter(|code| !message.contains(code));
    let said = match code {
        Some(code) => format!("{code}: {message}"),
        None => message,
    };
    said.replace('\n', ", ").chars().take(SAID_CHARS).collect()
}
