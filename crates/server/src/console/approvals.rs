//! The pages of requests for approval: what waits, what exactly would happen, and answering it.

use super::ask::{self, NotDone};
use super::evidence::{items, shown, text};
use super::form::Form;
use super::page::{go_to, page, problem, time};
use super::visible::{hidden_in, visible};
use super::{Address, SignedIn};
use crate::http::Body;
use crate::route::Gate;
use http::{Response, StatusCode};
use lockgate_core::bundle::admin::STANDS_IN;
use lockgate_types::{CallId, Json, Micros, Object};
use maud::{Markup, html};

/// Bytes of arguments that one page shows. What cannot be seen whole cannot be agreed to here.
const SHOWN_BYTES_MAX: usize = 256 * 1024;
/// Bytes of a reason.
const REASON_BYTES_MAX: usize = 1024;

/// Bytes of what somebody answers in place of a model.
const ANSWER_BYTES_MAX: usize = 8 * 1024;

/// Somebody's answer.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    Give,
    Deny,
}

/// What waits for somebody.
pub(super) async fn list(gate: &Gate, who: &SignedIn) -> Response<Body> {
    let title = "What waits for somebody";
    let (status, content) = match ask::get(gate, &who.identity, "/v1/approvals").await {
        Ok(answer) => (StatusCode::OK, requests_list(items(&answer, "approvals"))),
        Err(not) => (not.status, alert(&not)),
    };
    page(status, title, Some(&who.visitor()), &content)
}

fn requests_list(requests: &[Json]) -> Markup {
    html! {
        @if requests.is_empty() { p { "Nothing waits for an approval." } }
        ul.requests {
            @for request in requests {
                li {
                    a href={ "/console/approvals/" (text(request, "call")) } {
                        b { bdi { (visible(text(request, "operation"))) } }
                    }
                    p { "Asked through " bdi { (visible(text(request, "agent"))) }
                        ", needs " (visible(&texts(request, "requirements").join(", ")))
                        ", " (state_words(text(request, "state")))
                        ", ends " (moment(request, "expires_at")) }
                }
            }
        }
    }
}

/// One request. `problem`: why the last answer was not taken.
pub(super) async fn show(
    gate: &Gate,
    who: &SignedIn,
    call: &CallId,
    not: Option<&NotDone>,
) -> Response<Body> {
    let path = format!("/v1/approvals/{call}");
    let answer = match ask::get(gate, &who.identity, &path).await {
        Ok(answer) => answer,
        Err(not) => {
            let title = "This request cannot be shown";
            return page(not.status, title, Some(&who.visitor()), &alert(&not));
        }
    };
    // Whoever may not read traces sees the request all the same.
    let used_by = answer.at(&["answered", "by_call"]).and_then(Json::as_str);
    let used_by = used_by.filter(|_| text(&answer, "state") == "spent");
    let outcome = match used_by {
        Some(call) => ask::get(gate, &who.identity, &format!("/v1/traces/{call}")).await.ok(),
        None => None,
    };
    let content = html! {
        @if let Some(not) = not { (alert(not)) }
        (request_page(who, &answer, outcome.as_ref()))
    };
    let status = not.map_or(StatusCode::OK, |not| not.status);
    let title = format!("Approval of {}", text(&answer, "operation"));
    page(status, &title, Some(&who.visitor()), &content)
}

fn request_page(who: &SignedIn, request: &Json, outcome: Option<&Json>) -> Markup {
    let asked = Asked::of(request);
    let is_pending = text(request, "state") == "pending";
    html! {
        (standing(request, outcome))
        h2 { "Who asks, for what" }
        dl {
            dt { "Operation" } dd { bdi { (visible(text(request, "operation"))) } }
            @if let Some(subject) = asked.said(&["identity", "subject"]) {
                dt { "For" } dd { bdi { (visible(subject)) } }
            }
            dt { "Through the agent" } dd { bdi { (visible(text(request, "agent"))) } }
            @for (name, path) in [("Environment", "environment"), ("Tenant", "tenant")] {
                @if let Some(value) = asked.said(&["identity", path]) {
                    dt { (name) } dd { bdi { (visible(value)) } }
                }
            }
            dt { "Asked at" } dd { (moment(request, "at")) }
            dt { "Ends at" } dd { (moment(request, "expires_at")) }
            @if let Some(reason) = asked.said(&["decision", "denial", "reason"]) {
                dt { "Why it was stopped" } dd { (visible(reason)) }
            }
            dt { "By the policies" } dd { (visible(&texts(request, "policies").join(", "))) }
            dt { "Record" }
            dd { a href={ "/console/traces/" (text(request, "call")) } { "The refused call" } }
        }
        h2 #exactly { "Exactly this would be sent" }
        (asked.arguments())
        h2 { "What it needs" }
        (needed(request))
        @if is_pending && asked.is_whole() { (answer_forms(who, request)) }
        @if let Some(evidence) = evidence(request) {
            h2 { "Evidence" }
            (shown(&evidence))
        }
        details {
            summary { "Its identity, for the log" }
            dl { dt { "Call" } dd { code { (text(request, "call")) } } }
        }
    }
}

