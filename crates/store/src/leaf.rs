//! How entries are written: straight into canonical bytes, with the place in the log left open.
//!
//! Member names are ASCII and sorted, numbers are integers; `lockgate_ledger::Entry` reads the
//! result back, and a test holds every kind against it. An entry holds names from the
//! configuration, random ids and commitments, never what a person or a model wrote.

pub(crate) mod budget;
mod gap;
pub(crate) mod source;

pub(crate) use gap::{Missing, gap};

use crate::breaker::Turned;
use crate::canary::CanaryMoved;
use crate::effect::Means;
use crate::evaluation::Evaluation;
use crate::payload::Commitments;
use crate::permit::{OutcomeRecord, OutcomeState, Receipt};
use lockgate_core::canary::Guard;
use lockgate_ledger::Kind;
use lockgate_ledger::leaf::{ENTRY_VERSION, INTEGER_MAX};
use lockgate_types::decision::{Decision, Obligation};
use lockgate_types::facts::{Facts, Mode, Switch};
use lockgate_types::{
    CallId, CanonicalObject, Code, Commitment, Digest, Micros, OperationName, SessionId,
};
use std::ops::{Deref, DerefMut};

/// Names of policies, and obligations, that an entry lists; the recorded decision has them all.
const NAMES_MAX: usize = 16;
/// Bytes of an obligation that an entry spells out; a longer one stands by its digest.
const OBLIGATION_BYTES_MAX: usize = 200;
/// Bytes that nearly every entry fits in.
const CAPACITY: usize = 1280;

/// An entry without its place in the log.
#[derive(Debug)]
pub(crate) struct Draft {
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl Draft {
    /// The bytes that are logged at this index.
    pub(crate) fn complete(&self, index: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.head.len() + self.tail.len() + 20);
        out.extend_from_slice(&self.head);
        out.extend_from_slice(index.to_string().as_bytes());
        out.extend_from_slice(&self.tail);
        out
    }
}

/// What an intent or refusal entry says beside the facts and the decision.
pub(crate) struct Decided<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) decision: &'a Decision,
    pub(crate) subject: &'a str,
    pub(crate) commitments: Commitments,
}

/// A call that was decided: an intent or a refusal. `is_shared`: the intent was not durable before
/// the effect.
pub(crate) fn decided(kind: Kind, decided: &Decided<'_>, is_shared: bool) -> Draft {
    let Decided { facts, decision, subject, commitments } = decided;
    let (identity, call) = (&facts.identity, &facts.call);
    let mut leaf = Leaf::new(CAPACITY);
    leaf.text("agent", identity.agent.as_str());
    leaf.some_text("attempt_of", call.attempt_of.as_ref().map(CallId::as_str));
    leaf.digest("bundle", &decision.bundle);
    leaf.text("call", call.id.as_str());
    let code = decision.denial.as_ref().map(|denial| denial.code);
    leaf.some_text("code", code.map(Code::as_str));
    leaf.open("commitments");
    leaf.digest("call", &commitments.call.digest());
    leaf.digest("decision", &commitments.decision.digest());
    if let Some(evidence) = &commitments.evidence {
        leaf.digest("evidence", &evidence.digest());
    }
    leaf.digest("identity", &commitments.identity.digest());
    leaf.digest("moment", &commitments.moment.digest());
    leaf.close();
    leaf.text("effect", decision.effect.as_str());
    leaf.text("environment", identity.environment.as_str());
    leaf.text("k", kind.as_str());
    leaf.obligations(&decision.obligations);
    leaf.flag("observed", decision.is_observed());
    // The name of an undeclared operation is whatever the caller wrote: it stays behind the
    // commitment.
    let is_declared = code != Some(Code::OperationUndeclared);
    leaf.some_text("operation", is_declared.then_some(call.operation.as_str()));
    leaf.texts("policies", decision.policies.iter().take(NAMES_MAX).map(|name| name.as_str()));
    leaf.some_text("repeats", facts.earlier.as_ref().map(|earlier| earlier.call.as_str()));
    leaf.text("session", facts.session.id.as_str());
    leaf.flag("shared", is_shared);
    leaf.place();
    leaf.text("subject", subject);
    leaf.integer("t", time(facts.now));
    leaf.some_text("task", identity.task.as_ref().map(|task| task.as_str()));
    leaf.text("tenant", identity.tenant.as_str());
    leaf.some_text("trace", call.traceparent.as_deref().and_then(trace_id));
    leaf.text("upstream", call.upstream.as_str());
    leaf.integer("v", ENTRY_VERSION);
    leaf.text("verdict", decision.verdict.as_str());
    leaf.some_text("within", call.parent.as_ref().map(CallId::as_str));
    leaf.finish()
}

