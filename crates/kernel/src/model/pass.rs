//! An answer of a model on its way through the gate: looked at as it comes, or as a whole.

use super::guard::Guard;
use super::{ModelAside, Notes, Noticed};
use crate::Kernel;
use crate::port::{Refusal, ToClient};
use crate::reverse::{Origin, Within};
use lockgate_core::World;
use lockgate_effects::End;
use lockgate_effects::model::{BODY, HEADERS, STATUS};
use lockgate_types::call::Call;
use lockgate_types::decision::Decision;
use lockgate_types::model::{ModelApi, Usage};
use lockgate_types::{CallId, Code, Json, Object};
use lockgate_wire::model::gate::{self, Gate};
use lockgate_wire::model::reply::{Reply, enforce};
use lockgate_wire::model::{Ending, Proposed, Verdict};
use lockgate_wire::sse::SseEvent;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The header that names the tools of the provider's that were left out of a request.
const LEFT_OUT_HEADER: &str = "lockgate-left-out";
/// Why an attempt ends that nobody waits for any more.
const LOST: &str = "another entry was first to answer";

/// A call of a model that has left.
pub(crate) struct Passing {
    api: ModelApi,
    call: CallId,
    within: Within,
    guard: Guard,
    notes: Arc<Notes>,
    /// Whether nobody gets it: then nothing of it is performed.
    is_copy: bool,
    /// The tools of the provider's that were left out.
    left_out: Vec<String>,
    /// Whether another attempt has begun to answer before it.
    is_lost: bool,
    stream: Option<Stream>,
    noticed: Noticed,
}

struct Stream {
    gate: Gate,
    head: Json,
}

impl Passing {
    /// What an answer to that call passes through. `None`: it is none of a model.
    pub(crate) fn of(
        world: &World,
        call: &Call,
        decision: &Decision,
        aside: &ModelAside,
    ) -> Option<Box<Self>> {
        let asked = call.model.as_deref()?;
        let api = ModelApi::from_method(&call.method)?;
        Some(Box::new(Self {
            api,
            call: call.id.clone(),
            within: Within::of(call),
            guard: Guard::of(world, asked, decision, aside),
            notes: Arc::clone(&aside.notes),
            is_copy: aside.is_copy,
            left_out: aside.taken.left_out.clone(),
            is_lost: false,
            stream: None,
            noticed: Noticed::default(),
        }))
    }

    /// The provider begins to answer in events.
    pub(crate) fn begin(&mut self, mut head: Json) -> Option<ToClient> {
        if !self.notes.claim() {
            self.is_lost = true;
            return None;
        }
        self.tell_left_out(&mut head);
        let gate = Gate::new(self.api)?;
        self.notes.begin();
        self.stream = Some(Stream { gate, head: head.clone() });
        Some(ToClient::Begins { call: self.call.clone(), head })
    }

    /// Names in the answer's headers what was left out of its request.
    fn tell_left_out(&self, head: &mut Json) {
        let headers = head.as_object_mut().and_then(|head| head.get_mut(HEADERS));
        let headers = headers.and_then(Json::as_object_mut);
        if let Some(headers) = headers.filter(|_| !self.left_out.is_empty()) {
            headers.set(LEFT_OUT_HEADER, self.left_out.join(", "));
        }
    }

    /// Looks at events, and gives back what the client may have of them.
    pub(crate) async fn events(
        &mut self,
        kernel: &Kernel,
        origin: &Origin,
        events: Vec<SseEvent>,
    ) -> Vec<SseEvent> {
        let Some(stream) = &mut self.stream else { return Vec::new() };
        for event in events {
            stream.gate.push(event, &mut self.guard);
            while let Some(proposed) = stream.gate.proposed().first().cloned() {
                let verdict = match self.is_copy {
                    true => Verdict::Release,
                    false => {
                        let found = found(stream.gate.ending(), &self.guard);
                        kernel.judge(origin, &self.within.proposing(found), &proposed).await
                    }
                };
                stream.gate.answer(proposed.key, verdict, &mut self.guard);
            }
        }
        stream.gate.take()
    }

    /// How much was taken out.
    pub(crate) const fn redactions(&self) -> u32 {
        self.guard.redactions()
    }

    /// What was noticed of it.
    pub(crate) fn noticed(&mut self) -> Noticed {
        let mut noticed = std::mem::take(&mut self.noticed);
        noticed.findings.extend(self.guard.findings());
        noticed
    }

    /// Whether nothing more of the answer will be passed on.
    pub(crate) fn is_stopped(&self) -> bool {
        self.is_lost || self.stream.as_ref().is_some_and(|stream| stream.gate.stopped().is_some())
    }