/// What was asked for, as the record has it.
struct Asked<'a> {
    /// What the refused call carried; `None` if that was erased.
    payload: Option<&'a Json>,
}

impl<'a> Asked<'a> {
    fn of(request: &'a Json) -> Self {
        let entries = |name| request.at(&[name, "entries"]).and_then(Json::as_array);
        let first = entries("evidence").or(entries("trace")).and_then(|entries| entries.first());
        Self { payload: first.and_then(|entry| entry.get("payload")) }
    }

    fn said(&self, path: &[&str]) -> Option<&'a str> {
        self.payload.and_then(|payload| payload.at(path)).and_then(Json::as_str)
    }

    fn text(&self) -> Option<String> {
        let arguments = self.payload?.at(&["call", "params", "arguments"])?;
        Some(arguments.to_string())
    }

    /// Whether everything that would be sent is on the page.
    fn is_whole(&self) -> bool {
        self.payload.is_some() && self.text().is_none_or(|text| text.len() <= SHOWN_BYTES_MAX)
    }

    fn arguments(&self) -> Markup {
        let text = match (self.payload, self.text()) {
            (None, _) => {
                return html! { p.warning { "What was asked for has been erased." } };
            }
            (Some(_), None) => return html! { p { "No arguments." } },
            (Some(_), Some(text)) => text,
        };
        if text.len() > SHOWN_BYTES_MAX {
            return html! {
                p.warning {
                    (text.len()) " bytes: too much to be looked at here, and so to be agreed to. "
                    "The command line shows it whole."
                }
            };
        }
        let hidden = hidden_in(&text);
        html! {
            p.hint { (text.len()) " bytes, in the order in which they are sent." }
            @if hidden > 0 {
                p.warning { (hidden) " characters in it would not be seen. They are marked." }
            }
            pre.raw tabindex="0" role="region" aria-labelledby="exactly" { (visible(&text)) }
        }
    }
}

/// Evidence beyond the record of the call.
fn evidence(request: &Json) -> Option<Json> {
    let mut evidence = request.get("evidence")?.clone();
    if let Some(object) = evidence.as_object_mut() {
        for known in ["call", "entries", "is_cut"] {
            object.remove(known);
        }
        if object.is_empty() {
            return None;
        }
    }
    Some(evidence)
}

/// Who has agreed: by pseudonym, where the name has been erased.
fn approver(given: &Json) -> &str {
    match text(given, "subject") {
        "" => text(given, "approver"),
        name => name,
    }
}

fn needed(request: &Json) -> Markup {
    let given = items(request, "given");
    let given_for = |requirement: &str| {
        let by = given.iter().filter(|given| text(given, "requirement") == requirement);
        by.map(|given| approver(given).to_owned()).collect::<Vec<_>>()
    };
    html! {
        dl {
            @for requirement in texts(request, "requirements") {
                @let by = given_for(&requirement);
                dt { bdi { (visible(&requirement)) } }
                dd {
                    @if by.is_empty() { "missing" } @else { "given by " (visible(&by.join(", "))) }
                    @if !by.is_empty() && by.len() < quorum(&requirement) { ", and not enough yet" }
                }
            }
        }
    }
}

/// How many have to agree: `2 of group:finance`.
fn quorum(requirement: &str) -> usize {
    requirement.split_once(" of ").and_then(|(count, _)| count.parse().ok()).unwrap_or(1)
}