/// What an outcome entry says beside the outcome.
pub(crate) struct Concluded<'a> {
    pub(crate) call: &'a CallId,
    pub(crate) session: &'a SessionId,
    pub(crate) subject: &'a str,
    pub(crate) intent: &'a Receipt,
    pub(crate) result: Option<Commitment>,
    pub(crate) bytes: u64,
}

/// What came back.
pub(crate) fn outcome(concluded: &Concluded<'_>, record: &OutcomeRecord) -> Draft {
    let mut leaf = Leaf::new(CAPACITY / 2);
    leaf.integer("bytes", i64::try_from(concluded.bytes).unwrap_or(INTEGER_MAX));
    leaf.text("call", concluded.call.as_str());
    leaf.some_text("code", record.code.map(Code::as_str));
    if let Some(result) = &concluded.result {
        leaf.open("commitments");
        leaf.digest("result", &result.digest());
        leaf.close();
    }
    leaf.integer("duration_us", record.duration_us);
    leaf.flag("error", record.is_error);
    let answer = record.answer.as_deref();
    if let Some(answer) = answer.filter(|answer| !answer.findings.is_empty()) {
        leaf.texts("findings", answer.findings.iter().copied());
    }
    leaf.text("k", Kind::Outcome.as_str());
    leaf.open("label");
    leaf.text("confidentiality", record.label.confidentiality.as_str());
    leaf.some_text("generated_by", answer.map(|answer| answer.generated_by.as_str()));
    leaf.text("integrity", record.label.integrity.as_str());
    let label = &record.label;
    if !label.origins.is_empty() {
        leaf.texts("origins", label.origins.iter().map(|origin| origin.as_str()));
    }
    if !label.pii.is_empty() {
        leaf.texts("pii", label.pii.iter().map(String::as_str));
    }
    leaf.close();
    leaf.parent(concluded.intent);
    leaf.integer("redactions", i64::from(record.redactions));
    leaf.text("session", concluded.session.as_str());
    leaf.place();
    leaf.text("state", record.state.as_str());
    leaf.text("subject", concluded.subject);
    leaf.integer("t", time(record.at));
    leaf.integer("v", ENTRY_VERSION);
    leaf.finish()
}

/// The outcome of a call that was open when the gate ended uncleanly.
pub(crate) fn unknown_outcome(
    call: &str,
    state: &str,
    code: Code,
    intent: &Receipt,
    at: Micros,
) -> Draft {
    let mut leaf = Leaf::new(CAPACITY / 2);
    leaf.text("call", call);
    leaf.text("code", code.as_str());
    leaf.text("k", Kind::Outcome.as_str());
    leaf.parent(intent);
    leaf.place();
    leaf.text("state", state);
    leaf.integer("t", time(at));
    leaf.integer("v", ENTRY_VERSION);
    leaf.finish()
}

/// What a resolution entry says.
pub(crate) struct Resolved<'a> {
    pub(crate) call: &'a CallId,
    pub(crate) outcome: &'a Receipt,
    pub(crate) state: OutcomeState,
    pub(crate) means: &'a Means,
}

