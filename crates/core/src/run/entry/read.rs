//! Entries of a journal, read back.

use super::{
    Answered, Asked, Budget, CallId, Code, Digest, Event, Json, Label, Micros, Over, Parked,
    Performed, Proposal, Purpose, Started, TaskName,
};
use std::collections::BTreeSet;

fn text(json: &Json, name: &str) -> Option<String> {
    json.get(name)?.as_str().map(str::to_owned)
}

fn number(json: &Json, name: &str) -> Option<i64> {
    json.get(name)?.as_i64()
}

fn small(json: &Json, name: &str) -> Option<u32> {
    number(json, name)?.try_into().ok()
}

fn call(json: &Json) -> Option<CallId> {
    CallId::new(json.get("call")?.as_str()?).ok()
}

fn maybe_call(json: &Json) -> Option<Option<CallId>> {
    match json.get("call") {
        Some(_) => call(json).map(Some),
        None => Some(None),
    }
}

fn code(json: &Json) -> Option<Code> {
    Code::from_code(json.get("code")?.as_str()?)
}

fn flag(json: &Json, name: &str) -> Option<bool> {
    json.get(name)?.as_bool()
}

fn texts(json: &Json, name: &str) -> Option<Vec<String>> {
    let all = json.get(name)?.as_array()?.iter();
    all.map(|text| text.as_str().map(str::to_owned)).collect()
}

fn digest(json: &Json) -> Option<Digest> {
    json.get("digest")?.as_str()?.parse().ok()
}

pub(super) fn event(json: &Json) -> Option<Event> {
    Some(match json.get("event")?.as_str()? {
        "started" => Event::Started(Box::new(started(json)?)),
        "asked" => Event::Asked(asked(json)?),
        "answered" => Event::Answered(Box::new(answered(json)?)),
        "unanswered" => Event::Unanswered {
            turn: small(json, "turn")?,
            call: maybe_call(json)?,
            code: code(json)?,
            reason: text(json, "reason")?,
        },
        "proposed" => Event::Proposed {
            turn: small(json, "turn")?,
            stage: text(json, "stage")?,
            proposal: proposal(json.get("proposal")?)?,
        },
        "performed" => Event::Performed(Box::new(performed(json)?)),
        "refused" => Event::Refused {
            turn: small(json, "turn")?,
            at: small(json, "place")?,
            call: maybe_call(json)?,
            code: code(json)?,
            reason: text(json, "reason")?,
        },
        "parked" => Event::Parked(parked(json)?),
        "resumed" => Event::Resumed { why: text(json, "why")?, was_gone: flag(json, "was_gone")? },
        "verified" => Event::Verified {
            turn: small(json, "turn")?,
            by: text(json, "by")?,
            findings: texts(json, "findings")?,
        },
        "changed" => Event::Changed { input: text(json, "input")? },
        "finished" => Event::Over(Over::Finished {
            text: text(json, "text")?,
            is_fallback: flag(json, "is_fallback")?,
            uncertain: texts(json, "uncertain")?,
        }),
        "stopped" => {
            Event::Over(Over::Stopped { why: text(json, "why")?, detail: text(json, "detail")? })
        }
        _ => return None,
    })
}

fn proposal(json: &Json) -> Option<Proposal> {
    Some(Proposal { name: text(json, "name")?, arguments: text(json, "arguments")? })
}

fn started(json: &Json) -> Option<Started> {
    let within = match json.get("within") {
        None => None,
        Some(within) => {
            let run = CallId::new(within.get("run")?.as_str()?).ok()?;
            let spend = match within.get("spend") {
                Some(spend) => Some(spend.as_i64()?),
                None => None,
            };
            let budget = Budget {
                steps: number(within, "steps")?,
                tokens: number(within, "tokens")?,
                spend,
                time_us: number(within, "time_us")?,
                tools: texts(within, "tools")?.into_iter().collect::<BTreeSet<_>>(),
                depth: small(within, "depth")?,
            };
            Some((run, budget))
        }
    };
    let fork_of = match json.get("fork_of") {
        Some(run) => Some(CallId::new(run.as_str()?).ok()?),
        None => None,
    };
    Some(Started {
        task: TaskName::new(json.get("task")?.as_str()?).ok()?,
        input: text(json, "input")?,
        tenant: text(json, "tenant")?,
        environment: text(json, "environment")?,
        within,
        fork_of,
    })
}

fn asked(json: &Json) -> Option<Asked> {
    let purpose = match json.get("purpose")?.as_str()? {
        "work" => Purpose::Work,
        "check" => Purpose::Check,
        "sample" => Purpose::Sample,
        _ => return None,
    };
    Some(Asked {
        turn: small(json, "turn")?,
        purpose,
        stage: match json.get("stage") {
            Some(stage) => Some(stage.as_str()?.to_owned()),
            None => None,
        },
        model: text(json, "model")?,
        prompt: text(json, "prompt")?,
        version: text(json, "version")?,
        digest: digest(json)?,
        tokens: number(json, "tokens")?,
        dropped: small(json, "dropped")?,
    })
}

fn answered(json: &Json) -> Option<Answered> {
    let proposals = json.get("proposals")?.as_array()?.iter().map(proposal);
    Some(Answered {
        turn: small(json, "turn")?,
        call: call(json)?,
        text: text(json, "text")?,
        proposals: proposals.collect::<Option<_>>()?,
        tokens: number(json, "tokens")?,
        spend: number(json, "spend")?,
        digest: digest(json)?,
    })
}

fn performed(json: &Json) -> Option<Performed> {
    let used = json.get("used")?.as_array()?.iter().map(Json::as_i64);
    let used: Vec<i64> = used.collect::<Option<_>>()?;
    Some(Performed {
        turn: small(json, "turn")?,
        at: small(json, "place")?,
        call: call(json)?,
        text: text(json, "text")?,
        value: json.get("value").cloned(),
        label: Label::from_json(json.get("label")?)?,
        is_error: flag(json, "is_error")?,
        used: used.try_into().ok()?,
    })
}

fn parked(json: &Json) -> Option<Parked> {
    let (turn, at) = (small(json, "turn"), small(json, "place"));
    Some(match json.get("for")?.as_str()? {
        "approval" => Parked::Approval {
            turn: turn?,
            at: at?,
            request: call(json)?,
            expires: Micros(number(json, "expires_at")?),
        },
        "doubt" => Parked::Doubt { turn: turn?, at: at?, reason: text(json, "reason")? },
        "run" => Parked::Child { turn: turn?, at: at?, run: call(json)? },
        "switch" => Parked::Switch { switch: text(json, "switch")? },
        _ => return None,
    })
}