fn answer_forms(who: &SignedIn, request: &Json) -> Markup {
    let path = format!("/console/approvals/{}", text(request, "call"));
    let token = who.session.form.expose();
    let requirements = texts(request, "requirements");
    let hint = "Kept with the record: what you have looked at.";
    html! {
        h2 { "Your answer" }
        @for (at, requirement) in requirements.iter().enumerate() {
            form method="post" action={ (path) "/give" } {
                fieldset {
                    legend { "Agree to exactly this, once, for " bdi { (visible(requirement)) } }
                    input type="hidden" name="form" value=(token);
                    input type="hidden" name="requirement" value=(requirement);
                    label for={ "give-" (at) } { "Why you agree" }
                    input type="text" id={ "give-" (at) } name="reason" required autocomplete="off"
                        maxlength=(REASON_BYTES_MAX) aria-describedby={ "give-hint-" (at) };
                    p.hint id={ "give-hint-" (at) } { (hint) }
                    @if text(request, "operation") == STANDS_IN {
                        label for={ "answer-" (at) } { "What is answered, in place of a model" }
                        textarea id={ "answer-" (at) } name="answer" required rows="6"
                            maxlength=(ANSWER_BYTES_MAX) {}
                    }
                    div.buttons {
                        button.give type="submit" { "Agree for " (visible(requirement)) }
                    }
                }
            }
        }
        form method="post" action={ (path) "/deny" } {
            fieldset {
                legend { "Do not agree" }
                input type="hidden" name="form" value=(token);
                label for="deny" { "Why you do not agree" }
                input #deny type="text" name="reason" required autocomplete="off"
                    maxlength=(REASON_BYTES_MAX);
                div.buttons { button.deny type="submit" { "Deny" } }
            }
        }
    }
}

/// How it stands, and what became of it.
fn standing(request: &Json, outcome: Option<&Json>) -> Markup {
    let state = text(request, "state");
    let at = request.at(&["answered", "t"]).and_then(Json::as_i64);
    let entries = outcome.and_then(|it| it.get("entries")).and_then(Json::as_array);
    let outcome = entries.unwrap_or_default().iter().find_map(|entry| {
        let leaf = entry.get("leaf")?;
        (text(leaf, "k") == "outcome").then_some(leaf)
    });
    html! {
        div.done role="status" {
            p { b { (state_words(state)) } @if let Some(at) = at { ", " (time(Micros(at))) } }
            @if state == "given" {
                p { "It happens when the agent sends exactly this call again, once." }
            }
            @if let Some(outcome) = outcome {
                p { "What became of it: " b { (visible(text(outcome, "state"))) }
                    ", " (moment(outcome, "t")) }
            }
        }
    }
}

/// Gives or denies, and shows how the request stands then.
pub(super) async fn answer(
    gate: &Gate,
    who: &SignedIn,
    call: &CallId,
    answer: Answer,
    form: &Form,
) -> Response<Body> {
    let body = Object::new().with("reason", form.get("reason").trim());
    let (path, body) = match answer {
        Answer::Give => {
            let written = Some(form.get("answer")).filter(|answer| !answer.is_empty());
            let body = body.with("requirement", form.get("requirement"));
            ("give", body.with_some("answer", written))
        }
        Answer::Deny => ("deny", body),
    };
    let path = format!("/v1/approvals/{call}/{path}");
    match ask::post(gate, &who.identity, &path, body).await {
        Ok(_) => go_to(&Address::Approval(call.clone()).path()),
        Err(not) => show(gate, who, call, Some(&not)).await,
    }
}

fn alert(not: &NotDone) -> Markup {
    problem(&not.code, &not.reason, &not.remedy)
}

fn state_words(state: &str) -> &str {
    match state {
        "pending" => "waits for an answer",
        "given" => "agreed to, and not used yet",
        "denied" => "denied",
        "expired" => "ended, because nobody answered or used it in time",
        "cancelled" => "cancelled by a kill switch",
        "superseded" => "superseded: the rules have changed",
        "spent" => "agreed to, and used",
        other => other,
    }
}

fn texts(json: &Json, name: &str) -> Vec<String> {
    items(json, name).iter().filter_map(Json::as_str).map(str::to_owned).collect()
}

fn moment(json: &Json, name: &str) -> Markup {
    match json.get(name).and_then(Json::as_i64) {
        Some(at) => time(Micros(at)),
        None => html! { "not known" },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_types::JsonLimits;

    #[test]
    fn who_has_agreed_is_named_until_that_is_erased() {
        let of = |given: &str| {
            let text = format!(r#"{{"requirements":["2 of group:a"],"given":[{given}]}}"#);
            needed(&Json::parse(text.as_bytes(), &JsonLimits::OWN).unwrap()).into_string()
        };
        let named = r#"{"approver":"p_1","subject":"bob","requirement":"2 of group:a"}"#;
        let page = of(named);
        assert!(page.contains("given by ") && page.contains("bob") && !page.contains("p_1"));
        assert!(of(&named.replace(r#""subject":"bob","#, "")).contains("p_1"));
    }
}