/// What became of an effect in doubt.
pub(crate) fn resolution(resolved: &Resolved<'_>, at: Micros) -> Draft {
    let Resolved { call, outcome, state, means } = resolved;
    let mut leaf = Leaf::new(CAPACITY / 2);
    leaf.text("by", means.as_str());
    leaf.some_text("by_call", means.call().map(CallId::as_str));
    leaf.text("call", call.as_str());
    leaf.text("k", Kind::Resolution.as_str());
    leaf.parent(outcome);
    leaf.place();
    leaf.text("state", state.as_str());
    leaf.integer("t", time(at));
    leaf.integer("v", ENTRY_VERSION);
    leaf.finish()
}

/// What a switch entry says.
pub(crate) struct Thrown<'a> {
    pub(crate) switch: &'a Switch,
    pub(crate) is_on: bool,
    /// The call to the admin API: who, and why.
    pub(crate) by: &'a CallId,
}

/// A switch that was thrown or lifted.
pub(crate) fn switch(thrown: &Thrown<'_>, at: Micros) -> Draft {
    let Thrown { switch, is_on, by } = thrown;
    let mut leaf = Leaf::new(256);
    leaf.text("by_call", by.as_str());
    leaf.text("k", Kind::Switch.as_str());
    leaf.text("name", &switch.name);
    leaf.text("scope", &switch.scope);
    leaf.place();
    leaf.text("state", if *is_on { "on" } else { "off" });
    leaf.integer("t", time(at));
    leaf.integer("v", ENTRY_VERSION);
    leaf.finish()
}

/// A circuit breaker that changed its state.
pub(crate) fn breaker(turned: &Turned, at: Micros) -> Draft {
    let Turned { upstream, transition, .. } = turned;
    let mut leaf = Leaf::new(256);
    leaf.some_text("code", transition.cause.map(Code::as_str));
    leaf.text("k", Kind::Breaker.as_str());
    leaf.some_text("operation", transition.operation.as_ref().map(OperationName::as_str));
    transition.pause_us.iter().for_each(|us| leaf.integer("pause_ms", us / 1000));
    leaf.place();
    leaf.text("state", transition.state.as_str());
    leaf.integer("t", time(at));
    leaf.text("upstream", upstream.as_str());
    leaf.integer("v", ENTRY_VERSION);
    leaf.finish()
}

/// A model that is tried out has another stage, by the counts of the window that decided it.
pub(crate) fn canary(moved: &CanaryMoved<'_>, at: Micros) -> Draft {
    let mut leaf = Leaf::new(384);
    let tally = &moved.tally;
    leaf.text("canary", moved.canary);
    leaf.open("counts");
    leaf.integer("calls", tally.calls);
    leaf.integer("errors", tally.errors);
    leaf.integer("findings", tally.findings);
    leaf.integer("refusals", tally.refusals);
    leaf.integer("slow", tally.slow);
    leaf.close();
    leaf.some_text("guard", moved.guard.map(Guard::as_str));
    leaf.text("k", Kind::Canary.as_str());
    leaf.text("model", moved.model);
    leaf.place();
    leaf.text("stage", moved.stage.as_str());
    leaf.integer("t", time(at));
    leaf.integer("v", ENTRY_VERSION);
    leaf.text("was", moved.was.as_str());
    leaf.finish()
}

/// A result of behaviour tests.
pub(crate) fn evaluation(evaluation: &Evaluation, at: Micros) -> Draft {
    let Evaluation { seen, entry, version, bundle, report, calls, .. } = evaluation;
    let mut leaf = Leaf::new(CAPACITY / 2);
    leaf.digest("bundle", bundle);
    leaf.text("by_call", seen.call.as_str());
    leaf.integer("calls", i64::from(*calls));
    leaf.text("entry", entry);
    leaf.text("k", Kind::Evaluation.as_str());
    leaf.digest("of", &seen.of);
    leaf.flag("passed", seen.is_passed);
    leaf.integer("percent", seen.percent);
    leaf.digest("report", report);
    leaf.place();
    leaf.text("suite", &seen.suite);
    leaf.digest("suite_digest", &seen.digest);
    leaf.integer("t", time(at));
    leaf.integer("v", ENTRY_VERSION);
    leaf.text("version", version);
    leaf.finish()
}

