//! What is written straight into canonical bytes, against the bytes of the value it stands for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use lockgate_types::call::{Call, Direction, Effect};
use lockgate_types::decision::{Decision, Denial, Obligation, PathStep, Question, StepUp, Verdict};
use lockgate_types::facts::{Approval, Facts, LiveDifference, Mode, Part, SessionState, Switch};
use lockgate_types::flow::Author;
use lockgate_types::history::{History, Passed, Step};
use lockgate_types::identity::{Authentication, Identity};
use lockgate_types::label::{Confidentiality, Integrity, Label};
use lockgate_types::model::ModelAsked;
use lockgate_types::plan::{Plan, Preview, Terms};
use lockgate_types::{CallId, Code, Digest, Json, JsonLimits, Micros, Object, SessionId};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

const TEXT: &str = "[^\\p{Cc}]{1,12}";

fn identity(text: &str) -> Identity {
    Identity {
        issuer: text.to_owned(),
        subject: text.parse().unwrap(),
        agent: text.parse().unwrap(),
        tenant: "acme".parse().unwrap(),
        environment: "dev".parse().unwrap(),
        task: None,
        subject_groups: BTreeSet::new(),
        subject_roles: BTreeSet::new(),
        authentication: Authentication {
            acr: Some(text.to_owned()),
            amr: BTreeSet::from([text.to_owned()]),
            at: Some(1_795_000_000),
        },
        own: Default::default(),
        agent_groups: BTreeSet::new(),
    }
}

prop_compose! {
    fn facts()(
        text in TEXT,
        any in ".{0,40}",
        parent in prop::option::of("[a-z0-9]{1,32}"),
        numbers: (i64, i64, i64),
        is_different: bool,
        pairs in prop::collection::vec((TEXT, TEXT), 0..3),
    ) -> Facts {
        // In the order in which they are read back.
        let arguments = Object::new().with("a", numbers.0).with("note", any.as_str());
        let params = Object::new().with("arguments", arguments).with("name", "look");
        let (id, upstream) = (CallId::new("c1").unwrap(), "crm".parse().unwrap());
        let mut call =
            Call::new(id, upstream, Direction::ToUpstream, "tools/call", params).unwrap();
        call.model = parent.as_ref().map(|name| Box::new(ModelAsked::of(name)));
        call.parent = parent.clone().map(|parent| CallId::new(&parent).unwrap());
        call.traceparent = is_different.then(|| any.clone());
        let exposure = Label {
            integrity: Integrity::Untrusted,
            confidentiality: Confidentiality::Restricted,
            origins: pairs.iter().map(|_| Author::Tenant).collect(),
            pii: pairs.iter().map(|(category, _)| category.clone()).collect(),
            readers: parent.as_ref().map(|name| BTreeSet::from([name.clone()])),
            oldest: is_different.then_some(Micros(numbers.0)),
        };
        let step = Step { at: Micros(numbers.0), call: CallId::new("c_0").unwrap() };
        let history = History {
            group: "g_1".to_owned(),
            window_us: numbers.1,
            counts: vec![any.clone()],
            tags: pairs
                .iter()
                .map(|(tag, _)| {
                    let (first, latest) = (step.clone(), step.clone());
                    let passed = Passed { first, latest, is_here: is_different };
                    (tag.clone(), (numbers.2 > 0).then_some(passed))
                })
                .collect(),
        };
        let session = SessionState {
            id: SessionId::new("s_1").unwrap(),
            mode: Mode::ReadOnly,
            exposure,
            writes: numbers.1,
            revision: numbers.2,
            risk: None,
            fed: None,
        };
        let switches = pairs.iter().map(|(a, b)| Switch { scope: a.clone(), name: b.clone() });
        let approvals =
            pairs.iter().map(|(a, b)| Approval { requirement: a.clone(), approver: b.clone() });
        Facts {
            identity: Arc::new(identity(&text)),
            call,
            session,
            now: Micros(numbers.0),
            switches: switches.collect(),
            approvals: approvals.collect(),
            live_difference: is_different.then(|| LiveDifference::of_definition(Digest::of(b"live"))),
            earlier: None,
            exhausted: Vec::new(),
            plan: is_different.then(|| Plan {
                call: CallId::new("c_1").unwrap(),
                made_at: Micros(numbers.0),
                terms: Terms {
                    who: Digest::of(b"who"),
                    request: Digest::of(b"request"),
                    decided: Digest::of(b"decided"),
                    preview: (numbers.0 > 0).then(|| Digest::of(b"preview")),
                },
            }),
            preview: is_different.then(|| Preview {
                call: CallId::new("c_2").unwrap(),
                digest: Digest::of(b"preview"),
            }),
            broken: None,
            cited: None,
            flow: None,
            history: is_different.then(|| Arc::new(history)),
            risk: None,
        }
    }
}

proptest! {
    #[test]
    fn facts_are_canonical_and_read_back_whole(facts in facts()) {
        let parts = Part::ALL.map(|part| {
            let bytes = facts.part(part);
            let json = Json::parse(&bytes, &JsonLimits::OWN).unwrap();
            assert_eq!(String::from_utf8(json.to_canonical()), String::from_utf8(bytes));
            json
        });
        let [identity, call, moment] = &parts;
        prop_assert_eq!(Facts::from_parts(identity, call, moment), Some(facts));
    }

    #[test]
    fn a_decision_is_written_as_its_value(
        texts in prop::collection::vec(".{0,40}", 0..4),
        names in prop::collection::vec(TEXT, 0..4),
        is_refused: bool,
    ) {
        let policies: Vec<_> = names.iter().map(|name| name.parse().unwrap()).collect();
        let denial = Denial {
            code: Code::NoBundle,
            question: Question::Risk,
            reason: texts.concat(),
            remedy: texts.concat(),
            policies: policies.clone(),
            step_up: Some(Box::new(StepUp {
                acr_values: names.clone(),
                max_age_s: is_refused.then_some(300),
            })),
            path: names
                .iter()
                .map(|tag| PathStep {
                    tag: tag.clone(),
                    step: Step { at: Micros(1), call: CallId::new("c_0").unwrap() },
                })
                .collect(),
        };
        let decision = Decision {
            verdict: Verdict::RequireApproval,
            bundle: Digest::of(b"bundle"),
            effect: Effect::Egress,
            obligations: vec![Obligation::Redact(texts.clone()), Obligation::LogMore],
            policies,
            denial: is_refused.then_some(denial),
            approvals: texts,
        };
        prop_assert_eq!(decision.to_canonical(), decision.to_json().to_canonical());
    }
}
