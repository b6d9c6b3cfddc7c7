//! Asking a model for a run.

use super::drive::{Journey, Left};
use crate::model::{ModelRequest, OfRun};
use crate::port::{Answer, Reply};
use crate::reverse::Within;
use lockgate_core::run::{Answered, Ask, Event, Proposal, Purpose};
use lockgate_core::tokens::tokens;
use lockgate_effects::Presented;
use lockgate_effects::model::{BODY, STATUS};
use lockgate_types::model::{ModelApi, PromptUsed, Usage};
use lockgate_types::{CallId, Code, Json};
use lockgate_wire::model::Words;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Between two looks whether somebody wants it to end; the lease is renewed with them.
pub(super) const HOLD_EVERY: Duration = Duration::from_secs(1);
/// Before a model is asked again that has not answered, times how often it has not.
const AFTER_FAILURE: Duration = Duration::from_millis(500);

impl Journey<'_> {
    pub(super) async fn ask(&mut self, ask: Ask) -> Result<(), Left> {
        if self.state.failures > 0 {
            self.kernel.parts.clock.wait(AFTER_FAILURE * self.state.failures).await;
        }
        let (turn, prompt_tokens) = (ask.asked.turn, ask.asked.tokens);
        let (purpose, api) = (ask.asked.purpose, ask.api);
        self.add(Event::Asked(ask.asked.clone())).await?;
        let request = ModelRequest {
            identity: Arc::clone(&self.run.identity),
            presented: Presented::Gone,
            api,
            body: ask.body,
            headers: Vec::new(),
            traceparent: None,
            session: Some(self.run.session.clone()),
            run: Some(OfRun {
                words: self.words(),
                within: Within::of_run(&self.run.id),
                prompt: PromptUsed {
                    name: ask.prompt.name.clone(),
                    version: ask.prompt.version.clone(),
                    digest: ask.prompt.digest,
                },
                confidentiality: ask.prompt.label.confidentiality,
            }),
        };
        let kernel = self.kernel.clone();
        let reply = self
            .awaited(move |client| async move { kernel.ask_model(request, client).await })
            .await?;
        if is_given_up(&reply) {
            return Ok(());
        }
        let event = self.heard(reply, (turn, purpose), api, prompt_tokens).await;
        self.add(event).await
    }

    /// Waits for a call, for as long as nobody wants the run to end: then its client is gone, which
    /// cancels what may be cancelled and awaits the rest.
    pub(super) async fn awaited<F>(
        &self,
        call: impl FnOnce(crate::ClientPort) -> F,
    ) -> Result<Reply, Left>
    where
        F: Future<Output = Reply> + Send + 'static,
    {
        let (client, heard) = mpsc::channel(1);
        let mut heard = Some(heard);
        // Boxed: spawning moves a task's state several times.
        let mut called = tokio::spawn(Box::pin(call(client)));
        let lost = |_| Left::from(crate::port::Refusal::of(Code::InvariantBroken));
        loop {
            tokio::select! {
                biased;
                reply = &mut called => return reply.map_err(lost),
                Some(_) = listen(&mut heard) => {}
                () = self.told.notified() => {}
                () = self.kernel.parts.clock.wait(HOLD_EVERY) => {}
            }
            let wants_end = match self.hold().await {
                Ok(cancelled_by) => cancelled_by.is_some(),
                // It goes on: what has been begun is recorded by whoever began it.
                Err(Left::Failed(_)) => false,
                Err(left) => return Err(left),
            };
            if wants_end || self.stop.is_cancelled() {
                heard = None;
            }
        }
    }

    /// What a model's reply is written down as.
    async fn heard(
        &self,
        reply: Reply,
        (turn, purpose): (u32, Purpose),
        api: ModelApi,
        prompt_tokens: i64,
    ) -> Event {
        let unanswered = |code: Code, reason: String| Event::Unanswered {
            turn,
            call: Some(reply.call.clone()),
            code,
            reason,
        };
        let result = match &reply.answer {
            Answer::Result(result) => result,
            Answer::Refused(refusal) => return unanswered(refusal.code, refusal.to_text()),
            Answer::Error(error) => {
                return unanswered(Code::UpstreamProtocol, error.to_json().to_string());
            }
        };
        let status = result.get(STATUS).and_then(Json::as_i64).unwrap_or(0);
        let body = result.get(BODY).unwrap_or(&Json::Null);
        if !(200..300).contains(&status) {
            let reason = format!("the provider of the model has answered with {status}");
            return unanswered(Code::UpstreamProtocol, reason);
        }
        let read = match lockgate_wire::model::Reply::read(api, body) {
            Ok(read) => read,
            Err(refusal) => return unanswered(refusal.code, refusal.reason),
        };
        let is_text = |words: Words| matches!(words, Words::Text | Words::Refusal);
        let texts = read.texts.iter().filter(|said| is_text(said.channel.words));
        let text = texts.map(|said| said.text.as_ref()).collect::<Vec<_>>().join("\n");
        let calls = read.calls.iter().filter(|call| call.hosted.is_none());
        let proposals: Vec<Proposal> = match purpose {
            Purpose::Check | Purpose::Sample => Vec::new(),
            Purpose::Work => calls
                .map(|call| Proposal { name: call.name.clone(), arguments: call.arguments.clone() })
                .collect(),
        };
        let usage = Usage::of(body).filter(|usage| usage.total() > 0);
        // A provider that does not count is counted for.
        let usage = usage.unwrap_or(Usage {
            input: prompt_tokens,
            output: tokens(&body.to_string()),
            ..Usage::default()
        });
        let spend = self.cost(&reply.call, &usage).await;
        Event::Answered(Box::new(Answered {
            turn,
            call: reply.call.clone(),
            text,
            proposals,
            tokens: usage.total(),
            spend,
            digest: body.digest(),
        }))
    }

    /// What a reply has cost, at the price of the entry that has given it.
    async fn cost(&self, call: &CallId, usage: &Usage) -> i64 {
        let Some(world) = self.kernel.world() else { return 0 };
        let facts = self.kernel.facts_of(call).await.ok().flatten();
        let entry = facts.and_then(|facts| facts.call.model?.entry);
        let model = entry.and_then(|entry| world.models.get(&entry).cloned());
        model.and_then(|model| model.prices()).map_or(0, |prices| prices.cost(usage))
    }
}

/// Whether nobody waited for it any more: what comes next is decided anew.
pub(super) fn is_given_up(reply: &Reply) -> bool {
    matches!(&reply.answer, Answer::Refused(refusal) if refusal.code == Code::CallCancelled)
}

async fn listen(heard: &mut Option<mpsc::Receiver<crate::ToClient>>) -> Option<crate::ToClient> {
    match heard {
        Some(heard) => heard.recv().await,
        None => None,
    }
}