/// What an entry says of a mode that changed.
pub(crate) struct Turn<'a> {
    /// `session` or `tenant`.
    pub(crate) scope: &'static str,
    pub(crate) name: &'a str,
    pub(crate) was: Mode,
    pub(crate) mode: Mode,
    /// `events`, `timer` or `person`.
    pub(crate) means: &'static str,
    /// The call that caused it, or by which a person set it.
    pub(crate) call: Option<&'a CallId>,
    pub(crate) score: i64,
    pub(crate) classes: &'a [String],
}

/// The mode of a session or tenant that changed.
pub(crate) fn turn(turn: &Turn<'_>, at: Micros) -> Draft {
    let mut leaf = Leaf::new(256);
    leaf.text("by", turn.means);
    leaf.some_text("by_call", turn.call.map(CallId::as_str));
    leaf.texts("classes", turn.classes.iter().map(String::as_str));
    leaf.text("k", Kind::Mode.as_str());
    leaf.text("mode", turn.mode.as_str());
    leaf.text("name", turn.name);
    leaf.text("scope", turn.scope);
    leaf.integer("score", turn.score);
    leaf.place();
    leaf.integer("t", time(at));
    leaf.integer("v", ENTRY_VERSION);
    leaf.text("was", turn.was.as_str());
    leaf.finish()
}

/// What an approval entry says.
pub(crate) struct Answered<'a> {
    /// The refused call that asked.
    pub(crate) call: &'a CallId,
    pub(crate) state: &'a str,
    /// The call to the admin API that answered: who, and why.
    pub(crate) by: Option<&'a CallId>,
}

/// A request for approval that was answered, used, or ended.
pub(crate) fn approval(answered: &Answered<'_>, at: Micros) -> Draft {
    let mut leaf = Leaf::new(256);
    leaf.some_text("by_call", answered.by.map(CallId::as_str));
    leaf.text("call", answered.call.as_str());
    leaf.text("k", Kind::Approval.as_str());
    leaf.place();
    leaf.text("state", answered.state);
    leaf.integer("t", time(at));
    leaf.integer("v", ENTRY_VERSION);
    leaf.finish()
}

/// A bundle that rules from now on.
pub(crate) fn bundle(digest: &Digest, files: usize, at: Micros) -> Draft {
    let mut leaf = Leaf::new(256);
    leaf.digest("bundle", digest);
    leaf.integer("files", i64::try_from(files).unwrap_or(INTEGER_MAX));
    leaf.text("k", Kind::Bundle.as_str());
    leaf.place();
    leaf.integer("t", time(at));
    leaf.integer("v", ENTRY_VERSION);
    leaf.finish()
}

/// Start, stop, heartbeat: an entry that says no more than its kind.
pub(crate) fn plain(kind: Kind, at: Micros) -> Draft {
    let mut leaf = Leaf::new(128);
    leaf.text("k", kind.as_str());
    leaf.place();
    leaf.integer("t", time(at));
    leaf.integer("v", ENTRY_VERSION);
    leaf.finish()
}

/// A subject's key was destroyed.
pub(crate) fn erasure(subject: &str, at: Micros) -> Draft {
    let mut leaf = Leaf::new(256);
    leaf.text("k", Kind::Erasure.as_str());
    leaf.place();
    leaf.text("subject", subject);
    leaf.integer("t", time(at));
    leaf.integer("v", ENTRY_VERSION);
    leaf.finish()
}

/// A request that was refused before there was a call.
pub(crate) struct Away<'a> {
    pub(crate) code: Code,
    pub(crate) issuer: Option<&'a str>,
    pub(crate) listener: &'a str,
    pub(crate) subject: Option<&'a str>,
    /// How many before this one were only counted.
    pub(crate) missed: u64,
    pub(crate) at: Micros,
}

