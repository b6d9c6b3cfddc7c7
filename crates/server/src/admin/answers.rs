//! The shapes of the answers, for the OpenAPI description.
//!
//! Answers of fixed shape are types that describe themselves. Those that carry recorded JSON, whose
//! numbers must keep their source text, are written as `lockgate_types::Json` and described here by
//! hand; the tests hold every answer against its description.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Value, json};

/// The schema of an answer whose type describes itself; closed, so that an answer with more is
/// found out.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    close(&mut schema);
    schema
}

fn close(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.contains_key("properties") {
                members.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
            members.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// An object with these members, of which some are required, and no others.
pub(super) fn object(required: &[&str], properties: Value) -> Value {
    json!({
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": false,
    })
}

fn digest() -> Value {
    json!({ "type": "string", "pattern": "^sha256:[0-9a-f]{64}$" })
}

fn erased() -> Value {
    json!({ "const": true, "description": "The payload was erased; its proof remains." })
}

fn approval_members() -> Value {
    json!({
        "call": { "type": "string", "description": "The refused call that asks." },
        "state": approval_states(),
        "expires_at": { "type": "integer", "description": "Microseconds since 1970." },
        "requirements": { "type": "array", "items": { "type": "string" } },
        "given": {
            "type": "array",
            "items": object(
                &["approver", "by_call", "requirement"],
                json!({
                    "approver": { "type": "string", "description": "A pseudonym." },
                    "subject": { "type": "string", "description": "Who that is; absent in \
                        lists, and once it is erased." },
                    "by_call": { "type": "string" },
                    "requirement": { "type": "string" },
                }),
            ),
        },
        "operation": { "type": "string" },
        "agent": { "type": "string" },
        "subject": { "type": "string", "description": "A pseudonym." },
        "policies": { "type": "array", "items": { "type": "string" } },
        "at": { "type": "integer", "description": "Microseconds since 1970." },
    })
}

fn approval_states() -> Value {
    let states = ["pending", "given", "denied", "expired", "cancelled", "superseded", "spent"];
    json!({ "enum": states })
}

const APPROVAL: &[&str] = &["call", "state", "expires_at", "requirements", "given"];

pub(super) fn approvals() -> Value {
    let one = object(APPROVAL, approval_members());
    object(
        &["approvals"],
        json!({
            "approvals": { "type": "array", "items": one },
            "next": { "type": "string", "description": "Where to go on; absent at the end." },
        }),
    )
}

pub(super) fn approval() -> Value {
    let mut members = approval_members();
    if let Some(members) = members.as_object_mut() {
        members.insert("evidence".to_owned(), evidence());
        members.insert("trace".to_owned(), trace());
        let changed = json!({
            "type": "boolean",
            "description": "Whether another bundle rules than the one that stopped it.",
        });
        members.insert("bundle_changed".to_owned(), changed);
        members.insert("answered".to_owned(), any_object());
        let delivery = json!({
            "webhook": { "type": "string" },
            "state": { "enum": ["trying", "told", "given_up"] },
            "attempts": { "type": "integer" },
            "why": { "type": "string" },
        });
        let one = object(&["webhook", "state", "attempts", "why"], delivery);
        members.insert("deliveries".to_owned(), json!({ "type": "array", "items": one }));
    }
    let required: Vec<&str> = APPROVAL.iter().copied().chain(["trace"]).collect();
    object(&required, members)
}

/// The evidence: members are added to it, never given another meaning.
fn evidence() -> Value {
    let text = || json!({ "type": "string" });
    let texts = || json!({ "type": "array", "items": { "type": "string" } });
    let objects = || json!({ "type": "array", "items": { "type": "object" } });
    let argument = object(
        &["argument", "origin"],
        json!({ "argument": text(), "origin": { "enum": ["caller", "plan", "gate"] } }),
    );
    let members = json!({
        "version": { "const": 1 },
        "at": { "type": "integer", "description": "Microseconds since 1970." },
        "bundle": digest(),
        "who": { "type": "object", "description": "Subject, agent, tenant, environment, issuer, \
            session, task." },
        "what": object(
            &["operation", "effect", "method", "request_digest", "affected"],
            json!({
                "operation": text(),
                "effect": text(),
                "class": text(),
                "method": text(),
                "request_digest": digest(),
                "request": { "type": "object", "description": "What would be sent; absent if it \
                    is large: it is in the trace." },
                "affected": objects(),
            }),
        ),
        "provenance": { "type": "array", "items": { "type": "object" }, "description": "How it is \
            established where each value came from, where a policy asks." },
        "why": object(
            &["requirements", "exhausted_caps", "policies"],
            json!({
                "code": text(),
                "question": text(),
                "reason": text(),
                "policies": texts(),
                "requirements": texts(),
                "exhausted_caps": texts(),
            }),
        ),
        "arguments": { "type": "array", "items": argument },
        "dry_run": object(
            &["kind"],
            json!({
                "kind": { "enum": ["preview", "request"] },
                "call": text(),
                "result": { "type": "object" },
            }),
        ),
        "risk": object(
            &["session", "caps", "breakers", "agent_requests"],
            json!({
                "session": { "type": "object" },
                "caps": objects(),
                "breakers": objects(),
                "agent_requests": { "type": "object", "description": "What the agent has asked \
                    people for lately, by how it stands." },
            }),
        ),
    });
    let required =
        ["version", "at", "bundle", "who", "what", "why", "arguments", "dry_run", "risk"];
    object(&required, members)
}

pub(super) fn approval_state() -> Value {
    let members = json!({ "call": { "type": "string" }, "state": approval_states() });
    object(&["call", "state"], members)
}

/// What who asked is told of a request.
pub(super) fn own_approval() -> Value {
    let poll = object(
        &["path", "after_ms"],
        json!({
            "path": { "type": "string", "description": "Where to look again." },
            "after_ms": { "type": "integer", "description": "After so many milliseconds." },
        }),
    );
    object(
        &["call", "state", "expires_at", "operation", "requirements"],
        json!({
            "call": { "type": "string", "description": "The refused call that asks." },
            "state": approval_states(),
            "expires_at": { "type": "integer", "description": "Microseconds since 1970." },
            "operation": { "type": "string" },
            "requirements": { "type": "array", "items": { "type": "string" } },
            "url": { "type": "string", "description": "Where people answer it." },
            "poll": poll,
        }),
    )
}

pub(super) fn any_object() -> Value {
    json!({ "type": "object" })
}

pub(super) fn trace() -> Value {
    let payload = json!({
        "identity": { "type": "object", "description": "Who asked." },
        "call": { "type": "object", "description": "What was asked for." },
        "call_digest": digest(),
        "moment": { "type": "object", "description": "All else the decision depended on." },
        "decision": { "type": "object" },
        "evidence": { "type": "object", "description": "Of a request for approval." },
        "result": { "description": "What was answered." },
        "result_digest": digest(),
    });
    let entry = json!({
        "index": { "type": "integer", "minimum": 0, "description": "In its log; of another \
            node's entry, after the number of that node." },
        "tenant": { "type": "string", "description": "Whose log it stands in; absent: the node's \
            own." },
        "leaf": { "type": "object", "description": "The entry, as it is logged." },
        "leaf_hash": digest(),
        "payload": object(&[], payload),
        "erased": erased(),
    });
    let entries = object(&["index", "leaf", "leaf_hash"], entry);
    object(
        &["call", "entries"],
        json!({
            "call": { "type": "string" },
            "entries": { "type": "array", "items": entries },
            "is_cut": { "const": true, "description": "There was more than an answer holds." },
        }),
    )
}

pub(super) fn records() -> Value {
    let facts = json!({
        "identity": { "type": "object" },
        "call": { "type": "object" },
        "moment": { "type": "object" },
    });
    let record = json!({
        "index": { "type": "integer", "minimum": 0, "description": "In the order of all entries \
            of the node." },
        "kind": { "enum": ["intent", "refusal"] },
        "call": { "type": "string" },
        "facts": object(&["identity", "call", "moment"], facts),
        "decision": { "type": "object" },
        "erased": erased(),
        "too_large": { "const": true, "description": "The call was refused, and is too large to \
            be kept: its digest is." },
    });
    let records = object(&["index", "kind", "call"], record);
    object(
        &["records", "size"],
        json!({
            "records": { "type": "array", "items": records },
            "next": { "type": "integer", "description": "Where to go on; absent at the end." },
            "size": { "type": "integer", "description": "Entries of the node." },
        }),
    )
}

fn run_members() -> Value {
    json!({
        "run": { "type": "string", "description": "The call by which it was started." },
        "task": { "type": "string" },
        "state": { "enum": ["open", "parked", "finished", "stopped"] },
        "entries": { "type": "integer", "description": "Of its journal." },
        "started_at": { "type": "integer", "description": "Microseconds since 1970." },
        "at": { "type": "integer", "description": "Of the newest entry." },
        "within": { "type": "string", "description": "The run within which it was started." },
        "cancelled_by": { "type": "string", "description": "The call that wants it to end." },
    })
}

const RUN_REQUIRED: [&str; 6] = ["run", "task", "state", "entries", "started_at", "at"];

pub(super) fn evaluations() -> Value {
    let results = json!({ "results": { "type": "array", "items": evaluation() } });
    object(&["results"], results)
}

pub(super) fn evaluation() -> Value {
    let count = || json!({ "type": "integer" });
    let share = || json!({ "type": "integer", "description": "Hundredths of a percent." });
    let texts = || json!({ "type": "array", "items": { "type": "string" } });
    let group = json!({
        "name": { "type": "string" }, "positive": count(), "of": count(), "share": share(),
        "low": share(), "high": share(), "mean_thousandths": count(),
    });
    let group = object(&["name", "positive", "of", "share", "low", "high"], group);
    let fairness = json!({
        "id": { "type": "string" },
        "groups": { "type": "array", "items": group },
        "difference_points": share(), "difference_points_low": share(),
        "difference_points_high": share(), "ratio": share(), "flips": count(),
        "compared": count(), "spread_thousandths": count(), "against": texts(), "notes": texts(),
    });
    let required = [
        "id",
        "groups",
        "difference_points",
        "difference_points_low",
        "difference_points_high",
        "flips",
        "compared",
        "against",
        "notes",
    ];
    let fairness = object(&required, fairness);
    let summary = json!({
        "passed": { "type": "boolean" }, "cases": count(), "passed_cases": count(),
        "percent": share(), "percent_low": share(), "percent_high": share(),
        "unjudged": count(), "unanswered": count(), "against": texts(),
        "fairness": { "type": "array", "items": fairness },
    });
    let required = ["passed", "cases", "passed_cases", "percent", "against", "fairness"];
    let members = json!({
        "suite": { "type": "string" }, "digest": digest(), "entry": { "type": "string" },
        "version": { "type": "string" }, "bundle": digest(), "report": digest(),
        "passed": { "type": "boolean" }, "percent": share(),
        "at": { "type": "integer", "description": "Microseconds since 1970." },
        "call": { "type": "string", "description": "The call that handed it in: its record has \
                                                    the report, with the calls of each answer." },
        "calls": { "type": "integer", "description": "How many the report names." },
        "summary": object(&required, summary),
    });
    let required = ["suite", "digest", "entry", "version", "passed", "percent", "at", "call"];
    object(&required, members)
}

pub(super) fn runs() -> Value {
    let run = object(&RUN_REQUIRED, run_members());
    let next = json!({ "type": "string", "description": "Where to go on: `before`." });
    let page = json!({ "runs": { "type": "array", "items": run }, "next": next });
    object(&["runs"], page)
}

/// A run as whoever has just asked for it sees it.
pub(super) fn started_run() -> Value {
    let mut run = run();
    if let Some(members) = run.get_mut("properties").and_then(Value::as_object_mut) {
        let about = "It was started before, under the same key.";
        members.insert("repeated".to_owned(), json!({ "const": true, "description": about }));
    }
    run
}

fn opener_members() -> Value {
    let mut members = run_members();
    let whose = json!({
        "tenant": { "type": "string" },
        "environment": { "type": "string" },
        "subject": { "type": "string", "description": "Absent where the subject was erased." },
        "agent": { "type": "string" },
    });
    extend(&mut members, whose);
    members
}

pub(super) fn all_runs() -> Value {
    let run = object(&RUN_REQUIRED, opener_members());
    let next = json!({ "type": "string", "description": "Where to go on: `before`." });
    object(&["runs"], json!({ "runs": { "type": "array", "items": run }, "next": next }))
}

/// A run without what was asked and said.
pub(super) fn any_run() -> Value {
    let count = || json!({ "type": "integer" });
    let call = json!({
        "name": { "type": "string", "description": "If the bundle has a tool of the name." },
        "state": { "enum": ["proposed", "performed", "failed", "refused"] },
        "code": { "type": "string", "description": "Why it was refused." },
        "call": { "type": "string", "description": "Under which it is recorded." },
    });
    let turn = json!({
        "stage": { "type": "string", "description": "The step of the workflow." },
        "model": { "type": "string" },
        "calls": { "type": "array", "items": object(&["state"], call) },
        "findings": { "type": "integer", "description": "How many things checks have found." },
    });
    let mut members = opener_members();
    let more = json!({
        "steps": count(),
        "tokens": count(),
        "spend": { "type": "integer", "description": "Millionths of a hundredth." },
        "worked_ms": count(),
        "waits": { "type": "object", "description": "For what, with the call." },
        "turns": { "type": "array", "items": object(&["calls", "findings"], turn) },
        "outcome": { "type": "object", "description": "How it ended, without what it says." },
    });
    extend(&mut members, more);
    object(&RUN_REQUIRED, members)
}

fn extend(members: &mut Value, more: Value) {
    if let (Some(members), Value::Object(more)) = (members.as_object_mut(), more) {
        members.extend(more);
    }
}

pub(super) fn run() -> Value {
    let count = || json!({ "type": "integer" });
    let call = json!({
        "name": { "type": "string" },
        "arguments": { "type": "string", "description": "As the model wrote them." },
        "state": { "enum": ["proposed", "performed", "failed", "refused"] },
        "code": { "type": "string", "description": "Why it was refused." },
        "call": { "type": "string", "description": "Under which it is recorded." },
    });
    let check = json!({
        "by": { "type": "string" },
        "findings": { "type": "array", "items": { "type": "string" } },
    });
    let turn = json!({
        "stage": { "type": "string", "description": "The step of the workflow." },
        "model": { "type": "string" },
        "text": { "type": "string" },
        "calls": {
            "type": "array",
            "items": object(&["name", "arguments", "state"], call),
        },
        "checks": { "type": "array", "items": object(&["by", "findings"], check) },
    });
    let left = json!({
        "steps": count(), "tokens": count(), "spend": count(), "time_ms": count(),
    });
    let mut members = run_members();
    let more = json!({
        "input": { "type": "string" },
        "fork_of": { "type": "string" },
        "steps": count(),
        "tokens": count(),
        "spend": { "type": "integer", "description": "Millionths of a hundredth." },
        "worked_ms": count(),
        "left": object(&["steps", "tokens", "time_ms"], left),
        "waits": { "type": "object", "description": "For what, as its journal has it." },
        "prompts": { "type": "array", "items": digest() },
        "turns": { "type": "array", "items": object(&["calls", "checks"], turn) },
        "outcome": { "type": "object", "description": "How it ended, as its journal has it." },
    });
    extend(&mut members, more);
    let own = ["input", "steps", "tokens", "spend", "worked_ms", "prompts", "turns"];
    object(&[&RUN_REQUIRED[..], &own[..]].concat(), members)
}

pub(super) fn bundle() -> Value {
    let files = json!({
        "type": "object",
        "description": "Content by path.",
        "additionalProperties": { "type": "string", "contentEncoding": "base64" },
    });
    object(&["digest", "files"], json!({ "digest": digest(), "files": files }))
}

/// The body of everything that was not done.
pub(super) fn error() -> Value {
    let mistake = json!({
        "file": { "type": "string" },
        "line": { "type": "integer" },
        "what": { "type": "string" },
        "hint": { "type": "string" },
    });
    let mistake = object(&["file", "what", "hint"], mistake);
    let error = json!({
        "code": { "type": "string", "description": "The stable code: `LG-A001`." },
        "blame": { "enum": ["caller", "policy", "upstream", "issuer", "lockgate"] },
        "retryable": { "type": "string", "description": "`no`, `yes`, or `after_<n>_ms`." },
        "reason": { "type": "string", "description": "What happened." },
        "remedy": { "type": "string", "description": "What would help." },
        "policies": { "type": "array", "items": { "type": "string" } },
        "call": { "type": "string", "description": "Under which it is recorded, if it is." },
        "docs": { "type": "string", "description": "The page of the code." },
        "mistakes": {
            "type": "array",
            "description": "Of a bundle that was not loaded.",
            "items": mistake,
        },
    });
    let required = ["code", "blame", "retryable", "reason", "remedy", "policies", "docs"];
    object(&["error"], json!({ "error": object(&required, error) }))
}
