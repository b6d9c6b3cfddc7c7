//! `POST /v1/chat/completions`.

use super::super::Path;
use super::super::gate::{BETWEEN, TEXTS, has_string, join_strings, take_repeats, tokens_match};
use super::super::scan::{Channel, Proposed, Scan, Words, odd, whole};
use super::{Judge, Reply};
use crate::refusal::Refusal;
use lockgate_types::{Code, Json, Object};

/// Members of a message that are neither text nor unknown.
const STRUCTURE: &[&str] = &["role", "tool_calls", "function_call"];

fn channel(words: Words, choice: u64, part: usize) -> Channel {
    let part = u64::try_from(part).unwrap_or(0);
    Channel { words, answer: choice, part, is_sealed: false }
}

fn index_of(choice: &Object, at: usize) -> u64 {
    let index = choice.get("index").and_then(Json::as_i64);
    index.or(i64::try_from(at).ok()).and_then(|it| u64::try_from(it).ok()).unwrap_or(0)
}

pub(super) fn read<'a>(body: &'a Object, reply: &mut Reply<'a>) -> Result<(), Box<Refusal>> {
    let choices = body.get("choices").and_then(Json::as_array).unwrap_or_default();
    for (at, choice) in choices.iter().enumerate() {
        let Some(choice) = choice.as_object() else { return Err(odd("a choice is not an object")) };
        let index = index_of(choice, at);
        reply.finishes.extend(choice.get("finish_reason").and_then(Json::as_str));
        let path = Path::default().name("choices").index(at).name("message");
        let Some(message) = choice.get("message").and_then(Json::as_object) else { continue };
        for (part, (name, words)) in TEXTS.into_iter().enumerate() {
            match message.get(name) {
                Some(Json::String(text)) => {
                    reply.say(channel(words, index, part), path.name(name), text);
                }
                None | Some(Json::Null) => {}
                Some(_) => return Err(odd("text of a message is not a string")),
            }
        }
        for call in calls(message)? {
            reply.propose(Proposed { choice: index, ..call })?;
        }
    }
    Ok(())
}

/// The calls of a message, the form before there were several last.
fn calls(message: &Object) -> Result<Vec<Proposed>, Box<Refusal>> {
    let of = |id: Option<&Json>, function: Option<&Json>, arguments: &str| {
        let text = |name: &str| {
            let value = function.and_then(|it| it.get(name)?.as_str());
            value.unwrap_or_default().to_owned()
        };
        Proposed {
            key: 0,
            choice: 0,
            id: id.and_then(Json::as_str).map(str::to_owned),
            name: text("name"),
            arguments: text(arguments),
            hosted: None,
            server: None,
        }
    };
    let mut all = Vec::new();
    match message.get("tool_calls") {
        None | Some(Json::Null) => {}
        Some(Json::Array(calls)) => all.extend(calls.iter().map(|call| match call.get("custom") {
            Some(custom) => of(call.get("id"), Some(custom), "input"),
            None => of(call.get("id"), call.get("function"), "arguments"),
        })),
        Some(_) => return Err(odd("the calls of a message are no array")),
    }
    if let Some(function @ Json::Object(_)) = message.get("function_call") {
        all.push(of(None, Some(function), "arguments"));
    }
    Ok(all)
}

pub(super) fn enforce(
    body: &mut Object,
    scan: &mut dyn Scan,
    judge: &mut Judge<'_>,
) -> Result<(), Box<Refusal>> {
    let choices = body.get_mut("choices").and_then(Json::as_array_mut);
    for (at, choice) in choices.into_iter().flatten().enumerate() {
        let Some(choice) = choice.as_object_mut() else {
            return Err(odd("a choice is not an object"));
        };
        enforce_choice(choice, at, scan, judge)?;
    }
    Ok(())
}

fn enforce_choice(
    choice: &mut Object,
    at: usize,
    scan: &mut dyn Scan,
    judge: &mut Judge<'_>,
) -> Result<(), Box<Refusal>> {
    let index = index_of(choice, at);
    take_repeats(choice, ["text", "delta"]);
    let is_tokens_text = tokens_match(choice);
    let Some(Json::Object(message)) = choice.get_mut("message") else { return Ok(()) };
    let mut is_masked = false;
    for (part, (name, words)) in TEXTS.into_iter().enumerate() {
        let Some(text) = message.get(name).and_then(Json::as_str) else { continue };
        if let Some(masked) = whole(scan, &channel(words, index, part), text)? {
            message.set(name, masked);
            is_masked = true;
        }
    }
    leave_out_unclean(message, index, scan)?;
    let (kept, reasons) = judged(message, judge);
    for reason in &reasons {
        let content = message.get("content").and_then(Json::as_str).unwrap_or_default();
        let between = if content.is_empty() { "" } else { BETWEEN };
        let content = format!("{content}{between}{reason}");
        message.set("content", content);
    }
    if is_masked || !is_tokens_text {
        choice.set("logprobs", Json::Null);
    }
    let reason = choice.get("finish_reason").and_then(Json::as_str);
    if !reasons.is_empty() && kept == 0 && matches!(reason, Some("tool_calls" | "function_call")) {
        choice.set("finish_reason", "stop");
    }
    Ok(())
}

/// Takes refused calls out: how many are left, and the reasons.
fn judged(message: &mut Object, judge: &mut Judge<'_>) -> (usize, Vec<String>) {
    let (mut kept, mut reasons) = (0, Vec::new());
    if let Some(Json::Array(calls)) = message.get_mut("tool_calls") {
        calls.retain(|_| match judge.refused() {
            None => true,
            Some(reason) => {
                reasons.push(reason);
                false
            }
        });
        kept = calls.len();
        if kept == 0 && !reasons.is_empty() {
            message.remove("tool_calls");
        }
    }
    if message.get("function_call").is_some_and(|it| *it != Json::Null) {
        match judge.refused() {
            None => kept += 1,
            Some(reason) => {
                reasons.push(reason);
                message.remove("function_call");
            }
        }
    }
    (kept, reasons)
}

/// Members that are not known here are left out if something is found in them.
fn leave_out_unclean(
    message: &mut Object,
    index: u64,
    scan: &mut dyn Scan,
) -> Result<(), Box<Refusal>> {
    let is_known =
        |name: &str| STRUCTURE.contains(&name) || TEXTS.iter().any(|(text, _)| *text == name);
    let mut gone = Vec::new();
    for (name, value) in message.iter().filter(|(name, _)| !is_known(name)) {
        if name == "audio" && *value != Json::Null {
            let reason = "the answer is a sound, which nobody can look at".to_owned();
            return Err(Box::new(Refusal { reason, ..Refusal::of(Code::ResultWithheld) }));
        }
        if !has_string(value) {
            continue;
        }
        let other = channel(Words::Other, index, TEXTS.len());
        for text in join_strings(std::iter::once(value)) {
            if whole(scan, &other, &text)?.is_some() {
                gone.push(name.to_owned());
                break;
            }
        }
    }
    for name in gone {
        message.remove(&name);
    }
    Ok(())
}