/// A request that was refused before there was a call.
pub(crate) fn turned_away(away: &Away<'_>) -> Draft {
    let mut leaf = Leaf::new(256);
    leaf.text("code", away.code.as_str());
    leaf.some_text("issuer", away.issuer);
    leaf.text("k", Kind::TurnedAway.as_str());
    leaf.text("listener", away.listener);
    if away.missed > 0 {
        leaf.integer("missed", i64::try_from(away.missed).unwrap_or(INTEGER_MAX));
    }
    leaf.place();
    leaf.some_text("subject", away.subject);
    leaf.integer("t", time(away.at));
    leaf.integer("v", ENTRY_VERSION);
    leaf.finish()
}

fn time(at: Micros) -> i64 {
    at.0.clamp(0, INTEGER_MAX)
}

/// The trace id of a W3C `traceparent`. Anything else the caller wrote there stays out of the
/// entry.
fn trace_id(traceparent: &str) -> Option<&str> {
    let id = traceparent.split('-').nth(1)?;
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (id.len() == 32 && id.bytes().all(is_hex)).then_some(id)
}

/// An entry while it is written: its members, and the place in the log left open among them.
struct Leaf {
    head: Vec<u8>,
    members: CanonicalObject,
}

impl Leaf {
    fn new(capacity: usize) -> Self {
        Self { head: Vec::new(), members: CanonicalObject::new(capacity) }
    }

    /// An integer that fits in an entry.
    fn integer(&mut self, name: &str, value: i64) {
        self.members.integer(name, value.clamp(-INTEGER_MAX, INTEGER_MAX));
    }

    fn obligations(&mut self, obligations: &[Obligation]) {
        let texts: Vec<String> = obligations.iter().take(NAMES_MAX).map(obligation_text).collect();
        self.texts("obligations", texts.iter().map(String::as_str));
    }

    fn parent(&mut self, intent: &Receipt) {
        self.open("parent");
        self.digest("hash", &intent.leaf);
        self.integer("index", i64::try_from(intent.index).unwrap_or(INTEGER_MAX));
        self.close();
    }

    /// Member `sq`, whose value is filled in when the entry gets its place.
    fn place(&mut self) {
        self.name("sq");
        self.head = self.cut();
    }

    fn finish(self) -> Draft {
        Draft { head: self.head, tail: self.members.finish() }
    }
}

impl Deref for Leaf {
    type Target = CanonicalObject;
    fn deref(&self) -> &CanonicalObject {
        &self.members
    }
}

impl DerefMut for Leaf {
    fn deref_mut(&mut self) -> &mut CanonicalObject {
        &mut self.members
    }
}