    /// The call is over: what is left for the client, and how it ended, as it is recorded.
    pub(crate) async fn end(
        &mut self,
        kernel: &Kernel,
        origin: &Origin,
        end: End,
    ) -> (Vec<SseEvent>, End) {
        let Some(mut stream) = self.stream.take() else {
            return (Vec::new(), self.whole(kernel, origin, end).await);
        };
        self.noticed.ended(stream.gate.ending(), self.guard.logprob_least());
        let stopped = stream.gate.stopped().map(|refusal| refusal.code);
        let end = match (end, stopped) {
            // That its provider was then told to be silent is no other reason.
            (_, Some(code)) => failed(code, "nothing more of the stream was passed on"),
            (End::Result(_), None) => match stream.gate.end() {
                gate::End::Complete => End::Result(self.streamed(&stream)),
                gate::End::Truncated | gate::End::Waiting => {
                    failed(Code::UpstreamTruncated, "the stream was not whole")
                }
            },
            (end, None) => end,
        };
        if let End::Failed { code, .. } = &end {
            stream.gate.stop(&Refusal::of(*code).with_call(self.call.clone()));
        }
        (stream.gate.take(), end)
    }

    /// What is recorded of an answer in events: what the client got of its text, and what it took.
    fn streamed(&self, stream: &Stream) -> Json {
        let mut reply = stream.head.as_object().cloned().unwrap_or_default();
        let usage = stream.gate.usage();
        let count = |count: Option<u64>| count.and_then(|count| i64::try_from(count).ok());
        // In the words of the Responses API, which counts what came from a cache within the input.
        let details = count(usage.cached).map(|it| Object::new().with("cached_tokens", it));
        let thought = count(usage.reasoning).map(|it| Object::new().with("reasoning_tokens", it));
        let usage = count(usage.input).or(count(usage.output)).map(|_| {
            Object::new()
                .with("input_tokens", count(usage.input).unwrap_or(0))
                .with_some("input_tokens_details", details)
                .with("output_tokens", count(usage.output).unwrap_or(0))
                .with_some("output_tokens_details", thought)
        });
        let streamed = Object::new().with("streamed", self.guard.released());
        let body = streamed.with_some("usage", usage);
        reply.set(BODY, body);
        reply.into()
    }

    /// Looks at an answer that is whole.
    async fn whole(&mut self, kernel: &Kernel, origin: &Origin, end: End) -> End {
        let End::Result(mut reply) = end else { return end };
        if self.is_lost {
            return failed(Code::CallCancelled, LOST);
        }
        self.tell_left_out(&mut reply);
        let is_success = reply.get(STATUS).and_then(Json::as_i64).is_some_and(|it| it < 300);
        let body = reply.as_object_mut().and_then(|reply| reply.get_mut(BODY));
        let Some(body) = body.filter(|_| is_success) else {
            return End::Result(reply);
        };
        // What it took is known, also where nobody gets it.
        self.noticed.usage = Usage::of(body);
        if !self.notes.claim() {
            return failed(Code::CallCancelled, LOST);
        }
        match self.enforced(kernel, origin, body).await {
            Ok(()) => End::Result(reply),
            Err(refusal) => failed(refusal.code, &refusal.reason),
        }
    }

    /// What is found of an answer that is whole, looked at before the calls that it proposes are
    /// decided about.
    fn foreseen(
        &self,
        ending: &Ending,
        body: &Json,
        calls: &[Proposed],
    ) -> Result<BTreeSet<String>, Box<Refusal>> {
        let (mut guard, mut body) = (self.guard.clone(), body.clone());
        let verdicts = calls.iter().map(|call| (call.key, Verdict::Release)).collect();
        enforce(self.api, &mut body, &mut guard, &verdicts)?;
        Ok(found(ending, &guard))
    }

    async fn enforced(
        &mut self,
        kernel: &Kernel,
        origin: &Origin,
        body: &mut Json,
    ) -> Result<(), Box<Refusal>> {
        let ending = Ending::whole(self.api, body);
        self.noticed.ended(&ending, self.guard.logprob_least());
        let calls = Reply::read(self.api, body)?.calls;
        let mut verdicts = BTreeMap::new();
        let within = match calls.is_empty() || self.is_copy {
            true => self.within.clone(),
            false => self.within.proposing(self.foreseen(&ending, body, &calls)?),
        };
        for proposed in calls {
            let verdict = match self.is_copy {
                true => Verdict::Release,
                false => kernel.judge(origin, &within, &proposed).await,
            };
            verdicts.insert(proposed.key, verdict);
        }
        enforce(self.api, body, &mut self.guard, &verdicts)
    }
}

/// What has been found of an answer so far, as its outcome will say it.
fn found(ending: &Ending, guard: &Guard) -> BTreeSet<String> {
    let mut noticed = Noticed::default();
    noticed.ended(ending, guard.logprob_least());
    let all = noticed.findings.into_iter().chain(guard.findings());
    all.map(str::to_owned).collect()
}

fn failed(code: Code, detail: &str) -> End {
    End::Failed { code, detail: detail.to_owned(), dispatched: true }
}