fn obligation_text(obligation: &Obligation) -> String {
    let text = obligation.to_text();
    if text.len() <= OBLIGATION_BYTES_MAX {
        return text;
    }
    format!("{}:{}", obligation.word(), Digest::of(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::permit::{AnswerRecord, OutcomeState};
    use lockgate_core::breaker::{State, Transition};
    use lockgate_core::canary::{Stage, Tally};
    use lockgate_ledger::Entry;
    use lockgate_types::call::{Call, Direction, Effect};
    use lockgate_types::decision::{Denial, Question, Verdict};
    use lockgate_types::flow::Author;
    use lockgate_types::identity::Identity;
    use lockgate_types::label::{Confidentiality, Label};
    use lockgate_types::{Object, Salt};
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::sync::Arc;

    /// A verifier reads an entry as what it is, at the place it was given.
    pub(super) fn check(draft: &Draft, kind: Kind) {
        for index in [0, 7, 1 << 40] {
            let bytes = draft.complete(index);
            let (at, entry) = Entry::parse(&bytes)
                .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&bytes)));
            assert_eq!((at, entry.kind()), (index, kind));
        }
    }

    fn commitment(byte: u8) -> Commitment {
        Commitment::to(&Salt([byte; 32]), &[byte])
    }

    fn facts(text: &str, traceparent: Option<&str>, parent: Option<&str>) -> Facts {
        let identity = Identity {
            issuer: text.to_owned(),
            subject: text.parse().unwrap(),
            agent: text.parse().unwrap(),
            tenant: "acme".parse().unwrap(),
            environment: "prod".parse().unwrap(),
            task: Some("triage".parse().unwrap()),
            subject_groups: BTreeSet::new(),
            subject_roles: BTreeSet::new(),
            authentication: Default::default(),
            own: Default::default(),
            agent_groups: BTreeSet::new(),
        };
        let params = Object::new().with("name", text);
        let id = CallId::new("c1").unwrap();
        let upstream = "crm".parse().unwrap();
        let mut call =
            Call::new(id, upstream, Direction::ToUpstream, "tools/call", params).unwrap();
        call.traceparent = traceparent.map(str::to_owned);
        call.parent = parent.map(|parent| CallId::new(parent).unwrap());
        let session = crate::session::fresh("s_1".parse().unwrap());
        Facts {
            identity: Arc::new(identity),
            call,
            session,
            now: Micros(1_763_629_200_123_456),
            switches: Vec::new(),
            approvals: Vec::new(),
            live_difference: None,
            earlier: None,
            exhausted: Vec::new(),
            plan: None,
            preview: None,
            broken: None,
            cited: None,
            flow: None,
            history: None,
            risk: None,
        }
    }

    proptest! {
        #[test]
        fn a_decided_call_is_an_entry(
            text in "[^\\p{Cc}]{1,40}",
            policies in prop::collection::vec("[^\\p{Cc}]{1,250}", 0..40),
            paths in prop::collection::vec(".{0,400}", 0..40),
            trace in prop::option::of(".{0,60}"),
            parent in prop::option::of("[a-z0-9]{1,32}"),
            is_refused: bool,
            is_shared: bool,
        ) {
            let facts = facts(&text, trace.as_deref(), parent.as_deref());
            let policies: Vec<_> = policies.iter().filter_map(|name| name.parse().ok()).collect();
            let denial = Denial {
                code: Code::Forbidden,
                question: Question::Agent,
                reason: "a reason".to_owned(),
                remedy: "a remedy".to_owned(),
                policies: policies.clone(),
                step_up: None,
                path: Vec::new(),
            };
            let decision = Decision {
                verdict: if is_refused { Verdict::Deny } else { Verdict::Allow },
                bundle: Digest::of(b"bundle"),
                effect: Effect::Read,
                obligations: paths.into_iter().map(|path| Obligation::Redact(vec![path])).collect(),
                policies,
                denial: is_refused.then_some(denial),
                approvals: Vec::new(),
            };
            let commitments = Commitments {
                identity: commitment(1),
                call: commitment(2),
                moment: commitment(3),
                decision: commitment(4),
                evidence: is_refused.then(|| commitment(5)),
            };
            let (facts, decision) = (&facts, &decision);
            let decided = Decided { facts, decision, subject: "u_1", commitments };
            let kind = if is_refused { Kind::Refusal } else { Kind::Intent };
            let draft = super::decided(kind, &decided, is_shared);
            check(&draft, kind);
            let bytes = draft.complete(1);
            prop_assert!(!String::from_utf8_lossy(&bytes).contains("a reason"));
        }

        #[test]
        fn an_outcome_is_an_entry(
            bytes: u64, duration_us: i64, redactions: u32, at: i64, result: bool, index: u64,
        ) {
            let record = OutcomeRecord {
                state: OutcomeState::InDoubt,
                at: Micros(at),
                code: Some(Code::OutcomeInDoubt),
                keep_all: false,
                result: None,
                label: Label {
                    pii: ["iban".to_owned()].into(),
                    ..Label::of(Author::Anyone, Confidentiality::Restricted)
                },
                duration_us,
                redactions,
                is_error: false,
                has_asked: false,
                never_left: false,
                answer: result.then(|| {
                    let findings = ["answer:schema", "uncertain:cut"].into();
                    Box::new(AnswerRecord { generated_by: "oai/large@1".to_owned(), findings })
                }),
                shown: std::collections::BTreeSet::new(),
            };
            let intent = Receipt { index, leaf: Digest::of(b"leaf"), place: index };
            let concluded = Concluded {
                call: &CallId::new("c1").unwrap(),
                session: &SessionId::new("s_1").unwrap(),
                subject: "u_1",
                intent: &intent,
                result: result.then(|| commitment(1)),
                bytes,
            };
            check(&outcome(&concluded, &record), Kind::Outcome);
            let code = Code::OutcomeInDoubt;
            let unknown = unknown_outcome("c1", "in_doubt", code, &intent, Micros(at));
            check(&unknown, Kind::Outcome);
        }

        #[test]
        fn what_is_no_call_is_an_entry(
            listener in ".{0,40}", issuer in prop::option::of(".{0,40}"), missed: u64, at: i64,
        ) {
            let at = Micros(at);
            let away = Away {
                code: Code::NoToken,
                issuer: issuer.as_deref(),
                listener: &listener,
                subject: issuer.as_ref().map(|_| "u_1"),
                missed,
                at,
            };
            check(&turned_away(&away), Kind::TurnedAway);
            let reads = issuer.map(|_| missed);
            let missing = Missing { cause: "unclean_stop", since: at, reads, open: missed };
            check(&gap(&missing, at), Kind::Gap);
            check(&bundle(&Digest::of(b"b"), 3, at), Kind::Bundle);
            check(&erasure("u_1", at), Kind::Erasure);
            for kind in [Kind::Start, Kind::Stop, Kind::Heartbeat] {
                check(&plain(kind, at), kind);
            }
        }
    }

    #[test]
    fn a_result_of_an_evaluation_is_an_entry() {
        for is_passed in [true, false] {
            let digest = Digest::of(b"x");
            let result = Evaluation {
                seen: lockgate_types::evaluated::Evaluated {
                    suite: "support".to_owned(),
                    digest,
                    of: digest,
                    is_passed,
                    percent: 9_950,
                    at: Micros(1),
                    call: CallId::new("c1").unwrap(),
                },
                tenant: "acme".parse().unwrap(),
                entry: "large".to_owned(),
                version: "2026-03".to_owned(),
                bundle: digest,
                report: digest,
                calls: 3,
                summary: "{}".to_owned(),
            };
            check(&evaluation(&result, Micros(1)), Kind::Evaluation);
        }
    }

    #[test]
    fn a_breaker_that_turns_is_an_entry() {
        for (state, cause) in [
            (State::Open, Some(Code::UpstreamTimeout)),
            (State::HalfOpen, None),
            (State::Closed, None),
        ] {
            for operation in [None, Some("desk/ä look".parse().unwrap())] {
                let pause_us = cause.map(|_| i64::MAX);
                let transition = Transition { operation, state, pause_us, cause };
                let turned = Turned { upstream: "desk".parse().unwrap(), transition, held: None };
                check(&breaker(&turned, Micros(1)), Kind::Breaker);
                let moved = CanaryMoved {
                    model: "large",
                    canary: "large-next",
                    was: Stage::Running,
                    stage: Stage::RolledBack,
                    guard: Some(Guard::Errors),
                    tally: Tally::of_one(&[Guard::Errors]),
                };
                check(&canary(&moved, Micros(1)), Kind::Canary);
            }
        }
    }

    #[test]
    fn a_mode_that_changes_is_an_entry() {
        let call = CallId::new("c1").unwrap();
        for (mode, call) in [(Mode::Locked, Some(&call)), (Mode::Normal, None)] {
            let classes = vec!["refused".to_owned(), "signal:injection".to_owned()];
            let turned = Turn {
                scope: "session",
                name: "s_1",
                was: Mode::ReadOnly,
                mode,
                means: "events",
                call,
                score: 1000,
                classes: &classes,
            };
            check(&turn(&turned, Micros(1)), Kind::Mode);
        }
    }

    #[test]
    fn only_a_trace_id_is_taken_from_what_the_caller_wrote() {
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_id(&format!("00-{id}-00f067aa0ba902b7-01")), Some(id));
        for text in ["", "00", "00-Ada Lovelace-1-1", &format!("00-{}-1-1", id.to_uppercase())] {
            assert_eq!(trace_id(text), None, "{text}");
        }
    }
}
